"""Metrics of similarities against scores: correlations, thresholds, average precision.

Spearman and Pearson are between -1 and 1, and nan where they are undefined (constant scores or similarities).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's product-moment correlation of two arrays (n,); nan if either is constant or x is not finite.

    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])), 4)  # 3 / sqrt(2 · 14/3)
    0.982
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if np.ptp(x) == 0 or np.ptp(y) == 0 or not np.isfinite(x).all():
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / math.sqrt((x @ x) * (y @ y)))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays (n,): Pearson's of the ranks. Ties share their mean rank; nan as in `pearson`.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 400.0]))
    1.0
    """
    return pearson(*(pd.Series(np.asarray(values, dtype=np.float64)).rank().to_numpy() for values in (x, y)))


@dataclass(frozen=True)
class Threshold:
    """A decision threshold (a similarity of `threshold` or more means a match), and the metrics it gives."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_threshold(similarities: np.ndarray, matches: np.ndarray) -> Threshold:
    """The threshold with the highest F1, halfway between two similarities (n,). Of several, the highest threshold.

    matches: (n,) bool, True for pairs that match; at least one must.

    >>> best_threshold(np.array([0.9, 0.8, 0.6, 0.1]), np.array([True, False, True, False]))
    Threshold(threshold=0.35, precision=0.6666666666666666, recall=1.0, f1=0.8)
    """
    cuts, true_positives, positives = _cuts(similarities, matches)
    precision, recall = true_positives / positives, true_positives / matches.sum()
    f1 = 2 * true_positives / (positives + matches.sum())
    best = int(np.argmax(f1))
    below = cuts[best + 1] if best + 1 < len(cuts) else cuts[best]
    return Threshold(float((cuts[best] + below) / 2), *(float(metric[best]) for metric in (precision, recall, f1)))


def average_precision(similarities: np.ndarray, matches: np.ndarray) -> float:
    """Average precision, as scikit-learn computes it; arguments as for `best_threshold`.

        AP = Σ (R_k − R_{k−1}) · P_k

    >>> average_precision(np.array([0.9, 0.8, 0.6]), np.array([True, False, True]))  # 1/2 · 1 + 1/2 · 2/3
    0.8333333333333333
    """
    _, true_positives, positives = _cuts(similarities, matches)
    return float(np.diff(true_positives / matches.sum(), prepend=0) @ (true_positives / positives))


def _cuts(similarities: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct similarities in descending order; the number of matches, and of pairs, at or above each."""
    order = np.argsort(-similarities, kind="stable")
    descending = similarities[order]
    last = np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)
    return descending[last], np.cumsum(matches[order])[last], last + 1


def settle_ties(similarities: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Round cosines (n,) to 12 decimals, and set them to 1 where both sentences are identical (`same`, (n,) bool).

    Otherwise rounding errors would rank pairs that are tied. Values that are not finite stay as they are.

    >>> settle_ties(np.array([0.9999999999999998, 0.3000000000000001, 0.3]), np.array([True, False, False])).tolist()
    [1.0, 0.3, 0.3]
    """
    settled = np.round(similarities, 12)
    settled[same & np.isfinite(settled)] = 1.0
    return settled
