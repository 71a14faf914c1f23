"""How well sentence1 finds its sentence2 among all sentence2 and hard negatives of a set: MRR@10, recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_NUMBERS = 4_000_000  # similarities in memory at once
DEPTH = 10  # of MRR


@dataclass(frozen=True)
class Retrieval:
    """The ranks of a set's pairs.

    queries: (Q,) the numbers of the distinct sentence1. of_query: (P,) the query of each distinct pair. ranks: (P,) the rank of
    its sentence2 for that query, from 1. row_ranks: (n,) the same of each row. nearest: (Q,) the number of the nearest
    candidate.
    """

    queries: np.ndarray
    of_query: np.ndarray
    ranks: np.ndarray
    row_ranks: np.ndarray
    nearest: np.ndarray

    @property
    def reciprocal_ranks(self) -> np.ndarray:
        """1 / rank of the first hit of each query, 0 beyond rank 10; (Q,)."""
        first = np.full(len(self.queries), np.iinfo(np.int64).max)
        np.minimum.at(first, self.of_query, self.ranks)
        return np.where(first <= DEPTH, 1 / first, 0.0)

    def recall_at(self, depth: int) -> float:
        """The share of the hits of a query that are among the first `depth`, as the mean over all queries."""
        hits = np.bincount(self.of_query, weights=self.ranks <= depth, minlength=len(self.queries))
        return float(np.mean(hits / np.bincount(self.of_query, minlength=len(self.queries))))


def retrieve(embeddings: np.ndarray, sides: np.ndarray, negatives: np.ndarray) -> Retrieval:
    """Search each distinct sentence1 among the distinct sentence2 and negatives, by cosine similarity.

    Every sentence2 that a row has with the sentence1 is a hit. The sentence1 itself is no candidate, unless it is a hit. Of
    equal similarities, to 12 decimals, the candidate that occurs first in the set has the better rank.

    embeddings: (S, H). sides: (n, 2) and negatives: (n, K), numbers of sentences; -1 for no negative. Besides the embeddings,
    memory holds MOST_NUMBERS similarities.

    >>> embeddings = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2]])
    >>> found = retrieve(embeddings, np.array([[0, 2]]), np.array([[1]]))
    >>> found.ranks.tolist(), found.reciprocal_ranks.tolist(), found.nearest.tolist()  # the negative is nearer
    ([2], [0.5], [1])
    """
    lengths = np.maximum(np.linalg.norm(embeddings.astype(np.float64), axis=1), 1e-12)
    flat = np.concatenate([sides[:, 1], negatives.T.ravel()])
    flat = flat[flat >= 0]
    candidates = flat[np.sort(np.unique(flat, return_index=True)[1])]  # (C,)
    place = np.zeros(len(embeddings), dtype=np.int64)
    place[candidates] = np.arange(len(candidates))
    queries, of_row = np.unique(sides[:, 0], return_inverse=True)
    codes, of_pair = np.unique(of_row * len(candidates) + place[sides[:, 1]], return_inverse=True)
    of_query, hits = np.divmod(codes, len(candidates))  # (P,)
    starts = np.searchsorted(of_query, np.arange(len(queries) + 1))
    is_candidate = np.zeros(len(embeddings), dtype=bool)
    is_candidate[candidates] = True
    targets = embeddings[candidates].astype(np.float64) / lengths[candidates, None]  # (C, H)
    ranks, nearest = np.empty(len(codes), dtype=np.int64), np.empty(len(queries), dtype=np.int64)
    block = max(1, MOST_NUMBERS // len(candidates))
    for start in range(0, len(queries), block):
        numbers = queries[start : start + block]
        similarities = np.round(embeddings[numbers].astype(np.float64) / lengths[numbers, None] @ targets.T, 12)  # (b, C)
        for i, number in enumerate(numbers.tolist()):
            row, own = similarities[i], hits[starts[start + i] : starts[start + i + 1]]
            if is_candidate[number] and place[number] not in own:
                row[place[number]] = -np.inf
            nearest[start + i] = candidates[np.argmax(row)]
            for pair, hit in enumerate(own.tolist(), start=starts[start + i]):
                ranks[pair] = 1 + np.count_nonzero(row > row[hit]) + np.count_nonzero(row[:hit] == row[hit])
    return Retrieval(queries, of_query, ranks, ranks[of_pair.reshape(-1)], nearest)


def triplet_accuracy(embeddings: np.ndarray, sides: np.ndarray, negatives: np.ndarray) -> float | None:
    """The share of hard negatives whose cosine to sentence1 is below that of the row's sentence2; None without negatives."""
    rows, columns = np.nonzero(negatives >= 0)
    if not len(rows):
        return None
    near = cosines(embeddings, sides)
    right = 0
    step = max(1, MOST_NUMBERS // embeddings.shape[1])
    for start in range(0, len(rows), step):
        some, of = rows[start : start + step], columns[start : start + step]
        triples = np.stack([sides[some, 0], negatives[some, of]], axis=1)
        right += int(np.count_nonzero(near[some] > cosines(embeddings, triples)))
    return right / len(rows)


def cosines(embeddings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The cosine of each pair of rows of `embeddings` (S, H), in float64, to 12 decimals; pairs: (n, 2)."""
    found = np.empty(len(pairs))
    step = max(1, MOST_NUMBERS // embeddings.shape[1])
    for start in range(0, len(pairs), step):
        first, second = (embeddings[pairs[start : start + step, side]].astype(np.float64) for side in (0, 1))
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        found[start : start + step] = np.einsum("nh,nh->n", first, second) / np.maximum(lengths, 1e-12)
    return np.round(found, 12)
