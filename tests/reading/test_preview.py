"""What is shown before training: each figure against a count by hand, and the warnings where they are due."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from connection.encoder.packed.products import has_onednn
from connection.encoder.preview import TokenCounts
from connection.reading.preview import first_rows, score_histogram
from connection.training.forecast import Forecast, padding_text, time_text
from connection.training.schedule import Schedule
from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset, epoch_loader


def test_many_values_become_ten_bars_on_the_scale_of_the_file() -> None:
    scores = np.linspace(0, 1, 101)
    lines = score_histogram(scores, (-1, 1), width=11).splitlines()
    assert len(lines) == 10
    assert lines[0].split() == ["-1", "to", "-0.8", "10", "#" * 10] and lines[-1].split() == ["0.8", "to", "1", "11", "#" * 11]


def test_rows_are_cut_and_hold_no_control_codes() -> None:
    table = pd.DataFrame(
        {"sentence1": ["a\nb \x1b[2J", "c", "d", "e"], "sentence2": ["x" * 99, "f", "g", "h"], "score": [0.5, 0.5, 0.5, 1]}
    )
    lines = first_rows(table, (0, 5), width=20).splitlines()
    assert lines[0] == "  2.5  a b \\x1b[2J  |  " + "x" * 19 + "…" and len(lines) == 3


def token_text(lengths: list[int], unknown: int, sentences: list[str], cut: int, max_tokens: int) -> str:
    counts = TokenCounts(max_tokens)
    counts.add(sentences, np.array(lengths), unknown, cut)
    return counts.text()


def test_tokens_by_hand() -> None:
    """Three sentences of 2, 4 and 6 tokens beside [CLS] and [SEP], of 12 words in all, one token [UNK]."""
    text = token_text([4, 6, 8], 1, ["a b", "c d e f", "g h i 猫犬 j"], cut=1, max_tokens=8)
    assert "median 6, 95 % have at most 8, the longest 8; 1 of 3 sentences are cut (MAX_TOKENS 8)" in text
    assert "1.0 tokens a word; [UNK]: 8.3 % of them." in text  # 猫 and 犬 are words
    assert "Warning: 8% of the tokens are [UNK]: this encoder's vocabulary does not fit" in text
    assert "Warning" not in token_text([4, 6, 8], 0, ["a b", "c d e f", "g"], 0, 8)
    assert "Warning: a word takes 6.0 tokens" in token_text([8], 0, ["세종대왕"], 0, 8)


def test_korean_for_an_english_encoder_is_warned_of(minilm: Path) -> None:
    """bert-base-uncased's vocabulary makes 39 tokens of these 5 words, nearly every one a part of a syllable, one [UNK]."""
    encoder = ConnectionBert.load(minilm)
    counts = TokenCounts(encoder.max_tokens)
    (tokens,), _ = counts.tokenize(encoder, ["한국어 문장을 이해하는 모델입니다 뷁"])
    assert (len(tokens) - 2, counts.unknown) == (39, 1)
    assert "Warning: a word takes 7.8 tokens: this encoder" in counts.text()


def test_the_forecast_is_that_of_the_fastest_of_the_first_steps_and_comes_once(capsys: pytest.CaptureFixture[str]) -> None:
    schedule = Schedule(2, 100, 1.0, 0.0, evaluated=frozenset({50, 100}), saved=frozenset())
    forecast = Forecast(schedule, mean_tokens=200.0, evaluation_seconds=10.0, timed=3)
    said = {}
    for step, tokens, seconds in ((41, 100, 9.0), (42, 100, 0.5), (43, 400, 1.0), (44, 1, 1e-9), (45, 1, 1e-9)):
        forecast.count(step, tokens, seconds)
        said[step] = capsys.readouterr().out
    assert said == dict.fromkeys(said, "") | {43: time_text(157, 0.5, 4, 10.0) + "\n"}
    forecast = Forecast(schedule, 200.0, 10.0, 3)
    for step in (198, 199, 200):
        forecast.count(step, 100, 1.0)
    assert not capsys.readouterr().out  # nothing is left


def test_the_time_is_that_of_steps_and_evaluations() -> None:
    assert time_text(1000, 0.5, 5, 20.0).startswith("The rest will take about 0:10:00: 1,000 steps of 0.5 s, and 5 evaluations")


def test_the_share_of_padding_is_that_of_the_rows_that_are_computed(tiny_encoder: Path, sentence_factory: Callable) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    sentences = sentence_factory(40)
    dataset = ConnectionDataset(sentences[:20], sentences[20:], [0.5] * 20, encoder.tokenize)
    loader = epoch_loader(dataset, 6, seed=1, epoch=1)
    tokens = loader.step_tokens()
    assert tokens.tolist() == [len(batch.input_ids) for batch in loader]
    assert encoder.rows_of(np.array([1, 32, 33])).tolist() == ([32, 32, 64] if has_onednn() else [1, 32, 33])
    encoder.by_hand = False
    assert padding_text(tokens, encoder.rows_of(tokens)) == "Padding: none."
