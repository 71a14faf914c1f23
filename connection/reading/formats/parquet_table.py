"""Reads Parquet as rows of cells, with pyarrow. The sizes in the footer are checked before any data is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.arrow_cells import (
    MOST_BYTES,
    MOST_ROWS,
    ROWS_AT_ONCE,
    cells_of,
    check_kinds,
    columns_of,
    nested_names,
)
from connection.reading.formats.table import BadRow, Reading, Table
from connection.reading.formats.typed import number_notes
from connection.script.requirements import missing_extra

BINARY = True


def open_file(path: Path, reading: Reading) -> ParquetTable:
    return ParquetTable(path, reading)


class ParquetTable(Table):
    """Parquet. The line of a row is its number, counting from 1. Only the columns that are needed are read."""

    header: list[str]

    def __init__(self, path: Path, reading: Reading):
        try:
            from pyarrow import parquet
        except ImportError:
            raise missing_extra(f"{path} is Parquet, which needs pyarrow.") from None
        super().__init__(path, None)
        try:
            self._file = parquet.ParquetFile(path)
            schema = self._file.schema_arrow
            self._columns = columns_of(schema, reading)
            self.nested = nested_names(schema)
            self.header = [column.name for column in self._columns]
            self.notes, self.header_notes = ["Parquet"], number_notes(reading, schema.names)
            self._check_header(self.header)
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
        check_kinds(self.path, self._columns, texts, numbers)
        if not others:
            self._needed = sorted({*texts, *numbers})

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        line = 0
        try:
            for columns in self._parts():
                for row in zip(*columns, strict=True):
                    line += 1
                    yield line, cells_of(row)
        except Exception as error:
            raise _unreadable(self.path, error) from None
        if line != self._rows:
            raise UserMistake(f"{self.path} is damaged: it has {line:,} rows, but its footer says {self._rows:,}.")

    def _parts(self) -> Iterator[list[list[Any]]]:
        """The columns of some rows at a time, a list of values each; columns that are not needed are empty texts."""
        needs_all = len(self._needed) == len(self.header)
        tops = sorted({self._columns[index].top for index in self._needed})
        names = None if needs_all else [self.header[top] for top in tops]
        for batch in self._file.iter_batches(batch_size=ROWS_AT_ONCE, columns=names):
            columns = [[""] * len(batch)] * len(self.header)
            for index in self._needed:
                column = self._columns[index]
                columns[index] = column.values(batch.column(column.top if needs_all else self.header[column.top]))
            yield columns


def _unreadable(path: Path, error: Exception) -> UserMistake:
    if isinstance(error, UserMistake):
        return error
    return UserMistake(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:300]}")
