"""The constants that describe the layout of a file of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from connection.reading.formats.table import Reading
from connection.script.settings import Settings


@dataclass(frozen=True)
class Layout:
    """How to read a file of pairs: the columns, the scale of the scores, and the text format.

    sentence1, sentence2, score: the columns, each a name from the header or, for a file without a header, a number counting
    from 1. score is None for files without scores. The other fields are the constants of the same names.
    """

    sentence1: str | int = "sentence1"
    sentence2: str | int = "sentence2"
    score: str | int | None = "score"
    score_range: tuple[float, float] = (0, 5)
    separator: str = ""
    quoting: bool = True
    encoding: str = "utf-8"

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        """The layout given by a script's constants."""
        columns = (settings.SENTENCE1_COLUMN, settings.SENTENCE2_COLUMN, settings.SCORE_COLUMN or None)
        return cls(*columns, settings.SCORE_RANGE, settings.SEPARATOR, settings.QUOTING, settings.ENCODING)

    @property
    def columns(self) -> dict[str, str | int]:
        """The column of each constant that names one."""
        named = {"SENTENCE1_COLUMN": self.sentence1, "SENTENCE2_COLUMN": self.sentence2}
        return named if self.score is None else named | {"SCORE_COLUMN": self.score}

    @property
    def reading(self) -> Reading:
        """The part that a file format needs."""
        return Reading(self.has_header, self.separator, self.quoting, self.encoding)

    @property
    def has_header(self) -> bool:
        """Whether the file has a header: a column given by its name needs one."""
        return any(isinstance(column, str) for column in self.columns.values())
