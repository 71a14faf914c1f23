"""How a tokenizer sees the sentences: the figures against a count by hand, and pairs of which it sees nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connection.encoder.preview import TokenCounts, UnknownPairs, count_words, only_unknown, percentile
from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset


@given(st.lists(st.integers(2, 300), min_size=1, max_size=60), st.sampled_from([0, 5, 50, 95, 100]))
def test_a_percentile_of_counts_is_numpys(lengths: list[int], percent: float) -> None:
    values, counts = np.unique(lengths, return_counts=True)
    assert percentile(values, counts, percent) == pytest.approx(np.percentile(lengths, percent))


@given(st.text(st.sampled_from("ab \t\n\x0b\x1c\x1f\x85\xa0é猫カ。"), max_size=20))
def test_a_word_is_text_between_blanks_or_a_character_of_chinese_or_japanese(sentence: str) -> None:
    spaced = "".join(f" {letter} " if "\u3040" <= letter <= "\u30ff" or letter == "猫" else letter for letter in sentence)
    assert count_words(sentence) == len(spaced.split())


def test_counts_in_parts_are_those_of_the_whole(tiny_encoder: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder, max_tokens=6)
    sentences = ["the cat", "ж the", "the dog is not red at all.", "a cat is red", "ж ж ж ж ж ж ж", "a"]
    whole, parts = TokenCounts(6), TokenCounts(6)
    tokens, cut = whole.tokenize(encoder, sentences)
    assert cut == 2 and [ids.tolist() for ids in tokens] == [ids.tolist() for ids in encoder.tokenize(sentences)[0]]
    for start in range(0, 6, 2):
        parts.tokenize(encoder, sentences[start : start + 2])
    assert parts.text() == whole.text()
    assert whole.unknown == 5 and "2 of 6 sentences are cut (MAX_TOKENS 6)" in whole.text()
    assert TokenCounts(6).text() == "" and TokenCounts(6).tokenize(encoder, []) == ([], 0)


def test_lengths_before_cutting_are_those_without_a_limit(tiny_encoder: Path) -> None:
    sentences = ["the cat " * count for count in range(30)]
    lengths = [len(ids) for ids in ConnectionBert.load(tiny_encoder, max_tokens=64).tokenize(sentences)[0]]
    for limit in (3, 4, 7, 64):
        tokens, whole = ConnectionBert.load(tiny_encoder, max_tokens=limit).tokenize_whole(sentences)
        assert whole.tolist() == lengths and [len(ids) for ids in tokens] == np.minimum(lengths, limit).tolist()


def test_a_sentence_is_unknown_if_no_token_that_is_kept_is_known(tiny_encoder: Path) -> None:
    """With two tokens beside [CLS] and [SEP], the word that is known in "ж ж cat" is cut off. U+0301 alone has no token."""
    encoder = ConnectionBert.load(tiny_encoder, max_tokens=4)
    sentences = ["ж", "ж ж cat", "\u0301", "cat ж", "cat", "ж 犬"]
    tokens, _ = encoder.tokenize(sentences)
    offsets = np.cumsum([0, *map(len, tokens)])
    assert only_unknown(encoder, sentences, np.concatenate(tokens), offsets).tolist() == [True, True, True, False, False, True]


def test_pairs_with_an_unknown_sentence_are_counted_and_the_first_are_named(tiny_encoder: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    sides = (["a", "ж", "a cat", "ж", "犬", *"жжж"], ["cat", "a cat", "ж\n犬", "ж", "ю" * 60, *"abc"])
    dataset = ConnectionDataset(*sides, [0.5] * 8, encoder.tokenize)
    unknown = UnknownPairs.of(encoder, dataset, list(range(2, 10)))
    assert unknown.count == 7
    lines = unknown.text("8 pairs", Path("pairs.csv")).splitlines()
    assert lines[0].startswith("Warning: in 7 of 8 pairs, a sentence is nothing but [UNK]: no word of it is in this encoder's")
    assert lines[1:] == [
        "  pairs.csv:3  ж",
        "  pairs.csv:4  ж 犬",
        "  pairs.csv:5  ж",
        f"  pairs.csv:6  犬  |  {'ю' * 44}…",
        "  pairs.csv:7  ж",
        "  … and 2 more",
    ]
    assert UnknownPairs().text("8 pairs") == ""
