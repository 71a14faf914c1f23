"""Checks a row of a file of pairs: its number of cells, its sentences, its score, and quotes that are not closed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from connection.reading.formats.table import DAMAGED, NUMBER, VISIBLE, BadRow, NotText, Table
from connection.reading.scores import Scores
from connection.text import counted, printable

if TYPE_CHECKING:
    from connection.reading.layout import Layout

LONGEST_SENTENCE = 1_000_000  # characters
_LINE_END = re.compile("\r\n|\r|\n")


class RowCheck:
    """Called with a row, returns its score from 0 to 1 (0 without a score) and its problems, none for a good row.

    A problem is `column "name": "value" problem: what to do`. width: the number of cells of a row; without a header, the
    smallest number. names: a name for each of these cells. long_cells: the number of cells over several lines in good rows.
    """

    def __init__(self, layout: Layout, indices: dict[str, int], rows: Table):
        """indices: the index of each constant's column in a row."""
        self.layout, self.separator = layout, rows.separator
        self.exact = rows.header is not None
        self.constants = {index: constant for constant, index in indices.items()}
        self.score_index = indices.get("SCORE_COLUMN")
        self.width = max(indices.values()) + 1 if rows.header is None else len(rows.header)
        self.names = rows.header or [self._name_of(index) for index in range(self.width)]
        self.scores = Scores(layout, rows.separator)
        self.long_cells = 0

    def _name_of(self, index: int) -> str:
        constant = self.constants.get(index)
        return constant.removesuffix("_COLUMN").lower() if constant else f"column{index + 1}"

    def __call__(self, line: int, cells: list[str] | BadRow) -> tuple[float, list[str]]:
        if isinstance(cells, BadRow):
            return math.nan, [cells]
        count = len(cells)
        if count < self.width or (count > self.width and self.exact):
            least = "" if self.exact else "at least "
            counts = f"{counted(count, 'cell')} where {least}{self.width} are expected"
            advice = f"put a sentence with {self.separator!r} in double quotes, or check SEPARATOR and QUOTING"
            return math.nan, [f"{counts}: {advice}"]
        problems, score = [], 0.0
        for index, cell in enumerate(cells[: self.width]):
            constant = self.constants.get(index)
            problem = self._problem(constant, cells, index)
            if index == self.score_index and not problem:
                score, problem = self.scores(cell, line)
            if problem:
                name = self.layout.columns[constant] if constant else self.names[index]
                problems.append(f'column "{shown(str(name))}": "{shown(cell)}" {problem}')
        if problems and line == 1 and not self.exact:
            problems[-1] += "; if this line is a header, give all columns by name"
        return score, problems

    def _problem(self, constant: str | None, cells: list[str], index: int) -> str:
        """What is wrong with a cell, its number as a score aside."""
        cell = cells[index]
        if DAMAGED.search(cell):
            return "contains a character that is not text: the file is damaged, or ENCODING is wrong"
        if self.separator and ("\n" in cell or "\r" in cell):
            if self._has_rows(cells, index):
                return "seems to contain whole rows: a double quote is not closed; close it, or double it"
            self.long_cells += 1
        if constant is None or constant == "SCORE_COLUMN":
            return ""
        if constant == "LABEL_COLUMN":
            return "is empty: write the class, or delete the row" if is_no_text(cell) else ""
        if constant.startswith("NEGATIVE_COLUMNS") and is_no_text(cell):
            return ""
        if isinstance(cell, NotText):
            return "is not text: write the sentence, or delete the row"
        if len(cell) > LONGEST_SENTENCE:
            return f"is longer than {LONGEST_SENTENCE:,} characters: shorten it, or delete the row"
        return "" if VISIBLE.search(cell) else "is empty: write the sentence, or delete the row"

    def _has_rows(self, cells: list[str], index: int) -> bool:
        """Whether a quote opened in one row and closed in a later one has merged these rows into one cell.

        Then the lines of the row are rows by themselves, score and all; the last line may be a part of one. Without a score,
        that is only assumed if no blank follows a separator in the cell, as one does in prose.
        """
        if self.score_index is None and self.separator + " " in cells[index]:
            return False
        first, *inner, last = _LINE_END.split(cells[index])
        rows = [[*cells[:index], *first.split(self.separator)]]
        rows += [line.split(self.separator) for line in inner if line.strip()]
        if len(rows) == 1:
            rows.append([*last.split(self.separator), *cells[index + 1 :]])
        return all(map(self._is_like_a_row, rows))

    def _is_like_a_row(self, cells: list[str]) -> bool:
        if self.width < 2 or len(cells) < self.width or (self.exact and len(cells) > self.width):
            return False
        if self.score_index is None:
            return True
        text = cells[self.score_index].strip()
        text = text.replace(",", ".") if self.scores.takes_comma else text
        return bool(NUMBER.fullmatch(text)) and self.layout.score_range[0] <= float(text) <= self.layout.score_range[1]


def is_no_text(cell: str) -> bool:
    """Whether a cell is empty: null in a typed file, or nothing that can be seen."""
    return not VISIBLE.search(cell) or (isinstance(cell, NotText) and cell == "null")


def shown(cell: str) -> str:
    """The first 60 characters of a cell on one line, with invisible characters as escape codes."""
    text = printable(cell[:60]).replace("\n", "\\n")
    return text if len(cell) <= 60 and len(text) <= 60 else text[:57] + "…"
