"""Composes decomposed characters before tokenising, where the vocabulary has the composed ones.

macOS writes "é" as "e" and an accent, and a Korean syllable as its two or three Jamo (Unicode NFD). For a vocabulary of
composed characters (NFC) such words are [UNK]. Text in NFC is never changed, nor is any text of a tokenizer that decomposes
by itself, such as an uncased BERT.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

import tokenizers

from connection.encoder.batches import parts

MOST_MARKS = 30  # after one letter, as in Unicode's Stream-Safe Text Format; the time of NFC is quadratic in their number
CACHED = 2**14  # letters with their marks; there are 11,172 syllables of modern Korean


class Composition:
    """Composes the characters that a tokenizer's vocabulary holds composed, as a piece or in pieces, and only these."""

    def __init__(self, tokenizer: tokenizers.Tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, sentences: Sequence[str]) -> Sequence[str]:
        """The sentences as they are to be tokenised, in their order; the same sequence if all are in NFC."""
        if all(_is_composed("\n".join(part)) for part in parts(sentences)):  # much faster than one by one
            return sentences
        pattern = self._pattern
        if pattern is None:
            return sentences
        composed = lru_cache(maxsize=CACHED)(self._composed)
        return [
            sentence if _is_composed(sentence) else pattern.sub(lambda match: composed(match[0]), sentence)
            for sentence in sentences
        ]

    @cached_property
    def characters(self) -> frozenset[str]:
        """What is composed: characters of the vocabulary that the tokenizer would see otherwise if they were decomposed."""
        if self._is_byte_level:
            return frozenset()
        normalizer = self.tokenizer.normalizer
        normalize: Callable[[str], str] = normalizer.normalize_str if normalizer else str
        alphabet = set[str]().union(*self.tokenizer.get_vocab())
        # An upper-case letter may be lower-cased by the tokenizer before it meets its vocabulary.
        letters = {form for letter in alphabet for form in (letter, letter.upper()) if len(form) == 1}
        return frozenset(
            letter
            for letter in letters
            if (decomposed := unicodedata.normalize("NFD", letter)) != letter
            and unicodedata.normalize("NFC", letter) == letter
            and alphabet.issuperset(normalize(letter))
            and normalize(letter) != normalize(decomposed)
        )

    @property
    def _is_byte_level(self) -> bool:
        """Whether the pieces are of bytes, each written as some letter: then the vocabulary holds no letters."""
        steps = (self.tokenizer.normalizer, self.tokenizer.pre_tokenizer)
        return any(step is not None and b'"ByteLevel"' in step.__getstate__() for step in steps)

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        """A character and the marks or Jamo after it that are part of one of `characters`; None if there are none."""
        marks = {mark for letter in self.characters for mark in unicodedata.normalize("NFD", letter)[1:]}
        if not marks:
            return None
        return re.compile(f".[{re.escape(''.join(sorted(marks)))}]{{1,{MOST_MARKS}}}", re.DOTALL)

    def _composed(self, written: str) -> str:
        composed = unicodedata.normalize("NFC", written)
        new = set(composed).difference(written)
        return composed if new and new <= self.characters else written


def composition_text(count: int) -> str:
    """A line that says how many sentences were composed, or "" if none was.

    >>> composition_text(1)
    '1 sentence holds decomposed characters (Unicode NFD, as macOS writes); they are composed before tokenising.'
    """
    if not count:
        return ""
    subject = "1 sentence holds" if count == 1 else f"{count:,} sentences hold"
    return f"{subject} decomposed characters (Unicode NFD, as macOS writes); they are composed before tokenising."


def _is_composed(text: str) -> bool:
    return text.isascii() or unicodedata.is_normalized("NFC", text)
