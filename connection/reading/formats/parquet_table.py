"""Reads Parquet as rows of cells, with pyarrow. The sizes in the footer are checked before any data is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.arrow_cells import MOST_BYTES, MOST_ROWS, ROWS_AT_ONCE, ColumnTable
from connection.reading.formats.table import Reading

BINARY = True


def open_file(path: Path, reading: Reading) -> ParquetTable:
    return ParquetTable(path, reading)


class ParquetTable(ColumnTable):
    """Parquet."""

    kind = "Parquet"

    def __init__(self, path: Path, reading: Reading):
        super().__init__(path)
        try:
            from pyarrow import parquet

            self._file = parquet.ParquetFile(path)
            self.take_schema(self._file.schema_arrow, reading)
        except Exception as error:
            raise self.unreadable(error) from None
        self.notes = ["Parquet"]
        self._rows = self._file.metadata.num_rows
        if self._rows > MOST_ROWS:
            raise UserMistake(f"{path} has {self._rows:,} rows; at most {MOST_ROWS:,} can be read. Take a sample of them.")
        groups = (self._file.metadata.row_group(group) for group in range(self._file.num_row_groups))
        if any(group.total_byte_size > MOST_BYTES for group in groups):  # not by column: pyarrow may abort
            raise UserMistake(f"{path} has a row group of more than {MOST_BYTES / 1e9:g} GB. Write smaller row groups.")

    def parts(self) -> Iterator[list[list[Any]]]:
        tops = self.tops
        own = self._file.schema_arrow.names
        names = None if len(tops) == len(own) else [own[top] for top in tops]
        for batch in self._file.iter_batches(batch_size=ROWS_AT_ONCE, columns=names):
            yield self.columns_in(
                len(batch),
                lambda top, batch=batch: batch.column(top if names is None else own[top]),  # type: ignore[misc]
            )

    def check_count(self, rows: int) -> None:
        if rows != self._rows:
            raise UserMistake(f"{self.path} is damaged: it has {rows:,} rows, but its footer says {self._rows:,}.")
