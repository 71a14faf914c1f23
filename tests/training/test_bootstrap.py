"""Intervals by bootstrap: each resample against scipy's on the drawn pairs, and the interval against what is known of it."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from connection.training import bootstrap
from connection.training.bootstrap import RESAMPLES, resampled_spearman, spearman_gain_interval, spearman_interval


def pairs(count: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, count) / 5
    return scores + noise * random.standard_normal(count), scores


@pytest.mark.parametrize("block", [2_000_000, 100])
def test_each_resample_is_scipys_correlation_of_the_pairs_drawn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy, which comes with the oracle, is not installed")
    monkeypatch.setattr(bootstrap, "_NUMBERS_AT_ONCE", block)
    similarities, scores = pairs(30, 0.5)
    similarities = similarities.round(1)  # with ties
    found = resampled_spearman(scores, similarities)[0]
    for resample in (0, 1, 7, RESAMPLES - 1):
        counts = bootstrap._draw(np.array([resample]), 30)[0].astype(int)
        rows = np.repeat(np.arange(30), counts)
        assert len(rows) == 30
        assert found[resample] == pytest.approx(stats.spearmanr(similarities[rows], scores[rows]).statistic, abs=1e-12)


def test_the_interval_holds_the_true_value_as_often_as_it_says() -> None:
    """200 samples of 60 from a population whose correlation is known from a million: about 190 intervals hold it."""
    stats = pytest.importorskip("scipy.stats", reason="scipy, which comes with the oracle, is not installed")
    truth = stats.spearmanr(*pairs(1_000_000, 0.6, 99)).statistic
    intervals = [spearman_interval(*pairs(60, 0.6, seed)) for seed in range(200)]
    held = sum(low <= truth <= high for low, high in intervals if low is not None)
    assert 180 <= held <= 199


def test_more_pairs_make_it_narrower() -> None:
    widths = [high - low for low, high in (spearman_interval(*pairs(count, 0.6)) for count in (50, 500, 5000))]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_a_gain_is_paired() -> None:
    """Both similarities share what is hard about the pairs: their difference is surer than either."""
    after, scores = pairs(200, 0.5)
    before = after + 0.05 * np.random.default_rng(1).standard_normal(200)
    low, high = spearman_gain_interval(before, after, scores)
    each = spearman_interval(after, scores)
    assert high - low < (each[1] - each[0]) / 3
    assert spearman_gain_interval(after, after, scores) == (0, 0)


def test_it_is_the_same_each_time_and_draws_from_no_generator() -> None:
    np.random.seed(5)  # noqa: NPY002 the global stream is what must not move
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert spearman_interval(*pairs(50, 0.5)) == spearman_interval(*pairs(50, 0.5))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize(
    ("similarities", "scores"),
    [([0.5] * 9, list(range(9))), (list(range(9)), [1.0] * 9), ([math.nan, *range(8)], list(range(9))), ([0.3, 0.4], [0, 1])],
)
def test_without_a_correlation_there_is_no_interval(similarities: list[float], scores: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = spearman_interval(np.array(similarities, dtype=float), np.array(scores, dtype=float))
    assert found is None or len(scores) == 2
