"""Finds the vectors that are nearest to each query: exact, block by block, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

MOST_NUMBERS = 4_000_000  # float64 in a block, 32 MB; a few blocks exist at once
VECTORS_AT_ONCE = 4096
DECIMALS = 12  # of similarities: so that equal vectors are equally near, whatever the order of a product's sums


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (…, H) scaled to length 1, in float64."""
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def blocks_of(embeddings: np.ndarray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """The chosen rows of embeddings (S, H), scaled to length 1, in blocks (T, H). chosen: (C,) indices."""
    size = max(1, min(VECTORS_AT_ONCE, MOST_NUMBERS // embeddings.shape[1]))
    for start in range(0, len(chosen), size):
        yield unit(embeddings[chosen[start : start + size]])


def queries_at_once(most: int) -> int:
    """How many queries `nearest` should be given at a time, if `most` are kept of each."""
    return max(1, MOST_NUMBERS // (VECTORS_AT_ONCE + most))


def nearest(queries: np.ndarray, blocks: Iterable[np.ndarray], skipped: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of the highest cosine similarity to each query, the skipped ones left out; their numbers and similarities.

    queries: (b, H) of length 1. blocks: the vectors, of length 1, in their order. skipped: (p, 2) of queries and vectors.
    Both results are (b, most), nearest first; of equal similarities, the lower number is first. Where there are fewer than
    `most`, the rest is -1, with similarity -inf.

    >>> vectors = np.array([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6], [0.8, 0.6]])
    >>> numbers, similarities = nearest(np.array([[1.0, 0.0]]), [vectors[:3], vectors[3:]], np.array([[0, 1]]), most=4)
    >>> numbers.tolist(), similarities.tolist()
    ([[2, 3, 0, -1]], [[0.8, 0.8, 0.6, -inf]])
    """
    best, numbers = np.full((len(queries), most), -np.inf), np.full((len(queries), most), -1)
    start = 0
    for vectors in blocks:
        similarities = queries @ vectors.T  # (b, T)
        np.round(similarities, DECIMALS, out=similarities)
        here = skipped[(skipped[:, 1] >= start) & (skipped[:, 1] < start + len(vectors))]
        similarities[here[:, 0], here[:, 1] - start] = -np.inf
        enters = similarities > best[:, -1:]  # an equal one has a higher number
        if len(vectors) > most and np.count_nonzero(enters) > 2 * best.size:  # usually in the first block only
            enters &= similarities >= np.partition(similarities, -most, axis=1)[:, -most, None]
        _merge(best, numbers, enters, similarities, start)
        start += len(vectors)
    return numbers, best


def _merge(best: np.ndarray, numbers: np.ndarray, enters: np.ndarray, similarities: np.ndarray, start: int) -> None:
    """Put what enters, (b, T) bool, among the best so far of each query, (b, m); in place."""
    rows, columns = np.nonzero(enters)
    changed = np.unique(rows)
    most = best.shape[1]
    rows_all = np.concatenate([np.repeat(changed, most), rows])
    values = np.concatenate([best[changed].ravel(), similarities[rows, columns]])
    numbers_all = np.concatenate([numbers[changed].ravel(), columns + start])
    order = np.lexsort((numbers_all, -values, rows_all))
    counts = np.bincount(rows_all, minlength=len(best))[changed]
    firsts = (np.cumsum(counts) - counts)[:, None] + np.arange(most)  # (changed, m)
    best[changed], numbers[changed] = values[order[firsts]], numbers_all[order[firsts]]


def similarities_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine similarity of vectors of length 1, (r, H) each or the second (r, W, H); rounded as in `nearest`."""
    return np.round(np.einsum("rh,r...h->r...", first, second), DECIMALS)
