"""Text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def format_time(seconds: float) -> str:
    """Elapsed time, rounded to seconds.

    >>> format_time(3725.4)
    '1:02:05'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def counted(count: int, noun: str) -> str:
    """A number of things in words.

    >>> counted(1, "pair"), counted(1500, "pair")
    ('1 pair', '1,500 pairs')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def printable(text: str) -> str:
    r"""The text with every invisible or control character but the line feed written as its code.

    What comes from a file may hold a zero-width space that explains the trouble, or codes that move a terminal's cursor.

    >>> printable("score\u200b \x1b[2J")
    'score\\u200b \\x1b[2J'
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)
