"""What the scripts of this project share. A file in here never imports a script."""

from __future__ import annotations


class UserMistake(ValueError):
    """Something that the person running a script can put right.

    Its text is one clear sentence that names the file, row, column, value or constant and the remedy; a script prints
    it without a traceback and exits with status 2.
    """


def printable(text: str) -> str:
    r"""The text with every invisible or control character but the line feed written as its code.

    What comes from a file may hold a zero-width space that explains the trouble, or codes that move a terminal's cursor.

    >>> printable("score\u200b \x1b[2J")
    'score\\u200b \\x1b[2J'
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)
