"""Writes CSV in which a spreadsheet runs no cell as a formula, in the manner of the file that it belongs to."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from connection.reading.formats.table import NUMBER

# What a spreadsheet may take for the start of a formula, after blanks and invisible characters that it may ignore.
_FORMULA = re.compile(r"[\s\u00a0\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠\t\r]")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
# Columns of the files that this project writes (predictions, scores). Only in these files a `'` before a formula is a guard.
OUR_COLUMNS = {"predicted_before", "predicted_after", "similarity", "score_predicted"}
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Style:
    """What a file that we write shares with the one that it belongs to, so that the same spreadsheet opens both.

    separator: one character. decimal: "." or ",". has_mark: whether it begins with a byte order mark, without which Excel
    does not read UTF-8.
    """

    separator: str = ","
    decimal: str = "."
    has_mark: bool = False

    def number(self, value: float) -> str:
        """A number with nine significant digits.

        >>> Style(decimal=",").number(-0.25)
        '-0,25'
        """
        return f"{value:.9g}".replace(".", self.decimal)


def csv_pieces(header: Sequence[str], rows: Iterable[Sequence[str]], style: Style) -> Iterator[bytes]:
    """A CSV file as UTF-8, in pieces of some thousand rows. If one of OUR_COLUMNS is in the header, `open_table` returns the
    same cells."""
    if style.has_mark:
        yield codecs.BOM_UTF8
    every = itertools.chain([header], rows)
    while chunk := list(itertools.islice(every, ROWS_AT_ONCE)):
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=style.separator)  # ends lines with CR LF (RFC 4180), so it quotes CR and LF too
        for cells in chunk:
            writer.writerow([with_guard(cell) for cell in cells])
        yield text.getvalue().encode()


def _runs_as_formula(cell: str) -> bool:
    text = cell.strip()
    return bool(_FORMULA.match(cell)) and not NUMBER.fullmatch(text) and not _DECIMAL_COMMA.fullmatch(text)


def with_guard(cell: str) -> str:
    """A cell as it is written: with a `'` before a text that a spreadsheet would run as a formula, guarded already or not.

    >>> with_guard("=1+1"), with_guard("-0.5"), with_guard("'=1+1"), with_guard("it's")
    ("'=1+1", '-0.5', "''=1+1", "it's")
    """
    return "'" + cell if _runs_as_formula(cell.lstrip("'")) else cell


def without_guard(cell: str) -> str:
    """The cell that `with_guard` was given."""
    return cell[1:] if cell.startswith("'") and _runs_as_formula(cell.lstrip("'")) else cell
