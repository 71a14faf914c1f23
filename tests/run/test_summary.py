"""summary.json: every figure against a count by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from connection.reading.shape import Shape
from connection.run import summary as summarised
from connection.run.summary import speed_text, summarise
from connection.training.evaluation import Evaluation
from connection.training.progress import EpochRow, Training


def evaluation(spearman: float, seconds: float) -> Evaluation:
    return Evaluation({"spearman": spearman, "pearson": spearman / 2}, 0.1, np.array([0.1, 0.2]), seconds)


def job() -> SimpleNamespace:
    rows = {"train": range(100), "dev": range(10), "test": range(20)}
    table = {"score": pd.Series([0.0, 0.5, 0.5, 1.0])}
    splits = SimpleNamespace(
        named=lambda: rows, overlap={"train": {}}, train=SimpleNamespace(table=table), shape=Shape.SCORED, classes=()
    )
    encoder = SimpleNamespace(device=torch.device("cpu"), tokenizer=SimpleNamespace(unk_token_id=1))
    constants = {"LOSS": "cosine", "SEED": 7, "LEARNING_RATE": 1e-5, "SCORE_RANGE": (0, 5)}
    settings = SimpleNamespace(ENCODER=Path("somewhere") / "tiny", **constants)
    train = SimpleNamespace(texts=["a", "b", "c"], cut=1, ids=np.array([2, 1, 3, 2, 9, 3, 2, 1, 3]), negatives=np.empty((4, 0)))
    held_out = {"dev": SimpleNamespace(scores=np.array([0.0, 1.0])), "test": SimpleNamespace(scores=np.array([1.0, 0.0]))}
    run = SimpleNamespace(description={"effective": {"LOSS": "cosine"}})
    more = {"loading_seconds": 1.5, "train": train, "held_out": held_out, "run": run, "positives": None}
    return SimpleNamespace(splits=splits, encoder=encoder, settings=settings, **more)


def test_times_and_rates_are_those_of_the_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarised, "peak_memory_bytes", lambda device: 123_456_789)
    training = Training(rows=[EpochRow(0, evaluation_seconds=2.0), EpochRow(1, evaluation_seconds=3.0)])
    for step in range(1, 6):
        training.count_step(pairs=20, tokens=700, loss=0.5, learning_rate=1e-5, seconds=0.5 * step)
    training.saving_seconds = 0.25
    training.best.offer(3, 0.6)
    before = {"dev": evaluation(0.5, 2.0), "test": evaluation(0.4, 4.0)}  # that of dev is in the table of epochs already
    after = {"dev": evaluation(0.6, 8.0), "test": evaluation(0.45, 16.0)}
    summary = summarise(job(), training, before, after)
    assert summary["train_seconds"] == 0.5 * (1 + 2 + 3 + 4 + 5)
    assert summary["evaluation_seconds"] == 2 + 3 + 4 + 8 + 16
    assert (summary["loading_seconds"], summary["saving_seconds"]) == (1.5, 0.25)
    assert summary["pairs_per_second"] == 100 / 7.5 and summary["tokens_per_second"] == 3500 / 7.5
    assert summary["peak_memory_bytes"] == 123_456_789
    assert (summary["steps"], summary["best_step"], summary["encoder"]) == (5, 3, "tiny")
    assert summary["pairs"] == {"train": 100, "dev": 10, "test": 20}
    metrics = {"spearman": 0.45, "pearson": 0.225, "interval": None, "random_similarity": None}
    assert summary["after"]["test"] == metrics | {"gain": summary["after"]["test"]["gain"]}
    assert [summary[name] for name in ("loss", "seed", "learning_rate", "metric")] == ["cosine", 7, 1e-5, "spearman"]
    assert summary["data"] == {
        "shape": "scored pairs",
        "negatives": 0,
        "positives": 0,
        "scores": {"labels": ["0", "2.5", "5"], "counts": [1, 2, 1]},
        "sentences": 3,
        "cut_sentences": 1,
        "tokens": 9,
        "unknown_tokens": 2,
    }
    assert speed_text(summary) == "Training took 0:00:08 (13 pairs, 467 tokens a second), evaluation 0:00:33, saving 0:00:00."


def test_without_a_step_there_is_no_rate() -> None:
    summary = summarise(job(), Training(), {"dev": evaluation(0.5, 2.0)}, {"dev": evaluation(0.5, 2.0)})
    assert summary["pairs_per_second"] is None and summary["tokens_per_second"] is None
    assert summary["before"]["test"] is None
    assert "best_step_undefined" in summary  # no evaluation was offered
