"""Reads CSV and TSV as rows of cells."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from connection import UserMistake
from connection.reading.formats.table import Misfit, Reading, Table, is_empty
from connection.reading.formats.text.csv_dialect import Records
from connection.reading.formats.text.csv_look import fit, look
from connection.reading.formats.text.csv_output import OUR_COLUMNS, without_guard
from connection.reading.formats.text.encodings import encoding_text, find_encoding, is_unicode
from connection.reading.formats.text.text_lines import read_lines
from connection.script.kinds import MOST_COLUMNS


def open_file(path: Path, reading: Reading) -> CsvTable:
    return CsvTable(path, reading)


class CsvTable(Table):
    """CSV or TSV. Rows of any width are returned; `RowCheck` judges them. Guards before formulas are removed in files that this
    project wrote; in other files a `'` belongs to the text."""

    def __init__(self, path: Path, reading: Reading):
        super().__init__(path, None)
        self._reading = reading
        found = find_encoding(path, reading.encoding)
        self.encoding, self.has_mark = found.name, found.has_mark or not is_unicode(found)
        self._look = look(path, found.name, reading)
        self.separator, self.advice = self._look.dialect.separator, self._look.advice
        self.notes = [encoding_text(found), *self._look.dialect.notes]
        header = self._look.header
        if header.names == []:
            raise UserMistake(f"{path} is empty: a header and rows of pairs are needed.")
        self._is_ours = header.names is not None and not OUR_COLUMNS.isdisjoint(header.names)
        if header.names is not None:
            names = [without_guard(name) if self._is_ours else name for name in header.names]
            self._check_header(names)
            self.header, self.header_notes = names, header.notes

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        most = MOST_COLUMNS if self.header is None else len(self.header)
        for line, cells in self._records():
            if len(cells) > most and is_empty(cells[most:]):
                del cells[most:]
            if not any(cells) or (len(cells) == 1 and is_empty(cells)):
                self.blank_lines += 1
            elif self._is_ours:
                yield line, [without_guard(cell) for cell in cells]
            else:
                yield line, cells

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """The records below the header."""
        header, skipped = self._look.header, self._look.skipped
        lines = read_lines(self.path, self.encoding, newline="")
        for _ in range(skipped):
            next(lines)
        records = Records(lines, self._look.dialect, str(self.path))
        try:
            stream = iter(records)
            if header.names is not None:
                above = [cells for _, cells in itertools.islice(stream, header.above + 1)]
                self.blank_lines += sum(map(is_empty, above))
            if not skipped:
                yield from stream
            for line, cells in stream:
                yield line + skipped, cells
        except csv.Error as error:
            raise self._unbalanced(records.begin + skipped, error) from None

    def _unbalanced(self, line: int, error: csv.Error) -> UserMistake:
        if "NUL" in str(error):  # Python 3.10; later versions return the character, and `RowCheck` reports it
            return UserMistake(f"{self.path}:{line}  the row contains a NUL character: it is damaged, or ENCODING is wrong.")
        if "U+FDD0" in str(error):
            return UserMistake(f"{self.path}:{line}  the row contains {error}: it is damaged.")
        text = (
            f"{self.path}:{line}  the double quotes of the row that begins here are not balanced ({error}). Close the quote, "
            "double a quote that belongs to the text, or set QUOTING = False if quotes have no special meaning in this file."
        )
        without = replace(self._look.dialect, quoting=False, escapes=False, skips_blanks=False)
        lines = read_lines(self.path, self.encoding, newline="")
        is_clean = fit(lines, without, self._reading, str(self.path), is_whole=True, line=0).clean
        return Misfit(text, self.advice | ({"QUOTING": False} if is_clean else {}))
