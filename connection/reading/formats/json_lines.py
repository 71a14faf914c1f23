"""Reads JSON Lines as rows of cells."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.table import BadRow, NotText, Reading, Table
from connection.reading.formats.text.encodings import find_encoding
from connection.reading.formats.text.text_lines import read_lines


def open_file(path: Path, reading: Reading) -> JsonLines:
    return JsonLines(path, find_encoding(path, reading.encoding).name)


class JsonLines(Table):
    """One JSON object per line. The keys of the first one are the columns; other keys of later ones are ignored and counted."""

    header: list[str]

    def __init__(self, path: Path, encoding: str):
        super().__init__(path, None)
        self.encoding = encoding
        self._records = self._read()
        line, first = next(self._records, (0, None))
        if first is None:
            raise UserMistake(f"{path} is empty: one JSON object per line is needed.")
        if isinstance(first, BadRow):
            raise UserMistake(f"{path}:{line}  {first}.")
        self.header = list(first)
        self._check_header(self.header)
        self._records = itertools.chain([(line, first)], self._records)

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        known = set(self.header)
        for line, record in self._records:
            if isinstance(record, BadRow):
                yield line, record
                continue
            self.ignored_cells += len(record.keys() - known)
            yield line, [record.get(name, NotText("")) for name in self.header]

    def _read(self) -> Iterator[tuple[int, dict[str, str] | BadRow]]:
        for line, text in enumerate(read_lines(self.path, self.encoding, newline="\n"), start=1):
            if text.strip():
                yield line, _json_cells(text)
            else:
                self.blank_lines += 1


def _json_cells(text: str) -> dict[str, str] | BadRow:
    """The cells of one line, by column. Numbers keep the digits of the file."""
    repeated: list[str] = []

    def as_dict(items: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(items)
        if len(record) < len(items):
            repeated.extend(name for name, count in Counter(name for name, _ in items).items() if count > 1)
        return record

    try:
        record = json.loads(text, object_pairs_hook=as_dict, parse_int=NotText, parse_float=NotText, parse_constant=NotText)
    except (ValueError, RecursionError) as error:
        return BadRow(f"the line is not a JSON object ({error}): write one object per line")
    if not isinstance(record, dict):
        return BadRow('the line is JSON, but not an object: write one object per line, such as {"sentence1": …}')
    if repeated:
        return BadRow(f'the line has the key "{repeated[0]}" more than once')
    return {name: value if isinstance(value, str) else NotText(json.dumps(value)) for name, value in record.items()}
