"""Finds the vectors that are nearest to each query: exact, block by block, in bounded memory.

Products are computed in float32. Whatever could be among the nearest within their rounding errors is computed again in float64,
so that the result is that of float64 throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

MOST_NUMBERS = 4_000_000  # similarities in a block; a few blocks of this size exist at once
VECTORS_AT_ONCE = 8192
NONE_SKIPPED = np.empty((0, 2), dtype=np.int64)
DECIMALS = 12  # of similarities: so that equal vectors are equally near, whatever the order of a product's sums


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (…, H) scaled to length 1, in float64."""
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def scale(vectors: np.ndarray) -> None:
    """Scale float32 vectors (S, H) to length 1, in place."""
    size = max(1, MOST_NUMBERS // vectors.shape[1])
    for start in range(0, len(vectors), size):
        vectors[start : start + size] = unit(vectors[start : start + size])


def blocks_of(vectors: np.ndarray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """The chosen rows of vectors (S, H) in blocks (T, H). chosen: (C,) indices."""
    size = max(1, min(VECTORS_AT_ONCE, MOST_NUMBERS // vectors.shape[1]))
    for start in range(0, len(chosen), size):
        yield vectors[chosen[start : start + size]]


def queries_at_once(most: int) -> int:
    """How many queries `nearest` should be given at a time, if `most` are kept of each."""
    return max(1, MOST_NUMBERS // (VECTORS_AT_ONCE + most))


def error_bound(size: int) -> float:
    """How far a similarity of two vectors of this size, of length 1 in float32, can be from that in float64.

    A sum of H products of float32 differs from the exact one by at most H u / (1 − H u) Σ |x_i y_i|, where u = 2⁻²⁴ and the sum
    is at most 1 (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), in whatever order it is added up.
    The rest is for the lengths.
    """
    return (size + 16) * 2.0**-24


def nearest(queries: np.ndarray, blocks: Iterable[np.ndarray], skipped: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of the highest cosine similarity to each query, the skipped ones left out; their numbers and similarities.

    queries: (b, H) and blocks of vectors, (T, H) each, in their order: float32, of length 1. skipped: (p, 2) of queries and
    vectors. Both results are (b, most), nearest first; of equal similarities, the lower number is first. Where there are fewer
    than `most`, the rest is -1, with similarity -inf.

    >>> vectors = np.array([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6], [0.8, 0.6]], dtype=np.float32)
    >>> numbers, similarities = nearest(vectors[1:2], [vectors[:3], vectors[3:]], np.array([[0, 1]]), most=4)
    >>> numbers.tolist(), similarities.round(6).tolist()
    ([[2, 3, 0, -1]], [[0.8, 0.8, 0.6, -inf]])
    """
    best, numbers = np.full((len(queries), most), -np.inf), np.full((len(queries), most), -1)
    margin, targets = error_bound(queries.shape[1]), torch.from_numpy(queries)
    start = 0
    for vectors in blocks:
        similarities = targets @ torch.from_numpy(vectors).T  # (b, T)
        here = skipped[(skipped[:, 1] >= start) & (skipped[:, 1] < start + len(vectors))]
        similarities[here[:, 0], here[:, 1] - start] = -torch.inf
        rows, columns = _entering(similarities, best[:, -1] - margin, most, 2 * margin)
        size = max(1, MOST_NUMBERS // queries.shape[1])  # pairs of vectors that are gathered at once
        for part in range(0, len(rows), size):
            these, those = rows[part : part + size], columns[part : part + size]
            exact = similarities_of(unit(queries[these]), unit(vectors[those]))
            _merge(best, numbers, these, exact, those + start)
        start += len(vectors)
    return numbers, best


def _entering(similarities: Tensor, least: np.ndarray, most: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of similarities (b, T) that may be among the `most` highest of their row, and at least `least` (b,).

    margin: by how much two similarities may be in the wrong order.
    """
    limits = torch.from_numpy(np.maximum(least, -2.0).astype(np.float32))  # -inf, which is skipped, never enters
    if similarities.shape[1] > most and bool((least == -np.inf).any()):  # usually in the first block only
        highest = similarities.topk(most, dim=1).values[:, -1] - margin
        limits = torch.maximum(limits, highest)
    rows, columns = torch.nonzero(similarities >= limits[:, None], as_tuple=True)
    return rows.numpy(), columns.numpy()


def _merge(best: np.ndarray, numbers: np.ndarray, rows: np.ndarray, values: np.ndarray, entering: np.ndarray) -> None:
    """Put vectors among the best so far of their query, (b, m); in place. rows, values, entering: (e,) each, rows ascending."""
    changed, counts = np.unique(rows, return_counts=True)
    most = best.shape[1]
    rows_all = np.concatenate([np.repeat(changed, most), rows])
    values_all = np.concatenate([best[changed].ravel(), values])
    numbers_all = np.concatenate([numbers[changed].ravel(), entering])
    order = np.lexsort((numbers_all, -values_all, rows_all))
    counts += most
    firsts = (np.cumsum(counts) - counts)[:, None] + np.arange(most)  # (changed, m)
    best[changed], numbers[changed] = values_all[order[firsts]], numbers_all[order[firsts]]


def similarities_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine similarity of vectors of length 1, (r, H) each or the second (r, W, H); rounded as in `nearest`."""
    return np.round(np.einsum("rh,r...h->r...", first, second), DECIMALS)
