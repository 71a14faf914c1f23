"""How similar unrelated sentences are to each other. A training can push all sentences together ("collapse")."""

from __future__ import annotations

import numpy as np

from connection.randomness import RANDOM_PAIRS, derive

MOST_PAIRS = 1_000
LISTED_UP_TO = 50_000  # pairs of sentences that are listed; of more, pairs are drawn
# A warning is given where the mean similarity of unrelated sentences ends above the first and has risen by the second.
HIGH, RISEN = 0.5, 0.2


def random_pairs(sides: np.ndarray, sentences: int, seed: int, most: int = MOST_PAIRS) -> np.ndarray:
    """Pairs of distinct sentences that no row has together, (k, 2) int64 with k ≤ `most`; derived from the seed.

    sides: (n, 2), the numbers of the two sentences of each row, below `sentences`.

    >>> random_pairs(np.array([[0, 1], [1, 2]]), 3, seed=42).tolist()  # 0 and 2 are the only ones in no row together
    [[0, 2]]
    """
    rows = np.unique(sides.min(axis=1) * sentences + sides.max(axis=1))  # a number for each pair of sentences
    found = np.empty(0, dtype=np.int64)
    if sentences * (sentences - 1) // 2 <= LISTED_UP_TO:
        first, second = np.triu_indices(sentences, k=1)
        codes = np.setdiff1d(first * sentences + second, rows)
        if len(codes):
            found = codes[np.argsort(derive(seed, RANDOM_PAIRS, codes), kind="stable")]
    else:
        for attempt in range(20):  # nearly all pairs are in no row, so one is enough for nearly every file
            bits = derive(seed, RANDOM_PAIRS, attempt, np.arange(4 * most)).reshape(2, -1) % np.uint64(sentences)
            low, high = np.sort(bits.astype(np.int64), axis=0)
            drawn = np.concatenate([found, (low * sentences + high)[low < high]])
            drawn = drawn[~np.isin(drawn, rows)]
            found = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
            if len(found) >= most:
                break
    return np.stack(np.divmod(found[:most], sentences), axis=1)


def random_similarity(embeddings: np.ndarray, pairs: np.ndarray) -> float | None:
    """The mean cosine of pairs (k, 2) of rows of `embeddings` (S, H), in float64; None if there is no pair."""
    if not len(pairs):
        return None
    first, second = (embeddings[pairs[:, side]].astype(np.float64) for side in (0, 1))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(np.mean(np.einsum("kh,kh->k", first, second) / np.maximum(lengths, 1e-12)))


def collapse_text(name: str, before: float | None, after: float | None) -> str:
    """A warning if training has drawn unrelated sentences of a set together; else ""."""
    if before is None or after is None or not (after > HIGH and after - before > RISEN):
        return ""
    return (
        f"Warning: two unrelated sentences of {name} now have a similarity of {after:.2f} on average, {before:.2f} before "
        "training: the encoder tells sentences apart less than it did."
    )
