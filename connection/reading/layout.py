"""The constants that say how a file of pairs is to be read."""

from __future__ import annotations

from dataclasses import dataclass

from connection.reading.table import Reading
from connection.script.settings import Settings


@dataclass(frozen=True)
class Layout:
    """How a file of pairs is to be read; each field is the constant of the same name.

    A column is a name from the header, or a number counting from 1 for a file that has none.
    `score` may be None: then the file needs no scores.
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
        """The layout that the constants of a script say."""
        columns = (settings.SENTENCE1_COLUMN, settings.SENTENCE2_COLUMN, settings.SCORE_COLUMN or None)
        return cls(*columns, settings.SCORE_RANGE, settings.SEPARATOR, settings.QUOTING, settings.ENCODING)

    @property
    def columns(self) -> dict[str, str | int]:
        """The constants that name a column, with what they name."""
        named = {"SENTENCE1_COLUMN": self.sentence1, "SENTENCE2_COLUMN": self.sentence2}
        return named if self.score is None else named | {"SCORE_COLUMN": self.score}

    @property
    def reading(self) -> Reading:
        """What of this a file format needs to know."""
        return Reading(self.has_header, self.separator, self.quoting, self.encoding)

    @property
    def has_header(self) -> bool:
        return any(isinstance(column, str) for column in self.columns.values())
