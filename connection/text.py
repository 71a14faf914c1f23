"""Text as it is shown to the user: times, and characters that a terminal would hide or obey."""

from __future__ import annotations


def format_time(seconds: float) -> str:
    """Elapsed time as hours:minutes:seconds, rounded to seconds.

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


def shown(value: object, most: int = 80) -> str:
    """A value from a file as a message shows it: as Python writes it, cut if it is long.

    >>> shown([1, "a"]), shown("x" * 1000, most=5)
    ("[1, 'a']", "'xxxx…")
    """
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def printable(text: str) -> str:
    r"""Replace every invisible or control character, except the line feed, by its escape code.

    Text from a file may hold a zero-width space, which an error must show, or codes that move the terminal's cursor.

    >>> printable("score\u200b \x1b[2J")
    'score\\u200b \\x1b[2J'
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)
