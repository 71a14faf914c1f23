"""Compares the settings of mining: what an encoder learns from the negatives that each of them finds.

    python -m pip install -r requirements.txt
    python benchmarks/mining.py --data helpdesk --epochs 8
    python benchmarks/mining.py --data together --epochs 2

--data: "helpdesk", the sample data/helpdesk-*.csv; "together", the STS benchmark's pairs with a score of at least 4. For each
seed, an encoder is trained without negatives, negatives are mined with its best/, and for each setting a new encoder is trained
from the beginning with them. Loss in_batch, all-MiniLM-L6-v2, batch 64, learning rate 2e-5.
Figures of the best epoch: MRR@10 of dev, whose candidates are its sentence2; for "together" also Spearman on all 1,500 scored
pairs of the STS benchmark's dev, which falls where right answers are taken for negatives.
Needs all-MiniLM-L6-v2 (downloadBert.py) and, for "together", the STS benchmark (data/README.md). Writes benchmarks/results/,
after each run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accuracy import ENCODER, ROOT, STSB, write_data

# Constants of mining that differ from the script's.
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no limits": {"relative-margin": "", "most-alike": ""},
    "RELATIVE_MARGIN only": {"most-alike": ""},
    "MOST_ALIKE only": {"relative-margin": ""},
    "RELATIVE_MARGIN = 0.01": {"relative-margin": "0.01"},
    "RELATIVE_MARGIN = 0.15": {"relative-margin": "0.15"},
    "RELATIVE_MARGIN = 0.3": {"relative-margin": "0.3"},
    "MOST_ALIKE = 0.7": {"most-alike": "0.7"},
    "RANKS = (5, 100)": {"ranks": ["5", "100"]},
    "RANKS = (10, 100)": {"ranks": ["10", "100"]},
    "NEGATIVES = 3": {"negatives": "3"},
    "NEGATIVES = 5, RANKS = (5, 100)": {"negatives": "5", "ranks": ["5", "100"]},
}


def words(flags: dict[str, object]) -> list[str]:
    """Flags on the command line; a list takes several words."""
    return [
        word
        for name, value in flags.items()
        for word in ([f"--{name}", *value] if isinstance(value, list) else [f"--{name}={value}"])
    ]


def train(options: argparse.Namespace, flags: dict[str, object], seed: int, output: Path) -> dict[str, float]:
    """Train into a folder. Returns its figures."""
    import bertFineTuningWithConnectionData as script

    flags = flags | {"encoder": ENCODER, "max-tokens": 128, "epochs": options.epochs, "batch-size": 64, "seed": seed}
    with contextlib.redirect_stdout(io.StringIO()):
        script.main(words(flags | {"output": output}))
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    figures = {"MRR@10": summary["after"]["dev"]["mrr_at_10"]}
    return figures | ({"Spearman": graded_spearman(output / "best")} if options.data == "together" else {})


def graded_spearman(folder: Path) -> float:
    """Spearman on all scored pairs of the STS benchmark's dev."""
    import numpy as np
    import pandas as pd

    from connection.training.correlations import spearman
    from ConnectionBert import ConnectionBert

    dev = pd.read_csv(STSB / "dev.csv", keep_default_na=False)
    encoder = ConnectionBert.load(folder, quiet=True)
    first, second = (encoder.encode(dev[name].tolist()) for name in ("sentence1", "sentence2"))
    return spearman(np.einsum("bh,bh->b", first, second), dev["score"].to_numpy(dtype=float))


def mine(setting: dict[str, Any], flags: dict[str, object], encoder: Path, output: Path) -> tuple[str, list[str]]:
    """Mine into a file. Returns how many rows have negatives, and the columns of these."""
    import bertMiningWithConnectionData as script

    flags = {"encoder": encoder, "pairs-file": flags["train-file"], "output-file": output} | {
        name: flags[name] for name in ("sentence1-column", "sentence2-column")
    }
    with contextlib.redirect_stdout(io.StringIO()) as told:
        script.main(words(flags | setting))
    rows = next(line for line in told.getvalue().splitlines() if line.startswith("Rows with"))
    return rows, [f"negative{number}" for number in range(1, int(setting.get("negatives", 1)) + 1)]


def measure(options: argparse.Namespace, seed: int) -> Iterator[dict[str, Any]]:
    """The figures of a seed, without negatives and for each setting."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        flags = write_data(options.data, folder)
        yield {"setting": "without negatives", "seed": seed, "rows": ""} | train(options, flags, seed, folder / "first")
        for name in options.settings:
            mined = folder / f"{len(list(folder.iterdir()))}.csv"
            rows, columns = mine(SETTINGS[name], flags, folder / "first" / "best", mined)
            more = {"train-file": mined, "negative-columns": columns}
            figures = train(options, flags | more, seed, mined.with_suffix(""))
            yield {"setting": name, "seed": seed, "rows": rows} | figures


def print_table(results: list[dict[str, Any]]) -> None:
    """The mean of each setting over the seeds, its figures, and the rows of the last seed."""
    names = [name for name in ("MRR@10", "Spearman") if name in results[0]]
    print("| setting | " + " | ".join(f"dev {name} | each seed" for name in names) + " | rows |")
    print("| --- " * (2 + 2 * len(names)) + "|")
    for setting in dict.fromkeys(result["setting"] for result in results):
        runs = [result for result in results if result["setting"] == setting]
        figures = [[run[name] for run in runs] for name in names]
        cells = [f"{statistics.mean(each):.4f} | {', '.join(f'{figure:.4f}' for figure in each)}" for each in figures]
        print(f"| {setting} | {' | '.join(cells)} | {runs[-1]['rows']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("helpdesk", "together"), default="helpdesk")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    if not (ENCODER / "model.safetensors").is_file() or (options.data != "helpdesk" and not (STSB / "train.csv").is_file()):
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    results: list[dict[str, Any]] = []
    path = ROOT / "benchmarks" / "results" / f"mining-{options.data}.json"
    path.parent.mkdir(exist_ok=True)
    for seed in options.seeds:
        for result in measure(options, seed):
            print(result, flush=True)
            results.append(result)
            path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print_table(results)


if __name__ == "__main__":
    main()
