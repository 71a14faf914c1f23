"""Judges from a WordPiece vocabulary how text is normalised before it, for folders in which no file says so.

BERT's normalizer lower-cases or not, and strips accents or not, which also decomposes Hangul syllables into Jamo.
"""

from __future__ import annotations

from collections.abc import Iterable

# A vocabulary is judged by shares of its pieces, never by single ones. Of the pieces with letters that have cases, upper-case
# ones are strays in uncased vocabularies, a quarter or more in cased ones of the languages of Europe. Likewise the pieces with
# Hangul syllables among those with letters.
LEAST_SHARE = 0.05
_MARKS = {("[", "]"), ("<", ">")}  # around the pieces that are not parts of words, such as [CLS], <S> and [unused1]


def normalization(vocabulary: Iterable[str]) -> dict[str, bool | None]:
    """BertTokenizer's arguments do_lower_case and strip_accents; None for the latter: as the former.

    >>> normalization(["[UNK]", "the", "ℝ", "<S>"])  # ℝ is no upper-case letter: it has no lower case
    {'do_lower_case': True, 'strip_accents': None}
    >>> normalization(["[UNK]", "The", "the", "##s"])
    {'do_lower_case': False, 'strip_accents': None}
    >>> normalization(["[UNK]", "한국", "##어", "usb"])
    {'do_lower_case': True, 'strip_accents': False}
    >>> normalization(["[UNK]", "ᄒ", "##ᅡ", "##ᆫ", "LG"])  # Jamo, as in KR-BERT: syllables must be decomposed
    {'do_lower_case': True, 'strip_accents': None}
    """
    upper = cased = syllables = jamo = words = 0
    for piece in vocabulary:
        if (piece[:1], piece[-1:]) in _MARKS:
            continue
        words += any(map(str.isalpha, piece))
        cased += any(letter.lower() != letter.upper() for letter in piece)
        upper += any(letter != letter.lower() for letter in piece)
        syllables += any("가" <= letter <= "힣" for letter in piece)
        jamo += any("\u1100" <= letter <= "\u11ff" for letter in piece)
    if jamo > syllables:
        return {"do_lower_case": True, "strip_accents": None}
    lower_case = upper < LEAST_SHARE * max(cased, 1)
    return {"do_lower_case": lower_case, "strip_accents": False if lower_case and syllables > LEAST_SHARE * words else None}
