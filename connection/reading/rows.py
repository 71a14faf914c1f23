"""Streams the checked rows of a file of sentence pairs, and raises one error that lists the bad ones."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from connection import UserMistake
from connection.reading.formats import open_table
from connection.reading.formats.table import BadRow, Table
from connection.reading.layout import Layout
from connection.reading.row_check import RowCheck, shown

SHOWN_BAD_ROWS = 20


class PairRow(NamedTuple):
    """A valid row: its first line, its cells, its sentences, its score from 0 to 1 (0 if the layout has no score)."""

    line: int
    cells: list[str]
    sentence1: str
    sentence2: str
    score: float


class PairRows:
    """The rows of a file of sentence pairs (CSV, TSV, JSON Lines, Parquet), streamed: they are never all in memory.

    columns: a name for each cell. header: the file's own, None if it has none. indices: the index of each constant's column.
    Iteration raises UserMistake at its end if any row is bad; up to 20 are listed, each with file:line, column, value and
    what to do. The constructor raises UserMistake for a file that cannot be read or a missing column.
    """

    def __init__(self, path: str | Path, layout: Layout, *, keep_cells: bool = True):
        """keep_cells: also read the columns that no constant names; without it, Parquet skips them."""
        self.path, self.layout = _checked_path(Path(path)), layout
        self.table = open_table(self.path, layout.reading)
        self.indices = _column_indices(self.table, layout)
        texts = [self.indices["SENTENCE1_COLUMN"], self.indices["SENTENCE2_COLUMN"]]
        scores = [self.indices["SCORE_COLUMN"]] if layout.score is not None else []
        self.table.need(texts, scores, others=keep_cells)
        self.check = RowCheck(layout, self.indices, self.table)
        self.header, self.columns = self.table.header, self.check.names

    def __iter__(self) -> Iterator[PairRow]:
        bad: list[str] = []
        bad_count = good_count = 0
        for line, cells in self.table:
            problems = self.check(line, cells)
            if problems or isinstance(cells, BadRow):
                bad_count += 1
                if len(bad) < SHOWN_BAD_ROWS:
                    bad.append(f"  {self.path}:{line}  {'; '.join(problems)}")
                continue
            good_count += 1
            sentence1, sentence2 = (str(cells[self.indices[f"SENTENCE{side}_COLUMN"]]) for side in (1, 2))
            score = _scaled(cells[self.indices["SCORE_COLUMN"]], self.layout) if self.layout.score is not None else 0.0
            yield PairRow(line, cells, sentence1, sentence2, score)
        if bad:
            raise UserMistake(_bad_rows_text(self.path, bad, bad_count, good_count, self.check.no_score))
        if not good_count:
            raise UserMistake(
                f"{self.path} has a header but no rows." if self.layout.has_header else f"{self.path} has no rows."
            )


def _checked_path(path: Path) -> Path:
    """The resolved path of a regular file. Refuses anything else (a folder, a pipe, a device) without opening it."""
    try:
        path = path.resolve()
        kind = path.stat().st_mode
    except FileNotFoundError:
        siblings = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserMistake(f"There is no file {path}.{hint}") from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a path that is too long or invalid
        raise UserMistake(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if stat.S_ISDIR(kind):
        raise UserMistake(f"{path} is a folder; name a file of sentence pairs.")
    if not stat.S_ISREG(kind):
        raise UserMistake(f"{path} is not a regular file; name a file of sentence pairs.")
    return path


def _column_indices(rows: Table, layout: Layout) -> dict[str, int]:
    """The index of each constant's column in a row. Raises UserMistake for a column that is missing or ambiguous."""
    indices: dict[str, int] = {}
    for constant, column in layout.columns.items():
        if rows.header is None:
            assert isinstance(column, int)  # a column given by name implies a header
            indices[constant] = column - 1
        elif isinstance(column, int):
            raise UserMistake(
                f"{constant} is the column number {column}, but {rows.path} is read by column names. Give all columns by name, "
                "or all by number for a CSV or TSV file without a header."
            )
        elif rows.header.count(column) != 1:
            raise UserMistake(_missing_column_text(rows, rows.header, constant, column, layout.columns))
        else:
            indices[constant] = rows.header.index(column)
    for constant, index in indices.items():
        same = [other for other, other_index in indices.items() if other_index == index]
        if len(same) > 1:
            raise UserMistake(f'{" and ".join(same)} name the same column, "{layout.columns[constant]}".')
    return indices


def _missing_column_text(
    rows: Table, header: Sequence[str], constant: str, column: str, columns: Mapping[str, str | int]
) -> str:
    listed = ", ".join(f'"{shown(name)}"' for name in header[:SHOWN_BAD_ROWS]) or "none"
    if column in header:
        return f'{rows.path} has the column "{column}" ({constant}) more than once: {listed}. Rename all but one.'
    text = f'{rows.path} has no column "{column}" ({constant}); its columns: {listed}.'
    first = header[0] if header else ""
    if rows.separator and first.lower().startswith("sep="):
        return (
            f'{text} The first line is meant for spreadsheets: delete it, and set SEPARATOR = "{first[4:] or rows.separator}".'
        )
    other = [mark for mark in (",", ";", "\t", "|") if mark != rows.separator and mark in first]
    if rows.separator and len(header) == 1 and other:
        return (
            f"{text} The cells were split at {rows.separator!r}, "
            f"but this file seems to use {other[0]!r}: set SEPARATOR = {other[0]!r}."
        )
    taken = {name for other, name in columns.items() if other != constant}
    near = difflib.get_close_matches(column, [name for name in header if name not in taken], n=1)
    if near:
        return f'{text} Did you mean "{shown(near[0])}"?'
    if len(header) < len(columns):
        return f"{text} {len(columns)} columns are needed: {', '.join(columns)}."
    return f"{text} Set {constant} to one of them, or to a number counting from 1 if the file has no header."


def _scaled(cell: str, layout: Layout) -> float:
    low, high = layout.score_range
    return (float(cell.strip()) - low) / (high - low)  # strip: float() ignores fewer kinds of blanks


def _bad_rows_text(path: Path, bad: Sequence[str], bad_count: int, good_count: int, no_score: int) -> str:
    lines = [f"{path} has rows that cannot be used:", *bad]
    if bad_count > len(bad):
        lines.append(f"  … and {bad_count - len(bad):,} more")
    if no_score == bad_count > 1 and not good_count:
        lines.append("No row has a number for its score: is SCORE_COLUMN the right column?")
    lines.append(f"{bad_count:,} bad row{'s' * (bad_count != 1)} of {bad_count + good_count:,}.")
    return "\n".join(lines)
