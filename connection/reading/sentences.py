"""Streams the sentences in one column of a file: a corpus."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from connection import UserMistake
from connection.reading.columns import column_indices
from connection.reading.formats import open_table
from connection.reading.formats.table import BadRow, Misfit, Reading, Table, is_empty
from connection.reading.formats.text.csv_output import Style
from connection.reading.formats.text.plain_text import PlainText, is_plain_text
from connection.reading.layout import Layout
from connection.reading.row_check import RowCheck
from connection.reading.rows import SHOWN_BAD_ROWS, bad_rows_lines, checked_path
from connection.text import counted


@dataclass(frozen=True)
class SentenceLayout(Layout):
    """The layout of a file whose sentences are in one column, `sentence1`.

    constant: the one that names the column. A file that ends in .txt holds a sentence a line, unless its header has the column.
    """

    score: str | int | None = None
    constant: str = "CORPUS_COLUMN"

    @property
    def columns(self) -> dict[str, str | int]:
        return {self.constant: self.sentence1}

    @property
    def reading(self) -> Reading:
        return replace(super().reading, columns=(self.sentence1,))


class SentenceRows:
    """The sentences in one column of a file, streamed; `count` of them, once the rows are read.

    The constructor raises UserMistake for a file that cannot be read or a missing column, the iteration at its end for bad
    rows, as `PairRows` does; of these, up to 20 are listed.
    """

    def __init__(self, path: Path, layout: SentenceLayout):
        self.path, self.layout, self.count = checked_path(path), layout, 0
        self.table = self._open()
        try:
            indices = column_indices(self.table, layout)
        except Misfit as misfit:
            raise Misfit(misfit.text, misfit.flags | self._likely_column(layout)) from None
        self.index = indices[layout.constant]
        self.table.need([self.index], [], others=False)
        self.check = RowCheck(layout, indices, self.table)

    def _open(self) -> Table:
        column, encoding = self.layout.sentence1, self.layout.encoding
        if is_plain_text(self.path, column, encoding):
            return PlainText(self.path, str(column), encoding)
        return open_table(self.path, self.layout.reading)

    def _likely_column(self, layout: SentenceLayout) -> dict[str, object]:
        """The flag of a column with a similar name, or of the only one, whose name may be the first sentence."""
        header = self.table.header or []
        near = difflib.get_close_matches(str(layout.sentence1), header, n=1)
        if near:
            return {layout.constant: near[0]}
        return {layout.constant: [header[0], 1]} if len(header) == 1 else {}

    def __iter__(self) -> Iterator[str]:
        bad: list[str] = []
        bad_count = self.count = 0
        for line, cells in self.table:
            _, problems = self.check(line, cells)
            if problems and not isinstance(cells, BadRow) and is_empty(cells):
                self.table.blank_lines += 1
            elif problems:
                bad_count += 1
                if len(bad) < SHOWN_BAD_ROWS:
                    bad.append(f"  {self.path}:{line}  {'; '.join(problems)}")
            else:
                self.count += 1
                yield str(cells[self.index])
        if bad:
            raise Misfit("\n".join(bad_rows_lines(self.path, bad, bad_count, self.count)), self.table.advice)
        if not self.count:
            raise UserMistake(f"{self.path} has no sentences.")

    @property
    def style(self) -> Style:
        """How to write a file that belongs to this one; complete once the rows are read."""
        separator = self.table.separator if len(self.table.separator) == 1 else ","
        return Style(separator, self.check.scores.sign, self.table.has_mark)

    @property
    def notes(self) -> list[str]:
        """How the file was read and what was skipped, as phrases; complete once the rows are read."""
        table = self.table
        skipped = [f"{counted(table.blank_lines, 'empty row')} skipped"] * bool(table.blank_lines)
        return [*table.notes, *table.header_notes, *skipped]
