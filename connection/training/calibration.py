"""Similarity → score on the user's own scale, by a monotone map that is fitted on dev and kept beside the encoder.

The map is isotonic regression, its steps joined by straight lines: it bends where the scores do, and never says that a more
similar pair has a lower score. Beside it stood a straight line, cut off at both ends; `benchmarks/calibration.py`
measures both on pairs that neither was fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from connection import UserMistake
from connection.disk.json_file import read_json

FILE = "calibration.json"


def pool_adjacent_violators(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The non-decreasing step function of x nearest to y in squares: its K steps as their mean x and mean y, (K,) each.

    x, y: (n,). The pool-adjacent-violators algorithm (Ayer et al., 1955): a step that is lower than the one before
    is merged with it. Equal x share a step.

    >>> [values.tolist() for values in pool_adjacent_violators(np.array([1, 2, 3, 4]), np.array([0.0, 3.0, 1.0, 5.0]))]
    [[1.0, 2.5, 4.0], [0.0, 2.0, 5.0]]
    """
    values, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    steps: list[tuple[float, float, int]] = []  # sums of x and of y, and how many
    for x_sum, y_sum, count in zip(values * counts, np.bincount(place, weights=y), counts, strict=True):
        while steps and steps[-1][1] / steps[-1][2] >= y_sum / count:
            before = steps.pop()
            x_sum, y_sum, count = x_sum + before[0], y_sum + before[1], count + before[2]
        steps.append((x_sum, y_sum, count))
    x_sums, y_sums, counts = np.array(steps, dtype=np.float64).T
    return x_sums / counts, y_sums / counts


@dataclass(frozen=True)
class Calibration:
    """A monotone map of similarities to scores: straight between knots, constant beyond the first and the last.

    similarities, scores: (K,) the knots, both rising; scores on the user's scale, which is `score_range`.
    """

    similarities: np.ndarray
    scores: np.ndarray
    score_range: tuple[float, float]

    @classmethod
    def fit(cls, similarities: np.ndarray, scores: np.ndarray, score_range: tuple[float, float]) -> Calibration | None:
        """Fitted on the similarities (n,) and scores (n,), from 0 to 1, of dev; None where a similarity is not finite."""
        if not np.isfinite(similarities).all():
            return None
        # A mean of near-equal numbers can fall by the last bit, and then it would not be read again.
        knots, values = map(np.maximum.accumulate, pool_adjacent_violators(similarities, scores))
        low, high = score_range
        return cls(knots, low + np.clip(values, 0, 1) * (high - low), score_range)

    def __call__(self, similarities: np.ndarray) -> np.ndarray:
        """Scores (n,) on the user's scale."""
        return np.interp(similarities, self.similarities, self.scores)

    def as_json(self) -> dict[str, Any]:
        return {
            "score_range": list(self.score_range),
            "similarities": self.similarities.tolist(),
            "scores": self.scores.tolist(),
        }

    @classmethod
    def load(cls, folder: Path) -> Calibration | None:
        """The calibration in an encoder's folder, or None. Raises UserMistake for a file that holds something else."""
        path = folder / FILE
        if not path.is_file():
            return None
        held = read_json(path)
        lists = [held.get(name) for name in ("similarities", "scores", "score_range")]
        if not all(_is_rising(values) for values in lists) or len(lists[0]) != len(lists[1]) or len(lists[2]) != 2:
            raise UserMistake(f"{path} is no calibration of this project. Delete it, and scores are not predicted.")
        return cls(np.array(lists[0], dtype=np.float64), np.array(lists[1], dtype=np.float64), tuple(lists[2]))


def _is_rising(values: Any) -> bool:
    if not isinstance(values, list) or not values:
        return False
    numbers: Sequence[Any] = [value for value in values if type(value) in (int, float) and math.isfinite(value)]
    return len(numbers) == len(values) and numbers == sorted(numbers)
