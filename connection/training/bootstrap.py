"""95 % confidence intervals of Spearman correlations, by bootstrap over the pairs.

Each resample draws as many pairs as the set has, with replacement (Efron and Tibshirani, 1993, chapter 13: the percentile
interval). It is stored as a count for each pair. Ranks are computed from cumulative counts in sorted order, so each array is
sorted only once.
"""

from __future__ import annotations

import numpy as np

from connection.randomness import BOOTSTRAP, derive

RESAMPLES, FEWEST_RESAMPLES = 1000, 200  # sets of more than 20,000 pairs get fewer; their intervals are narrow
_NUMBERS_AT_ONCE = 2_000_000  # resamples × pairs of a block, which bounds memory
Interval = tuple[float, float]


def spearman_interval(similarities: np.ndarray, scores: np.ndarray) -> Interval | None:
    """The 95 % interval of the Spearman correlation of two arrays (n,); None if it is undefined in most resamples.

    >>> low, high = spearman_interval(np.arange(50.0), np.arange(50.0) + np.resize([0, 9, -9], 50))
    >>> round(low, 2), round(high, 2)
    (0.83, 0.93)
    """
    return _percentiles(resampled_spearman(scores, similarities)[0])


def spearman_gain_interval(before: np.ndarray, after: np.ndarray, scores: np.ndarray) -> Interval | None:
    """The 95 % interval of the change in Spearman correlation from `before` to `after`, similarities (n,).

    Both are computed on the same resamples. None if the change is undefined in most of them.
    """
    first, second = resampled_spearman(scores, before, after)
    return _percentiles(second - first)


def mean_interval(values: np.ndarray) -> Interval | None:
    """The 95 % interval of the mean of values (n,); None if one is not finite.

    >>> [round(bound, 2) for bound in mean_interval(np.resize([0.0, 1.0], 100))]
    [0.4, 0.6]
    """
    if not len(values) or not np.isfinite(values).all():
        return None
    means = []
    resamples = _resamples(len(values))
    step = max(1, _NUMBERS_AT_ONCE // len(values))
    for start in range(0, resamples, step):
        means.append(_draw(np.arange(start, min(start + step, resamples)), len(values)) @ values / len(values))
    return _percentiles(np.concatenate(means))


def with_interval(value: float, interval: Interval | None) -> str:
    """Format a correlation with its interval, if it has one.

    >>> with_interval(0.65541, (0.5418, 0.7501)), with_interval(0.5, None)
    ('0.6554 [0.54, 0.75]', '0.5000')
    """
    return f"{value:.4f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def resampled_spearman(scores: np.ndarray, *similarities: np.ndarray) -> np.ndarray:
    """The Spearman correlation of each array of similarities (n,) with the scores (n,), in each of r resamples.

    Returns (number of arrays, r), nan where undefined. All arrays share the resamples, which depend on n only.
    """
    count = len(scores)
    resamples = _resamples(count)
    results = np.full((len(similarities), resamples), np.nan)
    if not all(np.isfinite(values).all() for values in similarities):
        return results
    groups = [_Ties(values) for values in (scores, *similarities)]
    step = max(1, _NUMBERS_AT_ONCE // max(count, 1))
    for start in range(0, resamples, step):
        draws = np.arange(start, min(start + step, resamples))
        counts = _draw(draws, count)  # (r, n)
        score_ranks, *similarity_ranks = (ties.ranks(counts) for ties in groups)  # (r, n) each
        for number, ranks in enumerate(similarity_ranks):
            results[number, draws] = _correlation(counts, score_ranks, ranks)
    return results


def _resamples(count: int) -> int:
    """How many resamples are drawn of `count` pairs."""
    return max(FEWEST_RESAMPLES, min(RESAMPLES, 20_000_000 // max(count, 1)))


class _Ties:
    """The sorted order of values (n,), and the runs of equal values in it."""

    def __init__(self, values: np.ndarray):
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # start of each run of equal values
        last = np.append(first[1:], len(values)) - 1
        run = np.repeat(np.arange(len(first)), last - first + 1)
        self.first, self.last = first[run], last[run]  # of the run of each sorted value
        self.position = np.empty_like(self.order)  # of each value in sorted order
        self.position[self.order] = np.arange(len(values))

    def ranks(self, counts: np.ndarray) -> np.ndarray:
        """The rank of each value in each resample, (r, n); equal values share their mean rank. counts: (r, n)."""
        sums = np.zeros((len(counts), counts.shape[1] + 1))
        np.cumsum(counts[:, self.order], axis=1, out=sums[:, 1:])
        return ((sums[:, self.first] + sums[:, self.last + 1] + 1) / 2)[:, self.position]


def _draw(draws: np.ndarray, count: int) -> np.ndarray:
    """How often each of `count` pairs occurs in each of the resamples numbered `draws`: (r, n)."""
    rows, positions = np.repeat(draws, count), np.tile(np.arange(count), len(draws))
    chosen = (derive(0, BOOTSTRAP, rows, positions) % np.uint64(count)).astype(np.int64)
    flat = np.bincount((rows - draws[0]) * count + chosen, minlength=len(draws) * count)
    return flat.reshape(len(draws), count).astype(np.float64)


def _correlation(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation of each row of x and y, (r,); nan if either row is constant. weights, x, y: (r, n)."""
    total = weights.sum(axis=1, keepdims=True)
    x, y = (values - (weights * values).sum(axis=1, keepdims=True) / total for values in (x, y))
    xy, xx, yy = ((weights * left * right).sum(axis=1) for left, right in ((x, y), (x, x), (y, y)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((xx > 0) & (yy > 0), xy / np.sqrt(xx * yy), np.nan)


def _percentiles(values: np.ndarray) -> Interval | None:
    """The 2.5th and 97.5th percentile; None if more than half of the values are not finite."""
    defined = values[np.isfinite(values)]
    if len(defined) < len(values) / 2:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)
