"""The different sentences of a corpus, known by their keys: a corpus of any length is read twice and never held in memory."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from connection import UserMistake

KEY = "S16"  # numpy's type of a key: it compares as bytes and must not end in 0
SAMPLE = 64  # sentences that are timed for the estimate
CHANGED = "CORPUS_FILE has changed while it was read; the index is as it was. Run the script again."


def key_of(text: str) -> bytes:
    """16 bytes that stand for a sentence: 120 bits of BLAKE2b, by chance alike for two of a billion once in 10¹⁸ cases."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=15).digest() + b"\1"


@dataclass(frozen=True)
class Corpus:
    """N rows with M different sentences, which are numbered in the order in which they first appear.

    rows: (N,) the number of each row's sentence. keys: (M,) of type KEY. text_bytes: of the different sentences, as UTF-8.
    sample: some of the sentences.
    """

    rows: np.ndarray
    keys: np.ndarray
    text_bytes: int
    sample: list[str]

    @property
    def digest(self) -> str:
        """A digest of the different sentences in their order."""
        return hashlib.sha256(self.keys.tobytes()).hexdigest()


def survey_corpus(sentences: Iterable[str]) -> Corpus:
    """Read a corpus once. Memory holds about 80 bytes a row.

    >>> corpus = survey_corpus(["a cat", "a dog", "a cat"])
    >>> corpus.rows.tolist(), len(corpus.keys), corpus.text_bytes
    ([0, 1, 0], 2, 10)
    """
    keys, lengths, sample = bytearray(), array("q"), list[str]()
    chance = random.Random(0)
    for count, text in enumerate(sentences):
        keys += key_of(text)
        lengths.append(len(text.encode("utf-8", "surrogatepass")))
        if count < SAMPLE:
            sample.append(text)
        elif (place := chance.randrange(count + 1)) < SAMPLE:
            sample[place] = text
    all_keys = np.frombuffer(keys, dtype=KEY)
    _, first, inverse = np.unique(all_keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    first = first[order]
    return Corpus(
        rows=number[inverse.reshape(-1)],
        keys=all_keys[first],
        text_bytes=int(np.frombuffer(lengths, dtype=np.int64)[first].sum()),
        sample=sample,
    )


def different(corpus: Corpus, sentences: Iterable[str]) -> Iterator[str]:
    """The different sentences of a corpus in their order, which is read again.

    Raises UserMistake, at the latest at the end, if a row is not what it was.
    """
    count = seen = 0
    for text in sentences:
        if count == len(corpus.rows) or corpus.keys[corpus.rows[count]] != key_of(text):
            raise UserMistake(CHANGED)
        if corpus.rows[count] == seen:
            seen += 1
            yield text
        count += 1
    if count != len(corpus.rows):
        raise UserMistake(CHANGED)


class Keys:
    """Finds keys among others: their places."""

    def __init__(self, keys: np.ndarray):
        """keys: (M,) of type KEY, all different, in any order."""
        self.order = np.argsort(keys, kind="stable")
        self.sorted = keys[self.order]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The place of each of (m,) keys, -1 for one that is not there."""
        if not len(self.sorted):
            return np.full(len(keys), -1)
        places = np.searchsorted(self.sorted, keys).clip(max=len(self.sorted) - 1)
        return np.where(self.sorted[places] == keys, self.order[places], -1)
