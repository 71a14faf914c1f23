"""Files of sentence pairs → a checked table, or one error that names every bad row.

Knows the score range and what a bad row is. Does not know file formats (`connection/table_files.py`), how pairs of two
files relate (`connection/overlap.py`), nor tokens.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from connection import UserMistake, printable
from connection.table_files import NUMBER, BadRow, NotText, Table, open_table

SHOWN_BAD_ROWS = 20
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DAMAGED = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of surrogate pairs, which no file can be written with


@dataclass(frozen=True)
class Layout:
    """How a file of pairs is to be read; each field is the constant of the same name.

    A column is a name from the header, or a number counting from 1 for a file that has none.
    `score` may be None: then the file needs no scores.
    """

    sentence1: str | int = "sentence1"
    sentence2: str | int = "sentence2"
    score: str | int | None = "score"
    score_range: tuple[float, float] = (0, 5)
    separator: str = ""
    quoting: bool = True
    encoding: str = "utf-8"

    @property
    def columns(self) -> dict[str, str | int]:
        """The constants that name a column, with what they name."""
        named = {"SENTENCE1_COLUMN": self.sentence1, "SENTENCE2_COLUMN": self.sentence2}
        return named if self.score is None else named | {"SCORE_COLUMN": self.score}

    @property
    def has_header(self) -> bool:
        return any(isinstance(column, str) for column in self.columns.values())


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

    Raises UserMistake for a file that cannot be read, a column that is not there, and for bad rows: up to 20 of them
    are listed as `file:line`, column, value and what to do, and the text ends with their count.
    """
    path = Path(path).resolve()
    _check_file(path)
    rows = open_table(
        path, has_header=layout.has_header, separator=layout.separator, quoting=layout.quoting, encoding=layout.encoding
    )
    places = _places(rows, layout)
    check = _RowCheck(layout, places, rows)
    pairs = Pairs(path, pd.DataFrame(), check.names)
    columns: dict[str, list] = {"sentence1": [], "sentence2": [], "score": [], "line": []}
    bad: list[str] = []
    bad_count = 0
    for line, cells in rows:
        problems = check(line, cells)
        if problems:
            bad_count += 1
            if len(bad) < SHOWN_BAD_ROWS:
                bad.append(f"  {path}:{line}  {'; '.join(problems)}")
            continue
        columns["sentence1"].append(str(cells[places["SENTENCE1_COLUMN"]]))
        columns["sentence2"].append(str(cells[places["SENTENCE2_COLUMN"]]))
        columns["score"].append(_scaled(cells[places["SCORE_COLUMN"]], layout) if layout.score is not None else 0.0)
        columns["line"].append(line)
        pairs.control_rows += any(_CONTROL.search(cells[place]) for place in places.values())
        pairs.ignored_cells += len(cells) - check.width
        if keep_cells:
            pairs.cells.append([str(cell) for cell in cells[: check.width]])
    if bad:
        raise UserMistake(_bad_rows_text(path, bad, bad_count, len(columns["line"]), check.no_score))
    pairs.table = pd.DataFrame({name: pd.Series(values, dtype=_DTYPES[name]) for name, values in columns.items()})
    pairs.ignored_cells += rows.ignored_cells
    pairs.blank_lines = rows.blank_lines
    _check_table(pairs, layout)
    return pairs


_DTYPES = {"sentence1": object, "sentence2": object, "score": np.float64, "line": np.int64}


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UserMistake(f"{path} is a folder; a file of sentence pairs is needed here.")
    if not path.exists():
        siblings = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserMistake(f"There is no file {path}.{hint}")
    if not path.is_file():
        raise UserMistake(f"{path} is no regular file; a file of sentence pairs is needed here.")


def _places(rows: Table, layout: Layout) -> dict[str, int]:
    """Where each wanted column stands in a row, by its constant."""
    if rows.header is None:
        places = {constant: column - 1 for constant, column in layout.columns.items()}
    else:
        for constant, column in layout.columns.items():
            if isinstance(column, int):
                raise UserMistake(
                    f"{constant} is the number {column}, but {rows.path} is read with the names of its columns: give all of "
                    "them by name, or all by number, for a CSV or TSV file without a header."
                )
            if rows.header.count(column) != 1:
                raise UserMistake(_missing_column_text(rows, constant, layout.columns))
        places = {constant: rows.header.index(column) for constant, column in layout.columns.items()}
    for constant, place in places.items():
        twins = [other for other, elsewhere in places.items() if elsewhere == place]
        if len(twins) > 1:
            raise UserMistake(f'{" and ".join(twins)} name the same column, "{layout.columns[constant]}".')
    return places


def _missing_column_text(rows: Table, constant: str, columns: Mapping[str, str | int]) -> str:
    column = columns[constant]
    listed = ", ".join(f'"{_shown(name)}"' for name in rows.header[:SHOWN_BAD_ROWS]) or "none"
    if column in rows.header:
        return f'{rows.path} has the column "{column}" ({constant}) more than once: {listed}. Rename all but one.'
    text = f'{rows.path} has no column "{column}" ({constant}). Its columns: {listed}.'
    first = rows.header[0] if rows.header else ""
    if rows.separator and first.lower().startswith("sep="):
        return (
            f'{text} The first line is a hint to a spreadsheet: delete it, and set SEPARATOR = "{first[4:] or rows.separator}".'
        )
    other = [mark for mark in (",", ";", "\t", "|") if mark != rows.separator and mark in first]
    if rows.separator and len(rows.header) == 1 and other:
        return (
            f"{text} The cells were split at {rows.separator!r}, "
            f"but this file seems to use {other[0]!r}: set SEPARATOR = {other[0]!r}."
        )
    taken = {name for other, name in columns.items() if other != constant}
    near = difflib.get_close_matches(column, [name for name in rows.header if name not in taken], n=1)
    if near:
        return f'{text} Did you mean "{_shown(near[0])}"?'
    if len(rows.header) < len(columns):
        return f"{text} That is too few: {len(columns)} are needed, each of them one of {', '.join(columns)}."
    return f"{text} Set {constant} to one of them, or to a number counting from 1 where the file has no header."


class _RowCheck:
    """What is wrong with a row, each as `column: value: what to do`; nothing for a good one.

    width: cells a row must have, or without a header at least. names: a name for each of them.
    """

    def __init__(self, layout: Layout, places: dict[str, int], rows: Table):
        self.layout, self.separator = layout, rows.separator
        self.exact = rows.header is not None
        self.constants = {place: constant for constant, place in places.items()}
        self.score_place = places.get("SCORE_COLUMN", 0)
        self.width = len(rows.header) if self.exact else max(places.values()) + 1
        self.names = rows.header or [self._name_by_number(place) for place in range(self.width)]
        self.no_score = 0  # rows with text where their score should be

    def _name_by_number(self, place: int) -> str:
        constant = self.constants.get(place)
        return constant.removesuffix("_COLUMN").lower() if constant else f"column{place + 1}"

    def __call__(self, line: int, cells: list[str] | BadRow) -> list[str]:
        if isinstance(cells, BadRow):
            return [cells]
        count = len(cells)
        if count < self.width or (count > self.width and self.exact):
            least = "" if self.exact else "at least "
            found = f"{count} cell{'s' * (count != 1)} where {least}{self.width} are expected"
            return [f"{found}: put a sentence that holds {self.separator!r} in double quotes, or see SEPARATOR and QUOTING"]
        problems = []
        for place, cell in enumerate(cells[: self.width]):
            problem = self._problem(self.constants.get(place), cell)
            if problem:
                name = self.layout.columns.get(self.constants.get(place), self.names[place])
                problems.append(f'column "{_shown(str(name))}": "{_shown(cell)}" {problem}')
        if problems and line == 1 and not self.exact:
            problems[-1] += "; if this line is a header, give all columns by name"
        return problems

    def _problem(self, constant: str | None, cell: str) -> str:
        if _DAMAGED.search(cell):
            return "holds a character that no text has: the file is damaged, or its ENCODING is another"
        if self.separator and ("\n" in cell or "\r" in cell) and self._has_rows(cell):
            return "holds a line break and what looks like whole rows: a double quote is not closed; close or double it"
        if constant == "SCORE_COLUMN":
            return self._score_problem(cell)
        if constant is None:
            return ""
        if isinstance(cell, NotText):
            return "is no text: write the sentence, or delete the row"
        return "" if cell.strip() else "is empty: write the sentence, or delete the row"

    def _score_problem(self, cell: str) -> str:
        low, high = self.layout.score_range
        text = cell.strip()
        if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
            self.no_score += 1
            comma = ", with a point for the decimals" if "," in text and NUMBER.fullmatch(text.replace(",", ".")) else ""
            return f"is no finite number: write one from {low:g} to {high:g}{comma}"
        if not low <= float(text) <= high:
            return f"is out of SCORE_RANGE ({low:g} to {high:g}): mend the score, or set SCORE_RANGE"
        return ""

    def _has_rows(self, cell: str) -> bool:
        """A quote that is opened and closed again rows later makes one cell of them: its lines look like rows."""
        for text in re.split("[\r\n]+", cell):
            inner = text.split(self.separator)
            if len(inner) == self.width > 1 and (
                self.layout.score is None or NUMBER.fullmatch(inner[self.score_place].strip())
            ):
                return True
        return False


def _scaled(cell: str, layout: Layout) -> float:
    low, high = layout.score_range
    return (float(cell) - low) / (high - low)


def _check_table(pairs: Pairs, layout: Layout) -> None:
    if not len(pairs):
        raise UserMistake(f"{pairs.path} has a header but no rows." if layout.has_header else f"{pairs.path} has no rows.")
    scores = pairs.table["score"]
    if layout.score is not None and scores.min() == scores.max():
        shown = layout.score_range[0] + scores[0] * (layout.score_range[1] - layout.score_range[0])
        raise UserMistake(
            f'{pairs.path}: every score in column "{layout.score}" is {shown:g}. There is nothing to learn from, or to '
            "correlate with, scores that are all the same: check SCORE_COLUMN, or add pairs with other scores."
        )


def _shown(cell: str) -> str:
    """A cell's beginning on one line, what is invisible written as its code."""
    text = printable(cell[:60]).replace("\n", "\\n")
    return text if len(cell) <= 60 and len(text) <= 60 else text[:57] + "…"


def _bad_rows_text(path: Path, bad: Sequence[str], bad_count: int, good_count: int, no_score: int) -> str:
    lines = [f"{path} has rows that cannot be used:", *bad]
    if bad_count > len(bad):
        lines.append(f"  … and {bad_count - len(bad):,} more")
    if no_score == bad_count > 1 and not good_count:
        lines.append("No row has a number for its score: is SCORE_COLUMN the right column?")
    lines.append(f"{bad_count:,} bad row{'s' * (bad_count != 1)} of {bad_count + good_count:,}.")
    return "\n".join(lines)
