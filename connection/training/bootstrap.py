"""How far chance alone could move a Spearman correlation: 95 % intervals by bootstrap over the pairs.

Pairs are drawn with replacement, as many as there are (Efron and Tibshirani, 1993, chapter 13: the percentile interval). A
resample is a count of each pair. The ranks in it follow from running sums of these counts in sorted order, so that nothing is
sorted again.
"""

from __future__ import annotations

import numpy as np

from connection.randomness import BOOTSTRAP, derive

RESAMPLES, FEWEST_RESAMPLES = 1000, 200  # fewer for sets of more than 20,000 pairs, whose intervals are narrow
_NUMBERS_AT_ONCE = 2_000_000  # of a block of resamples: resamples times pairs
Interval = tuple[float, float]


def spearman_interval(similarities: np.ndarray, scores: np.ndarray) -> Interval | None:
    """The 95 % interval of the Spearman correlation of two arrays (n,); None where too few resamples have one.

    >>> low, high = spearman_interval(np.arange(50.0), np.arange(50.0) + np.resize([0, 9, -9], 50))
    >>> round(low, 2), round(high, 2)
    (0.83, 0.93)
    """
    return _percentiles(resampled_spearman(scores, similarities)[0])


def gain_interval(before: np.ndarray, after: np.ndarray, scores: np.ndarray) -> Interval | None:
    """The 95 % interval of what training adds to the Spearman correlation: both similarities (n,) in the same resamples."""
    first, second = resampled_spearman(scores, before, after)
    return _percentiles(second - first)


def with_interval(value: float, interval: Interval | None) -> str:
    """A figure and its interval, where there is one.

    >>> with_interval(0.65541, (0.5418, 0.7501)), with_interval(0.5, None)
    ('0.6554 [0.54, 0.75]', '0.5000')
    """
    return f"{value:.4f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def resampled_spearman(scores: np.ndarray, *similarities: np.ndarray) -> np.ndarray:
    """The Spearman correlation of each similarities (n,) with the scores (n,) in r resamples, the same for all of them:
    (number of similarities, r), nan where it is not defined. The draws depend on n only."""
    count = len(scores)
    resamples = max(FEWEST_RESAMPLES, min(RESAMPLES, 20_000_000 // max(count, 1)))
    results = np.full((len(similarities), resamples), np.nan)
    if not all(np.isfinite(values).all() for values in similarities):
        return results
    groups = [_Ties(values) for values in (scores, *similarities)]
    step = max(1, _NUMBERS_AT_ONCE // max(count, 1))
    for start in range(0, resamples, step):
        draws = np.arange(start, min(start + step, resamples))
        counts = _draw(draws, count)  # (r, n) how often each pair is in each resample
        ranks = [ties.ranks(counts) for ties in groups]  # (r, n) each
        for number, others in enumerate(ranks[1:]):
            results[number, draws] = _correlation(counts, ranks[0], others)
    return results


class _Ties:
    """The order of some values (n,), and which of them are equal."""

    def __init__(self, values: np.ndarray):
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # of each run of equal values
        last = np.append(first[1:], len(values)) - 1
        run = np.repeat(np.arange(len(first)), last - first + 1)
        self.before, self.last = first[run], last[run]
        self.back = np.empty_like(self.order)
        self.back[self.order] = np.arange(len(values))

    def ranks(self, counts: np.ndarray) -> np.ndarray:
        """The rank of each value in each resample (r, n), equal values sharing their mean. counts: (r, n)."""
        sums = np.zeros((len(counts), counts.shape[1] + 1))
        np.cumsum(counts[:, self.order], axis=1, out=sums[:, 1:])
        return ((sums[:, self.before] + sums[:, self.last + 1] + 1) / 2)[:, self.back]


def _draw(draws: np.ndarray, count: int) -> np.ndarray:
    """How often each of `count` pairs is in each of these resamples: (r, n)."""
    rows, places = np.repeat(draws, count), np.tile(np.arange(count), len(draws))
    chosen = (derive(0, BOOTSTRAP, rows, places) % np.uint64(count)).astype(np.int64)
    flat = np.bincount((rows - draws[0]) * count + chosen, minlength=len(draws) * count)
    return flat.reshape(len(draws), count).astype(np.float64)


def _correlation(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row (r,), its values weighted; nan where a row is constant."""
    total = weights.sum(axis=1, keepdims=True)
    x, y = (values - (weights * values).sum(axis=1, keepdims=True) / total for values in (x, y))
    products = [(weights * first * second).sum(axis=1) for first, second in ((x, y), (x, x), (y, y))]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((products[1] > 0) & (products[2] > 0), products[0] / np.sqrt(products[1] * products[2]), np.nan)


def _percentiles(values: np.ndarray) -> Interval | None:
    defined = values[np.isfinite(values)]
    if len(defined) < len(values) / 2:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)
