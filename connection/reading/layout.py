"""The constants that describe the layout of a file of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from connection import UserMistake
from connection.reading.formats.table import Reading
from connection.reading.shape import Shape
from connection.script.settings import Settings

SCORE_DEFAULT = "score"  # SCORE_COLUMN as it is shipped: with a class, nobody means it


@dataclass(frozen=True)
class Layout:
    """How to read a file of pairs: the columns, the scale of the scores, and how it is written.

    sentence1, sentence2, score: the columns, each a name from the header or, for a file without a header, a number counting
    from 1. score is None for files without scores. needs_score: whether a file with a header must have the score's column.
    negatives: the columns of hard negatives. label: the column of the class, or None; with one, score is None.
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
    negatives: tuple[str | int, ...] = ()
    label: str | int | None = None

    @classmethod
    def of(cls, settings: Settings, *, needs_score: bool = True) -> Layout:
        """The layout given by a script's constants. The script may lack NEGATIVE_COLUMNS.

        Raises UserMistake if columns are named that no file of pairs has together.
        """
        negatives = settings.NEGATIVE_COLUMNS if "NEGATIVE_COLUMNS" in vars(settings) else ()
        label = settings.LABEL_COLUMN or None
        score = settings.SCORE_COLUMN or None
        if label is not None and score == SCORE_DEFAULT:
            score = None
        if label is not None and (score is not None or negatives):
            other = "NEGATIVE_COLUMNS" if negatives else f'SCORE_COLUMN ("{score}")'
            raise UserMistake(
                f'LABEL_COLUMN ("{label}") and {other} are both set, but a row has a class, a score or negatives: '
                "empty all but one of them."
            )
        if negatives and score is not None:
            raise UserMistake(
                f'NEGATIVE_COLUMNS are set, and SCORE_COLUMN is "{score}": rows with negatives are learned without a score. '
                'Set SCORE_COLUMN = "" (--score-column=), or NEGATIVE_COLUMNS = ().'
            )
        return cls(
            sentence1=settings.SENTENCE1_COLUMN,
            sentence2=settings.SENTENCE2_COLUMN,
            score=score,
            score_range=settings.SCORE_RANGE,
            separator=settings.SEPARATOR,
            quoting=settings.QUOTING,
            encoding=settings.ENCODING,
            decimal=settings.DECIMAL,
            sheet=settings.SHEET,
            needs_score=needs_score,
            negatives=negatives,
            label=label,
        )

    @property
    def shape(self) -> Shape:
        """The kind of pairs that training reads by this layout."""
        if self.label is not None:
            return Shape.CLASSES
        if self.negatives:
            return Shape.NEGATIVES
        return Shape.TOGETHER if self.score is None else Shape.SCORED

    @property
    def columns(self) -> dict[str, str | int]:
        """The column of each constant that names one; of several negatives, "NEGATIVE_COLUMNS[0]" and so on."""
        named = {"SENTENCE1_COLUMN": self.sentence1, "SENTENCE2_COLUMN": self.sentence2}
        if self.score is not None:
            named["SCORE_COLUMN"] = self.score
        if self.label is not None:
            named["LABEL_COLUMN"] = self.label
        return named | dict(zip(self.negative_names, self.negatives, strict=True))

    @property
    def negative_names(self) -> list[str]:
        """What `columns` calls the columns of the negatives."""
        count = len(self.negatives)
        return ["NEGATIVE_COLUMNS"] if count == 1 else [f"NEGATIVE_COLUMNS[{number}]" for number in range(count)]

    @property
    def reading(self) -> Reading:
        """The part that a file format needs."""
        return Reading(
            columns=(self.sentence1, self.sentence2, *self.negatives, *([] if self.label is None else [self.label])),
            score=self.score,
            needs_score=self.needs_score,
            separator=self.separator,
            quoting=self.quoting,
            encoding=self.encoding,
            decimal=self.decimal,
            sheet=self.sheet,
        )
