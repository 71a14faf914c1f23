"""Reads plain text as a table of one column: a sentence a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from connection.reading.formats.table import Table
from connection.reading.formats.text.encodings import encoding_text, find_encoding, is_unicode
from connection.reading.formats.text.text_lines import read_lines

ENDING = ".txt"


class PlainText(Table):
    """The lines of a file, each a row with one cell; empty ones are skipped. column: the name of the only column."""

    def __init__(self, path: Path, column: str, encoding: str):
        super().__init__(path, [column])
        found = find_encoding(path, encoding)
        self.encoding, self.has_mark = found.name, found.has_mark or not is_unicode(found)
        self.notes = [encoding_text(found), "a sentence a line"]

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for line, text in enumerate(read_lines(self.path, self.encoding, newline=""), 1):
            text = text.strip("\r\n")
            if text.strip():
                yield line, [text]
            else:
                self.blank_lines += 1


def is_plain_text(path: Path, column: str | int, encoding: str) -> bool:
    """Whether a file is plain text: it ends in .txt, and its first line is no header with this column."""
    if path.suffix.lower() != ENDING or isinstance(column, int):
        return False
    first = next(read_lines(path, find_encoding(path, encoding).name, newline=""), "")
    cells = [cell.strip().strip('"') for cell in re.split(r"[\t,;|]", first)]
    return len(cells) < 2 or column not in cells
