"""Compares the mean error of predicted scores by isotonic regression and by a line, on pairs that neither was fitted on.

    make train
    python benchmarks/calibration.py output/connections

Uses the predictions of a finished run: fitted on dev and measured on test, then the reverse. If the STS benchmark is there
(data/README.md), also uses halves of its dev set, with similarities by the encoder in the run's best/. Scores are from 0 to 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
STSB = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")

from connection.training.calibration import Calibration  # noqa: E402 (needs the path set above)
from ConnectionBert import ConnectionBert  # noqa: E402

Set = tuple[np.ndarray, np.ndarray]  # similarities and scores from 0 to 1, (n,) each


def errors(fitted_on: Set, measured_on: Set) -> list[float]:
    """The mean absolute errors of the similarity itself, of a line clipped to 0 and 1, and of isotonic regression."""
    (x, y), (similarities, scores) = fitted_on, measured_on
    slope, offset = np.polyfit(x, y, 1)
    line = np.clip(offset + slope * similarities, 0, 1)
    isotonic = Calibration.fit(x, y, (0, 1))(similarities)
    return [float(np.abs(predicted - scores).mean()) for predicted in (similarities, line, isotonic)]


def stsb_halves(encoder: Path, seed: int) -> tuple[Set, Set]:
    table = pd.read_csv(STSB / "dev.csv", keep_default_na=False)
    sides = [ConnectionBert.load(encoder, quiet=True).encode(table[side].tolist()) for side in ("sentence1", "sentence2")]
    sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
    similarities, scores = (sides[0] * sides[1]).sum(axis=1), table["score"].to_numpy() / 5
    halves = np.array_split(np.random.default_rng(seed).permutation(len(table)), 2)
    return tuple((similarities[half], scores[half]) for half in halves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=ROOT / "output" / "connections", help="folder of a finished run")
    run = parser.parse_args().run
    tables = [pd.read_csv(run / f"predictions-{name}.csv") for name in ("dev", "test")]
    dev, test = ((table["predicted_after"].to_numpy(), table["score"].to_numpy() / 5) for table in tables)
    cases = {"sample, dev → test": (dev, test), "sample, test → dev": (test, dev)}
    if (STSB / "dev.csv").is_file():
        cases |= {f"STS benchmark, dev halves, seed {seed}": stsb_halves(run / "best", seed) for seed in range(3)}
    print("| fitted → measured | similarity itself | line | isotonic |\n| --- | --- | --- | --- |")
    for name, (fitted_on, measured_on) in cases.items():
        print(f"| {name} | " + " | ".join(f"{error:.4f}" for error in errors(fitted_on, measured_on)) + " |")


if __name__ == "__main__":
    main()
