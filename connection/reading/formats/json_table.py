"""Reads JSON as rows of cells: one object per line (JSON Lines), or one array of objects. Rows are streamed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.formats.json_array import ArrayError, ArrayReader
from connection.reading.formats.table import BadRow, NotText, Reading, Table
from connection.reading.formats.text.encodings import encoding_text, find_encoding, is_unicode
from connection.reading.formats.text.text_lines import read_lines
from connection.reading.formats.typed import MISSING, nested_names, number_notes, value_at, wanted_dotted
from connection.text import printable

_BLOCK = 1 << 16  # characters
_MARK = "\ufeff"
_PANDAS = 'pandas.DataFrame.to_json(…, orient="records", lines=True)'


def open_file(path: Path, reading: Reading) -> JsonTable:
    return JsonTable(path, reading)


class JsonTable(Table):
    """One JSON object per line, or an array of objects. The keys of the first one are the columns, followed by the nested ones
    that are wanted; other keys of later ones are ignored and counted. nested: the dotted names of values in nested objects."""

    header: list[str]

    def __init__(self, path: Path, reading: Reading):
        super().__init__(path, None)
        found = find_encoding(path, reading.encoding)
        self.encoding, self.has_mark = found.name, found.has_mark or not is_unicode(found)
        self._repeated: list[str] = []
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._as_dict, parse_int=NotText, parse_float=NotText, parse_constant=NotText
        )
        start = self._start()
        is_array = start.lstrip().startswith("[")
        self._records = self._read_array() if is_array else self._read_lines()
        first_two = self._first_two(start)
        first = first_two[0][1]
        self._check_shape(start, first_two, reading)
        if isinstance(first, BadRow):
            raise UserMistake(f"{path}:{first_two[0][0]}  {first}.")
        self._own = first.keys()
        self._dotted = [name for name in wanted_dotted(reading, first) if _may_have(first, name)]
        self.header = [*first, *self._dotted]
        self.nested = nested_names(first)
        self.notes = ["a JSON array" if is_array else "JSON Lines", encoding_text(found)]
        self.header_notes = number_notes(reading, first)
        self._check_header(self.header)
        self._records = itertools.chain(first_two, self._records)

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        for line, record in self._records:
            if isinstance(record, BadRow):
                yield line, record
                continue
            self.ignored_cells += len(record.keys() - self._own)
            try:
                cells = [_cell(record.get(name, NotText(""))) for name in self._own]
                yield line, cells + [_cell(value_at(record, name)) for name in self._dotted]
            except RecursionError:
                yield line, BadRow("the object is nested too deeply")

    def _start(self) -> str:
        return next(self._blocks(), "").removeprefix(_MARK)

    def _first_two(self, start: str) -> list[tuple[int, dict[str, Any] | BadRow]]:
        """The first records. Raises UserMistake if there is none, or if the file is one object that holds the table."""
        try:
            found = list(itertools.islice(self._records, 2))
        except UserMistake:  # such as a line that is too long
            advice = _shape_advice(start)
            if advice:
                raise UserMistake(f"{self.path} {advice}.") from None
            raise
        if not found:
            raise UserMistake(f"{self.path} is empty: one JSON object per line, or an array of objects, is needed.")
        return found

    def _check_shape(self, start: str, first_two: list[tuple[int, dict[str, Any] | BadRow]], reading: Reading) -> None:
        """Raise UserMistake for a file that is one object, which holds columns or a list of rows."""
        first = first_two[0][1]
        if isinstance(first, BadRow):
            is_one = all(isinstance(record, BadRow) for _, record in first_two) and start.lstrip().startswith("{")
        else:
            values = [value_at(first, name) for name in reading.needed if isinstance(name, str)]
            is_text = any(isinstance(value, str) for value in values)
            is_one = len(first_two) == 1 and not is_text and not start.lstrip().startswith("[")
        advice = _shape_advice(start) if is_one else ""
        if advice:
            raise UserMistake(f"{self.path} {advice}.")

    def _read_lines(self) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
        for line, text in enumerate(read_lines(self.path, self.encoding, newline="\n"), start=1):
            if text.strip():
                yield line, self._line_record(text)
            else:
                self.blank_lines += 1

    def _line_record(self, text: str) -> dict[str, Any] | BadRow:
        self._repeated.clear()
        try:
            record = self._decoder.decode(text)
        except (ValueError, RecursionError) as error:
            return BadRow(f"the line is not a JSON object ({error}): write one object per line")
        return self._checked(record, "line")

    def _read_array(self) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
        try:
            for line, record in ArrayReader(self._blocks(), self._decode):
                yield line, self._checked(record, "element")
        except ArrayError as error:
            raise UserMistake(f"{self.path}:{error.line}  {error}.") from None

    def _decode(self, text: str, start: int) -> tuple[Any, int]:
        self._repeated.clear()
        return self._decoder.raw_decode(text, start)

    def _checked(self, record: Any, what: str) -> dict[str, Any] | BadRow:
        """A record, or what is wrong with the line or the element of an array."""
        if not isinstance(record, dict):
            return BadRow(f'the {what} is JSON, but not an object: write one object per {what}, such as {{"sentence1": …}}')
        if self._repeated:
            return BadRow(f'the {what} has the key "{self._repeated[0]}" more than once')
        return record

    def _as_dict(self, items: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(items)
        if len(record) < len(items):
            counts = Counter(name for name, _ in items)
            self._repeated.extend(name for name, count in counts.items() if count > 1)
        return record

    def _blocks(self) -> Iterator[str]:
        """The text in blocks: an array may be one line. Raises UserMistake as `read_lines` does."""
        try:
            with self.path.open(encoding=self.encoding, newline="\n") as file:
                yield file.read(_BLOCK).removeprefix(_MARK)
                while block := file.read(_BLOCK):
                    yield block
        except UnicodeError:
            for _ in read_lines(self.path, self.encoding, newline="\n"):  # names the byte
                pass
            raise UserMistake(f'{self.path} cannot be decoded as "{self.encoding}" (ENCODING).') from None
        except OSError as error:
            raise UserMistake(f"{self.path} cannot be read: {error.strerror}.") from None


def _may_have(record: dict[str, Any], name: str) -> bool:
    """Whether a nested value is there, or may be in other records because an object above it is null in this one."""
    if value_at(record, name) is not MISSING:
        return True
    parts = name.split(".")
    return any(value_at(record, ".".join(parts[:count])) is None for count in range(1, len(parts)))


def _cell(value: Any) -> str:
    if value is MISSING:
        return NotText("null")
    return value if isinstance(value, str) else NotText(_json_text(value))


def _json_text(value: Any) -> str:
    """A value as JSON, with the digits of the file."""
    if isinstance(value, NotText):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json_text, value)) + "]"
    return json.dumps(value)


def _shape_advice(start: str) -> str:
    """What to do about a file that is one object which holds the table in its first value that is no text or number; or "".

    start: of the file.
    """
    decoder = json.JSONDecoder()
    at = start.find("{") + 1
    try:
        while True:
            name, at = decoder.raw_decode(start, _visible(start, at))
            at = _visible(start, at)
            if not isinstance(name, str) or start[at] != ":":
                return ""
            at = _visible(start, at + 1)
            if start[at] == "{":
                return f"is one object that holds columns, not rows: write it with {_PANDAS}"
            if start[at] == "[":
                return (
                    f'is one object whose key "{printable(name[:60])}" holds a list: if its rows, write the list alone; '
                    f"if it is a column, write the file with {_PANDAS}"
                )
            _, at = decoder.raw_decode(start, at)
            at = _visible(start, at) + 1
    except (ValueError, IndexError, RecursionError):
        return ""


def _visible(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
