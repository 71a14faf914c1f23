"""The first pass over a file of pairs: checks every row and counts the hashes of the sentences.

Does not load torch, so an error in the file is reported at once.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from connection.reading.formats.workbook_output import cell_length
from connection.reading.rows import PairRow


@dataclass(frozen=True)
class Survey:
    """The result of the first pass over a file.

    pairs: their number. scores: (n,) from 0 to 1, or None. labels: the class of each row; empty without a column of classes.
    recurring: the hashes of sentences that occur more than once, in
    ascending order. uses: the number of occurrences of each. longest_cell: as a workbook counts characters, 0 if not asked for.
    """

    pairs: int
    scores: np.ndarray | None
    recurring: np.ndarray
    uses: np.ndarray
    labels: list[str] = field(default_factory=list)
    longest_cell: int = 0


def survey(
    rows: Iterable[PairRow], *, has_scores: bool, prompts: tuple[str, str] = ("", ""), for_workbook: bool = False
) -> Survey:
    """Read every row once. Raises UserMistake for invalid rows, as `PairRows` does.

    prompts: before sentence1 and sentence2; with one, a sentence is another. for_workbook: measure the cells.
    """
    first, second = prompts
    scores, hashes = array("d"), array("q")
    labels: list[str] = []
    longest_cell = 0
    for row in rows:
        if for_workbook:
            longest_cell = max(longest_cell, *map(cell_length, row.cells))
        hashes.extend((hash(first + row.sentence1), hash(second + row.sentence2)))
        if has_scores:
            scores.append(row.score)
        if row.label:
            labels.append(sys.intern(row.label))
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    return Survey(
        pairs=len(hashes) // 2,
        scores=np.frombuffer(scores, dtype=np.float64) if has_scores else None,
        recurring=values[counts > 1],
        uses=counts[counts > 1],
        labels=labels,
        longest_cell=longest_cell,
    )
