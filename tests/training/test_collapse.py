"""The similarity of unrelated sentences: which pairs are taken, their mean cosine, and when a warning is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connection.training.collapse import LISTED_UP_TO, collapse_text, random_pairs, random_similarity


@given(st.integers(2, 40), st.integers(1, 300), st.integers(0, 5))
def test_all_pairs_that_no_row_has_are_taken_once(sentences: int, rows: int, seed: int) -> None:
    sides = np.random.default_rng(seed).integers(0, sentences, size=(rows, 2))
    pairs = random_pairs(sides, sentences, seed)
    together = {frozenset(row) for row in sides.tolist()}
    every = {frozenset((i, j)) for i in range(sentences) for j in range(i)}
    found = [frozenset(pair) for pair in pairs.tolist()]
    assert len(found) == len(set(found)) and set(found) == every - together


@pytest.mark.parametrize("sentences", [100, 5_000, 3_000_000])
def test_a_thousand_of_many_pairs_are_taken_by_the_seed(sentences: int) -> None:
    sides = np.random.default_rng(0).integers(0, sentences, size=(2_000, 2))
    pairs = random_pairs(sides, sentences, seed=1)
    assert pairs.shape == (1_000, 2) and (pairs[:, 0] < pairs[:, 1]).all() and pairs.max() < sentences
    codes = {tuple(pair) for pair in pairs.tolist()}
    assert len(codes) == 1_000 and not codes & {tuple(sorted(row)) for row in sides.tolist()}
    assert np.array_equal(pairs, random_pairs(sides, sentences, seed=1))
    assert not np.array_equal(pairs, random_pairs(sides, sentences, seed=2))
    assert 0.4 < pairs.mean() / sentences < 0.6 and (sentences == 100) == (sentences**2 / 2 < LISTED_UP_TO)


def test_where_every_pair_is_in_a_row_there_is_none() -> None:
    many = 330  # more pairs than are listed
    first, second = np.triu_indices(many, k=1)
    assert random_pairs(np.stack([first, second], axis=1), many, seed=3).shape == (0, 2)
    assert random_similarity(np.ones((2, 3), dtype=np.float32), random_pairs(np.array([[0, 1]]), 2, seed=3)) is None


def test_it_is_the_mean_cosine() -> None:
    vectors = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=np.float32)
    assert random_similarity(vectors, np.array([[0, 1], [0, 2]])) == pytest.approx((0 + np.sqrt(0.5)) / 2)


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [(0.1, 0.6, True), (0.1, 0.45, False), (0.45, 0.6, False), (0.9, 0.95, False), (None, 0.9, False), (0.1, None, False)],
)
def test_a_warning_needs_a_high_value_and_a_rise(before: float | None, after: float | None, warned: bool) -> None:
    text = collapse_text("dev", before, after)
    assert ("similarity of 0.60 on average, 0.10 before" in text) if warned else text == ""
