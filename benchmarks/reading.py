"""Measures the speed and memory of reading, checking and tokenising pairs. Makes its own data in a temporary folder.

    python benchmarks/reading.py

There are four jobs, each in its own process: read a CSV of 200 MB; read an Excel workbook of 100,000 pairs; read and check
200,000 pairs as a run does (columns, scores, repeats, overlap with a dev file of 1,500); tokenise them with all-MiniLM-L6-v2
(downloadBert.py). Peak memory is that of the process minus what it had after imports and, for tokenising, after loading the
encoder. Sentences have 4 to 22 random words of 1 to 10 letters and do not repeat.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import itertools
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ENCODER = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
Result = tuple[int, float, int]  # rows, seconds, bytes of peak memory


def write_pairs(path: Path, rows: int, seed: int) -> Path:
    """Write a CSV of random pairs; returns its path."""
    random = np.random.default_rng(seed)
    letters = "".join(random.choice(list("etaoinshrdlucmfwypvbgk"), 40_000))
    starts, lengths = random.integers(0, 39_000, 30_000), random.integers(1, 11, 30_000)
    words = [letters[start : start + length] for start, length in zip(starts, lengths, strict=True)]

    def sentence() -> str:
        return " ".join(words[i] for i in random.integers(0, len(words), random.integers(4, 23))).capitalize() + "."

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence1", "sentence2", "score"])
        writer.writerows([sentence(), sentence(), f"{random.random() * 5:.1f}"] for _ in range(rows))
    return path


def reading(big: Path, train: Path, dev: Path) -> Result:
    from connection.reading.layout import Layout
    from connection.reading.pairs import read_pairs

    before, clock = peak(), time.perf_counter()
    pairs = read_pairs(big, Layout())
    return len(pairs), time.perf_counter() - clock, peak() - before


def reading_workbook(big: Path, train: Path, dev: Path) -> Result:
    import openpyxl  # noqa: F401 - its memory is not that of reading

    return reading(train.with_suffix(".xlsx"), train, dev)


def write_workbook(train: Path, rows: int) -> None:
    """The first pairs of a CSV as a workbook beside it."""
    from connection.reading.formats.table import Number
    from connection.reading.formats.workbook_output import workbook_pieces

    with train.open(encoding="utf-8", newline="") as file, train.with_suffix(".xlsx").open("wb") as book:
        header, *pairs = itertools.islice(csv.reader(file), rows + 1)
        book.writelines(workbook_pieces(header, ([one, two, Number(f"{float(score):g}")] for one, two, score in pairs)))


def checking(big: Path, train: Path, dev: Path) -> Result:
    from connection.reading.layout import Layout
    from connection.reading.splits import read_splits

    before, clock = peak(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        splits = read_splits({"train": train, "dev": dev, "test": None}, Layout(), overlap="report", dev_share=0.1, seed=1)
    return len(splits.train), time.perf_counter() - clock, peak() - before


def tokenising(big: Path, train: Path, dev: Path) -> Result:
    from connection.reading.layout import Layout
    from connection.reading.pairs import read_pairs
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset

    encoder = ConnectionBert.load(ENCODER, max_tokens=128)
    table = read_pairs(train, Layout()).table
    before, clock = peak(), time.perf_counter()
    dataset = ConnectionDataset(table["sentence1"].tolist(), table["sentence2"].tolist(), table["score"], encoder.tokenize)
    return len(dataset), time.perf_counter() - clock, peak() - before


def peak() -> int:
    """Peak memory of this process in bytes; 0 if unknown (Windows)."""
    import torch

    from connection.encoder.device import peak_memory_bytes

    return peak_memory_bytes(torch.device("cpu")) or 0


def measured(job: Callable[..., Result], files: tuple[Path, ...]) -> Result:
    """Run the job in a new process and return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(job, files)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not (ENCODER / "model.safetensors").is_file():
        sys.exit("Skipped: needs all-MiniLM-L6-v2. Run: python downloadBert.py all-MiniLM-L6-v2")
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"big": 1_130_000, "train": 200_000, "dev": 1_500}
        files = tuple(write_pairs(Path(folder) / f"{name}.csv", rows, i) for i, (name, rows) in enumerate(sizes.items()))
        write_workbook(files[1], 100_000)
        jobs = {
            f"reading a CSV of {files[0].stat().st_size / 1e6:.0f} MB": reading,
            f"reading a workbook of {files[1].with_suffix('.xlsx').stat().st_size / 1e6:.0f} MB": reading_workbook,
            "reading and checking": checking,
            "tokenising": tokenising,
        }
        results = {name: measured(job, files) for name, job in jobs.items()}
    print("| | rows | seconds | rows a second | peak memory, MB |\n| --- | --- | --- | --- | --- |")
    for name, (rows, seconds, memory) in results.items():
        print(f"| {name} | {rows:,} | {seconds:.1f} | {rows / seconds:,.0f} | {memory / 1e6:,.0f} |")
    rows, total = sizes["train"], sum(results[name][1] for name in list(jobs)[2:])
    print(f"\nReading, checking and tokenising {rows:,} pairs: {total:.1f} s, {rows / total * 60:,.0f} pairs a minute.")


if __name__ == "__main__":
    main()
