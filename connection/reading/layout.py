"""The constants that describe the layout of a file of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from connection.reading.formats.table import Reading
from connection.script.settings import Settings


@dataclass(frozen=True)
class Layout:
    """How to read a file of pairs: the columns, the scale of the scores, and how it is written.

    sentence1, sentence2, score: the columns, each a name from the header or, for a file without a header, a number counting
    from 1. score is None for files without scores. needs_score: whether a file with a header must have the score's column.
    The other fields are the constants of the same names; "" is detected.
    """

    sentence1: str | int = "sentence1"
    sentence2: str | int = "sentence2"
    score: str | int | None = "score"
    score_range: tuple[float, float] = (0, 5)
    separator: str = ""
    quoting: bool = True
    encoding: str = ""
    decimal: str = ""
    sheet: str = ""
    needs_score: bool = True

    @classmethod
    def of(cls, settings: Settings, *, needs_score: bool = True) -> Layout:
        """The layout given by a script's constants."""
        return cls(
            sentence1=settings.SENTENCE1_COLUMN,
            sentence2=settings.SENTENCE2_COLUMN,
            score=settings.SCORE_COLUMN or None,
            score_range=settings.SCORE_RANGE,
            separator=settings.SEPARATOR,
            quoting=settings.QUOTING,
            encoding=settings.ENCODING,
            decimal=settings.DECIMAL,
            sheet=settings.SHEET,
            needs_score=needs_score,
        )

    @property
    def columns(self) -> dict[str, str | int]:
        """The column of each constant that names one."""
        named = {"SENTENCE1_COLUMN": self.sentence1, "SENTENCE2_COLUMN": self.sentence2}
        return named if self.score is None else named | {"SCORE_COLUMN": self.score}

    @property
    def reading(self) -> Reading:
        """The part that a file format needs."""
        return Reading(
            columns=(self.sentence1, self.sentence2),
            score=self.score,
            needs_score=self.needs_score,
            separator=self.separator,
            quoting=self.quoting,
            encoding=self.encoding,
            decimal=self.decimal,
            sheet=self.sheet,
        )
