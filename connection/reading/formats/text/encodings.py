"""Finds the encoding of a text file: UTF-8 if all of it decodes, UTF-16 by its first bytes, else by chardet where that is sure.

A file is refused rather than read wrongly: damaged UTF-8, lines in two encodings, and what `detection.py` is not sure of.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from connection import UserMistake
from connection.reading.formats.text.detection import (
    certain_encoding,
    encodings_of_parts,
    has_utf8,
    is_text,
    likely_encodings,
    readings,
    seems_utf8,
    utf8_counts,
)
from connection.reading.formats.text.text_lines import LONGEST_ROW, check_mark, marked_encoding
from connection.script.kinds import check_encoding
from connection.script.requirements import missing_requirement
from connection.text import printable

SAMPLE_BYTES = 1 << 18  # of the lines that are not ASCII; up to twice as many are taken
_BLOCK = 1 << 16
_LONGEST_PIECE = 1 << 14  # bytes of one line in the sample
_LONGEST_EXCERPT = 40  # characters
_MOST_COMPARED = 50  # lines looked through for one whose readings differ
_LINE_END = re.compile(rb"\r\n?|\n")
_HIGH = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True)
class TextEncoding:
    """The encoding of a file.

    name: what Python calls it. has_mark: the file begins with a byte order mark. is_detected: it was found from the text
    alone, so the user must be told.
    """

    name: str
    has_mark: bool
    is_detected: bool


def is_unicode(encoding: TextEncoding) -> bool:
    return encoding.name.lower().replace("_", "-").startswith("utf-8")


def encoding_text(encoding: TextEncoding) -> str:
    """An encoding as it is told: "UTF-8", "cp949"."""
    return encoding.name.upper().replace("_", "-") if encoding.name.lower().startswith("utf") else encoding.name


@dataclass(frozen=True)
class _BadByte:
    """A byte that cannot be decoded. offset: its place in the file. cause: a clause of the error."""

    offset: int
    value: int
    cause: str = ""


def find_encoding(path: Path, encoding: str) -> TextEncoding:
    """The encoding of a file. encoding: the constant ENCODING; "" to detect it.

    Raises UserMistake if the file's first bytes contradict ENCODING, and, for "", if its encoding is not sure or the file is
    damaged. Nothing is said of a line too long for a row and of what follows it: `read_lines` reports that line.
    """
    problem = check_encoding(encoding) if encoding else None
    if problem:
        raise UserMistake(f'ENCODING = "{printable(encoding)}" {problem}.')
    try:
        with path.open("rb") as file:
            start = file.read(4)
        marked, has_mark = marked_encoding(start)
        if encoding:
            check_mark(path, start, encoding)
            return TextEncoding(encoding, has_mark, is_detected=False)
        if marked and marked != "utf-8":
            return TextEncoding(marked, has_mark, is_detected=False)
        bad = _first_bad_byte(path, "utf-8")
        if bad is None:
            return TextEncoding("utf-8", has_mark, is_detected=False)
        return TextEncoding(_detected(path, bad, has_mark), has_mark=False, is_detected=True)
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror}.") from None


def _detected(path: Path, bad: _BadByte, has_mark: bool) -> str:
    """The encoding of a file that is not UTF-8 at `bad`. has_mark: its byte order mark says that it is UTF-8."""
    sample = _sample(path)
    characters, others = utf8_counts(sample)
    if has_mark or characters > others:
        raise UserMistake(
            f"{_where(path, bad)} is not UTF-8, but the rest of the file is: {bad.cause}. Correct the line, or save the "
            "file as UTF-8 again."
        )
    try:
        name = certain_encoding(sample)
        for probable in [name] if name else sorted(encodings_of_parts(sample)):
            _check_all(path, probable, bad.offset, sample)
        if name is None:
            raise _not_sure(path, bad.offset, sample)
    except ImportError:
        raise missing_requirement(f"{_where(path, bad)} is not UTF-8; finding another encoding needs chardet.") from None
    return name


def _check_all(path: Path, name: str, start: int, sample: Sequence[bytes]) -> None:
    """Raise UserMistake unless the whole file is text in this encoding, and no line of it seems to be UTF-8.

    start: the offset of its first byte that is not UTF-8.
    """
    for offset, chunk in _chunks(path):
        bad = _bad_byte(offset, chunk, name)
        if bad:
            raise UserMistake(
                f'{_where(path, bad)} cannot be decoded as "{name}", in which the rest of the file seems to be: {bad.cause}. '
                "Correct the line, or save the file as UTF-8."
            )
        if not is_text(chunk, name):
            raise _not_sure(path, start, sample)
        for line in chunk.splitlines() if has_utf8(chunk) else ():
            if seems_utf8(line, name):
                number = _line_at(path, offset + chunk.index(line))
                raise UserMistake(
                    f'{path}:{number}  this line is UTF-8, but most of the file seems to be "{name}". Save all of it as UTF-8.'
                )


def _not_sure(path: Path, offset: int, sample: Sequence[bytes]) -> UserMistake:
    """The error for a file whose encoding is not sure: a line that is not ASCII, and how it can be read.

    offset: of a byte in the first line that may be shown. The first of the next lines that reads differently is shown.
    """
    encodings = likely_encodings(sample)
    later = ((at, line) for at, line in _lines_of(path) if at + len(line) > offset)
    lines = list(itertools.islice(later, _MOST_COMPARED))
    texts = [readings(line, encodings) for _, line in lines]
    chosen = next((index for index, each in enumerate(texts) if len(each) > 1), 0)
    at, line = lines[chosen]
    high = _HIGH.search(line)
    assert high is not None
    where = _where(path, _BadByte(at + high.start(), high[0][0]))
    if not texts[chosen]:
        return UserMistake(f"{where} is not UTF-8, nor is it text in another usual encoding. Save the file as UTF-8.")
    listed = "; ".join(f'as {name}: "{_excerpt(text)}"' for text, name in texts[chosen].items())
    return UserMistake(
        f"{where} is not UTF-8, and its encoding is not sure: {listed}. Save the file as UTF-8, or set ENCODING to the one "
        f"that reads correctly.\nPaste: --encoding={next(iter(texts[chosen].values()))}"
    )


def _excerpt(text: str) -> str:
    """The part of a line around its first character that is not ASCII."""
    first = next(index for index, letter in enumerate(text) if not letter.isascii())
    begin = max(0, first - _LONGEST_EXCERPT // 2)
    part = text[begin : begin + _LONGEST_EXCERPT]
    return "…" * (begin > 0) + printable(part.strip()) + "…" * (begin + _LONGEST_EXCERPT < len(text.rstrip()))


# --- the bytes of the file ---


def _chunks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines, 64 kB or more at a time, with the offset of the first byte. Ends before a line too long for a row.

    In UTF-8 and the encodings of ACCEPTED, no other character contains the bytes of a line end: a chunk is decoded alone.
    """
    offset = length = 0
    blocks: list[bytes] = []
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1  # a CR at the block's end may belong to a CR LF
            blocks.append(block[:end] if end else block)
            length += len(blocks[-1])
            if end:
                yield offset, b"".join(blocks)
                offset, blocks, length = offset + length, [block[end:]], len(block) - end
            elif length > 4 * LONGEST_ROW:
                return
    if length:
        yield offset, b"".join(blocks)


def _first_bad_byte(path: Path, encoding: str) -> _BadByte | None:
    return next((bad for offset, chunk in _chunks(path) if (bad := _bad_byte(offset, chunk, encoding))), None)


def _bad_byte(offset: int, chunk: bytes, encoding: str) -> _BadByte | None:
    """The first byte of a chunk that cannot be decoded. offset: that of the chunk in the file."""
    if not chunk.isascii():
        try:
            chunk.decode(encoding)
        except UnicodeDecodeError as error:
            is_last = "end of data" in error.reason or "incomplete" in error.reason
            cause = "the file ends within a character" if is_last else "the file is damaged there"
            return _BadByte(offset + error.start, chunk[error.start], cause)
    return None


def _where(path: Path, bad: _BadByte) -> str:
    return f"{path}:{_line_at(path, bad.offset)}  byte 0x{bad.value:02x} (number {bad.offset + 1:,} of the file)"


def _line_at(path: Path, offset: int) -> int:
    """The number of the line that contains this byte."""
    line = 1
    for begin, chunk in _chunks(path):
        if begin > offset:
            break
        before = chunk[: offset - begin]
        line += before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
    return line


def _lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not ASCII, each with its offset in the file."""
    return ((offset + begin, line) for offset, chunk in _chunks(path) for begin, line in _lines(chunk))


def _lines(chunk: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not ASCII, with their offsets. Of a long one, a piece from the first byte that is not ASCII."""
    position = 0
    while high := _HIGH.search(chunk, position):
        line_end = _LINE_END.search(chunk, high.end())
        begin = max(position, *(chunk.rfind(mark, position, high.start()) + 1 for mark in (b"\n", b"\r")))
        position = line_end.end() if line_end else len(chunk)
        if position - begin > _LONGEST_PIECE:
            begin, piece = high.start(), chunk[high.start() : high.start() + _LONGEST_PIECE]
            yield begin, piece[: piece.rfind(b" ") + 1] or piece
        else:
            yield begin, chunk[begin:position]


def _sample(path: Path) -> list[bytes]:
    """Lines that are not ASCII, from all parts of the file; all of them if it is small."""
    size, sample, taken = max(1, path.stat().st_size), list[bytes](), 0
    for _, chunk in _chunks(path):
        most = taken + max(SAMPLE_BYTES * len(chunk) // size, (SAMPLE_BYTES - taken) // 8)
        for _, line in _lines(chunk):
            if taken >= most:
                break
            sample.append(line)
            taken += len(line)
    return sample
