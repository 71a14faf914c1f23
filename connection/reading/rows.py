"""Streams the checked rows of a file of sentence pairs, and raises one error that lists the bad ones."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from connection import UserMistake
from connection.reading.columns import column_indices
from connection.reading.formats import open_table
from connection.reading.formats.table import BadRow, Misfit, is_empty
from connection.reading.formats.text.csv_output import Style
from connection.reading.layout import Layout
from connection.reading.row_check import RowCheck, is_no_text
from connection.text import counted

SHOWN_BAD_ROWS = 20


class PairRow(NamedTuple):
    """A valid row: its first line, its cells, its sentences, its score from 0 to 1 (0 if the layout has no score).

    negatives: its hard negatives, "" for an empty cell. label: its class.
    """

    line: int
    cells: list[str]
    sentence1: str
    sentence2: str
    score: float
    negatives: tuple[str, ...] = ()
    label: str = ""


class PairRows:
    """The rows of a file of sentence pairs, streamed: they are never all in memory.

    layout: without its score if that is not needed and the file has none. columns: a name for each cell. header: the file's
    own, None if it has none. indices: the index of each constant's column.
    Iteration raises UserMistake at its end if any row is bad; up to 20 are listed, each with file:line, column, value and
    what to do. The constructor raises UserMistake for a file that cannot be read or a missing column.
    """

    def __init__(self, path: str | Path, layout: Layout, *, keep_cells: bool = True):
        """keep_cells: also read the columns that no constant names; without it, Parquet skips them."""
        self.path = checked_path(Path(path))
        self.table = open_table(self.path, layout.reading)
        self.indices = column_indices(self.table, layout)
        has_score = "SCORE_COLUMN" in self.indices
        self.layout = layout if has_score else replace(layout, score=None)
        self.negatives = [self.indices[name] for name in layout.negative_names]
        texts = [self.indices["SENTENCE1_COLUMN"], self.indices["SENTENCE2_COLUMN"], *self.negatives]
        numbers = [self.indices[name] for name in ("SCORE_COLUMN", "LABEL_COLUMN") if name in self.indices]
        self.table.need(texts, numbers, others=keep_cells)
        self.check = RowCheck(self.layout, self.indices, self.table)
        self.header, self.columns = self.table.header, self.check.names

    def __iter__(self) -> Iterator[PairRow]:
        side1, side2 = self.indices["SENTENCE1_COLUMN"], self.indices["SENTENCE2_COLUMN"]
        label = self.indices.get("LABEL_COLUMN")
        bad: list[str] = []
        bad_count = good_count = 0
        for line, cells in self.table:
            score, problems = self.check(line, cells)
            if not problems:
                assert not isinstance(cells, BadRow)  # its reason is a problem
                good_count += 1
                negatives = tuple("" if is_no_text(cells[index]) else str(cells[index]) for index in self.negatives)
                own_label = "" if label is None else str(cells[label]).strip()
                yield PairRow(line, cells, str(cells[side1]), str(cells[side2]), score, negatives, own_label)
            elif not isinstance(cells, BadRow) and is_empty(cells):
                self.table.blank_lines += 1
            else:
                bad_count += 1
                if len(bad) < SHOWN_BAD_ROWS:
                    bad.append(f"  {self.path}:{line}  {'; '.join(problems)}")
        scores = self.check.scores
        if bad:
            raise self._bad_rows(bad, bad_count, good_count)
        if not good_count:
            raise UserMistake(f"{self.path} has no rows." if self.header is None else f"{self.path} has a header but no rows.")
        if scores.has_both_signs:
            raise Misfit(f"{self.path}: {scores.both_signs_text}", scores.flags(good_count))

    def _bad_rows(self, bad: Sequence[str], bad_count: int, good_count: int) -> Misfit:
        scores = self.check.scores
        if not good_count and scores.outside == (-1, -1) and scores.outside_count == bad_count:
            return Misfit(
                f"{self.path}: every score is -1, which marks labels that are not public (as in GLUE's test sets).",
                {} if self.layout.needs_score else {"SCORE_COLUMN": ""},  # for scoring, none is needed
            )
        *lines, total = bad_rows_lines(self.path, bad, bad_count, good_count)
        if scores.no_number == bad_count > 1 and not good_count:
            lines.append("No row has a number for its score: is SCORE_COLUMN the right column?")
        if scores.has_both_signs:
            lines.append(scores.both_signs_text)
        return Misfit("\n".join([*lines, total]), self.table.advice | scores.flags(bad_count + good_count))

    @property
    def style(self) -> Style:
        """How to write a file that belongs to this one; complete once the rows are read."""
        separator = self.table.separator if len(self.table.separator) == 1 else ","
        return Style(separator, self.check.scores.sign, self.table.has_mark)

    @property
    def notes(self) -> list[str]:
        """How the file was read and what was skipped, as phrases; complete once the rows are read."""
        table = self.table
        notes = [*table.notes, *(["decimal comma"] if self.check.scores.sign == "," else []), *table.header_notes]
        notes += [f"{counted(table.blank_lines, 'empty row')} skipped"] * bool(table.blank_lines)
        return notes + [f"{counted(self.check.long_cells, 'cell')} over several lines"] * bool(self.check.long_cells)


def bad_rows_lines(path: Path, bad: Sequence[str], bad_count: int, good_count: int) -> list[str]:
    """The lines of an error about bad rows, of which `bad` lists the first ones; the last line has their number."""
    more = [f"  … and {bad_count - len(bad):,} more"] * (bad_count > len(bad))
    total = f"{counted(bad_count, 'bad row')} of {bad_count + good_count:,}."
    return [f"{path} has rows that cannot be used:", *bad, *more, total]


def checked_path(path: Path) -> Path:
    """The resolved path of a regular file. Refuses anything else (a folder, a pipe, a device) without opening it."""
    try:
        path = path.resolve()
        kind = path.stat().st_mode
    except FileNotFoundError:
        siblings = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserMistake(f"There is no file {path}.{hint}") from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a path that is too long or invalid
        raise UserMistake(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if stat.S_ISDIR(kind):
        raise UserMistake(f"{path} is a folder; name a file of sentence pairs.")
    if not stat.S_ISREG(kind):
        raise UserMistake(f"{path} is not a regular file; name a file of sentence pairs.")
    return path
