"""A text file → its lines, in the encoding that the person names; a line that is no text is named with its place."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from connection import UserMistake

LONGEST_ROW = 10_000_000  # characters; more is no row, but a quote that is not closed, or no table at all
_BYTE_ORDER_MARK = "\ufeff"


def read_lines(path: Path, encoding: str, newline: str) -> Iterator[str]:
    """The file's lines with their ends, one after the other. A byte order mark is no part of the first one.

    newline: as for `open`: "" ends a line at CR, LF or CR LF, "\\n" at LF alone.
    Raises UserMistake, as the lines are read, for bytes that the encoding does not know and a line without end.
    """
    line = 0
    try:
        with path.open(encoding=encoding, newline=newline) as file:
            while text := file.readline(LONGEST_ROW):
                line += 1
                if len(text) == LONGEST_ROW:
                    raise UserMistake(f"{path}:{line}  the line is longer than {LONGEST_ROW:,} characters: it is no row.")
                yield text.removeprefix(_BYTE_ORDER_MARK) if line == 1 else text
    except UnicodeError:
        raise UserMistake(_undecodable_text(path, encoding)) from None
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror}.") from None


def check_mark(path: Path, start: bytes, encoding: str) -> None:
    """Raise UserMistake where the file's first bytes tell of another Unicode encoding than the one that is set.

    start: the first four bytes or more. Where they tell nothing, nothing is guessed.
    """
    known = codecs.lookup(encoding).name
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found = "utf-32" if start.startswith(codecs.BOM_UTF32_LE) else "utf-16"
    elif start.startswith(codecs.BOM_UTF8):
        found = "utf-8"
    elif len(start) >= 4 and (start[0] == 0) != (start[1] == 0) and (start[2] == 0) != (start[3] == 0):
        found = "utf-16-be" if start[0] == 0 else "utf-16-le"  # without a mark, but every other byte is 0
    else:
        return
    if not known.startswith(found[:6].rstrip("-")):
        raise UserMistake(
            f'{path} begins as {found.upper()} does, but ENCODING is "{encoding}": set ENCODING = "{found}", '
            "or save the file as UTF-8."
        )


def _undecodable_text(path: Path, encoding: str) -> str:
    """Where the file's first byte lies that its encoding does not know."""
    decoder = codecs.getincrementaldecoder(encoding)()
    where, line, offset, ended_in_return = f"{path}: the file", 1, 0, False

    def count_lines(text: str) -> None:
        nonlocal line, ended_in_return
        if text:
            line += text.count("\n") + text.count("\r") - text.count("\r\n") - (ended_in_return and text[0] == "\n")
            ended_in_return = text[-1] == "\r"

    with path.open("rb") as file:
        try:
            while block := file.read(1 << 16):
                count_lines(decoder.decode(block))
                offset += len(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            begin = offset + len(block) - len(error.object)  # the decoder may have kept bytes of the block before
            count_lines(error.object[: error.start].decode(encoding, errors="ignore"))
            where = f"{path}:{line}  byte 0x{error.object[error.start]:02x} (number {begin + error.start + 1:,} of the file)"
        except UnicodeError as error:
            where = f"{path}: {error}; the file"
    return (
        f'{where} is not readable as "{encoding}" (ENCODING). Save the file as UTF-8, or set ENCODING to what it was '
        'saved in: "cp1252" (Western Excel), "cp949" (Korean Excel), "utf-16".'
    )
