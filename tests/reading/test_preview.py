"""What is shown before training: each figure against a count by hand, and the warnings where they are due."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from connection.encoder.packed.products import has_onednn
from connection.encoder.preview import TokenCounts
from connection.reading.preview import first_rows, score_histogram
from connection.training.forecast import padding_text, time_text, tried_seconds_per_token
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


def test_trying_a_step_changes_nothing(tiny_encoder: Path, sentence_factory: Callable) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    sentences = sentence_factory(16)
    dataset = ConnectionDataset(sentences[:8], sentences[8:], [0.5] * 8, encoder.tokenize)
    before = {name: weight.clone() for name, weight in encoder.named_parameters()}
    loader = epoch_loader(dataset, 4, seed=1, epoch=1)
    seconds = tried_seconds_per_token(encoder, loader, lambda batch: encoder(batch).square().mean().backward())
    assert 0 < seconds < 1 and not encoder.training
    assert all(torch.equal(weight, before[name]) and weight.grad is None for name, weight in encoder.named_parameters())


def test_a_step_can_be_tried_with_frozen_embeddings(tiny_encoder: Path, sentence_factory: Callable) -> None:
    encoder, sentences = ConnectionBert.load(tiny_encoder), sentence_factory(8)
    encoder.bert.embeddings.requires_grad_(False)
    dataset = ConnectionDataset(sentences[:4], sentences[4:], [0.5] * 4, encoder.tokenize)
    loader = epoch_loader(dataset, 4, seed=1, epoch=1)
    assert 0 < tried_seconds_per_token(encoder, loader, lambda batch: encoder(batch).square().mean().backward()) < 1


def test_the_time_is_that_of_steps_and_evaluations() -> None:
    assert time_text(1000, 0.5, 5, 20.0).startswith("This will take about 0:10:00: 1,000 steps of 0.5 s, and 5 evaluations")


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
