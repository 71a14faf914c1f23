"""What is wrong with a row of a file of pairs: its width, its sentences, its score, rows that a quote has swallowed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from connection.reading.table import DAMAGED, NUMBER, BadRow, NotText, Table
from connection.text import printable

if TYPE_CHECKING:
    from connection.reading.layout import Layout

LONGEST_SENTENCE = 1_000_000  # characters
# What shows on paper: no blank, no control character, none of zero width, no filler.
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u115f\u1160\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
_LINE_END = re.compile("[\r\n]+")


class RowCheck:
    """What is wrong with a row, each as `column: value: what to do`; nothing for a good one.

    width: cells a row must have, or without a header at least. names: a name for each of them.
    """

    def __init__(self, layout: Layout, places: dict[str, int], rows: Table):
        self.layout, self.separator = layout, rows.separator
        self.exact = rows.header is not None
        self.constants = {place: constant for constant, place in places.items()}
        self.score_place = places.get("SCORE_COLUMN", 0)
        self.width = max(places.values()) + 1 if rows.header is None else len(rows.header)
        self.names = rows.header or [self._name_by_number(place) for place in range(self.width)]
        self.no_score = 0  # rows with text where their score should be

    def _name_by_number(self, place: int) -> str:
        constant = self.constants.get(place)
        return constant.removesuffix("_COLUMN").lower() if constant else f"column{place + 1}"

    def __call__(self, line: int, cells: list[str] | BadRow) -> list[str]:
        if isinstance(cells, BadRow):
            return [cells]
        count = len(cells)
        if count < self.width or (count > self.width and self.exact):
            least = "" if self.exact else "at least "
            found = f"{count} cell{'s' * (count != 1)} where {least}{self.width} are expected"
            return [f"{found}: put a sentence that holds {self.separator!r} in double quotes, or see SEPARATOR and QUOTING"]
        problems = []
        for place, cell in enumerate(cells[: self.width]):
            constant = self.constants.get(place)
            problem = self._problem(constant, cells, place)
            if problem:
                name = self.layout.columns[constant] if constant else self.names[place]
                problems.append(f'column "{shown(str(name))}": "{shown(cell)}" {problem}')
        if problems and line == 1 and not self.exact:
            problems[-1] += "; if this line is a header, give all columns by name"
        return problems

    def _problem(self, constant: str | None, cells: list[str], place: int) -> str:
        cell = cells[place]
        if DAMAGED.search(cell):
            return "holds a character that no text has: the file is damaged, or its ENCODING is another"
        if self.separator and ("\n" in cell or "\r" in cell) and self._has_rows(cells, place):
            return "holds a line break and what looks like whole rows: a double quote is not closed; close or double it"
        if constant == "SCORE_COLUMN":
            return self._score_problem(cell)
        if constant is None:
            return ""
        if isinstance(cell, NotText):
            return "is no text: write the sentence, or delete the row"
        if len(cell) > LONGEST_SENTENCE:
            return f"is longer than {LONGEST_SENTENCE:,} characters: shorten it, or delete the row"
        return "" if _VISIBLE.search(cell) else "is empty: write the sentence, or delete the row"

    def _score_problem(self, cell: str) -> str:
        low, high = self.layout.score_range
        text = cell.strip()
        if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
            self.no_score += 1
            comma = ", with a point for the decimals" if "," in text and NUMBER.fullmatch(text.replace(",", ".")) else ""
            return f"is no finite number: write one from {low:g} to {high:g}{comma}"
        if not low <= float(text) <= high:
            return f"is out of SCORE_RANGE ({low:g} to {high:g}): mend the score, or set SCORE_RANGE"
        return ""

    def _has_rows(self, cells: list[str], place: int) -> bool:
        """Whether a quote that was opened in one row and closed in a later one made one cell of them.

        Then a line within the cell looks like a row, or its first line does with the cells before it and its last one with
        those behind it.
        """
        first, *inner, last = _LINE_END.split(cells[place])
        if any(map(self._looks_like_a_row, (first, *inner, last))):
            return True
        start = self.separator.join([*cells[:place], first])
        return self._looks_like_a_row(start) and self._looks_like_a_row(self.separator.join([last, *cells[place + 1 :]]))

    def _looks_like_a_row(self, text: str) -> bool:
        cells = text.split(self.separator)
        if self.width < 2 or len(cells) < self.width or (self.exact and len(cells) > self.width):
            return False
        return self.layout.score is None or bool(NUMBER.fullmatch(cells[self.score_place].strip()))


def shown(cell: str) -> str:
    """A cell's beginning on one line, what is invisible written as its code."""
    text = printable(cell[:60]).replace("\n", "\\n")
    return text if len(cell) <= 60 and len(text) <= 60 else text[:57] + "…"
