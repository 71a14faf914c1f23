"""Reads a file of sentence pairs into a table of checked rows.

File formats are in `formats/`, the checks of a row in `row_check.py`, comparisons of pairs in `overlap.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connection import UserMistake
from connection.reading.formats.text.csv_output import Style
from connection.reading.layout import Layout
from connection.reading.rows import PairRows

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass
class Pairs:
    """The pairs of one file.

    table: the columns sentence1, sentence2 (text as in the file), score (float, 0 to 1) and line (the row's first line). Of
    pairs that belong together, each score is 1; with hard negatives, there are the columns negative1, negative2 and so on (""
    for none). Of pairs with a class, there is the column label, and the score is the number of the class (`connection.reading.
    classes`).
    columns, cells: the file's own header and rows; cells are kept only on request.
    ignored_cells: cells to the right of the highest column number, or under a key that the first JSON line does not have.
    control_rows: rows with control characters, which BERT's tokenizer drops (the STS benchmark's train set has one).
    notes: how the file was read, as phrases. detected: what constants that are "" came to. style: how to write a file that
    belongs to this one.
    """

    path: Path
    table: pd.DataFrame
    columns: list[str] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    ignored_cells: int = 0
    control_rows: int = 0
    notes: list[str] = field(default_factory=list)
    detected: dict[str, str] = field(default_factory=dict)
    style: Style = field(default_factory=Style)

    def __len__(self) -> int:
        return len(self.table)


def read_pairs(path: str | Path, layout: Layout, *, keep_cells: bool = False) -> Pairs:
    """Read a file of sentence pairs. Strict: a single bad row is an error.

    Raises UserMistake as `PairRows` does, and if all scores are equal.
    """
    rows = PairRows(path, layout, keep_cells=keep_cells)
    pairs = Pairs(rows.path, pd.DataFrame(), rows.columns)
    names = ["sentence1", "sentence2", "score", "line", *(["label"] if layout.label is not None else [])]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    negatives: list[list[str]] = [[] for _ in layout.negatives]
    for row in rows:
        for name, values in columns.items():
            values.append(getattr(row, name))
        for texts, text in zip(negatives, row.negatives, strict=True):
            texts.append(text)
        pairs.control_rows += any(_CONTROL.search(row.cells[index]) for index in rows.indices.values())
        pairs.ignored_cells += len(row.cells) - rows.check.width
        if keep_cells:
            pairs.cells.append([str(cell) for cell in row.cells[: rows.check.width]])
    if layout.shape.has_candidates:
        columns["score"] = [1.0] * len(columns["line"])
    columns |= {f"negative{number}": texts for number, texts in enumerate(negatives, start=1)}
    pairs.table = pd.DataFrame({name: pd.Series(values, dtype=_DTYPES.get(name, object)) for name, values in columns.items()})
    pairs.ignored_cells += rows.table.ignored_cells
    pairs.notes, pairs.style = rows.notes, rows.style
    pairs.detected = {
        "ENCODING": rows.table.encoding,
        "SEPARATOR": rows.table.separator,
        "DECIMAL": rows.check.scores.sign,
        "SHEET": rows.table.sheet,
    }
    _check_table(pairs, layout)
    return pairs


_DTYPES = {"score": np.float64, "line": np.int64}  # the others are texts


def _check_table(pairs: Pairs, layout: Layout) -> None:
    scores = pairs.table["score"]  # those of classes are numbered later, by those of the training pairs
    if layout.score is not None and scores.min() == scores.max():
        score = layout.score_range[0] + scores[0] * (layout.score_range[1] - layout.score_range[0])
        raise UserMistake(
            f'{pairs.path}: every score in column "{layout.score}" is {score:g}, so there is nothing to learn or to correlate. '
            "Check SCORE_COLUMN, or add pairs with other scores."
        )
