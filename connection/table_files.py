"""File formats: CSV, TSV, JSON Lines and Parquet → rows of cells, each cell a text; and the CSV that we write.

Knows nothing of pairs or scores (`connection/pairs.py`). Rows are read one after the other, never a whole file.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from connection import UserMistake

EXTRA = Path(__file__).resolve().parent.parent / "requirements-extra.txt"
LONGEST_CELL = 10_000_000  # characters
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# What a spreadsheet may take for the start of a formula, after blanks and invisible characters that it may pass over.
_FORMULA = re.compile(r"[\s\u00a0\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠\t\r]")
_JSON_ENDINGS, _PARQUET_ENDINGS = (".jsonl", ".ndjson", ".json"), (".parquet", ".pq")
_FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or another zip archive: in the spreadsheet, save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: in the spreadsheet, save it as CSV UTF-8",
    b"\x1f\x8b": "compressed (gzip): unpack it",
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
        return ParquetTable(path)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise UserMistake(f"{path} is {what}.")
    if ending in _JSON_ENDINGS:
        return JsonLines(path, encoding)
    default = "\t" if ending in (".tsv", ".tab") else ","
    return CsvTable(path, has_header, separator or default, quoting, encoding)


def _open_text(path: Path, encoding: str, newline: str) -> TextIO:
    name = codecs.lookup(encoding).name
    # A byte order mark is no part of the first cell.
    return path.open(encoding="utf-8-sig" if name == "utf-8" else name, newline=newline)


class CsvTable(Table):
    """CSV or TSV, the guards before formulas taken off. With a header, rows of other widths are handed on as they are."""

    def __init__(self, path: Path, has_header: bool, separator: str, quoting: bool, encoding: str):
        self.separator, self.quoting, self.encoding = separator, quoting, encoding
        super().__init__(path, None)
        self._records = self._read()
        if has_header:
            first = next(self._records, None)
            if first is None:
                raise UserMistake(f"{path} is empty: a header and rows of pairs are needed.")
            self.header = [name.strip() for name in first[1]]

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self._records

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        """Every record that is not blank, with the line on which it begins."""
        csv.field_size_limit(LONGEST_CELL)
        begin = 1
        try:
            with _open_text(self.path, self.encoding, newline="") as file:
                quoting = csv.QUOTE_MINIMAL if self.quoting else csv.QUOTE_NONE
                reader = csv.reader(file, delimiter=self.separator, quoting=quoting, strict=True)
                for cells in reader:
                    if len(cells) > 1 or any(cell.strip() for cell in cells):
                        yield begin, [_without_guard(cell) for cell in cells]
                    else:
                        self.blank_lines += 1
                    begin = reader.line_num + 1
        except csv.Error as error:
            raise UserMistake(_csv_error_text(self.path, begin, error)) from None
        except UnicodeError:
            raise UserMistake(_undecodable_text(self.path, self.encoding)) from None
        except OSError as error:
            raise UserMistake(f"{self.path} cannot be read: {error.strerror}.") from None


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
        try:
            with _open_text(self.path, self.encoding, newline="\n") as file:
                for line in itertools.count(1):
                    text = file.readline(LONGEST_CELL)
                    if not text:
                        return
                    if len(text) == LONGEST_CELL:
                        raise UserMistake(f"{self.path}:{line}  the line is longer than {LONGEST_CELL:,} characters.")
                    if text.strip():
                        yield line, _json_cells(text)
                    else:
                        self.blank_lines += 1
        except UnicodeError:
            raise UserMistake(_undecodable_text(self.path, self.encoding)) from None
        except OSError as error:
            raise UserMistake(f"{self.path} cannot be read: {error.strerror}.") from None


def _json_cells(text: str) -> dict[str, str] | BadRow:
    """The cells of one line by their columns; numbers stay as they are written."""
    repeated: list[str] = []

    def as_dict(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            names = [name for name, _ in items]
            repeated.extend(name for name in found if names.count(name) > 1)
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


class ParquetTable(Table):
    """Parquet, by pyarrow; the line of a row is its number, counting from 1."""

    def __init__(self, path: Path):
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            command = f'"{sys.executable}" -m pip install -r "{EXTRA}"'
            raise UserMistake(f"{path} is Parquet, which needs pyarrow. Install it with: {command}") from None
        self._errors = (pyarrow.ArrowException, OSError)
        try:
            self._file = parquet.ParquetFile(path)
        except self._errors as error:
            raise self._unreadable(path, error) from None
        super().__init__(path, list(self._file.schema_arrow.names))

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        line = 0
        try:
            for batch in self._file.iter_batches(batch_size=4096):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    line += 1
                    yield line, [value if isinstance(value, str) else NotText(_plain(value)) for value in row]
        except self._errors as error:
            raise self._unreadable(self.path, error) from None

    def _unreadable(self, path: Path, error: Exception) -> UserMistake:
        return UserMistake(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:300]}")


def _plain(value: Any) -> str:
    """A value as JSON writes it: `null`, `true`, numbers; what JSON does not know as its text."""
    return json.dumps(value, default=str)


def _csv_error_text(path: Path, line: int, error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"{path}:{line}  a cell is longer than {LONGEST_CELL:,} characters. Is a double quote not closed?"
    if "NUL" in str(error):  # Python 3.10; later ones hand the character on, and it is found there
        return f"{path}:{line}  the row holds a NUL character: the file is damaged, or its ENCODING is another."
    return (
        f"{path}:{line}  the double quotes of the row that begins here do not pair up ({error}). Close the quote, "
        "double a quote that belongs to the text, or set QUOTING = False if quotes mean nothing in this file."
    )


def _undecodable_text(path: Path, encoding: str) -> str:
    """Where the file's first byte lies that its encoding does not know."""
    decoder = codecs.getincrementaldecoder(encoding)()
    where, line, offset = f"{path}: the file", 1, 0
    with path.open("rb") as file:
        try:
            while block := file.read(1 << 16):
                decoder.decode(block)
                line += block.count(b"\n")
                offset += len(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            begin = offset + len(block) - len(error.object)  # the decoder may have kept bytes of the block before
            line += error.object.count(b"\n", max(0, offset - begin), error.start)
            where = f"{path}:{line}  byte 0x{error.object[error.start]:02x} (number {begin + error.start + 1:,} of the file)"
        except UnicodeError as error:
            where = f"{path}: {error}; the file"
    return (
        f'{where} is not readable as "{encoding}" (ENCODING). Save the file as UTF-8, or set ENCODING to what it was '
        'saved in: "cp1252" (Western Excel), "cp949" (Korean Excel), "utf-16".'
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
