"""What every file format hands over: rows of cells, one after the other.

A format's module has `open_file(path, reading) → Table`, and `BINARY = True` where its files are no text (`formats.py` lists
the formats).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from connection import UserMistake
from connection.script.kinds import MOST_COLUMNS

DAMAGED = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of surrogate pairs, which no file can be written with
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Reading:
    """What a person says of a file: whether it has a header, and the constants SEPARATOR, QUOTING and ENCODING."""

    has_header: bool
    separator: str = ""
    quoting: bool = True
    encoding: str = "utf-8"


class NotText(str):
    """A cell of a typed file that holds no text but a number, true, false, nothing or a list, as it would be written."""


class BadRow(str):
    """In the place of a row's cells: what is wrong with it, where cells cannot be told."""


class Table:
    """A file's rows as (line, cells). What is counted while they are read: `ignored_cells` and `blank_lines`.

    header: the columns' names; None if the file has none. separator: the character between cells; "" in typed files.
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
                f"{self.path}: its header holds a character that no text has: the file is damaged, or its ENCODING is another."
            )

    def need(self, texts: Collection[int], numbers: Collection[int], *, others: bool) -> None:
        """Say which places will be looked at, as text and as numbers; others: all the rest too. The type may not fit."""

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        raise NotImplementedError
