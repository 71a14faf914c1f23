"""PRECISION of scoring: that it reaches the products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from connection.reading.rows import PairRow
from connection.use.scoring import PairScorer
from connection.use.survey import survey
from ConnectionBert import ConnectionBert


@pytest.mark.parametrize(("precision", "expected"), [("float32", False), ("bfloat16", True)])
def test_sentences_are_encoded_in_the_precision_that_is_asked_for(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, precision: str, expected: bool
) -> None:
    seen: list[bool] = []

    def encode(sentences: list[np.ndarray], batch_size: int) -> np.ndarray:
        seen.append(torch.is_autocast_enabled("cpu"))
        return np.ones((len(sentences), 32), dtype=np.float32)

    encoder = ConnectionBert.load(tiny_encoder)
    monkeypatch.setattr(encoder, "encode_tokens", encode)
    rows = [PairRow(1, [], "a", "b", 0.5)]
    assert PairScorer(encoder, survey(rows, has_scores=False), 8, precision)(rows).tolist() == [pytest.approx(1)]
    assert seen == [expected]
