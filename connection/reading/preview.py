"""What is printed of the training pairs before a run: a histogram of the scores and the first rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from connection.text import counted, printable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SHOWN_ROWS = 3
MOST_BARS = 20


def score_histogram(scores: ArrayLike, score_range: tuple[float, float], width: int = 40) -> str:
    """A histogram of scores (n,) from 0 to 1, labelled on the scale of the file: a bar per value, or ten bars if there are
    more than 11 values.

    >>> print(score_histogram([0.0, 0.0, 0.5, 1.0], (0, 5), width=4))
        0   2  ####
      2.5   1  ##
        5   1  ##
    """
    low, high = score_range
    gold = np.asarray(scores, dtype=np.float64)
    values, value_counts = np.unique(gold, return_counts=True)
    if len(values) <= 11:
        labels = [f"{low + value * (high - low):g}" for value in values]
        counts = value_counts.tolist()
    else:
        bin_counts, edges = np.histogram(gold, bins=10, range=(0.0, 1.0))
        ends = [f"{low + edge * (high - low):g}" for edge in edges]
        labels = [f"{start} to {end}" for start, end in itertools.pairwise(ends)]
        counts = bin_counts.tolist()
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


def class_histogram(numbers: ArrayLike, classes: Sequence[str], width: int = 40) -> str:
    """How many rows have each class, as bars. numbers: (n,) those of the classes.

    >>> print(class_histogram([0, 1, 1], ["no", "yes"], width=4))
      no   1  ##
     yes   2  ####
    """
    counts = np.bincount(np.asarray(numbers, dtype=np.int64), minlength=len(classes)).tolist()
    order = range(len(classes)) if len(classes) <= MOST_BARS else np.argsort(counts)[::-1][:MOST_BARS].tolist()
    labels = {number: printable(classes[number][:20]) for number in order}
    widest, digits = max(4, *map(len, labels.values())), max(3, len(f"{max(counts):,}"))
    lines = [f"{labels[i]:>{widest}} {counts[i]:>{digits},}  {'#' * round(width * counts[i] / max(counts))}" for i in order]
    return "\n".join(
        line.rstrip() for line in [*lines, *[f"… and {len(classes) - MOST_BARS:,} more"] * (len(classes) > MOST_BARS)]
    )


def negatives_text(table: pd.DataFrame) -> str:
    """How many hard negatives the rows of a table have."""
    filled = table[[name for name in table.columns if name.startswith("negative")]] != ""
    without = int((~filled.any(axis=1)).sum())
    if without == len(table):
        return "It has no negatives: sentence2 is found among the other rows' sentence2."
    note = f"; {counted(without, 'row')} without any" if without else ""
    sentences, most = counted(int(filled.to_numpy().sum()), "sentence"), int(filled.sum(axis=1).max())
    return f"Its negatives: {sentences}, up to {most} a row{note}."


def first_rows(table: pd.DataFrame, score_range: tuple[float, float], width: int = 45) -> str:
    """The first rows of a table of pairs, one per line: score or class, sentence1, sentence2, hard negatives.

    Texts are cut to `width` characters. Without scores and classes, all scores are 1 and none is shown.
    """
    low, high = score_range
    texts = [name for name in table.columns if name.startswith(("sentence", "negative"))]
    has_scores = table["score"].min() < table["score"].max()
    lines = []
    for row in table.head(SHOWN_ROWS).to_dict("records"):
        cells = [printable(str(row[name]).replace("\n", " ")) for name in texts]
        shown = [cell if len(cell) <= width else cell[: width - 1] + "…" for cell in cells]
        value = f"{row['label'][:20]:>5}  " if "label" in row else f"{low + row['score'] * (high - low):5g}  "
        lines.append(f"{value if has_scores else '  '}{'  |  '.join(shown)}")
    return "\n".join(lines)
