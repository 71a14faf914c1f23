"""Similarity → score: against scikit-learn's isotonic regression, that it is monotone, that it comes back from its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from connection import UserMistake
from connection.training.calibration import FILE, Calibration, pool_adjacent_violators


def noisy(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities with ties, and scores from 0 to 1 that mostly rise with them."""
    random = np.random.default_rng(seed)
    similarities = random.uniform(-0.2, 1, count).round(2)
    return similarities, np.clip(similarities**3 + random.normal(0, 0.2, count), 0, 1)


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_the_steps_are_those_of_scikit_learn(count: int) -> None:
    isotonic = pytest.importorskip("sklearn.isotonic", reason="scikit-learn, which comes with the oracle, is not installed")
    for seed in range(20):
        x, y = noisy(count, seed)
        theirs = isotonic.IsotonicRegression().fit_transform(x, y)
        knots, values = pool_adjacent_violators(x, y)
        assert np.allclose(np.unique(theirs.round(12)), values.round(12))
        assert np.allclose(knots, [x[theirs.round(12) == value].mean() for value in np.unique(theirs.round(12))])


def test_it_is_monotone_stays_on_the_scale_and_passes_through_its_knots() -> None:
    for seed in range(10):
        fitted = Calibration.fit(*noisy(200, seed), (1, 7))
        predicted = fitted(np.linspace(-1.5, 1.5, 1000))
        assert (np.diff(predicted) >= 0).all() and predicted.min() >= 1 and predicted.max() <= 7
        assert np.allclose(fitted(fitted.similarities), fitted.scores)
        order = np.random.default_rng(seed).permutation(200)
        again = Calibration.fit(*(values[order] for values in noisy(200, seed)), (1, 7))
        assert np.allclose(again.scores, fitted.scores)


def test_it_learns_a_bend_that_a_line_cannot() -> None:
    x, y = noisy(2000, 0)
    fitted, (slope, offset) = Calibration.fit(x[:1000], y[:1000], (0, 1)), np.polyfit(x[:1000], y[:1000], 1)
    line = np.clip(offset + slope * x[1000:], 0, 1)
    errors = [np.abs(predicted - y[1000:]).mean() for predicted in (fitted(x[1000:]), line)]
    assert errors[0] < 0.95 * errors[1]


def test_without_finite_similarities_there_is_none() -> None:
    assert Calibration.fit(np.array([0.1, np.nan]), np.array([0.0, 1.0]), (0, 5)) is None


def test_round_trip(tmp_path: Path) -> None:
    fitted = Calibration.fit(*noisy(100, 3), (-1, 2.5))
    (tmp_path / FILE).write_text(json.dumps(fitted.as_json()), encoding="utf-8")
    loaded = Calibration.load(tmp_path)
    assert loaded.score_range == (-1, 2.5) and (loaded.scores == fitted.scores).all()
    assert (loaded.similarities == fitted.similarities).all()
    assert Calibration.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"similarities": [0.2, 0.1], "scores": [0, 1], "score_range": [0, 5]}',
        '{"similarities": [0.1, 0.2], "scores": [0], "score_range": [0, 5]}',
        '{"similarities": [0.1], "scores": ["a"], "score_range": [0, 5]}',
        '{"similarities": [0.1], "scores": [NaN], "score_range": [0, 5]}',
        '{"similarities": 1, "scores": [0], "score_range": [0, 5]}',
        "not JSON",
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UserMistake, match=rf"{FILE} is n"):
        Calibration.load(tmp_path)


@pytest.mark.parametrize("seed", [342, 612, 1464])
def test_means_that_fall_by_rounding_are_read_again(tmp_path: Path, seed: int) -> None:
    """400 pairs that are nearly one: of some draws, the mean x of a step is below the one before by the last bit."""
    random = np.random.default_rng(seed)
    similarities = 0.9 + random.random(400) * 1e-15 * random.choice([1, 2, 5])
    scores = random.choice(np.linspace(0, 1, 26), 400)
    knots, _ = pool_adjacent_violators(similarities, scores)
    assert (np.diff(knots) < 0).any()
    fitted = Calibration.fit(similarities, scores, (0, 5))
    assert fitted is not None
    (tmp_path / FILE).write_text(json.dumps(fitted.as_json()), encoding="utf-8")
    assert Calibration.load(tmp_path) is not None
