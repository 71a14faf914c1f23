"""Reads the lines of a text file in the encoding that ENCODING names, and reports the first byte that cannot be decoded."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from connection import UserMistake

LONGEST_ROW = 10_000_000  # characters; a longer row means a quote that is not closed, or a file that is not a table
_BYTE_ORDER_MARK = "\ufeff"


def read_lines(path: Path, encoding: str, newline: str) -> Iterator[str]:
    """Yield the file's lines with their line ends, without a byte order mark.

    newline: as for `open`: "" ends a line at CR, LF or CR LF, "\\n" at LF alone.
    Raises UserMistake, while the lines are read, for bytes that cannot be decoded and for a line of LONGEST_ROW characters.
    """
    line = 0
    try:
        with path.open(encoding=encoding, newline=newline) as file:
            while text := file.readline(LONGEST_ROW):
                line += 1
                if len(text) == LONGEST_ROW:
                    raise UserMistake(f"{path}:{line}  the line is longer than {LONGEST_ROW:,} characters: it is not a row.")
                yield text.removeprefix(_BYTE_ORDER_MARK) if line == 1 else text
    except UnicodeError:
        raise UserMistake(_undecodable_text(path, encoding)) from None
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror}.") from None


def check_mark(path: Path, start: bytes, encoding: str) -> None:
    """Raise UserMistake if the file's first bytes show a Unicode encoding other than ENCODING.

    start: at least the first four bytes. Without a byte order mark or a pattern of zero bytes, nothing is assumed.
    """
    actual, _ = marked_encoding(start)
    if actual and not codecs.lookup(encoding).name.startswith(actual[:6].rstrip("-")):
        raise UserMistake(
            f'{path} is encoded as {actual.upper()}, but ENCODING is "{encoding}". Set ENCODING = "{actual}", '
            "or save the file as UTF-8."
        )


def marked_encoding(start: bytes) -> tuple[str, bool]:
    """The Unicode encoding that a file's first bytes show, or "", and whether they are a byte order mark.

    >>> marked_encoding(codecs.BOM_UTF16_LE + "a".encode("utf-16-le")), marked_encoding(b"a\\0b\\0"), marked_encoding(b"ab")
    (('utf-16', True), ('utf-16-le', False), ('', False))
    """
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # before UTF-16, whose mark that of UTF-32-LE begins with
        return "utf-32", True
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", True
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8", True
    if len(start) >= 4 and (start[0] == 0) != (start[1] == 0) and (start[2] == 0) != (start[3] == 0):
        return ("utf-16-be" if start[0] == 0 else "utf-16-le"), False  # no byte order mark, but every other byte is 0
    return "", False


def _undecodable_text(path: Path, encoding: str) -> str:
    """The error for a file that cannot be decoded: the line, value and position of the first such byte, and what to do."""
    decoder = codecs.getincrementaldecoder(encoding)()
    where, line, offset, ended_in_return = f"{path}: the file", 1, 0, False
    undecoded = b""

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
            begin = offset + len(block) - len(error.object)  # the decoder may hold bytes of the previous block
            count_lines(error.object[: error.start].decode(encoding, errors="ignore"))
            undecoded = error.object[error.start :]
            where = f"{path}:{line}  byte 0x{undecoded[0]:02x} (number {begin + error.start + 1:,} of the file)"
        except UnicodeError as error:
            where = f"{path}: {error}; the file"
    return (
        f'{where} cannot be decoded as "{encoding}" (ENCODING). Save the file as UTF-8, or set ENCODING to its encoding, '
        f"perhaps {_likely_encoding(undecoded, encoding)}."
    )


def _likely_encoding(undecoded: bytes, encoding: str) -> str:
    """The encoding to suggest for bytes that cannot be decoded: Korean if they start like a common Hangul syllable."""
    is_hangul = len(undecoded) > 1 and 0xB0 <= undecoded[0] <= 0xC8 and undecoded[1] >= 0xA1
    name, program = ("cp949", "Korean Excel") if is_hangul else ("cp1252", "Western Excel")
    return '"utf-8"' if codecs.lookup(name) == codecs.lookup(encoding) else f'"{name}" ({program})'
