"""Reads Arrow files and streams (.arrow, .feather, .ipc) as rows of cells, with pyarrow, batch by batch.

The `datasets` package saves its tables as streams; Feather is the file format. Feather's first version is another format.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.arrow_cells import (
    MOST_ROWS,
    ROWS_AT_ONCE,
    Column,
    cells_of,
    check_kinds,
    columns_of,
    nested_names,
)
from connection.reading.formats.foreign import LONGEST_START, describe
from connection.reading.formats.table import BadRow, Reading, Table
from connection.reading.formats.typed import number_notes
from connection.script.requirements import missing_extra

BINARY = True
_FILE_MAGIC = b"ARROW1\0\0"  # a stream has none
_STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"  # since Arrow 0.15; before, four zeros, as many other parts have


def open_file(path: Path, reading: Reading) -> ArrowTable:
    return ArrowTable(path, reading)


class ArrowTable(Table):
    """Arrow. The line of a row is its number, counting from 1. Only the columns that are needed are read."""

    header: list[str]

    def __init__(self, path: Path, reading: Reading):
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise missing_extra(f"{path} is Arrow, which needs pyarrow.") from None
        super().__init__(path, None)
        self._columns: list[Column] = []
        try:
            self._is_file = self._checked()
            with self._source() as source:
                schema = self._reader(source, None).schema
                self._columns = columns_of(schema, reading)
                self.nested = nested_names(schema)
        except Exception as error:  # for a damaged file pyarrow raises errors of its own and several of Python's
            raise self._unreadable(error) from None
        self.notes = ["an Arrow file" if self._is_file else "an Arrow stream"]
        self.header_notes = number_notes(reading, schema.names)
        self.header = [column.name for column in self._columns]
        self._check_header(self.header)
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
            raise self._unreadable(error) from None

    def _checked(self) -> bool:
        """Whether it is the file format. Raises UserMistake for another format, and ValueError for a stream without its end:
        pyarrow takes one that is cut off between two messages for a whole one."""
        with self.path.open("rb") as file:
            start = file.read(LONGEST_START)
            if start == _FILE_MAGIC:
                return True
            what = describe(self.path, start) if start else None
            if what is not None:
                raise UserMistake(f"{self.path} is {what}.")
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_STREAM_END)))
            if file.read() != _STREAM_END:
                raise ValueError("it is no Arrow file, or it is cut off: the mark of its end is missing")
        return False

    def _source(self) -> Any:
        import pyarrow

        return pyarrow.OSFile(str(self.path))

    def _reader(self, source: Any, tops: list[int] | None) -> Any:
        from pyarrow import ipc

        options = ipc.IpcReadOptions(use_threads=False, included_fields=tops)
        opened = ipc.open_file if self._is_file else ipc.open_stream
        return opened(source, options=options)

    def _batches(self, reader: Any) -> Iterator[Any]:
        """The batches, their offsets and indices checked: pyarrow would read outside its memory."""
        batches = map(reader.get_batch, range(reader.num_record_batches)) if self._is_file else reader
        rows = 0
        for batch in batches:
            batch.validate(full=True)
            rows += len(batch)
            if rows > MOST_ROWS:
                raise ValueError(f"it has more than {MOST_ROWS:,} rows, the most that can be read. Take a sample of them")
            yield batch

    def _parts(self) -> Iterator[list[list[Any]]]:
        """The columns of some rows at a time, a list of values each; columns that are not needed are empty texts."""
        tops = sorted({self._columns[index].top for index in self._needed})
        with self._source() as source:
            for batch in self._batches(self._reader(source, tops)):
                for start in range(0, len(batch), ROWS_AT_ONCE):
                    part = batch.slice(start, ROWS_AT_ONCE)
                    columns = [[""] * len(part)] * len(self._columns)
                    for index in self._needed:
                        column = self._columns[index]
                        columns[index] = column.values(part.column(tops.index(column.top)))
                    yield columns

    def _unreadable(self, error: Exception) -> UserMistake:
        if isinstance(error, UserMistake):
            return error
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        return UserMistake(f"{self.path} cannot be read as Arrow: {reason}.")
