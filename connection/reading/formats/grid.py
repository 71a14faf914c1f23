"""Finds the header among the first rows of a grid of cells (CSV, workbook), which may have a title or empty rows above it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from connection.reading.formats.table import NUMBER, Reading, is_empty

Record = tuple[int, list[str]]  # a row's first line, and its cells

HIGHEST_HEADER = 20  # rows with a visible cell, among which the header is looked for
ROW_NAMES = "row"  # the column of row names that R writes without a name


@dataclass(frozen=True)
class Header:
    """names: of the columns, None if the columns are given by number and the file has no header. line: of the header.

    above: the number of records above it, empty ones included. fits: whether it has every needed column. has_row_names:
    whether the rows have one cell more than the header, as R's write.table writes them; `names` has a name for that cell.
    is_numbered: whether the columns are given by number and these numbers are names.
    """

    names: list[str] | None
    line: int = 1
    above: int = 0
    fits: bool = True
    has_row_names: bool = False
    is_numbered: bool = False

    @property
    def notes(self) -> list[str]:
        """What is told of the header."""
        notes = [f"columns on line {self.line}"] * (self.names is not None and self.line > 1)
        notes += ["the numbers in its first row are the names of the columns"] * self.is_numbered
        return notes + ["the first cell of each row is its name (as R writes tables)"] * self.has_row_names


def find_header(records: Sequence[Record], reading: Reading) -> Header:
    """The header among a file's first records.

    By names, it is the first row that has all needed columns; if none has, the first that looks like a header, with
    `fits=False`. By numbers, it is the first row if that holds each of the numbers as a cell; otherwise there is none.
    """
    visible = [i for i, (_, cells) in enumerate(records) if not is_empty(cells)]
    names = [_names(records[i][1]) for i in visible[:HIGHEST_HEADER]]
    needed = [str(column) for column in reading.needed]
    position = next((i for i, row in enumerate(names) if set(needed) <= set(row)), None)
    if not reading.by_name:
        if not needed or position != 0:
            return Header(None)
        return Header(names[0], records[visible[0]][0], visible[0], is_numbered=True)
    fits = position is not None
    if position is None:
        position = _likely_header(names)
    if position is None:
        return Header([], fits=False)
    index = visible[position]
    found = names[position]
    below = [records[i][1] for i in visible[position + 1 :]]
    has_row_names = _has_row_names(found, below, reading)
    return Header([ROW_NAMES] * has_row_names + found, records[index][0], index, fits, has_row_names)


def _names(cells: Sequence[str]) -> list[str]:
    """The names in a header, without the blanks around them and without empty cells at the end."""
    names = [str(cell).strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _likely_header(rows: Sequence[Sequence[str]]) -> int | None:
    """The first row of the usual width whose cells are all filled and no numbers; the first row if none is such."""
    if not rows:
        return None
    width = Counter(map(len, rows)).most_common(1)[0][0]
    likely = (i for i, row in enumerate(rows) if len(row) >= width and all(row) and not any(map(NUMBER.fullmatch, row)))
    return next(likely, 0)


def _has_row_names(names: Sequence[str], rows: Sequence[Sequence[str]], reading: Reading) -> bool:
    """Whether every row has one cell more than the header, and only the reading with row names gives scores.

    Without a score, the first cells must count the rows, as R's do.
    """
    if not rows or any(len(row) != len(names) + 1 for row in rows):
        return False
    score = str(reading.score)
    if reading.score is None or score not in names:
        return all(row[0] == str(i) for i, row in enumerate(rows, start=1))
    index = names.index(score)
    as_named = all(NUMBER.fullmatch(row[index + 1].strip().replace(",", ".")) for row in rows)
    return as_named and not all(NUMBER.fullmatch(row[index].strip().replace(",", ".")) for row in rows)
