"""How long a training step takes beside a busy process, with threads that spin while they wait and with ones that sleep.

    python benchmarks/beside_other_work.py --alternations 5

Trains the embedded encoder for 40 steps of 16 pairs of the STS benchmark, in turn with OpenMP's own GOMP_SPINCOUNT and with the
1,000 spins that the scripts set where a CPU is busy, each alone and beside a process that keeps one core busy. Linux. Needs
the STS benchmark (variable STSB, or data/stsb/) and the embedded encoder (downloadBert.py). Prints the median step of each and
writes benchmarks/results/beside_other_work.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STSB = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")
ENCODER = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
ROWS = 640
SPINS = {
    "as libgomp has it": "300000",
    "as the scripts set it beside other work": "1000",
}


@contextlib.contextmanager
def busy(core_is_busy: bool) -> Iterator[None]:
    """A process that computes without pause, while the `with` lasts."""
    if not core_is_busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def step_seconds(spins: str, folder: Path) -> float:
    """The median time of the steps of a short run, without the first ten."""
    lines = (STSB / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.csv").write_text("".join(lines[: ROWS + 1]), encoding="utf-8")
    (folder / "dev.csv").write_text("".join(lines[:6]), encoding="utf-8")
    command = [sys.executable, str(ROOT / "bertFineTuningWithConnectionData.py"), f"--encoder={ENCODER}", "--epochs=1"]
    command += [f"--train-file={folder / 'train.csv'}", f"--dev-file={folder / 'dev.csv'}", "--test-file="]
    command += [f"--output={folder / 'run'}", "--start-over", "--device=cpu"]
    subprocess.run(command, env=os.environ | {"GOMP_SPINCOUNT": spins}, capture_output=True, check=True)
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [record for record in records if "split" not in record]
    return statistics.median(16 / record["pairs_per_second"] for record in steps[10:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alternations", type=int, default=5, metavar="N", help="runs of each kind (5)")
    given = parser.parse_args()
    if not (STSB / "train.csv").is_file() or not (ENCODER / "model.safetensors").is_file():
        sys.exit("Skipped: the STS benchmark (variable STSB) or the embedded encoder (downloadBert.py) is not here.")
    times: dict[str, list[float]] = {}
    for _ in range(given.alternations):
        for core_is_busy in (False, True):
            for name, spins in SPINS.items():
                with tempfile.TemporaryDirectory() as folder, busy(core_is_busy):
                    seconds = step_seconds(spins, Path(folder))
                times.setdefault(f"{'beside a busy process' if core_is_busy else 'alone'}, {name}", []).append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, seconds in medians.items():
        print(f"{1000 * seconds:6.0f} ms a step  {name}")
    path = ROOT / "benchmarks" / "results" / "beside_other_work.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"step_seconds": medians, "runs": times}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
