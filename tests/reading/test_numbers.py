"""Odd sentences and collapsed encoders: finite vectors, undefined metrics as null, time and memory that stay bounded."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bertFineTuningWithConnectionData as script
from connection.encoder import batches
from connection.reading import overlap
from connection.reading.layout import Layout
from connection.reading.overlap import count_repeats, normal_form
from connection.reading.pairs import read_pairs
from connection.training.evaluation import evaluate
from connection.training.objective import Objective
from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset

MILLION = 1_000_000
ODD = {
    "one token": "a",
    "no token": "\u200b",
    "[PAD]": "[PAD] [PAD][PAD]",
    "special tokens": "[CLS] [SEP] [MASK] [UNK]",
    "emoji": "🙂" * 40,
    "a million letters": "a" * MILLION,
    "a million words": "cat " * (MILLION // 4),
    "a million emoji": "🙂" * MILLION,
    "a million characters without blanks": "漢字" * (MILLION // 2),
    "a million marks on one letter": "a" + "\u0300\u0327" * (MILLION // 2),
    "a million of zero width": "\u200b" * MILLION,
}

SLOW = {"a million words", "a million emoji", "a million characters without blanks"}  # some seconds each


@pytest.fixture
def encoder(tiny_encoder: Path) -> ConnectionBert:
    return ConnectionBert.load(tiny_encoder)


@pytest.mark.parametrize(
    "sentence", [pytest.param(ODD[name], id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ODD]
)
def test_an_odd_sentence_has_a_finite_similarity_soon(encoder: ConnectionBert, sentence: str) -> None:
    started = time.monotonic()
    dataset = ConnectionDataset([sentence, "a cat"], ["the dog", sentence], [0.0, 1.0], encoder.tokenize)
    assert max(map(len, dataset.sentences)) <= encoder.max_tokens
    assert np.isfinite(evaluate(encoder, dataset, Objective("cosine", encoder.dimension)).similarities).all()
    repeats = count_repeats(pd.DataFrame({"sentence1": [sentence] * 2, "sentence2": ["a", "a"], "score": [0.0, 1.0]}))
    assert repeats == {"exact_duplicates": 1, "duplicates": 1, "pairs_with_several_scores": 1}
    assert time.monotonic() - started < 30


def test_the_tokenizer_gets_many_characters_in_parts_and_the_tokens_are_the_same(
    encoder: ConnectionBert, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = [("cat " * length)[:length] for length in (0, 5, 30_000, 0, 1, 50_001, 49_999, 7, 200_000, 3)]
    alone = [encoder.tokenize([sentence])[0][0].tolist() for sentence in sentences]
    together, cut = encoder.tokenize(sentences)
    assert [ids.tolist() for ids in together] == alone and cut == 4
    parts = list(batches.parts(sentences, most_sentences=3, most_characters=50_000))
    assert [sentence for part in parts for sentence in part] == sentences
    assert all(len(part) <= 3 and (len(part) == 1 or sum(map(len, part)) <= 50_000) for part in parts)
    monkeypatch.setattr(batches.parts, "__defaults__", (3, 50_000))
    assert [ids.tolist() for ids in encoder.tokenize(sentences)[0]] == alone
    assert encoder.tokenize([]) == ([], 0)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.text(st.sampled_from("aA1 \t\u00a0´ﬁＡé\u0301\u0327\u0345Σß한각가ㄱ\u1161\u11a8"), max_size=6), max_size=8))
def test_long_sentences_are_evened_out_as_short_ones(words: list[str]) -> None:
    """Taken word by word, as sentences of over 1,000 characters are: the same as all at once."""
    sentence = " ".join(words)
    at_once, overlap.LONGEST_AT_ONCE = overlap.LONGEST_AT_ONCE, 6
    try:
        assert normal_form(sentence) == normal_form(sentence + " " * at_once)
    finally:
        overlap.LONGEST_AT_ONCE = at_once
    assert normal_form(sentence) == normal_form(sentence + " x" * at_once)[: -2 * at_once].rstrip()


def test_reading_takes_little_more_memory_than_its_texts(tmp_path: Path) -> None:
    """Rows are read one after the other: beside the table that is returned, nothing grows with the file."""
    path = tmp_path / "pairs.csv"
    rows = "".join(f"{i} {'cat ' * 25},{'dog ' * 25}{i},{i % 6}\n" for i in range(20_000))
    path.write_text("sentence1,sentence2,score\n" + rows, encoding="utf-8")
    del rows
    tracemalloc.start()
    try:
        pairs = read_pairs(path, Layout())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(pairs) == 20_000 and peak < 2.5 * path.stat().st_size


def test_a_collapsed_encoder_is_null_with_the_reason_and_keeps_the_last_weights(tmp_path: Path, tiny_encoder: Path) -> None:
    """All texts equal: every similarity is the same, so no correlation is defined and nothing can be the best."""
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2,score\n" + "".join(f"a cat,a cat,{i % 6}\n" for i in range(20)), encoding="utf-8")
    flags = {"encoder": tiny_encoder, "train-file": path, "dev-file": path, "test-file": path, "output": tmp_path / "run"}
    assert script.main(["--epochs=1", "--device=cpu", *(f"--{name}={value}" for name, value in flags.items())]) == 0
    text = (tmp_path / "run" / "summary.json").read_text(encoding="utf-8")
    summary = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    assert summary["best_step"] is None and summary["best_step_undefined"] == "all similarities are equal"
    assert summary["before"]["test"] == {"spearman": None, "pearson": None, "random_similarity": None, "interval": None}
    assert summary["after"]["dev"] == summary["before"]["test"] | {"gain": None}
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    evaluations = [line for line in (json.loads(line, parse_constant=pytest.fail) for line in lines) if "split" in line]
    assert [line["undefined"] for line in evaluations] == ["all similarities are equal"] * 2
    first, last = (ConnectionBert.load(folder).encode(["a cat"]) for folder in (tiny_encoder, tmp_path / "run" / "best"))
    assert np.isfinite(last).all() and not np.array_equal(first, last)
