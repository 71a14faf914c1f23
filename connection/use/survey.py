"""The first time through a file of pairs: every row checked, every sentence's hash counted.

Loads no torch, so that a mistake in the file is answered at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from connection.reading.layout import Layout
from connection.reading.rows import PairRow, PairRows

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Survey:
    """What the first time through a file found.

    pairs: how many. scores: (n,) from 0 to 1, or None. recurring: the hashes of sentences that stand in more than one
    place, rising; uses: in how many each.
    """

    pairs: int
    scores: np.ndarray | None
    recurring: np.ndarray
    uses: np.ndarray


def open_rows(path: Path, layout: Layout) -> PairRows:
    """The rows of a file, without their score where its column is absent: one line says so."""
    if layout.score is None:
        return PairRows(path, layout)
    rows = PairRows(path, replace(layout, score=None))
    if rows.header is None or layout.score in rows.header:
        return PairRows(path, layout)
    print(f'{path} has no column "{layout.score}" (SCORE_COLUMN): similarities only, no metrics.')
    return rows


def survey(rows: Iterable[PairRow], *, has_scores: bool) -> Survey:
    """Go through every row once. Raises UserMistake for rows that cannot be used, as `PairRows`."""
    scores, hashes = array("d"), array("q")
    for row in rows:
        hashes.extend((hash(row.sentence1), hash(row.sentence2)))
        if has_scores:
            scores.append(row.score)
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    return Survey(
        pairs=len(hashes) // 2,
        scores=np.frombuffer(scores, dtype=np.float64) if has_scores else None,
        recurring=values[counts > 1],
        uses=counts[counts > 1],
    )
