"""Which encoding a file's lines are in, by chardet, and whether that is sure. Works on bytes in memory; opens no file.

It is not sure if chardet reads parts of the lines differently, if the text has signs inside words, or if only one line is not
ASCII. `find_encoding` in `encodings.py` is the use of this file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Encodings that are accepted if chardet is sure. For bytes that several of them read alike, the first is named.
ACCEPTED = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),  # Windows, one byte a character
    *("cp949", "cp932", "gb18030", "cp950", "big5hkscs"),  # Windows: Korean, Japanese, Chinese
    *("mac_roman", "koi8_r", "euc_jp", "iso8859_2", "iso8859_15"),  # older systems
)
# Also offered to the user, but never accepted: those of DOS are too much alike.
OFFERED = (*ACCEPTED, "cp850", "cp437", "cp852", "cp866", "mac_cyrillic")
SEVERAL_BYTES = ("cp949", "cp932", "gb18030", "cp950", "big5hkscs", "euc_jp")  # a character
MOST_OFFERED = 3
_PARTS = 8
_NOT_TEXT = re.compile("[\0\x80-\x9f\ue000-\uf8ff\ufffd]")  # NUL, control characters, private use, the replacement character

_ASCII = bytes(range(128))
_WORD = re.compile(rb"[A-Za-z]*[\x80-\xff][A-Za-z\x80-\xff]*")  # with a character that is not ASCII
_NOT_ASCII = re.compile("[^\0-\x7f]")
_UTF8_CHARACTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# Curly quotes, dashes and € of all Windows encodings, where the letters that other encodings have for them form no word.
_TYPOGRAPHIC = re.compile(
    rb"(?<=[A-Za-z])\x92(?=(?:s|t|re|ve|ll|d|m|S|T|RE|VE|LL|D|M)(?![A-Za-z\x80-\xff]))"  # it’s
    rb"|(?<![^\s(\[,;:\"'/-])[\x91\x93](?=[!-~])"  # “a
    rb"|(?<=[!-~])\x94(?![A-Za-z0-9\x80-\xff])"  # a”
    rb"|(?<![^\s,;\"])[\x95-\x97](?![^\s,;\"])|(?<=[0-9])\x96(?=[0-9])"  # a – b, 1–2
    rb"|(?<=[0-9])\x80(?![A-Za-z0-9\x80-\xff])|(?<=[0-9] )\x80(?![A-Za-z0-9\x80-\xff])"  # 5 €
    rb"|(?<![^\s(\[,;:\"'])\x80 ?(?=[0-9])"  # €5
)
_WITHIN_WORDS = "…’‘–—·\u00ad\u00a0ªº°"  # signs that may stand between letters
_OPENING = "‚„"  # signs that do not follow a letter
_LAST_LATIN = "\u024f"


def decoded(data: bytes, encoding: str) -> str | None:
    """The text, or None if the bytes are not valid in this encoding, or Python does not know it."""
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError):
        return None


def is_text(data: bytes, encoding: str) -> bool:
    """Whether the bytes, valid in an encoding of ACCEPTED, are text: without control characters of 0x80 to 0x9f and such."""
    if encoding not in SEVERAL_BYTES:
        data = data.translate(None, _ASCII[1:])  # only what can be wrong: these are quick to check
    return not _NOT_TEXT.search(data.decode(encoding))


def certain_encoding(lines: Sequence[bytes]) -> str | None:
    """The encoding of ACCEPTED that these lines are in; None if that is not sure. lines: those that are not ASCII.

    Raises ImportError without chardet, unless all that is not ASCII is curly quotes, dashes and €.
    """
    plain = [_TYPOGRAPHIC.sub(b"'", line) for line in lines]
    if all(line.isascii() for line in plain):
        return "cp1252" if lines else None
    name, is_sure = _opinion(plain)
    if plain != list(lines) and not (name or "").startswith("cp125"):  # the signs removed are those of Windows encodings
        name, is_sure = _opinion(lines)
    return name if is_sure else None


def encodings_of_parts(lines: Sequence[bytes]) -> set[str]:
    """The encodings that are sure for some parts of the lines: where one line is damaged or UTF-8, that of the others."""
    others = [line for line in lines if decoded(line, "utf-8") is None]
    return {name for first in range(_PARTS) if (name := certain_encoding(others[first::_PARTS]))}


def _opinion(lines: Sequence[bytes]) -> tuple[str | None, bool]:
    """The encoding that chardet finds, if it is one of ACCEPTED, and whether that is sure."""
    lines = _with_new_words(lines)
    text = _chardet_text(b"".join(lines))
    name = next((name for name in ACCEPTED if text is not None and decoded(b"".join(lines), name) == text), None)
    if name is None or text is None or _NOT_TEXT.search(text) or _has_signs_within_words(text):
        return name, False
    count = 0 if len(lines) < 2 else 2 if len(lines) < 6 else 3 if len(lines) < 12 else 4
    parts = [b"".join(lines[first::count]) for first in range(count)]
    return name, count > 0 and all(_chardet_text(part) == decoded(part, name) for part in parts)


def _with_new_words(lines: Sequence[bytes]) -> list[bytes]:
    """The lines with a word that is not ASCII and in no line before: "café" a hundred times is no more evidence than once."""
    known: set[bytes] = set()
    chosen = []
    for line in lines:
        words = set(_WORD.findall(line))
        if not words <= known:
            chosen.append(line)
            known |= words
    return chosen


def _chardet_text(data: bytes) -> str | None:
    import chardet

    name = chardet.detect(data, compat_names=False, max_bytes=len(data))["encoding"]
    return decoded(data, name) if name else None


def _has_signs_within_words(text: str) -> bool:
    """Whether more than 2 % of the characters that are not ASCII cannot be where they are, beside Latin letters: a sign between
    letters (r‚sum‚), or a capital letter after a small one (cafŽ). So look other encodings read as cp1252."""
    count = wrong = 0
    for found in _NOT_ASCII.finditer(text):
        letter, before, after = found[0], text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        count += 1
        if not (before.isalpha() and before <= _LAST_LATIN):
            continue
        if letter.isalpha():
            wrong += letter.isupper() and before.islower()
        elif letter not in _WITHIN_WORDS:
            wrong += letter in _OPENING or (after.isalpha() and after <= _LAST_LATIN)
    return wrong * 50 > count


def likely_encodings(lines: Sequence[bytes]) -> list[str]:
    """Encodings that these lines may be in, the likeliest first: cp1252 for a few accents, being the most common."""
    import chardet

    data = b"".join(lines)
    names = [str(guess["encoding"]) for guess in chardet.detect_all(data, compat_names=False, max_bytes=len(data))]
    western = decoded(data, "cp1252")
    is_western = western is not None and not _has_signs_within_words(western)
    has_few = len(data.translate(None, _ASCII)) * 5 < len(data)
    return ["cp1252", *names] if is_western and has_few else [*names, "cp1252"]


def readings(line: bytes, encodings: Sequence[str]) -> dict[str, str]:
    """Text → the encoding of OFFERED that reads this line so; at most MOST_OFFERED, in the order of `encodings`."""
    texts: dict[str, str] = {}
    for encoding in encodings:
        text = decoded(line, encoding)
        name = next((name for name in OFFERED if text is not None and decoded(line, name) == text), None)
        if name and text and not _NOT_TEXT.search(text):
            texts.setdefault(text, name)
        if len(texts) == MOST_OFFERED:
            break
    return texts


def utf8_counts(lines: Sequence[bytes]) -> tuple[int, int]:
    """The number of characters that are UTF-8 and not ASCII, and of bytes that are no part of one."""
    data = b"".join(lines)
    characters = _UTF8_CHARACTER.findall(data)
    high = len(data.translate(None, _ASCII))
    return len(characters), high - sum(map(len, characters))


def has_utf8(data: bytes) -> bool:
    """Whether any bytes form a character of UTF-8 that is not ASCII."""
    return bool(_UTF8_CHARACTER.search(data))


def seems_utf8(line: bytes, encoding: str) -> bool:
    """Whether this line of a file in `encoding` is probably UTF-8 instead. False for a line that is ASCII.

    Bytes of another encoding can by chance form one character of UTF-8, and a few where each character has two bytes.
    """
    if line.isascii() or decoded(line, "utf-8") is None:
        return False
    evidence = sum(len(letter) - 1 + (letter[0] == 0xC3) for letter in _UTF8_CHARACTER.findall(line))
    return evidence >= (8 if encoding in SEVERAL_BYTES else 2)
