"""Writes an Excel workbook of one sheet, row by row, with openpyxl. Text is written as text: no cell is a formula."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.table import Number
from connection.script.requirements import is_installed, missing_extra

MOST_ROWS, MOST_COLUMNS = 1_048_576, 16_384  # of a worksheet, the header included
LONGEST_CELL = 32_767  # characters, as UTF-16 counts them; openpyxl cuts longer ones without a word
# What XML cannot contain, CR, which XML would make LF, and the underscore of a text that looks like such a code.
_TO_ESCAPE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_PIECE = 1 << 20  # bytes


def check_package(path: Path) -> None:
    """Raise UserMistake if openpyxl is missing. path: of the workbook."""
    if not is_installed("openpyxl"):
        raise missing_extra(f"OUTPUT_FILE: {path.name} is an Excel workbook, which needs openpyxl.")


def check_fits(rows: int, columns: int, longest_cell: int) -> None:
    """Raise UserMistake for a table that no worksheet can hold.

    rows: without the header. longest_cell: as `cell_length` counts characters.
    """
    for most, count, what in [
        (MOST_ROWS - 1, rows, "rows below its header"),
        (MOST_COLUMNS, columns, "columns"),
        (LONGEST_CELL, longest_cell, "characters in a cell"),
    ]:
        if count > most:
            raise UserMistake(
                f"OUTPUT_FILE: a worksheet holds {most:,} {what}, not {count:,}. Name an OUTPUT_FILE that ends in .csv."
            )


def cell_length(cell: str) -> int:
    """The length of a cell as a workbook counts it."""
    escaped = _escaped(cell)
    return len(escaped) + sum(letter > "\uffff" for letter in escaped)


def workbook_pieces(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> Iterator[bytes]:
    """A workbook, in pieces, whose cells `workbook.py` reads back the same; its first row, the header, does not scroll.

    Numbers (`Number`, float) are written as numbers where a spreadsheet keeps their digits, otherwise as text. Memory is
    bounded: openpyxl collects the sheet in a temporary file, and the workbook in another one.
    """
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    sheet.freeze_panes = "A2"
    sheet.append([_cell(name, sheet) for name in header])
    for cells in rows:
        sheet.append([_cell(cell, sheet) for cell in cells])
    with tempfile.TemporaryFile() as file:
        book.save(file)
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece


def _escaped(text: str) -> str:
    return _TO_ESCAPE.sub(lambda match: f"_x{ord(match[0]):04X}_", text)


def _cell(value: str | float, sheet: Any) -> Any:
    """What openpyxl writes as this cell. Python's own types cost less than its cells."""
    if _is_number(value):
        return float(value)
    text = _escaped(str(value))
    if not text.startswith(("=", "#")):
        return text or None
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"  # openpyxl takes it for a formula or an error
    return cell


def _is_number(cell: str | float) -> bool:
    """Whether a cell is a number that a spreadsheet keeps: its up to 15 significant digits."""
    if isinstance(cell, (int, float)):
        return math.isfinite(cell)
    return isinstance(cell, Number) and format(float(cell), ".15g") == cell
