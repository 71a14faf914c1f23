"""Files of sentence pairs → a checked table, or one error that names every bad row; and the CSV that we write.

Knows the file formats, the score range and what a bad row is. Does not know how pairs of two files relate
(`connection/overlap.py`), nor tokens.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from connection import UserMistake

SHOWN_BAD_ROWS = 20
LONGEST_CELL = 10_000_000  # characters
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FORMULA = re.compile(r"[\s\u00a0]*[=+\-@\t\r]")


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
    ignored_cells: cells to the right of the highest numbered column. blank_lines: lines passed over as no row.
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
    """Read a CSV or TSV file of sentence pairs; strict: every row is either returned or refused by name.

    Raises UserMistake for a file that cannot be read, a column that is not there, and for bad rows: up to 20 of them
    are listed as `file:line`, column, value and what to do, and the text ends with their count.
    """
    path = Path(path).resolve()
    _check_file(path)
    rows = _Rows(path, layout)
    pairs = Pairs(path, pd.DataFrame())
    columns: dict[str, list] = {"sentence1": [], "sentence2": [], "score": [], "line": []}
    bad: list[str] = []
    bad_count = 0
    for line, cells in rows:
        problems = _problems(cells, rows, layout)
        if problems:
            bad_count += 1
            if len(bad) < SHOWN_BAD_ROWS:
                bad.append(f"  {path}:{line}  {'; '.join(problems)}")
            continue
        columns["sentence1"].append(cells[rows.places["SENTENCE1_COLUMN"]])
        columns["sentence2"].append(cells[rows.places["SENTENCE2_COLUMN"]])
        columns["score"].append(_scaled(cells[rows.places["SCORE_COLUMN"]], layout) if layout.score is not None else 0.0)
        columns["line"].append(line)
        pairs.control_rows += any(_CONTROL.search(cells[place]) for place in rows.places.values())
        if keep_cells:
            pairs.cells.append(cells[: rows.width])
    if bad:
        raise UserMistake(_bad_rows_text(path, bad, bad_count, len(columns["line"])))
    pairs.table = pd.DataFrame({name: pd.Series(values, dtype=_DTYPES[name]) for name, values in columns.items()})
    pairs.columns, pairs.ignored_cells, pairs.blank_lines = rows.header, rows.ignored_cells, rows.blank_lines
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


class _Rows:
    """The rows of a CSV or TSV file as (line, cells), formula guards taken off; knows where the wanted columns are."""

    def __init__(self, path: Path, layout: Layout):
        self.path, self.layout = path, layout
        self.header: list[str] = []
        self.places: dict[str, int] = {}
        self.width = 0  # cells a row must have (headerless: at least)
        self.ignored_cells = 0
        self.blank_lines = 0
        self.separator = layout.separator or ("\t" if path.suffix.lower() in (".tsv", ".tab") else ",")

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        records = self._records()
        if self.layout.has_header:
            self._read_header(next(records, None))
        else:
            self.places = {constant: column - 1 for constant, column in self.layout.columns.items()}
            self.width = max(self.places.values()) + 1
            self.header = [self._headerless_name(place) for place in range(self.width)]
        for line, cells in records:
            if not self.layout.has_header and len(cells) > self.width:
                self.ignored_cells += len(cells) - self.width
            yield line, [_without_guard(cell) for cell in cells]

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Every record that is not blank, with the line on which it begins."""
        encoding = codecs.lookup(self.layout.encoding).name
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding  # a byte order mark is no part of the header
        csv.field_size_limit(LONGEST_CELL)
        begin = 1
        try:
            with self.path.open(encoding=encoding, newline="") as file:
                quoting = csv.QUOTE_MINIMAL if self.layout.quoting else csv.QUOTE_NONE
                reader = csv.reader(file, delimiter=self.separator, quoting=quoting, strict=True)
                for cells in reader:
                    if any(cell.strip() for cell in cells) or len(cells) > 1:
                        yield begin, cells
                    else:
                        self.blank_lines += 1
                    begin = reader.line_num + 1
        except csv.Error as error:
            raise UserMistake(_csv_error_text(self.path, begin, error)) from None
        except UnicodeError:
            raise UserMistake(_undecodable_text(self.path, self.layout.encoding)) from None
        except OSError as error:
            raise UserMistake(f"{self.path} cannot be read: {error.strerror}.") from None

    def _read_header(self, record: tuple[int, list[str]] | None) -> None:
        if record is None:
            raise UserMistake(f"{self.path} is empty: a header and rows of pairs are needed.")
        self.header = [_without_guard(name).strip() for name in record[1]]
        self.width = len(self.header)
        for constant, column in self.layout.columns.items():
            if isinstance(column, int):
                raise UserMistake(
                    f"{constant} is the number {column}, but another column is given by its name: "
                    "give all of them by name, or all by number for a file without a header."
                )
            if self.header.count(column) != 1:
                raise UserMistake(self._missing_column_text(constant, column))
            self.places[constant] = self.header.index(column)

    def _headerless_name(self, place: int) -> str:
        names = {self.places[constant]: constant.removesuffix("_COLUMN").lower() for constant in self.places}
        return names.get(place, f"column{place + 1}")

    def _missing_column_text(self, constant: str, column: str) -> str:
        listed = ", ".join(f'"{_shown(name)}"' for name in self.header[:SHOWN_BAD_ROWS])
        if column in self.header:
            return f'{self.path} has the column "{column}" ({constant}) more than once: {listed}. Rename all but one.'
        text = f'{self.path} has no column "{column}" ({constant}). Its columns: {listed}.'
        other = [mark for mark in (",", ";", "\t", "|") if mark != self.separator and mark in self.header[0]]
        if len(self.header) == 1 and other:
            return (
                f"{text} The cells were split at {self.separator!r}, "
                f"but this file seems to use {other[0]!r}: set SEPARATOR = {other[0]!r}."
            )
        near = difflib.get_close_matches(column, self.header, n=1)
        if near:
            return f'{text} Did you mean "{near[0]}"?'
        return f"{text} Set {constant} to one of them, or to a number counting from 1 where the file has no header."


def _problems(cells: list[str], rows: _Rows, layout: Layout) -> list[str]:
    """What is wrong with a row, each as `column: value: what to do`; nothing for a good one."""
    count = len(cells)
    if count < rows.width or (count > rows.width and layout.has_header):
        least = "" if layout.has_header else "at least "
        found = f"{count} cell{'s' * (count != 1)} where {least}{rows.width} are expected"
        return [f"{found}: put a sentence that holds {rows.separator!r} in double quotes, or see SEPARATOR and QUOTING"]
    problems = []
    for constant, place in rows.places.items():
        cell = cells[place]
        name = layout.columns[constant]
        if "\0" in cell:
            problem = "holds a NUL character: the file is damaged, or its ENCODING is another; remove it"
        elif constant == "SCORE_COLUMN":
            problem = _score_problem(cell, layout.score_range)
        elif not cell.strip():
            problem = "is empty: write the sentence, or delete the row"
        else:
            problem = "\n" in cell and _swallowed_rows(cell, rows, layout)
        if problem:
            problems.append(f'column "{name}": "{_shown(cell)}" {problem}')
    return problems


def _score_problem(cell: str, score_range: tuple[float, float]) -> str:
    low, high = score_range
    text = cell.strip()
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        comma = ", with a point for the decimals" if _NUMBER.fullmatch(text.replace(",", ".")) else ""
        return f"is no finite number: write one from {low:g} to {high:g}{comma}"
    if not low <= float(text) <= high:
        return f"is out of SCORE_RANGE ({low:g} to {high:g}): mend the score, or set SCORE_RANGE"
    return ""


def _swallowed_rows(cell: str, rows: _Rows, layout: Layout) -> str:
    """A quote that is opened and closed again rows later makes one cell of them: its lines look like rows."""
    place = rows.places.get("SCORE_COLUMN", 0)
    for text in cell.splitlines():
        inner = text.split(rows.separator)
        if len(inner) == rows.width > 1 and (layout.score is None or _NUMBER.fullmatch(inner[place].strip())):
            return "holds a line break and what looks like whole rows: a double quote is not closed; close or double it"
    return ""


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
    text = cell.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
    text = _CONTROL.sub(lambda match: repr(match.group())[1:-1], text)
    return text if len(text) <= 60 else text[:57] + "…"


def _bad_rows_text(path: Path, bad: Sequence[str], bad_count: int, good_count: int) -> str:
    lines = [f"{path} has rows that cannot be used:", *bad]
    if bad_count > len(bad):
        lines.append(f"  … and {bad_count - len(bad):,} more")
    lines.append(f"{bad_count:,} bad row{'s' * (bad_count != 1)} of {bad_count + good_count:,}.")
    return "\n".join(lines)


def _csv_error_text(path: Path, line: int, error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"{path}:{line}  a cell is longer than {LONGEST_CELL:,} characters. Is a double quote not closed?"
    if "NUL" in str(error):  # Python 3.10; later ones hand the character on, and `_problems` finds it
        return f"{path}:{line}  the row holds a NUL character: the file is damaged, or its ENCODING is another."
    return (
        f"{path}:{line}  the double quotes of the row that begins here do not pair up ({error}). Close the quote, "
        "double a quote that belongs to the text, or set QUOTING = False if quotes mean nothing in this file."
    )


def _undecodable_text(path: Path, encoding: str) -> str:
    data = path.read_bytes()
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"{path}:{line}  byte 0x{data[error.start]:02x} (number {error.start + 1:,} of the file)"
    except UnicodeError as error:
        where = f"{path}: {error}; the file"
    else:
        where = f"{path}: the file"
    return (
        f'{where} is not readable as "{encoding}" (ENCODING). Save the file as UTF-8, or set ENCODING to what it was '
        'saved in: "cp1252" (Western Excel), "cp949" (Korean Excel), "utf-16".'
    )


def _runs_as_formula(cell: str) -> bool:
    return bool(_FORMULA.match(cell)) and not _NUMBER.fullmatch(cell.strip())


def with_guard(cell: str) -> str:
    """A cell as we write it: one `'` before what a spreadsheet would run as a formula, and before what is so guarded.

    >>> with_guard("=1+1"), with_guard("-0.5"), with_guard("'=1+1"), with_guard("it's")
    ("'=1+1", '-0.5', "''=1+1", "it's")
    """
    return "'" + cell if _runs_as_formula(cell.lstrip("'")) else cell


def _without_guard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _runs_as_formula(cell.lstrip("'")) else cell


def write_csv(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file that a spreadsheet opens without running anything; `read_pairs` gives the same cells back.

    file: open for text with `newline=""`.
    """
    writer = csv.writer(file)  # ends lines with CR LF (RFC 4180), which also makes it quote a cell that holds either
    for cells in itertools.chain([header], rows):
        writer.writerow([with_guard(cell) for cell in cells])
