"""CSV and TSV → rows of cells; and the CSV that we write, which a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from connection import UserMistake
from connection.reading.table import NUMBER, Reading, Table
from connection.reading.text_lines import LONGEST_ROW, read_lines

# What a spreadsheet may take for the start of a formula, after blanks and invisible characters that it may pass over.
_FORMULA = re.compile(r"[\s\u00a0\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠\t\r]")
# Columns that only files of ours have: predictions and scores. In these a `'` before a formula is a guard.
OUR_COLUMNS = {"predicted_before", "predicted_after", "similarity", "score_predicted"}


def open_file(path: Path, reading: Reading) -> CsvTable:
    separator = reading.separator or ("\t" if path.suffix.lower() in (".tsv", ".tab") else ",")
    return CsvTable(path, reading.has_header, separator, reading.quoting, reading.encoding)


class CsvTable(Table):
    """CSV or TSV. With a header, rows of other widths are handed on as they are. Guards before formulas are taken off in files
    that this project wrote; elsewhere a `'` is the person's own."""

    def __init__(self, path: Path, has_header: bool, separator: str, quoting: bool, encoding: str):
        self.separator, self.quoting, self.encoding = separator, quoting, encoding
        super().__init__(path, None)
        self._begin = 1  # the line on which the row begins that is being read
        self._length = 0  # its characters so far
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
        """Every record that is not blank, with the line on which it begins."""
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
                    f"{self.path}:{self._begin}  the row that begins here is longer than {LONGEST_ROW:,} characters. Is a "
                    "double quote not closed?"
                )
            yield text


def _csv_error_text(path: Path, line: int, error: csv.Error) -> str:
    if "NUL" in str(error):  # Python 3.10; later ones hand the character on, and it is found there
        return f"{path}:{line}  the row holds a NUL character: the file is damaged, or its ENCODING is another."
    return (
        f"{path}:{line}  the double quotes of the row that begins here do not pair up ({error}). Close the quote, "
        "double a quote that belongs to the text, or set QUOTING = False if quotes mean nothing in this file."
    )


def _runs_as_formula(cell: str) -> bool:
    return bool(_FORMULA.match(cell)) and not NUMBER.fullmatch(cell.strip())


def with_guard(cell: str) -> str:
    """A cell as we write it: one `'` before what a spreadsheet would run as a formula, and before what is so guarded.

    >>> with_guard("=1+1"), with_guard("-0.5"), with_guard("'=1+1"), with_guard("it's")
    ("'=1+1", '-0.5', "''=1+1", "it's")
    """
    return "'" + cell if _runs_as_formula(cell.lstrip("'")) else cell


def _without_guard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _runs_as_formula(cell.lstrip("'")) else cell


def write_csv(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file that a spreadsheet opens without running anything; with one of OUR_COLUMNS among its columns,
    `open_table` gives the same cells back.

    file: open for text with `newline=""`.
    """
    writer = csv.writer(file)  # ends lines with CR LF (RFC 4180), which also makes it quote a cell that holds either
    for cells in itertools.chain([header], rows):
        writer.writerow([with_guard(cell) for cell in cells])
