"""Finds the columns that the constants name, and says which ones a file has where they are missing."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from connection import UserMistake
from connection.reading.formats.table import NUMBER, VISIBLE, BadRow, Misfit, Table
from connection.reading.layout import Layout
from connection.reading.row_check import shown
from connection.reading.scores import suggested_range

SHOWN_COLUMNS = 20
SAMPLE_ROWS = 200


def column_indices(table: Table, layout: Layout) -> dict[str, int]:
    """The index of each constant's column in a row. A score that need not be there may be missing from the result.

    Raises Misfit for columns that are missing or ambiguous, with the flags that name likely ones.
    """
    if table.header is None:
        _check_numbers(table, layout)
        return _different({name: column - 1 for name, column in layout.columns.items() if isinstance(column, int)}, layout)
    header = table.header
    if layout.score is not None and not layout.needs_score and str(layout.score) not in header:
        columns = {name: column for name, column in layout.columns.items() if name != "SCORE_COLUMN"}
    else:
        columns = layout.columns
    for constant, column in columns.items():
        if isinstance(column, int) and str(column) not in header:
            raise UserMistake(
                f"{constant} is the column number {column}, but {table.path} is read by column names. Give all columns by "
                "name, or all by number for a file without a header."
            )
        if header.count(str(column)) > 1:
            raise UserMistake(
                f'{table.path} has the column "{column}" ({constant}) more than once: {_listed(header)}. Rename all but one.'
            )
    missing = [constant for constant, column in columns.items() if str(column) not in header]
    if missing:
        raise _missing(table, header, layout, missing)
    return _different({constant: header.index(str(column)) for constant, column in columns.items()}, layout)


def _check_numbers(table: Table, layout: Layout) -> None:
    """Raise UserMistake for the number 0: it can only be a name, as pandas writes them, and here it is none."""
    for constant, column in layout.columns.items():
        if column == 0:
            raise UserMistake(
                f"{constant} is 0, but columns are counted from 1, and the first row of {table.path} does not have the numbers "
                "of all columns as their names."
            )


def _different(indices: dict[str, int], layout: Layout) -> dict[str, int]:
    for index in indices.values():
        same = [constant for constant, other in indices.items() if other == index]
        if len(same) > 1:
            raise UserMistake(f'{" and ".join(same)} name the same column, "{layout.columns[same[0]]}".')
    return indices


def _missing(table: Table, header: Sequence[str], layout: Layout, missing: Sequence[str]) -> Misfit:
    """The error for missing columns: all of them, how the file was read, its columns, and the flags that would fit."""
    columns = layout.columns
    *others, last = (f'"{columns[constant]}" ({constant})' for constant in missing)
    named = f"{', '.join(others)} or {last}" if others else last
    read = ", ".join([*table.notes, *table.header_notes])
    text = f"{table.path} has no column {named}; its columns: {_listed([*header, *table.nested])}."
    text += f"\nRead as {read}." * bool(read)
    columns_found = _columns(table, header, layout, missing)
    if any(column.is_number for column in columns_found if column.numbers):
        suggested = _by_number(columns_found, layout)
        text += "\nIts first row seems to be a pair, so the file has no header: give all columns by number, counting from 1."
    else:
        suggested = _by_name(columns_found, layout, missing)
    if not suggested and not table.advice:
        text += "\n" + _advice(header, layout, missing)
    if suggested.get("SCORE_COLUMN") == "":
        text += "\nWithout a score, the sentences of each row are learned as belonging together."
    return Misfit(text, table.advice | suggested)


def _advice(header: Sequence[str], layout: Layout, missing: Sequence[str]) -> str:
    """What to do where no column can be suggested as a flag."""
    taken = {str(column) for constant, column in layout.columns.items() if constant not in missing}
    free = [name for name in header if name not in taken]
    near = difflib.get_close_matches(str(layout.columns[missing[0]]), free, n=1)
    if near:
        return f'Did you mean "{shown(near[0])}"?'
    if len(header) < len(layout.columns):
        return f"{len(layout.columns)} columns are needed: {', '.join(layout.columns)}."
    return f"Set {missing[0]} to one of them, or to a number counting from 1 if the file has no header."


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(f'"{shown(name)}"' for name in names[:SHOWN_COLUMNS]) or "none"
    return listed + f" … ({len(names):,})" * (len(names) > SHOWN_COLUMNS)


@dataclass(frozen=True)
class _Column:
    """What the first rows have in a column. numbers: None if a cell is no number. length: the mean one of its texts."""

    index: int
    name: str
    numbers: list[float] | None
    length: float

    @property
    def is_number(self) -> bool:
        """Whether its name is a number, as in a file without a header."""
        return bool(NUMBER.fullmatch(self.name.replace(",", ".")))


def _columns(table: Table, header: Sequence[str], layout: Layout, missing: Sequence[str]) -> list[_Column]:
    """The columns of a file that no constant names, with what their first rows hold."""
    try:
        rows = [cells for _, cells in itertools.islice(table, SAMPLE_ROWS) if not isinstance(cells, BadRow)]
    except UserMistake:
        rows = []
    taken = {str(column) for constant, column in layout.columns.items() if constant not in missing}
    return [
        _column(index, name, [row[index] for row in rows if index < len(row)])
        for index, name in enumerate(header)
        if name.isprintable() and name and name not in taken
    ]


def _by_name(columns: Sequence[_Column], layout: Layout, missing: Sequence[str]) -> dict[str, object]:
    """Values for the constants of missing columns: a near name, else by what the columns hold; none where that is unclear."""
    found: dict[str, object] = {}
    texts = [column for column in columns if column.numbers is None]
    numbers = [column for column in columns if column.numbers]
    for constant in missing:
        if constant not in ("SENTENCE1_COLUMN", "SENTENCE2_COLUMN", "SCORE_COLUMN"):
            return {}  # what holds classes or negatives cannot be told from the other columns
        pool = [column.name for column in (numbers if constant == "SCORE_COLUMN" else texts)]
        free = [name for name in pool if name not in found.values()]
        near = difflib.get_close_matches(str(layout.columns[constant]), free, n=1)
        if near:
            found[constant] = near[0]
    _guess_sentences(found, [column for column in texts if column.name not in found.values()], missing)
    if "SCORE_COLUMN" in missing:
        _guess_score(found, numbers, layout)
    return found if all(constant in found for constant in missing) else {}


def _by_number(columns: Sequence[_Column], layout: Layout) -> dict[str, object]:
    """The numbers of the columns of a file without a header, if its columns are clear."""
    found = _by_name(columns, layout, [*layout.columns])
    number = {column.name: str(column.index + 1) for column in columns}
    named = {constant for constant, name in found.items() if constant in layout.columns and name != ""}  # "": no score
    return {constant: number[str(name)] if constant in named else name for constant, name in found.items()}


def _column(index: int, name: str, cells: Sequence[str]) -> _Column:
    filled = [cell.strip() for cell in cells if VISIBLE.search(cell)]
    as_points = [cell.replace(",", ".") for cell in filled]
    are_numbers = bool(filled) and all(map(NUMBER.fullmatch, as_points))
    numbers = [float(cell) for cell in as_points] if are_numbers else None
    return _Column(index, name, numbers, sum(map(len, filled)) / len(filled) if filled else 0)


def _guess_sentences(found: dict[str, object], texts: Sequence[_Column], missing: Sequence[str]) -> None:
    """The columns with the longest texts, in the order of the file, if as many are clear as are missing."""
    open_ones = [constant for constant in missing if constant != "SCORE_COLUMN" and constant not in found]
    longest = sorted(texts, key=lambda column: -column.length)
    chosen = longest[: len(open_ones)]
    others = longest[len(open_ones) :]
    if len(chosen) < len(open_ones) or (chosen and others and others[0].length > 0.75 * chosen[-1].length):
        return
    found.update(zip(open_ones, [column.name for column in texts if column in chosen], strict=True))


def _guess_score(found: dict[str, object], numbers: Sequence[_Column], layout: Layout) -> None:
    """The only column of numbers that does not just count the rows, and the range of its numbers; "" if there is none."""
    likely = [column for column in numbers if len(set(column.numbers or [])) > 1 and not _counts(column.numbers or [])]
    if "SCORE_COLUMN" not in found:
        if not likely:
            found["SCORE_COLUMN"] = ""
            return
        if len(likely) != 1:
            return
        found["SCORE_COLUMN"] = likely[0].name
    scores = next(column.numbers for column in numbers if column.name == found["SCORE_COLUMN"])
    suggested = suggested_range(scores or [], layout.score_range)
    if suggested:
        found["SCORE_RANGE"] = suggested


def _counts(numbers: Sequence[float]) -> bool:
    """Whether numbers are those of rows: each is one more than the one before."""
    return len(numbers) > 2 and all(after - before == 1 for before, after in itertools.pairwise(numbers))
