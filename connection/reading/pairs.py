"""A file of sentence pairs → a table of its checked rows.

Knows neither file formats (`formats.py`), nor what makes a row bad (`row_check.py`), nor how pairs of two files relate
(`overlap.py`), nor tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connection import UserMistake
from connection.reading.layout import Layout
from connection.reading.rows import PairRows

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass
class Pairs:
    """The pairs of one file.

    table: columns sentence1, sentence2 (text as in the file), score (float, 0 to 1) and line (where the row begins).
    columns, cells: the file's own header and rows, kept only where asked for.
    ignored_cells: those to the right of the highest numbered column, or under no name of the first JSON line.
    blank_lines: lines passed over as no row.
    control_rows: rows that hold control characters, which BERT's tokenizer drops (STS benchmark's train has one).
    """

    path: Path
    table: pd.DataFrame
    columns: list[str] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    ignored_cells: int = 0
    blank_lines: int = 0
    control_rows: int = 0

    def __len__(self) -> int:
        return len(self.table)


def read_pairs(path: str | Path, layout: Layout, *, keep_cells: bool = False) -> Pairs:
    """Read a file of sentence pairs (CSV, TSV, JSON Lines, Parquet); strict: every row is returned or refused by name.

    Raises UserMistake as `PairRows` does, and for scores that are all the same.
    """
    rows = PairRows(path, layout, keep_cells=keep_cells)
    pairs = Pairs(rows.path, pd.DataFrame(), rows.columns)
    columns: dict[str, list[Any]] = {"sentence1": [], "sentence2": [], "score": [], "line": []}
    for row in rows:
        for name, values in columns.items():
            values.append(getattr(row, name))
        pairs.control_rows += any(_CONTROL.search(row.cells[place]) for place in rows.places.values())
        pairs.ignored_cells += len(row.cells) - rows.check.width
        if keep_cells:
            pairs.cells.append([str(cell) for cell in row.cells[: rows.check.width]])
    pairs.table = pd.DataFrame({name: pd.Series(values, dtype=_DTYPES[name]) for name, values in columns.items()})
    pairs.ignored_cells += rows.table.ignored_cells
    pairs.blank_lines = rows.table.blank_lines
    _check_table(pairs, layout)
    return pairs


_DTYPES = {"sentence1": object, "sentence2": object, "score": np.float64, "line": np.int64}


def _check_table(pairs: Pairs, layout: Layout) -> None:
    scores = pairs.table["score"]
    if layout.score is not None and scores.min() == scores.max():
        score = layout.score_range[0] + scores[0] * (layout.score_range[1] - layout.score_range[0])
        raise UserMistake(
            f'{pairs.path}: every score in column "{layout.score}" is {score:g}. There is nothing to learn from, or to '
            "correlate with, scores that are all the same: check SCORE_COLUMN, or add pairs with other scores."
        )
