"""The interface of a file format: a table that yields rows of cells.

The module of a format has `open_file(path, reading) → Table`, and `BINARY = True` if its files are not text. `__init__.py`
lists the formats.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from connection import UserMistake
from connection.script.kinds import MOST_COLUMNS
from connection.script.settings import flag_of

DAMAGED = re.compile("[\0\ud800-\udfff]")  # NUL, and lone surrogates, which cannot be encoded
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# A character that is visible in print: not a blank, a control character, a zero-width character or a filler.
VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u115f\u1160\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)


@dataclass(frozen=True)
class Reading:
    """How to read a file: the columns to find, and the constants of the same names, "" if the value is to be detected.

    columns: the columns that are needed, each a name or a number counting from 1. score: the one of the score, which a file
    that is read by names may lack if `needs_score` is False; None if no score is wanted.
    """

    columns: tuple[str | int, ...] = ()
    score: str | int | None = None
    needs_score: bool = True
    separator: str = ""
    quoting: bool = True
    encoding: str = ""
    decimal: str = ""
    sheet: str = ""

    @property
    def wanted(self) -> list[str | int]:
        """All columns, the one of the score last."""
        return [*self.columns, *([] if self.score is None else [self.score])]

    @property
    def needed(self) -> list[str | int]:
        """The columns without which a row cannot be read."""
        return self.wanted if self.needs_score else list(self.columns)

    @property
    def by_name(self) -> bool:
        """Whether a column is given by its name, which needs a header."""
        return any(isinstance(column, str) for column in self.wanted)


class Misfit(UserMistake):
    """A file that the constants do not fit. flags: the constants that would, and their values; the message ends with them as
    flags to paste. A list stands for values to choose from."""

    def __init__(self, text: str, flags: Mapping[str, object]):
        super().__init__(text + paste_text(flags))
        self.text, self.flags = text, dict(flags)


def paste_text(flags: Mapping[str, object]) -> str:
    """The flags that set constants, on a line of their own; nothing if there are none or if a shell would misread one.

    >>> paste_text({"SENTENCE1_COLUMN": "my text", "QUOTING": False, "SCORE_RANGE": (0, 1), "DEV_FILE": ""})
    '\\nPaste: --sentence1-column="my text" --no-quoting --score-range 0 1 --dev-file='
    """
    words = [_flag_text(name, value) for name, value in flags.items()]
    return "\nPaste: " + " ".join(words) if words and all(words) else ""


def _flag_text(name: str, value: object) -> str:
    flag = flag_of(name)
    if isinstance(value, bool):
        return flag if value else flag.replace("--", "--no-", 1)
    if isinstance(value, tuple):
        return f"{flag} {' '.join(f'{number:g}' for number in value)}"
    if isinstance(value, list):
        return " or ".join(_flag_text(name, each) for each in value)
    text = "\\t" if value == "\t" else str(value)
    if re.search(r"[\"$`%!^\n]|\\(?!t$)", text):
        return ""
    return f"{flag}={text}" if re.fullmatch(r"[\w.:/-]*", text) else f'{flag}="{text}"'


class NotText(str):
    """A cell of a typed file (JSON, Parquet, Arrow) that is not text but a number, true, false, null or a list, as JSON."""


class Number(str):
    """A cell that a workbook holds as a number: the digits that a person sees, with a decimal point. It is text as well."""


class BadRow(str):
    """Stands for a row that cannot be split into cells. Its text is the reason."""


class Table:
    """A file's rows, iterated as (line, cells). Counts `ignored_cells` and `blank_lines` while they are read.

    header: the names of the columns; None if the file has none. separator: the text between cells; "" in typed files and
    workbooks. encoding: of a text file, as Python names it. has_mark: whether a spreadsheet needs a byte order mark to
    recognise what it wrote. sheet: of a workbook. notes, header_notes: how the file and its header were read, as phrases for
    the user. nested: dotted names of values within objects. advice: constants that would fit better than the given ones.
    """

    separator = ""
    encoding = ""
    has_mark = False
    sheet = ""

    def __init__(self, path: Path, header: list[str] | None):
        self.path, self.header = path, header
        self.ignored_cells = 0
        self.blank_lines = 0
        self.notes: list[str] = []
        self.header_notes: list[str] = []
        self.nested: list[str] = []
        self.advice: dict[str, object] = {}
        if header is not None:
            self._check_header(header)

    def _check_header(self, header: list[str]) -> None:
        if len(header) > MOST_COLUMNS:
            raise UserMistake(f"{self.path} has {len(header):,} columns; at most {MOST_COLUMNS:,} can be read.")
        if any(DAMAGED.search(name) for name in header):
            raise UserMistake(
                f"{self.path}: its header contains a character that is not text: the file is damaged, or ENCODING is wrong."
            )

    def need(self, texts: Collection[int], numbers: Collection[int], *, others: bool) -> None:
        """Declare the indices of the columns that will be read as text and as numbers. others: the rest will be read too.

        Does nothing here. A typed format may skip the other columns, and raises UserMistake for a column of another type.
        """

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        raise NotImplementedError


def is_empty(cells: Sequence[str]) -> bool:
    """Whether a row has no visible cell, such as the rows below a table that a spreadsheet saves as `;;;`."""
    return not any(map(VISIBLE.search, cells))
