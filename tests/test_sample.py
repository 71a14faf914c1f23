"""The sample data: as many pairs as data/README.md says, no sentence twice, and the agreement that it states."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest

import bertFineTuningWithConnectionData as script
from connection.reading.layout import Layout
from connection.reading.overlap import normal_form
from connection.reading.pairs import read_pairs

DATA = Path(script.__file__).resolve().parent / "data"
COUNTS = {"train": 520, "dev": 130, "test": 130}


def test_counts_and_scores() -> None:
    for name, count in COUNTS.items():
        pairs = read_pairs(DATA / f"connections-{name}.csv", Layout())
        assert len(pairs) == count
        levels = (5 * pairs.table["score"]).round().value_counts()
        assert sorted(levels.index) == [0, 1, 2, 3, 4, 5]
        assert levels.min() > 0.05 * count  # the whole range is there


def test_no_sentence_stands_twice() -> None:
    tables = [read_pairs(DATA / f"connections-{name}.csv", Layout()).table for name in COUNTS]
    sentences = [normal_form(sentence) for table in tables for side in ("sentence1", "sentence2") for sentence in table[side]]
    assert len(sentences) == len(set(sentences)) == 2 * sum(COUNTS.values())


@pytest.mark.parametrize(("name", "close", "pearson"), [("dev", 127, 0.983), ("test", 129, 0.990)])
def test_two_scorings_and_their_mean(name: str, close: int, pearson: float) -> None:
    table = pd.read_csv(DATA / f"connections-{name}.csv", encoding="utf-8")
    first, second = table["score_first"], table["score_second"]
    assert (table["score"] == (first + second) / 2).all()
    assert ((first - second).abs() <= 0.5).sum() == close
    assert round(first.corr(second), 3) == pearson
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert f"{close} of 130" in readme and f"{pearson:.3f}" in readme


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_training_on_it_takes_minutes_and_helps(tmp_path: Path, minilm: Path, seed: int) -> None:
    """The run of `make train`, on the processor: what is learned from train holds for test."""
    began = time.monotonic()
    flags = ["--encoder", str(minilm), "--device", "cpu", "--seed", str(seed), "--output", str(tmp_path / "run")]
    assert script.main(flags) == 0
    assert time.monotonic() - began < 300
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["steps"] == 132
    assert summary["after"]["test"]["spearman"] > summary["before"]["test"]["spearman"] + 0.02
