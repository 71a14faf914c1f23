"""How well similarities agree with scores: correlations, thresholds, average precision.

Spearman and Pearson run from -1 to 1; they are nan where they are not defined (constant scores or predictions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's product-moment correlation of two arrays (n,); nan where either is constant.

    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])), 4)  # 3 / sqrt(2 · 14/3)
    0.982
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if np.ptp(x) == 0 or np.ptp(y) == 0 or not np.isfinite(x).all():
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / math.sqrt((x @ x) * (y @ y)))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation (n,): Pearson's of the ranks, ties sharing their mean rank; nan as there.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 400.0]))
    1.0
    """
    return pearson(*(pd.Series(np.asarray(values, dtype=np.float64)).rank().to_numpy() for values in (x, y)))


@dataclass(frozen=True)
class Threshold:
    """Where to cut: a similarity of `threshold` or more means a match. What precision, recall and F1 are then."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_threshold(similarities: np.ndarray, matches: np.ndarray) -> Threshold:
    """The cut with the highest F1, half way between two similarities (n,); of several, the one with the fewest above it.

    matches: (n,) bool, True for the pairs that belong together, at least one of them.

    >>> best_threshold(np.array([0.9, 0.8, 0.6, 0.1]), np.array([True, False, True, False]))
    Threshold(threshold=0.35, precision=0.6666666666666666, recall=1.0, f1=0.8)
    """
    cuts, found, above = _cuts(similarities, matches)
    precision, recall = found / above, found / matches.sum()
    f1 = 2 * found / (above + matches.sum())
    best = int(np.argmax(f1))
    below = cuts[best + 1] if best + 1 < len(cuts) else cuts[best]
    return Threshold(float((cuts[best] + below) / 2), *(float(metric[best]) for metric in (precision, recall, f1)))


def average_precision(similarities: np.ndarray, matches: np.ndarray) -> float:
    """The mean precision over the recalls that falling thresholds reach, as scikit-learn's; arguments as above.

        AP = Σ (R_k − R_{k−1}) · P_k

    >>> average_precision(np.array([0.9, 0.8, 0.6]), np.array([True, False, True]))  # 1/2 · 1 + 1/2 · 2/3
    0.8333333333333333
    """
    _, found, above = _cuts(similarities, matches)
    return float(np.diff(found / matches.sum(), prepend=0) @ (found / above))


def _cuts(similarities: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct similarities, falling; how many matches, and how many pairs, are at or above each."""
    order = np.argsort(-similarities, kind="stable")
    falling = similarities[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    return falling[last], np.cumsum(matches[order])[last], last + 1


def settle_ties(similarities: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Cosines (n,) without the noise of rounding that would order equal pairs: to 12 decimals, and 1 where `same` (n,) says
    that both sentences are one. What is not finite stays so.

    >>> settle_ties(np.array([0.9999999999999998, 0.3000000000000001, 0.3]), np.array([True, False, False])).tolist()
    [1.0, 0.3, 0.3]
    """
    settled = np.round(similarities, 12)
    settled[same & np.isfinite(settled)] = 1.0
    return settled
