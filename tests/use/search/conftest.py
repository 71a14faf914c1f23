"""The search script with the tiny encoder, and a corpus for it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import runs

import bertSearchWithConnectionData as script

Search = Callable[..., list[dict[str, str]]]


@pytest.fixture
def sentences() -> list[str]:
    """Some hundred sentences, of which a few stand in several rows."""
    found = runs.make_sentences(240, seed=5)
    return [*found, *found[3:9], *found[3:6]]


@pytest.fixture
def corpus(tmp_path: Path, sentences: list[str]) -> Path:
    return runs.write_lines(tmp_path / "corpus.txt", sentences)


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    return runs.write_lines(tmp_path / "queries.txt", runs.make_sentences(30, seed=6))


@pytest.fixture
def search(tmp_path: Path, tiny_encoder: Path, corpus: Path) -> Search:
    """Run the script with flags given as keywords; returns the rows that it wrote, if it wrote a CSV file."""

    def run(**changes: object) -> list[dict[str, str]]:
        flags = {
            "encoder": tiny_encoder,
            "corpus_file": corpus,
            "index": tmp_path / "index",
            "output_file": tmp_path / "out" / "found.csv",
            "device": "cpu",
        } | changes
        path = Path(str(flags["output_file"]))
        path.unlink(missing_ok=True)
        runs.run_script(script, **flags)
        if not path.is_file() or path.suffix != ".csv":
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return run
