"""Reads Parquet as rows of cells, with pyarrow. The sizes in the footer are checked before any data is read."""

from __future__ import annotations

import decimal
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.table import BadRow, NotText, Reading, Table
from connection.reading.formats.text.text_lines import LONGEST_ROW
from connection.script.requirements import missing_extra

BINARY = True
MOST_ROWS = 50_000_000  # a file of a few kilobytes can contain, or claim, any number of rows
MOST_BYTES = 4_000_000_000  # of one row group, uncompressed


def open_file(path: Path, reading: Reading) -> ParquetTable:
    return ParquetTable(path)


class ParquetTable(Table):
    """Parquet. The line of a row is its number, counting from 1. Only the columns that are needed are read."""

    header: list[str]

    def __init__(self, path: Path):
        try:
            from pyarrow import parquet
        except ImportError:
            raise missing_extra(f"{path} is Parquet, which needs pyarrow.") from None
        try:
            self._file = parquet.ParquetFile(path)
            self._types = list(self._file.schema_arrow.types)
            super().__init__(path, list(self._file.schema_arrow.names))
        except Exception as error:  # for a damaged file pyarrow raises errors of its own and several of Python's
            raise _unreadable(path, error) from None
        self._rows = self._file.metadata.num_rows
        if self._rows > MOST_ROWS:
            raise UserMistake(f"{path} has {self._rows:,} rows; at most {MOST_ROWS:,} can be read. Take a sample of them.")
        groups = (self._file.metadata.row_group(group) for group in range(self._file.num_row_groups))
        if any(group.total_byte_size > MOST_BYTES for group in groups):  # not by column: pyarrow may abort
            raise UserMistake(f"{path} has a row group of more than {MOST_BYTES / 1e9:g} GB. Write smaller row groups.")
        self._needed: list[int] = list(range(len(self.header)))

    def need(self, texts: Collection[int], numbers: Collection[int], *, others: bool) -> None:
        from pyarrow import types

        nested = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_temporal)
        for index in (*texts, *numbers):
            kind = self._types[index]
            inner = kind.value_type if types.is_dictionary(kind) else kind
            if any(is_kind(inner) for is_kind in nested):
                expected = "text" if index in texts else "numbers"
                raise UserMistake(f'{self.path}: the column "{self.header[index]}" holds {kind}, not {expected}.')
        if not others:
            self._needed = sorted({*texts, *numbers})

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        line = 0
        try:
            for columns in self._columns():
                for row in zip(*columns, strict=True):
                    line += 1
                    yield line, _cells(row)
        except Exception as error:
            raise _unreadable(self.path, error) from None
        if line != self._rows:
            raise UserMistake(f"{self.path} is damaged: it has {line:,} rows, but its footer says {self._rows:,}.")

    def _columns(self) -> Iterator[list[list[Any]]]:
        """The columns of 4,096 rows at a time, a list of values each; columns that are not needed are empty texts."""
        needs_all = len(self._needed) == len(self.header)
        names = None if needs_all else [self.header[index] for index in self._needed]
        for batch in self._file.iter_batches(batch_size=4096, columns=names):
            if needs_all:
                yield [column.to_pylist() for column in batch.columns]
                continue
            columns = [[""] * len(batch)] * len(self.header)
            for index in self._needed:
                columns[index] = batch.column(self.header[index]).to_pylist()
            yield columns


def _cells(row: Sequence[Any]) -> list[str] | BadRow:
    cells = [value if isinstance(value, str) else NotText(_json_text(value)) for value in row]
    if sum(map(len, cells)) >= LONGEST_ROW:
        return BadRow(f"the row is longer than {LONGEST_ROW:,} characters: delete it")
    return cells


def _json_text(value: Any) -> str:
    """A value as JSON writes it (`null`, `true`, numbers); values without a JSON form as Python writes them."""
    return str(value) if isinstance(value, decimal.Decimal) else json.dumps(value, default=str)


def _unreadable(path: Path, error: Exception) -> UserMistake:
    return UserMistake(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:300]}")
