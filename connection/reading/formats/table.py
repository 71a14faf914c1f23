"""The interface of a file format: a table that yields rows of cells.

The module of a format has `open_file(path, reading) → Table`, and `BINARY = True` if its files are not text. `formats.py`
lists the formats.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from connection import UserMistake
from connection.script.kinds import MOST_COLUMNS

DAMAGED = re.compile("[\0\ud800-\udfff]")  # NUL, and lone surrogates, which cannot be encoded
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Reading:
    """How to read a file: whether it has a header, and the constants SEPARATOR, QUOTING and ENCODING."""

    has_header: bool
    separator: str = ""
    quoting: bool = True
    encoding: str = "utf-8"


class NotText(str):
    """A cell of a typed file (JSON Lines, Parquet) that is not text but a number, true, false, null or a list, as JSON."""


class BadRow(str):
    """Stands for a row that cannot be split into cells. Its text is the reason."""


class Table:
    """A file's rows, iterated as (line, cells). Counts `ignored_cells` and `blank_lines` while they are read.

    header: the names of the columns; None if the file has none. separator: the character between cells; "" in typed files.
    """

    separator = ""

    def __init__(self, path: Path, header: list[str] | None):
        self.path, self.header = path, header
        self.ignored_cells = 0
        self.blank_lines = 0
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
