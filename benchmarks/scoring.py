"""Compares the time and memory of scoring a file of pairs with sentence-transformers' encode + pairwise_cos_sim.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/scoring.py                     # 10,000 pairs
    python benchmarks/scoring.py --pairs 100000
    python benchmarks/scoring.py --distinct          # no sentence repeats, so our cache of sentences has no effect

The pairs combine random sentences of the STS benchmark, so the more pairs, the more often a sentence repeats; with
--distinct, a number is appended to make each sentence unique. Both read and write a CSV file, each in its own process, on the
CPU, in batches of 64, with all-MiniLM-L6-v2. Loading is not counted. Writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ENCODER = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
STSB = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")
# The last one with torch.set_float32_matmul_precision("medium").
SYSTEMS = ("this project", "sentence-transformers", "sentence-transformers, medium")


def write_pairs(path: Path, count: int, distinct: bool) -> int:
    """Write the pairs; returns the number of distinct sentences."""
    tables = [pd.read_csv(STSB / name, keep_default_na=False) for name in ("train.csv", "dev.csv")]
    sentences = list(dict.fromkeys(text for table in tables for side in ("sentence1", "sentence2") for text in table[side]))
    chosen = np.random.default_rng(42).integers(0, len(sentences), (count, 2))
    texts = [[sentences[i] for i in row] for row in chosen]
    if distinct:
        texts = [[f"{text} {2 * row + side}" for side, text in enumerate(pair)] for row, pair in enumerate(texts)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["sentence1", "sentence2"], *texts])
    return len({text for pair in texts for text in pair})


def ours(pairs: Path, output: Path) -> float:
    import bertScoringWithConnectionData as script
    from ConnectionBert import ConnectionBert

    encoder = ConnectionBert.load(ENCODER)
    encoder.encode(["warm up"])
    script.load = lambda settings: encoder
    started = time.perf_counter()
    script.main([f"--encoder={ENCODER}", f"--pairs-file={pairs}", f"--output-file={output}", "--device=cpu"])
    return time.perf_counter() - started


def theirs(pairs: Path, output: Path) -> float:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import pairwise_cos_sim

    model = SentenceTransformer(str(ENCODER), device="cpu", local_files_only=True)
    model.encode(["warm up"])
    started = time.perf_counter()
    table = pd.read_csv(pairs, keep_default_na=False)
    sides = [
        model.encode(table[side].tolist(), batch_size=64, convert_to_tensor=True, show_progress_bar=False)
        for side in ("sentence1", "sentence2")
    ]
    table["similarity"] = pairwise_cos_sim(*sides).numpy()
    table.to_csv(output, index=False)
    return time.perf_counter() - started


def work(system: str, pairs: Path, output: Path) -> None:
    """Run one system in this process; the last line printed holds the figures."""
    import torch

    if system == SYSTEMS[2]:
        torch.set_float32_matmul_precision("medium")
    seconds = (ours if system == SYSTEMS[0] else theirs)(pairs, output)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"system": system, "seconds": seconds, "peak_megabytes": peak, "threads": torch.get_num_threads()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--distinct", action="store_true", help="make every sentence unique")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work[0], Path(options.work[1]), Path(options.work[2]))
    if not (STSB / "train.csv").is_file() or not (ENCODER / "model.safetensors").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs.csv"
        sentences = write_pairs(pairs, options.pairs, options.distinct)
        outputs = [Path(folder) / f"{number}.csv" for number in range(len(SYSTEMS))]
        results = []
        for system, output in zip(SYSTEMS, outputs, strict=True):
            command = [sys.executable, __file__, "--work", system, str(pairs), str(output)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            results.append(json.loads(printed.splitlines()[-1]))
        difference = np.abs(np.subtract(*(pd.read_csv(output)["similarity"] for output in outputs[:2]))).max()
    path = ROOT / "benchmarks" / "results" / "scoring.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"{options.pairs:,} pairs of {sentences:,} different sentences; similarities differ by at most {difference:.1e}\n")
    print("| | seconds | pairs a second | peak memory, MB | times as fast as its best |\n| --- | --- | --- | --- | --- |")
    for result in results:
        speed, ratio = options.pairs / result["seconds"], min(one["seconds"] for one in results[1:]) / result["seconds"]
        print(
            f"| {result['system']} | {result['seconds']:.1f} | {speed:,.0f} | {result['peak_megabytes']:,.0f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
