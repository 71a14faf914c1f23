"""Measures the share of the training time that checkpoints take at the default interval, on the STS benchmark.

    python benchmarks/checkpoint_cost.py --epochs 1

Trains all-MiniLM-L6-v2 with the script's constants, except the epochs, and times every checkpoint: write, sync and read back
weights and moments, delete older checkpoints. Needs the STS benchmark (data/README.md) and all-MiniLM-L6-v2
(downloadBert.py). Prints one line and writes benchmarks/results/checkpoint_cost.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import bertFineTuningWithConnectionData as script  # noqa: E402 (needs the path set above)
import connection.training.resume  # noqa: E402

ENCODER = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
STSB = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")


def measure(epochs: int, output: Path) -> dict[str, object]:
    """Train once; returns the seconds of training and of each checkpoint, and the size of a checkpoint."""
    seconds = []
    save = connection.training.resume.save_training

    def timed(*arguments: object) -> None:
        started = time.perf_counter()
        save(*arguments)
        seconds.append(time.perf_counter() - started)

    connection.training.resume.save_training = timed
    files = [f"--train-file={STSB / 'train.csv'}", f"--dev-file={STSB / 'dev.csv'}", "--test-file="]
    with contextlib.redirect_stdout(io.StringIO()):
        script.main([f"--encoder={ENCODER}", *files, f"--output={output}", f"--epochs={epochs}", "--keep-checkpoints"])
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    checkpoint = max((output / "checkpoints").iterdir())
    return {
        "device": summary["device"],
        "steps": summary["steps"],
        "train_seconds": summary["train_seconds"],
        "checkpoint_seconds": seconds,
        "checkpoint_bytes": sum(path.stat().st_size for path in checkpoint.iterdir()),
        "share": sum(seconds) / (summary["train_seconds"] + sum(seconds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    if not (STSB / "train.csv").is_file() or not (ENCODER / "model.safetensors").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.epochs, Path(folder) / "run")
    path = ROOT / "benchmarks" / "results" / "checkpoint_cost.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    times = ", ".join(f"{seconds:.2f}" for seconds in result["checkpoint_seconds"])
    print(
        f"Checkpoints take {result['share']:.2%} of the training time: {times} s, and {result['train_seconds']:.1f} s for "
        f"{result['steps']} steps; {result['checkpoint_bytes'] / 1e6:.0f} MB each. {result['device']}"
    )


if __name__ == "__main__":
    main()
