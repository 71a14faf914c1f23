"""Finds the vectors that are nearest to each query: exact, block by block, in bounded memory.

`products.py` rules most of the vectors out. Whatever could be among the nearest is computed again in float64, so that the
result is that of float64 throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from connection.use.products import MOST_LEFT, Integers, Rows

MOST_NUMBERS = 4_000_000  # similarities in a block; a few blocks of this size exist at once
VECTORS_AT_ONCE, ROWS_AT_ONCE = 8192, 512
GATHERED_AT_ONCE = 256  # pairs of vectors, so that they stay in a cache
NONE_SKIPPED = np.empty((0, 2), dtype=np.int64)
DECIMALS = 12  # of similarities: so that equal vectors are equally near, whatever the order of a product's sums


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (…, H) scaled to length 1, in float64."""
    vectors = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("...h,...h->...", vectors, vectors))
    vectors /= np.maximum(lengths, 1e-12)[..., None]
    return vectors


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
    return max(1, MOST_NUMBERS // (ROWS_AT_ONCE + most))


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
    parts = range(0, len(queries), ROWS_AT_ONCE)
    rows = [Rows(queries[start : start + ROWS_AT_ONCE]) for start in parts]
    exact = unit(queries)
    start = 0
    for vectors in blocks:
        here = skipped[(skipped[:, 1] >= start) & (skipped[:, 1] < start + len(vectors))] - [0, start]
        # After the first block, which gives limits, integers will do.
        columns = Integers(vectors, each=False) if start and any(part.wants_integers for part in rows) else None
        for first, part in zip(parts, rows, strict=True):
            last = first + len(part.vectors)
            known = here[(here[:, 0] >= first) & (here[:, 0] < last)] - [first, 0]
            places = _entering(part, vectors, columns, known, best[first:last], most)
            similarities = exact_similarities(exact[first:last], vectors, *places)
            _merge(best[first:last], numbers[first:last], places[0], similarities, places[1] + start)
        start += len(vectors)
    return numbers, best


def _entering(
    rows: Rows, vectors: np.ndarray, columns: Integers | None, known: np.ndarray, best: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of what may be among the best of a row, (b, most) so far; the known ones left out."""
    least = best[:, -1]
    if columns is not None and rows.wants_integers and bool((least > -np.inf).all()):
        scores = rows.rough(columns)
        scores.skip(known[:, 0], known[:, 1])
        places = scores.reaching(least, scores.highest())
        if len(places[0]) <= scores.values.numel() * MOST_LEFT:
            return places
    scores = rows.exact(vectors)
    scores.skip(known[:, 0], known[:, 1])
    highest = scores.highest()
    if scores.columns > most and bool((least == -np.inf).any()):  # usually in the first block only
        values = (highest if highest.shape[1] >= most else scores.values).topk(most, dim=1).values[:, -1]
        least = np.maximum(least, scores.at_least(np.arange(len(least)), values.numpy()))
    return scores.reaching(least, highest)


def _merge(best: np.ndarray, numbers: np.ndarray, rows: np.ndarray, values: np.ndarray, entering: np.ndarray) -> None:
    """Put vectors among the best so far of their query, (b, m); in place. rows, values, entering: (e,) each.

    rows ascend; of each, `entering` ascends and is higher than what is there, so that a stable sort has the lower number first.
    """
    changed, counts = np.unique(rows, return_counts=True)
    most = best.shape[1]
    rows_all = np.concatenate([np.repeat(changed, most), rows])
    values_all = np.concatenate([best[changed].ravel(), values])
    numbers_all = np.concatenate([numbers[changed].ravel(), entering])
    order = np.lexsort((-values_all, rows_all))
    counts += most
    firsts = (np.cumsum(counts) - counts)[:, None] + np.arange(most)  # (changed, m)
    best[changed], numbers[changed] = values_all[order[firsts]], numbers_all[order[firsts]]


def exact_similarities(first: np.ndarray, vectors: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The cosine similarities of first[rows], float64 of length 1, and vectors[columns], float32; rounded as in `nearest`."""
    found = torch.empty(len(rows), dtype=torch.float64)
    one, other, these, those = (torch.from_numpy(array) for array in (first, vectors, rows, columns))
    for start in range(0, len(rows), GATHERED_AT_ONCE):
        part = slice(start, start + GATHERED_AT_ONCE)
        gathered = other.index_select(0, those[part]).double()
        products = (one.index_select(0, these[part]) * gathered).sum(dim=1)
        found[part] = products / gathered.square_().sum(dim=1).sqrt_().clamp_(min=1e-12)
    return np.round(found.numpy(), DECIMALS)


def similarities_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine similarity of vectors of length 1, (r, H) each or the second (r, W, H); rounded as in `nearest`."""
    return np.round(np.einsum("rh,r...h->r...", first, second), DECIMALS)
