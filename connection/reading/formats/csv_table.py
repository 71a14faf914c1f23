"""Reads CSV and TSV as rows of cells, and writes CSV in which a spreadsheet runs no cell as a formula."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from connection import UserMistake
from connection.reading.formats.table import NUMBER, Reading, Table
from connection.reading.formats.text_lines import LONGEST_ROW, read_lines

# What a spreadsheet may take for the start of a formula, after blanks and invisible characters that it may ignore.
_FORMULA = re.compile(r"[\s\u00a0\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠\t\r]")
# Columns of the files that this project writes (predictions, scores). Only in these files a `'` before a formula is a guard.
OUR_COLUMNS = {"predicted_before", "predicted_after", "similarity", "score_predicted"}


def open_file(path: Path, reading: Reading) -> CsvTable:
    separator = reading.separator or ("\t" if path.suffix.lower() in (".tsv", ".tab") else ",")
    return CsvTable(path, reading.has_header, separator, reading.quoting, reading.encoding)


class CsvTable(Table):
    """CSV or TSV. Rows of any width are returned; `RowCheck` judges them. Guards before formulas are removed in files that this
    project wrote; in other files a `'` belongs to the text."""

    def __init__(self, path: Path, has_header: bool, separator: str, quoting: bool, encoding: str):
        self.separator, self.quoting, self.encoding = separator, quoting, encoding
        super().__init__(path, None)
        self._begin = 1  # the first line of the row that is being read
        self._length = 0  # the number of its characters read so far
        self._is_ours = False
        self._records = self._read()
        if has_header:
            first = next(self._records, None)
            if first is None:
                raise UserMistake(f"{path} is empty: a header and rows of pairs are needed.")
            self._is_ours = not OUR_COLUMNS.isdisjoint(first[1])
            self.header = [(_without_guard(name) if self._is_ours else name).strip() for name in first[1]]
            self._check_header(self.header)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self._records

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        """Every record that is not blank, with the number of its first line."""
        csv.field_size_limit(LONGEST_ROW)
        reader = csv.reader(
            self._lines(),
            delimiter=self.separator,
            quoting=csv.QUOTE_MINIMAL if self.quoting else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            for cells in reader:
                if len(cells) > 1 or any(cell.strip() for cell in cells):
                    yield self._begin, [_without_guard(cell) for cell in cells] if self._is_ours else cells
                else:
                    self.blank_lines += 1
                self._begin, self._length = reader.line_num + 1, 0
        except csv.Error as error:
            raise UserMistake(_csv_error_text(self.path, self._begin, error)) from None

    def _lines(self) -> Iterator[str]:
        for text in read_lines(self.path, self.encoding, newline=""):
            self._length += len(text)
            if self._length > LONGEST_ROW:
                raise UserMistake(
                    f"{self.path}:{self._begin}  the row that begins here is longer than {LONGEST_ROW:,} characters: probably "
                    "a double quote is not closed."
                )
            yield text


def _csv_error_text(path: Path, line: int, error: csv.Error) -> str:
    if "NUL" in str(error):  # Python 3.10; later versions return the character, and `RowCheck` reports it
        return f"{path}:{line}  the row contains a NUL character: the file is damaged, or ENCODING is wrong."
    return (
        f"{path}:{line}  the double quotes of the row that begins here are not balanced ({error}). Close the quote, double "
        "a quote that belongs to the text, or set QUOTING = False if quotes have no special meaning in this file."
    )


def _runs_as_formula(cell: str) -> bool:
    return bool(_FORMULA.match(cell)) and not NUMBER.fullmatch(cell.strip())


def with_guard(cell: str) -> str:
    """A cell as it is written: with a `'` before a text that a spreadsheet would run as a formula, guarded already or not.

    >>> with_guard("=1+1"), with_guard("-0.5"), with_guard("'=1+1"), with_guard("it's")
    ("'=1+1", '-0.5', "''=1+1", "it's")
    """
    return "'" + cell if _runs_as_formula(cell.lstrip("'")) else cell


def _without_guard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _runs_as_formula(cell.lstrip("'")) else cell


def write_csv(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file in which a spreadsheet runs no cell as a formula.

    If one of OUR_COLUMNS is in the header, `open_table` returns the same cells. file: opened for text with `newline=""`.
    """
    writer = csv.writer(file)  # ends lines with CR LF (RFC 4180), so it also quotes cells that contain CR or LF
    for cells in itertools.chain([header], rows):
        writer.writerow([with_guard(cell) for cell in cells])
