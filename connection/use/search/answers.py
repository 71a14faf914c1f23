"""What is found for queries: rows of the corpus, the most similar first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from connection.use.search.engines import Engine
from connection.use.search.index import Generation


class Hit(NamedTuple):
    """A row of the corpus that was found. row: from 1. similarity: cosine."""

    row: int
    sentence: str
    similarity: float


def answers(engine: Engine, generation: Generation, queries: np.ndarray, most: int) -> Iterator[list[Hit]]:
    """The rows that are nearest to each query (b, H) of length 1, at most `most`; of equal similarities, the lower row first.

    No more than `most` different sentences are needed for that: each stands in one row at least, and they are numbered by their
    first rows.
    """
    asked = min(most, generation.count)
    for numbers, similarities in zip(*engine.search(queries, asked), strict=True):
        yield _hits(generation, numbers, similarities, most)


def _hits(generation: Generation, numbers: np.ndarray, similarities: np.ndarray, most: int) -> list[Hit]:
    places = [
        (-similarity, row, number)
        for number, similarity in zip(numbers.tolist(), similarities.tolist(), strict=True)
        if number >= 0
        for row in generation.rows_of(number, most).tolist()
    ]
    return [Hit(row + 1, generation.texts[number], -negative) for negative, row, number in sorted(places)[:most]]


def hits_text(hits: Sequence[Hit]) -> str:
    """Hits as the console shows them: rank, similarity, row, sentence.

    >>> print(hits_text([Hit(12, "a cat", 0.71234)]))
       1  0.7123  row 12  a cat
    """
    width = max((len(f"{hit.row:,}") for hit in hits), default=1)
    return "\n".join(
        f"{rank:4}  {hit.similarity:.4f}  row {hit.row:<{width},}  {' '.join(hit.sentence.split())}"
        for rank, hit in enumerate(hits, 1)
    )
