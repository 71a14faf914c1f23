"""Reads scores: their decimal sign, yes/no as 1/0, and whether SCORE_RANGE fits them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from connection.reading.formats.table import NUMBER, NotText, Number, paste_text
from connection.reading.layout import Layout

SMALL_PART = 0.25  # of SCORE_RANGE: scores that fill no more of it are probably on another scale
LARGE_PART = 0.7  # of a usual range: scores that fill no more of it are probably on another scale
MANY = 0.25  # share of the rows: if more scores are outside SCORE_RANGE, the range is probably wrong
HIGHEST_SCALE = 1000  # greater numbers are no scores, but amounts or codes
_BOOLEANS = {"true": "1", "false": "0"}


class Scores:
    """Cells of the score's column → scores from 0 to 1. Notes which decimal signs occur.

    Where DECIMAL is "", a comma is a decimal sign in files whose cells it does not separate. `lines` has the first line and
    cell of each sign; `no_number` counts the cells that are no numbers, `outside` has the lowest and the highest number
    beyond SCORE_RANGE, `outside_count` how many there are.
    """

    def __init__(self, layout: Layout, separator: str):
        """separator: between the cells of the file, "" if there is none."""
        self.low, self.high = layout.score_range
        self.decimal, self.separator = layout.decimal, separator
        self.lines: dict[str, tuple[int, str]] = {}
        self.no_number = self.outside_count = 0
        self.outside: tuple[float, float] | None = None

    @property
    def takes_comma(self) -> bool:
        return self.decimal == "," or (not self.decimal and self.separator != ",")

    def __call__(self, cell: str, line: int) -> tuple[float, str]:
        """The score from 0 to 1 and "", or NaN and what is wrong with the cell."""
        if NUMBER.fullmatch(cell) and ("." not in cell or "." in self.lines) and self.decimal != ",":  # nearly every one
            score = float(cell)
            if self.low <= score <= self.high:
                return (score - self.low) / (self.high - self.low), ""
        text = cell.strip()
        text = _BOOLEANS.get(text.lower(), text)
        if not isinstance(cell, (NotText, Number)):
            text = self._with_point(text, line)
        if not NUMBER.fullmatch(text) or not math.isfinite(score := float(text)):
            self.no_number += 1
            return math.nan, f"is not a finite number: write one from {self.low:g} to {self.high:g}{self._comma_hint(cell)}"
        if not self.low <= score <= self.high:
            self.outside_count += 1
            self.outside = (min(score, *self.outside), max(score, *self.outside)) if self.outside else (score, score)
            return math.nan, f"is outside SCORE_RANGE ({self.low:g} to {self.high:g}): correct the score or SCORE_RANGE"
        return (score - self.low) / (self.high - self.low), ""

    def _with_point(self, text: str, line: int) -> str:
        """The text with a decimal point; "" if it has a sign that DECIMAL excludes."""
        if "," in text and "." not in text and self.takes_comma and NUMBER.fullmatch(pointed := text.replace(",", ".")):
            self.lines.setdefault(",", (line, text))
            return pointed
        if "." in text and NUMBER.fullmatch(text):
            self.lines.setdefault(".", (line, text))
            return text if self.decimal != "," else ""
        return text

    def _comma_hint(self, cell: str) -> str:
        if "," in cell and not self.takes_comma and NUMBER.fullmatch(cell.strip().replace(",", ".")):
            return ', with a decimal point, or set DECIMAL = ","'
        return ', with a decimal comma, or set DECIMAL = "."' if self.decimal == "," and "." in cell else ""

    @property
    def sign(self) -> str:
        """The decimal sign that the file's scores have."""
        return self.decimal or ("," if "," in self.lines else ".")

    @property
    def has_both_signs(self) -> bool:
        """Whether DECIMAL is "" and both signs occur: one of them may stand for thousands."""
        return not self.decimal and len(self.lines) == 2

    @property
    def both_signs_text(self) -> str:
        (line1, comma), (line2, point) = self.lines[","], self.lines["."]
        return (
            f'The scores have a decimal comma ("{comma}" on line {line1:,}) and a decimal point ("{point}" on line {line2:,}): '
            "write all with the same sign, or set DECIMAL, which refuses the other."
        )

    def flags(self, rows: int) -> dict[str, object]:
        """The constants that would fit the scores better. rows: of the file; a few odd scores do not call for another range."""
        flags: dict[str, object] = {"DECIMAL": [",", "."]} if self.has_both_signs else {}
        if self.outside and self.outside_count > MANY * rows and max(map(abs, self.outside)) <= HIGHEST_SCALE:
            suggested = suggested_range([*self.outside, self.low], (self.low, self.high))
            flags |= {"SCORE_RANGE": suggested} if suggested else {}
        return flags


def range_warning(scores: np.ndarray, score_range: tuple[float, float], effect: str = "") -> str:
    """A warning if scores fill a small part of SCORE_RANGE only, as yes/no labels do with the range 0 to 5; else "".

    scores: (n,) from 0 to 1. effect: a clause that says what follows.
    """
    low, high = score_range
    lowest, highest = (float(low + score * (high - low)) for score in (scores.min(), scores.max()))
    suggested = suggested_range([lowest, highest], score_range)
    if suggested is None:
        return ""
    return (
        f"Warning: the scores are {lowest:g} to {highest:g}, a small part of SCORE_RANGE ({low:g} to {high:g}){effect}. "
        f"If these are the lowest and the highest score there can be, set SCORE_RANGE = ({suggested[0]:g}, {suggested[1]:g})."
        + paste_text({"SCORE_RANGE": suggested})
    )


def suggested_range(scores: Sequence[float], score_range: tuple[float, float]) -> tuple[float, float] | None:
    """The SCORE_RANGE that scores (n,) on the scale of the file probably have, if it is another one than theirs.

    >>> suggested_range([0, 1, 1], (0, 5)), suggested_range([0.5, 4.5], (0, 5)), suggested_range([1, 7], (0, 5))
    ((0, 1), None, (1, 7))
    """
    if not scores or not all(map(math.isfinite, scores)):  # 1e999 is a number as well
        return None
    lowest, highest = min(scores), max(scores)
    low, high = score_range
    if low <= lowest and highest <= high and highest - lowest > SMALL_PART * (high - low):
        return None
    usual = [(0, 1), (-1, 1), (0, 5), (1, 5), (0, 10), (0, 100)]
    fitting = [
        (first, last)
        for first, last in usual
        if first <= lowest and highest <= last and highest - lowest > LARGE_PART * (last - first)
    ]
    found = fitting[0] if fitting else (math.floor(lowest), math.ceil(highest))
    return found if found != (low, high) and found[0] < found[1] else None
