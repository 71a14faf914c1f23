"""Reads Excel workbooks (.xlsx, .xlsm) as rows of cells, as a person sees them, with openpyxl, which streams them.

python-calamine is faster, but holds a sheet as one rectangle: a single stray cell far below needs gigabytes. openpyxl also
writes.
"""

from __future__ import annotations

import datetime
import itertools
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from connection import UserMistake
from connection.reading.formats.foreign import LONGEST_START, describe
from connection.reading.formats.grid import Header, find_header
from connection.reading.formats.table import BadRow, Number, Reading, Table, is_empty
from connection.reading.formats.text.text_lines import LONGEST_ROW
from connection.script.kinds import MOST_COLUMNS
from connection.script.requirements import missing_extra
from connection.text import printable

BINARY = True
FIRST_ROWS = 100  # among which the header is looked for
# A small archive can unpack to any size. openpyxl keeps what texts share in memory, and streams the rest.
MOST_SHARED, MOST_PART = 1_000_000_000, 8_000_000_000  # bytes, unpacked
_SHARED = "sharedstrings.xml"
_LISTED_SHEETS = 20
_STEP = "open the workbook in the spreadsheet program and save it"

Row = tuple[int, list[str]]  # its number in the spreadsheet, and its cells to the last one that is not empty


def open_file(path: Path, reading: Reading) -> Workbook:
    return Workbook(path, reading)


class Workbook(Table):
    """One worksheet of a workbook. The line of a row is its number in the spreadsheet.

    Rows without a visible cell are counted where a row follows; visible cells beside the header's columns are counted, too.
    """

    def __init__(self, path: Path, reading: Reading):
        try:
            import openpyxl  # noqa: F401
        except ImportError:
            raise missing_extra(f"{path} is an Excel workbook, which needs openpyxl.") from None
        super().__init__(path, None)
        self.has_mark = True  # CSV that belongs to a workbook is opened in a spreadsheet
        self._needed: Collection[int] = ()
        self._check_archive()
        self._book = self.load(data_only=True)
        sheet, place = self._chosen_sheet(reading.sheet)
        self.sheet = sheet.title
        self._rows = self._read(sheet)
        first = list(itertools.islice(self._rows, FIRST_ROWS))
        if all(is_empty(cells) for _, cells in first):
            raise UserMistake(f'{path} has no cells in its sheet "{printable(self.sheet)}".')
        header = find_header(first, reading)
        self._take(header, reading)
        self.notes = ["an Excel workbook", f'sheet "{printable(self.sheet)}"{place}']
        self.header_notes = header.notes
        self._rows = itertools.chain(first if header.names is None else first[header.above + 1 :], self._rows)
        self._formulas = _Formulas(self)

    def _take(self, header: Header, reading: Reading) -> None:
        """Set the columns."""
        self._last = header.line if header.names is not None else 0  # the last row that was not blank
        self._width = max((column for column in reading.needed if isinstance(column, int)), default=0)
        if header.names is not None:
            self.header, self._width = header.names, len(header.names)
            self._check_header(self.header)

    def need(self, texts: Collection[int], numbers: Collection[int], *, others: bool) -> None:
        self._needed = {*texts, *numbers}

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        for line, cells in self._rows:
            empty = [index for index in self._needed if index >= len(cells) or not cells[index]]
            formula = self._formulas.first(line, empty) if empty else None
            if formula is not None:
                yield line, BadRow(f'column "{self._name_of(formula)}": the formula was never calculated: {_STEP}')
            elif not is_empty(cells):
                yield line, self._to_width(cells)
            else:
                continue
            self.blank_lines += max(0, line - self._last - 1) if self._last else 0
            self._last = line

    def _to_width(self, cells: list[str]) -> list[str] | BadRow:
        """A row's cells below the header. Without a header, those to its last one."""
        if sum(map(len, cells)) > LONGEST_ROW:
            return BadRow(f"the row is longer than {LONGEST_ROW:,} characters: delete it")
        width = self._width if self.header is not None else max(self._width, min(len(cells), MOST_COLUMNS))
        self.ignored_cells += sum(not is_empty([cell]) for cell in cells[width:])
        return (cells + [""] * (width - len(cells)))[:width]

    def _name_of(self, index: int) -> str:
        return self.header[index] if self.header is not None else str(index + 1)

    def _check_archive(self) -> None:
        """Raise UserMistake for another format, and for a part that would unpack to an enormous size."""
        try:
            with self.path.open("rb") as file:
                start = file.read(LONGEST_START)
            what = None if start.startswith(b"PK") else describe(self.path, start)
            if what is None and not start.startswith(b"PK"):
                raise ValueError("it is no zip archive, as workbooks are: perhaps it is CSV with the wrong name")
            if what is None:
                with ZipFile(self.path) as archive:
                    sizes = {info.filename.lower(): info.file_size for info in archive.infolist()}
                    is_other = not any(name.endswith("workbook.xml") for name in sizes)
                    what = describe(self.path, start) if is_other else None
                for name, size in sizes.items():
                    most = MOST_SHARED if name.endswith(_SHARED) else MOST_PART
                    if size > most:
                        raise ValueError(f"its part {name} has {size / 1e9:.1f} GB unpacked, at most {most / 1e9:g} are read")
        except Exception as error:  # zipfile raises several kinds for a damaged file
            raise self._unreadable(error) from None
        if what is not None:
            raise UserMistake(f"{self.path} is {what}.")

    def load(self, *, data_only: bool) -> Any:
        """The workbook: its sheets, styles and shared texts. data_only: values instead of formulas."""
        import openpyxl

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of parts that are of no interest, such as drop-down lists
                return openpyxl.load_workbook(self.path, read_only=True, data_only=data_only, keep_links=False)
        except Exception as error:  # for a damaged file openpyxl raises several kinds
            raise self._unreadable(error) from None

    def _read(self, sheet: Any) -> Iterator[Row]:
        """The rows to the last one that the file has."""
        try:
            for line, values in enumerate(_values(sheet), start=1):
                yield line, [cell_text(value) for value in values]
        except Exception as error:
            raise self._unreadable(error) from None

    def _chosen_sheet(self, title: str) -> tuple[Any, str]:
        """The worksheet with a title, as spreadsheets compare titles, without one the first that is shown; its place."""
        sheets = self._book.worksheets
        if not sheets:
            raise UserMistake(f"{self.path} has no worksheet, only charts or other sheets.")
        shown = [sheet for sheet in sheets if sheet.sheet_state == "visible"]
        if not title:
            count = len(shown)
            return (shown or sheets)[0], f" (the first of {count})" * (count > 1)
        exact = [sheet for sheet in sheets if sheet.title == title]
        same = exact or [sheet for sheet in sheets if sheet.title.strip().casefold() == title.strip().casefold()]
        if same:
            return same[0], "" if same[0] in shown else " (hidden)"
        titles = ", ".join(f'"{printable(sheet.title)}"' for sheet in sheets[:_LISTED_SHEETS])
        raise UserMistake(f'{self.path} has no worksheet "{title}" (SHEET); its worksheets: {titles}.')

    def _unreadable(self, error: Exception) -> UserMistake:
        if isinstance(error, UserMistake):
            return error
        reason = printable(" ".join(str(error).split())[:300].rstrip(".")) or type(error).__name__
        return UserMistake(
            f"{self.path} cannot be read as an Excel workbook: {reason}. Perhaps it helps to {_STEP} again, as .xlsx."
        )


class _Formulas:
    """The sheet read a second time, with formulas, as far as it is asked for: to tell an empty cell from a formula whose value
    the workbook lacks, as programs write them."""

    def __init__(self, workbook: Workbook):
        self._workbook = workbook
        self._rows: Iterator[Sequence[Any]] | None = None
        self._line = 0
        self._row: Sequence[Any] = ()

    def first(self, line: int, columns: Sequence[int]) -> int | None:
        """The first of the columns, whose cells have no value, with a formula. line: not before the one of the last call."""
        if self._rows is None:
            book = self._workbook.load(data_only=False)
            self._rows = _values(book[self._workbook.sheet])
        while self._line < line:
            self._row = next(self._rows, ())
            self._line += 1
        return next((index for index in columns if index < len(self._row) and self._row[index]), None)


def _values(sheet: Any) -> Iterator[Sequence[Any]]:
    """The values of a sheet's rows, each to its last cell. The size that the sheet declares is not used: some declare too
    small a one."""
    sheet.reset_dimensions()
    return iter(sheet.iter_rows(values_only=True))


def cell_text(value: Any) -> str:
    """The value of a cell as a person sees it: numbers with up to 15 digits, dates in ISO 8601, TRUE and FALSE.

    >>> cell_text(5.0), cell_text(0.1 + 0.2), cell_text(True), cell_text(datetime.datetime(2026, 3, 1)), cell_text(None)
    ('5', '0.3', 'TRUE', '2026-03-01', '')
    """
    if isinstance(value, str):
        from openpyxl.utils.escape import unescape

        return unescape(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return Number(value)
    if isinstance(value, float):
        return Number(format(value or 0.0, ".15g"))
    if isinstance(value, datetime.datetime):
        is_day = value.time() == datetime.time()
        return value.date().isoformat() if is_day else value.isoformat(sep=" ")
    if isinstance(value, datetime.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return str(value)
