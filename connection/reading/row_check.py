"""Checks a row of a file of pairs: its number of cells, its sentences, its score, and quotes that are not closed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from connection.reading.formats.table import DAMAGED, NUMBER, BadRow, NotText, Table
from connection.text import printable

if TYPE_CHECKING:
    from connection.reading.layout import Layout

LONGEST_SENTENCE = 1_000_000  # characters
# A character that is visible in print: not a blank, a control character, a zero-width character or a filler.
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u115f\u1160\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
_LINE_END = re.compile("[\r\n]+")


class RowCheck:
    """Called with a row, returns its problems as `column "name": "value" problem: what to do`; none for a good row.

    width: the number of cells of a row; without a header, the smallest number. names: a name for each of these cells.
    """

    def __init__(self, layout: Layout, indices: dict[str, int], rows: Table):
        """indices: the index of each constant's column in a row."""
        self.layout, self.separator = layout, rows.separator
        self.exact = rows.header is not None
        self.constants = {index: constant for constant, index in indices.items()}
        self.score_index = indices.get("SCORE_COLUMN", 0)
        self.width = max(indices.values()) + 1 if rows.header is None else len(rows.header)
        self.names = rows.header or [self._name_of(index) for index in range(self.width)]
        self.no_score = 0  # rows whose score is not a number

    def _name_of(self, index: int) -> str:
        constant = self.constants.get(index)
        return constant.removesuffix("_COLUMN").lower() if constant else f"column{index + 1}"

    def __call__(self, line: int, cells: list[str] | BadRow) -> list[str]:
        if isinstance(cells, BadRow):
            return [cells]
        count = len(cells)
        if count < self.width or (count > self.width and self.exact):
            least = "" if self.exact else "at least "
            counts = f"{count} cell{'s' * (count != 1)} where {least}{self.width} are expected"
            return [f"{counts}: put a sentence with {self.separator!r} in double quotes, or check SEPARATOR and QUOTING"]
        problems = []
        for index, cell in enumerate(cells[: self.width]):
            constant = self.constants.get(index)
            problem = self._problem(constant, cells, index)
            if problem:
                name = self.layout.columns[constant] if constant else self.names[index]
                problems.append(f'column "{shown(str(name))}": "{shown(cell)}" {problem}')
        if problems and line == 1 and not self.exact:
            problems[-1] += "; if this line is a header, give all columns by name"
        return problems

    def _problem(self, constant: str | None, cells: list[str], index: int) -> str:
        cell = cells[index]
        if DAMAGED.search(cell):
            return "contains a character that is not text: the file is damaged, or ENCODING is wrong"
        if self.separator and ("\n" in cell or "\r" in cell) and self._has_rows(cells, index):
            return "seems to contain whole rows: a double quote is not closed; close it, or double it"
        if constant == "SCORE_COLUMN":
            return self._score_problem(cell)
        if constant is None:
            return ""
        if isinstance(cell, NotText):
            return "is not text: write the sentence, or delete the row"
        if len(cell) > LONGEST_SENTENCE:
            return f"is longer than {LONGEST_SENTENCE:,} characters: shorten it, or delete the row"
        return "" if _VISIBLE.search(cell) else "is empty: write the sentence, or delete the row"

    def _score_problem(self, cell: str) -> str:
        low, high = self.layout.score_range
        text = cell.strip()
        if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
            self.no_score += 1
            comma = ", with a decimal point" if "," in text and NUMBER.fullmatch(text.replace(",", ".")) else ""
            return f"is not a finite number: write one from {low:g} to {high:g}{comma}"
        if not low <= float(text) <= high:
            return f"is outside SCORE_RANGE ({low:g} to {high:g}): correct the score or SCORE_RANGE"
        return ""

    def _has_rows(self, cells: list[str], index: int) -> bool:
        """Whether a quote opened in one row and closed in a later one has merged these rows into one cell.

        In such a cell, a line looks like a row; or its first line does together with the cells before it, and its last line
        together with the cells after it.
        """
        first, *inner, last = _LINE_END.split(cells[index])
        if any(map(self._looks_like_a_row, (first, *inner, last))):
            return True
        start = self.separator.join([*cells[:index], first])
        return self._looks_like_a_row(start) and self._looks_like_a_row(self.separator.join([last, *cells[index + 1 :]]))

    def _looks_like_a_row(self, text: str) -> bool:
        cells = text.split(self.separator)
        if self.width < 2 or len(cells) < self.width or (self.exact and len(cells) > self.width):
            return False
        return self.layout.score is None or bool(NUMBER.fullmatch(cells[self.score_index].strip()))


def shown(cell: str) -> str:
    """The first 60 characters of a cell on one line, with invisible characters as escape codes."""
    text = printable(cell[:60]).replace("\n", "\\n")
    return text if len(cell) <= 60 and len(text) <= 60 else text[:57] + "…"
