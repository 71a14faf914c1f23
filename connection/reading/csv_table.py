"""File formats: CSV, TSV and JSON Lines → rows of cells, each cell a text; and the CSV that we write.

Knows nothing of pairs or scores (`pairs.py`), nor of encodings (`text_lines.py`). Rows are read one after the other, never a
whole file. Parquet is a Table too (`parquet_table.py`).
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from connection import UserMistake
from connection.reading.text_lines import LONGEST_ROW, check_mark, read_lines

MOST_COLUMNS = 10_000
DAMAGED = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of surrogate pairs, which no file can be written with
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# What a spreadsheet may take for the start of a formula, after blanks and invisible characters that it may pass over.
_FORMULA = re.compile(r"[\s\u00a0\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠\t\r]")
_JSON_ENDINGS, _PARQUET_ENDINGS = (".jsonl", ".ndjson", ".json"), (".parquet", ".pq")
_FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or another zip archive: in the spreadsheet, save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: in the spreadsheet, save it as CSV UTF-8",
    b"\x1f\x8b": "compressed (gzip): unpack it",
    b"BZh": "compressed (bzip2): unpack it",
    b"\xfd7zX": "compressed (xz): unpack it",
    b"\x28\xb5\x2f\xfd": "compressed (zstd): unpack it",
    b"<!DO": "a web page, no table: download the file itself",
    b"<htm": "a web page, no table: download the file itself",
    b"PAR1": 'a Parquet file: give it a name that ends in ".parquet"',
    b"%PDF": "a PDF document: save its table as CSV UTF-8",
}


class NotText(str):
    """A cell of a typed file that holds no text but a number, true, false, nothing or a list, as it would be written."""


class BadRow(str):
    """In the place of a row's cells: what is wrong with it, where cells cannot be told."""


class Table:
    """A file's rows as (line, cells). What is counted while they are read: `ignored_cells` and `blank_lines`.

    header: the columns' names; None if the file has none. separator: the character between cells; "" in typed files.
    """

    separator = ""

    def __init__(self, path: Path, header: list[str] | None):
        self.path, self.header = path, header
        self.ignored_cells = 0
        self.blank_lines = 0
        if header is not None:
            self._check_header()

    def _check_header(self) -> None:
        if len(self.header) > MOST_COLUMNS:
            raise UserMistake(f"{self.path} has {len(self.header):,} columns; at most {MOST_COLUMNS:,} can be read.")
        if any(DAMAGED.search(name) for name in self.header):
            raise UserMistake(
                f"{self.path}: its header holds a character that no text has: the file is damaged, or its ENCODING is another."
            )

    def need(self, texts: Collection[int], numbers: Collection[int], *, others: bool) -> None:
        """Say which places will be looked at, as text and as numbers; others: all the rest too. The type may not fit."""

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        raise NotImplementedError


def open_table(path: Path, *, has_header: bool, separator: str = "", quoting: bool = True, encoding: str = "utf-8") -> Table:
    """The file's rows, by the format that its name ends in: .jsonl and .parquet are typed, all else is CSV or TSV.

    Raises UserMistake, here or while the rows are read, for a file that is not what its name says.
    """
    ending = path.suffix.lower()
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror}.") from None
    if ending in _PARQUET_ENDINGS:
        from connection.reading.parquet_table import ParquetTable  # it builds on this file

        return ParquetTable(path)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise UserMistake(f"{path} is {what}.")
    check_mark(path, start, encoding)
    if ending in _JSON_ENDINGS:
        return JsonLines(path, encoding)
    default = "\t" if ending in (".tsv", ".tab") else ","
    return CsvTable(path, has_header, separator or default, quoting, encoding)


class CsvTable(Table):
    """CSV or TSV, the guards before formulas taken off. With a header, rows of other widths are handed on as they are."""

    def __init__(self, path: Path, has_header: bool, separator: str, quoting: bool, encoding: str):
        self.separator, self.quoting, self.encoding = separator, quoting, encoding
        super().__init__(path, None)
        self._begin = 1  # the line on which the row begins that is being read
        self._length = 0  # its characters so far
        self._records = self._read()
        if has_header:
            first = next(self._records, None)
            if first is None:
                raise UserMistake(f"{path} is empty: a header and rows of pairs are needed.")
            self.header = [name.strip() for name in first[1]]
            self._check_header()

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self._records

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        """Every record that is not blank, with the line on which it begins."""
        csv.field_size_limit(LONGEST_ROW)
        quoting = csv.QUOTE_MINIMAL if self.quoting else csv.QUOTE_NONE
        reader = csv.reader(self._lines(), delimiter=self.separator, quoting=quoting, strict=True)
        try:
            for cells in reader:
                if len(cells) > 1 or any(cell.strip() for cell in cells):
                    yield self._begin, [_without_guard(cell) for cell in cells]
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


class JsonLines(Table):
    """One JSON object a line. The first one names the columns; what later ones hold besides is ignored and counted."""

    def __init__(self, path: Path, encoding: str):
        super().__init__(path, None)
        self.encoding = encoding
        self._records = self._read()
        line, first = next(self._records, (0, None))
        if first is None:
            raise UserMistake(f"{path} is empty: one JSON object a line is needed.")
        if isinstance(first, BadRow):
            raise UserMistake(f"{path}:{line}  {first}.")
        self.header = list(first)
        self._check_header()
        self._records = itertools.chain([(line, first)], self._records)

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        known = set(self.header)
        for line, found in self._records:
            if isinstance(found, BadRow):
                yield line, found
                continue
            self.ignored_cells += len(found.keys() - known)
            yield line, [found.get(name, NotText("")) for name in self.header]

    def _read(self) -> Iterator[tuple[int, dict[str, str] | BadRow]]:
        for line, text in enumerate(read_lines(self.path, self.encoding, newline="\n"), start=1):
            if text.strip():
                yield line, _json_cells(text)
            else:
                self.blank_lines += 1


def _json_cells(text: str) -> dict[str, str] | BadRow:
    """The cells of one line by their columns; numbers stay as they are written."""
    repeated: list[str] = []

    def as_dict(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            repeated.extend(name for name, count in Counter(name for name, _ in items).items() if count > 1)
        return found

    numbers = {"parse_int": NotText, "parse_float": NotText, "parse_constant": NotText}
    try:
        found = json.loads(text, object_pairs_hook=as_dict, **numbers)
    except (ValueError, RecursionError) as error:
        return BadRow(f"the line is no JSON object ({error}): write one object a line")
    if not isinstance(found, dict):
        return BadRow('the line is JSON, but no object: write one object a line, as {"sentence1": …}')
    if repeated:
        return BadRow(f'the line names "{repeated[0]}" more than once')
    return {name: value if isinstance(value, str) else NotText(json.dumps(value)) for name, value in found.items()}


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
    """Write a CSV file that a spreadsheet opens without running anything; `open_table` gives the same cells back.

    file: open for text with `newline=""`.
    """
    writer = csv.writer(file)  # ends lines with CR LF (RFC 4180), which also makes it quote a cell that holds either
    for cells in itertools.chain([header], rows):
        writer.writerow([with_guard(cell) for cell in cells])
