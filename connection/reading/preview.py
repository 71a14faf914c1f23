"""What a person wants to see of their pairs before a long run: scores and first rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from connection.text import printable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SHOWN_ROWS = 3


def score_histogram(scores: ArrayLike, score_range: tuple[float, float], width: int = 40) -> str:
    """Scores (n,) from 0 to 1 as bars, labelled on the scale of the file: a bar a value, or ten bars where they are many.

    >>> print(score_histogram([0.0, 0.0, 0.5, 1.0], (0, 5), width=4))
        0   2  ####
      2.5   1  ##
        5   1  ##
    """
    low, high = score_range
    gold = np.asarray(scores, dtype=np.float64)
    values, of_values = np.unique(gold, return_counts=True)
    if len(values) <= 11:
        labels = [f"{low + value * (high - low):g}" for value in values]
        counts = of_values.tolist()
    else:
        of_bins, edges = np.histogram(gold, bins=10, range=(0.0, 1.0))
        ends = [f"{low + edge * (high - low):g}" for edge in edges]
        labels = [f"{start} to {end}" for start, end in itertools.pairwise(ends)]
        counts = of_bins.tolist()
    highest = max(counts)
    label_width, count_width = max(5, *map(len, labels)), max(3, len(f"{highest:,}"))
    bars = ["#" * round(width * count / highest) for count in counts]
    return "\n".join(
        f"{label:>{label_width}} {count:>{count_width},}  {bar}".rstrip()
        for label, count, bar in zip(labels, counts, bars, strict=True)
    )


def count_scores(scores: Sequence[float] | np.ndarray, score_range: tuple[float, float]) -> tuple[list[str], list[int]]:
    """Scores (n,) from 0 to 1 → labels on the scale of the file, and how many scores each has: a value each, or ten ranges."""
    low, high = score_range
    scores = np.asarray(scores, dtype=np.float64)
    values, counts = np.unique(scores, return_counts=True)
    if len(values) <= 11:
        return [f"{low + value * (high - low):g}" for value in values.tolist()], counts.tolist()
    counts, edges = np.histogram(scores, bins=10, range=(0.0, 1.0))
    ends = [f"{low + edge * (high - low):g}" for edge in edges.tolist()]
    return [f"{start} to {end}" for start, end in itertools.pairwise(ends)], counts.tolist()


def first_rows(table: pd.DataFrame, score_range: tuple[float, float], width: int = 45) -> str:
    """The first rows of a table of pairs, a line each: score, sentence1, sentence2, cut to `width` characters."""
    low, high = score_range
    lines = []
    for row in table.head(SHOWN_ROWS).itertuples():
        sides = [printable(side.replace("\n", " ")) for side in (row.sentence1, row.sentence2)]
        shown = [side if len(side) <= width else side[: width - 1] + "…" for side in sides]
        lines.append(f"{low + row.score * (high - low):5g}  {shown[0]}  |  {shown[1]}")
    return "\n".join(lines)
