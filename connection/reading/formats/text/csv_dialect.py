"""How the cells of a CSV file are divided and quoted, and the records of such a file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from connection import UserMistake
from connection.reading.formats.text.text_lines import LONGEST_ROW

# Stands for a separator of several characters while Python's csv module, which knows single ones only, reads a line. It is
# a noncharacter, which no text contains.
_STAND_IN = "\ufdd0"
_ESCAPED = re.compile(r'\\(["\\])')


@dataclass(frozen=True)
class Dialect:
    """separator: the text between cells, of one or more characters. quoting: whether double quotes enclose a cell.

    escapes: a quote within a cell is written `\\"`, and a backslash `\\\\`, instead of `""`. skips_blanks: blanks between a
    separator and an opening quote do not belong to the cell.
    """

    separator: str
    quoting: bool = True
    escapes: bool = False
    skips_blanks: bool = False

    @property
    def notes(self) -> list[str]:
        """What is told of the dialect."""
        notes = [f"separated by {'a tab' if self.separator == chr(9) else repr(self.separator)}"]
        notes += [r"with quotes written as \""] * self.escapes
        return notes + ["blanks before quotes left out"] * self.skips_blanks


class Records:
    """The records of a CSV file, iterated as (first line, cells). `begin` is the first line of the one that is being read.

    Iteration raises csv.Error for quotes that are not balanced and for a noncharacter beside a separator of several
    characters, and UserMistake for a record of more than LONGEST_ROW characters.
    """

    def __init__(self, lines: Iterable[str], dialect: Dialect, name: str):
        """lines: with their line ends. name: of the file, for messages."""
        self.dialect, self.name = dialect, name
        self.begin = 1
        self._length = 0  # characters of this record so far
        self._lines = iter(lines)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(LONGEST_ROW)
        separator = self.dialect.separator
        reader = csv.reader(
            self._prepared(),
            delimiter=separator if len(separator) == 1 else _STAND_IN,
            quoting=csv.QUOTE_MINIMAL if self.dialect.quoting else csv.QUOTE_NONE,
            skipinitialspace=self.dialect.skips_blanks,
            strict=True,
        )
        for cells in reader:
            if len(separator) > 1:
                cells = [cell.replace(_STAND_IN, separator) for cell in cells]  # those within quotes
            yield self.begin, cells
            self.begin, self._length = reader.line_num + 1, 0

    def _prepared(self) -> Iterator[str]:
        """The lines as Python's csv module can read them: `\\"` as `""`, a separator of several characters as one."""
        separator = self.dialect.separator
        for line in self._lines:
            self._length += len(line)
            if self._length > LONGEST_ROW:
                raise UserMistake(
                    f"{self.name}:{self.begin}  the row that begins here is longer than {LONGEST_ROW:,} characters: probably "
                    "a double quote is not closed."
                )
            if self.dialect.escapes and "\\" in line:
                line = _ESCAPED.sub(_unescaped, line)
            if len(separator) > 1:
                if _STAND_IN in line:
                    raise csv.Error("the noncharacter U+FDD0")
                line = line.replace(separator, _STAND_IN)
            yield line


def _unescaped(match: re.Match[str]) -> str:
    return '""' if match[1] == '"' else "\\"
