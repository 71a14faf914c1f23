"""Maps similarities to scores on the user's scale. The map is monotone, fitted on dev, and saved in the encoder's folder.

It is an isotonic regression with linear interpolation between its steps, so a more similar pair never gets a lower score.
`benchmarks/calibration.py` compares it with a clipped straight line, on pairs that neither was fitted on.
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
    """Isotonic regression: the non-decreasing step function of x with the least squared error to y.

    x, y: (n,). Returns mean x and mean y of each of its K steps, (K,) each. The pool-adjacent-violators algorithm (Ayer et
    al., 1955) merges a step that is not higher than the previous one with it. Equal values of x share a step.

    >>> [values.tolist() for values in pool_adjacent_violators(np.array([1, 2, 3, 4]), np.array([0.0, 3.0, 1.0, 5.0]))]
    [[1.0, 2.5, 4.0], [0.0, 2.0, 5.0]]
    """
    values, group, counts = np.unique(x, return_inverse=True, return_counts=True)
    steps: list[tuple[float, float, int]] = []  # sum of x, sum of y, number of values
    for x_sum, y_sum, count in zip(values * counts, np.bincount(group, weights=y), counts, strict=True):
        while steps and steps[-1][1] / steps[-1][2] >= y_sum / count:
            previous = steps.pop()
            x_sum, y_sum, count = x_sum + previous[0], y_sum + previous[1], count + previous[2]
        steps.append((x_sum, y_sum, count))
    x_sums, y_sums, counts = np.array(steps, dtype=np.float64).T
    return x_sums / counts, y_sums / counts


@dataclass(frozen=True)
class Calibration:
    """A monotone map from similarities to scores: linear between knots, constant below the first and above the last.

    similarities, scores: (K,) the knots, both ascending. score_range: the user's scale, on which the scores are.
    """

    similarities: np.ndarray
    scores: np.ndarray
    score_range: tuple[float, float]

    @classmethod
    def fit(cls, similarities: np.ndarray, scores: np.ndarray, score_range: tuple[float, float]) -> Calibration | None:
        """Fit on similarities (n,) and scores (n,), from 0 to 1, of dev; None if a similarity is not finite."""
        if not np.isfinite(similarities).all():
            return None
        # Rounding can make the mean of near-equal numbers fall in the last bit, and `load` refuses descending knots.
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
        """Load the calibration from an encoder's folder; None if there is none. Raises UserMistake if the file is invalid."""
        path = folder / FILE
        if not path.is_file():
            return None
        contents = read_json(path)
        lists = [contents.get(name) for name in ("similarities", "scores", "score_range")]
        if not all(_is_rising(values) for values in lists) or len(lists[0]) != len(lists[1]) or len(lists[2]) != 2:
            raise UserMistake(f"{path} is not a calibration of this project. Delete it; scores are then not predicted.")
        return cls(np.array(lists[0], dtype=np.float64), np.array(lists[1], dtype=np.float64), tuple(lists[2]))


def _is_rising(values: Any) -> bool:
    if not isinstance(values, list) or not values:
        return False
    numbers: Sequence[Any] = [value for value in values if type(value) in (int, float) and math.isfinite(value)]
    return len(numbers) == len(values) and numbers == sorted(numbers)
