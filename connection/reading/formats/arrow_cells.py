"""What Parquet and Arrow share: columns of an Arrow schema, nested ones by dotted names, and their values as cells."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.table import BadRow, NotText, Reading, Table
from connection.reading.formats.text.text_lines import LONGEST_ROW
from connection.reading.formats.typed import DEEPEST, MOST_NESTED, number_notes, splits, wanted_dotted
from connection.script.requirements import is_installed, missing_extra

MOST_ROWS = 50_000_000  # a file of a few kilobytes can contain, or claim, any number of rows
MOST_BYTES = 4_000_000_000  # of one group of rows, uncompressed
ROWS_AT_ONCE = 4096


class ColumnTable(Table):
    """A table that pyarrow reads, column by column. The line of a row is its number, counting from 1. Only the columns that are
    needed are read."""

    header: list[str]
    kind = ""  # what the user calls the format

    def __init__(self, path: Path):
        if not is_installed("pyarrow"):
            raise missing_extra(f"{path} is {self.kind}, which needs pyarrow.")
        super().__init__(path, None)

    def take_schema(self, schema: Any, reading: Reading) -> None:
        """Set the columns."""
        self._columns = columns_of(schema, reading)
        self.nested = nested_names(schema)
        self.header = [column.name for column in self._columns]
        self.header_notes = number_notes(reading, schema.names)
        self._check_header(self.header)
        self._needed: list[int] = list(range(len(self.header)))

    def need(self, texts: Collection[int], numbers: Collection[int], *, others: bool) -> None:
        check_kinds(self.path, self._columns, texts, numbers)
        if not others:
            self._needed = sorted({*texts, *numbers})

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        line = 0
        try:
            for columns in self.parts():
                for row in zip(*columns, strict=True):
                    line += 1
                    yield line, cells_of(row)
        except Exception as error:
            raise self.unreadable(error) from None
        self.check_count(line)

    def parts(self) -> Iterator[list[list[Any]]]:
        """The columns of some rows at a time, a list of values each; columns that are not needed are empty texts."""
        raise NotImplementedError

    def check_count(self, rows: int) -> None:
        """Raise UserMistake if the file says that it has another number of rows than were read."""

    def columns_in(self, length: int, top: Callable[[int], Any]) -> list[list[Any]]:
        """The columns of a part. length: its rows. top: the index of a column → its array in this part."""
        columns: list[list[Any]] = [[""] * length] * len(self.header)
        for index in self._needed:
            column = self._columns[index]
            columns[index] = column.values(top(column.top))
        return columns

    @property
    def tops(self) -> list[int]:
        """The indices of the file's columns that are needed."""
        return sorted({self._columns[index].top for index in self._needed})

    def unreadable(self, error: Exception) -> UserMistake:
        """pyarrow's errors, of its own kinds and of Python's, for a damaged file."""
        if isinstance(error, UserMistake):
            return error
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        return UserMistake(f"{self.path} cannot be read as {self.kind}: {reason}.")


@dataclass(frozen=True)
class Column:
    """A column of a file, or a field in one. top: the index of the column. path: the indices of the fields. kind: its type."""

    name: str
    top: int
    path: tuple[int, ...]
    kind: Any

    def values(self, array: Any) -> list[Any]:
        """Its values in a part of the column `top`. A null contains nulls."""
        if self.path:
            from pyarrow import compute

            array = compute.struct_field(array, list(self.path))
        return array.to_pylist()


def columns_of(schema: Any, reading: Reading) -> list[Column]:
    """The columns of a schema, and the nested ones that are wanted."""
    own = [Column(field.name, index, (), field.type) for index, field in enumerate(schema)]
    dotted = (_nested_column(schema, name) for name in wanted_dotted(reading, schema.names))
    return own + [column for column in dotted if column is not None]


def _nested_column(schema: Any, name: str) -> Column | None:
    for head, tail in splits(name):
        for top in schema.get_all_field_indices(head):
            found = _field(schema.field(top).type, tail)
            if found is not None:
                return Column(name, top, *found)
    return None


def _field(kind: Any, name: str) -> tuple[tuple[int, ...], Any] | None:
    """The indices that lead to a field of a struct, and its type. The longest name comes first."""
    from pyarrow import types

    if not types.is_struct(kind):
        return None
    index = kind.get_field_index(name)
    if index >= 0:
        return (index,), kind.field(index).type
    for head, tail in splits(name):
        index = kind.get_field_index(head)
        found = _field(kind.field(index).type, tail) if index >= 0 else None
        if found is not None:
            return (index, *found[0]), found[1]
    return None


def nested_names(schema: Any) -> list[str]:
    """The dotted names of the fields in columns that are structs; MOST_NESTED at most."""
    from pyarrow import types

    names: list[str] = []
    waiting = [(field.name, field.type) for field in reversed(list(schema)) if types.is_struct(field.type)]
    while waiting and len(names) < MOST_NESTED:
        name, kind = waiting.pop()
        if types.is_struct(kind) and name.count(".") < DEEPEST:
            inner = [kind.field(index) for index in range(kind.num_fields)]
            waiting += [(f"{name}.{field.name}", field.type) for field in reversed(inner)]
        else:
            names.append(name)
    return names


def check_kinds(path: Path, columns: Sequence[Column], texts: Collection[int], numbers: Collection[int]) -> None:
    """Raise UserMistake if a column that is needed can hold neither text nor numbers. texts, numbers: indices of columns."""
    from pyarrow import types

    binary = [types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view]
    others = [types.is_nested, types.is_temporal, *binary]
    for index in (*texts, *numbers):
        kind = columns[index].kind
        inner = kind.value_type if types.is_dictionary(kind) else kind
        if any(is_kind(inner) for is_kind in others):
            expected = "text" if index in texts else "numbers"
            raise UserMistake(f'{path}: the column "{columns[index].name}" holds {kind}, not {expected}.')


def cells_of(row: Sequence[Any]) -> list[str] | BadRow:
    """The values of a row as text: what is no text as JSON."""
    cells = [value if isinstance(value, str) else NotText(_json_text(value)) for value in row]
    if sum(map(len, cells)) >= LONGEST_ROW:
        return BadRow(f"the row is longer than {LONGEST_ROW:,} characters: delete it")
    return cells


def _json_text(value: Any) -> str:
    """A value as JSON writes it (`null`, `true`, numbers); values without a JSON form as Python writes them."""
    return str(value) if isinstance(value, decimal.Decimal) else json.dumps(value, default=str)
