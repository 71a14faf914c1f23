"""Streams the elements of one JSON array, in time and memory that do not grow with the array."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from json import JSONDecodeError
from typing import Any

from connection.reading.formats.text.text_lines import LONGEST_ROW

_BLANKS = re.compile("[ \t\n\r]*")
_LONGEST_ESCAPE = 12  # characters that may be missing where an error is not at the end of the text but due to it


class ArrayError(ValueError):
    """What is wrong with the array as a whole, and the line."""

    def __init__(self, line: int, problem: str):
        super().__init__(problem)
        self.line = line


class ArrayReader:
    """Iterates the elements of an array as (line on which it begins, element). Raises ArrayError for what is no whole array."""

    def __init__(self, blocks: Iterator[str], decode: Callable[[str, int], tuple[Any, int]]):
        """blocks: the text, in parts. decode: as `JSONDecoder.raw_decode`."""
        self._blocks, self._decode = blocks, decode
        self._text, self._at = "", 0  # what is not yet read begins at `_at`
        self._line = 1
        self._is_whole = False  # whether `_text` goes to the end of the file

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        self._take("[")
        mark = self._next()
        while mark != "]":
            line = self._line
            if mark == "":
                raise ArrayError(line, "the array has no end: the file is cut off, or the ] is missing")
            yield line, self._element()
            mark = self._next()
            if mark == ",":
                self._take(",")
                mark = self._next()
                if mark == "]":
                    raise ArrayError(self._line, "there is a comma before the end of the array: delete it")
            elif mark not in ("]", ""):
                raise ArrayError(self._line, "a comma is missing between two elements of the array")
        self._take("]")
        if self._next():
            raise ArrayError(self._line, "there is text after the end of the array: delete it")

    def _take(self, mark: str) -> None:
        """Read a mark, which must come next."""
        assert self._next() == mark
        self._at += 1

    def _next(self) -> str:
        """The next character that is not blank; it stays unread. "" at the end of the file."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            assert blanks  # perhaps empty
            self._line += self._text.count("\n", self._at, blanks.end())
            self._at = blanks.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _element(self) -> Any:
        """The element that comes next. What is not whole is decoded again with twice the text."""
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if end < len(self._text) or self._is_whole:
                    self._line += self._text.count("\n", self._at, end)
                    self._at = end
                    return value
            except JSONDecodeError as error:
                is_cut = error.pos + _LONGEST_ESCAPE >= len(self._text) or error.msg.startswith("Unterminated string")
                if self._is_whole or not is_cut:
                    line = self._line + self._text.count("\n", self._at, error.pos)
                    raise ArrayError(line, _problem(error, len(self._text))) from None
            except RecursionError:
                raise ArrayError(self._line, "the element is nested too deeply") from None
            if len(self._text) - self._at > LONGEST_ROW:
                raise ArrayError(self._line, f"the element that begins here is longer than {LONGEST_ROW:,} characters")
            self._more()

    def _more(self) -> bool:
        """Read at least as much text again as is waiting; False at the end of the file."""
        parts = [self._text[self._at :]]
        missing = max(1, len(parts[0]))
        while missing > 0:
            block = next(self._blocks, "")
            if not block:
                self._is_whole = True
                break
            parts.append(block)
            missing -= len(block)
        self._text, self._at = "".join(parts), 0
        return len(parts) > 1


def _problem(error: JSONDecodeError, length: int) -> str:
    if error.pos >= length or error.msg.startswith("Unterminated string"):
        return "the array has no end: the file is cut off, or a quote is not closed"
    return f"the array is not JSON from here on ({error.msg[:1].lower()}{error.msg[1:]})"
