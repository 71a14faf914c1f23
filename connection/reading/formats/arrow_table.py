"""Reads Arrow files and streams (.arrow, .feather, .ipc) as rows of cells, with pyarrow, batch by batch.

The `datasets` package saves its tables as streams; Feather is the file format. Feather's first version is another format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.arrow_cells import MOST_ROWS, ROWS_AT_ONCE, ColumnTable
from connection.reading.formats.foreign import LONGEST_START, describe
from connection.reading.formats.table import Reading

BINARY = True
_FILE_MAGIC = b"ARROW1\0\0"  # a stream has none
_STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"  # since Arrow 0.15; before, four zeros, as many other parts have


def open_file(path: Path, reading: Reading) -> ArrowTable:
    return ArrowTable(path, reading)


class ArrowTable(ColumnTable):
    """Arrow."""

    kind = "Arrow"

    def __init__(self, path: Path, reading: Reading):
        super().__init__(path)
        try:
            self._is_file = self._checked()
            with self._source() as source:
                self.take_schema(self._reader(source, None).schema, reading)
        except Exception as error:
            raise self.unreadable(error) from None
        self.notes = ["an Arrow file" if self._is_file else "an Arrow stream"]

    def parts(self) -> Iterator[list[list[Any]]]:
        tops = self.tops
        place = {top: i for i, top in enumerate(tops)}
        with self._source() as source:
            for batch in self._batches(self._reader(source, tops)):
                for start in range(0, len(batch), ROWS_AT_ONCE):
                    part = batch.slice(start, ROWS_AT_ONCE)
                    yield self.columns_in(len(part), lambda top, part=part: part.column(place[top]))  # type: ignore[misc]

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
