"""How sentences are divided: runs of similar length for the model, parts of bounded size for the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def runs_by_length(lengths: np.ndarray, most_sentences: int, most_tokens: int) -> Iterator[np.ndarray]:
    """Batches of sentence numbers, sorted by length. Each is within both bounds, or is a single sentence.

    >>> [run.tolist() for run in runs_by_length(np.array([5, 2, 9, 2, 3]), 3, 9)]
    [[1, 3, 4], [0], [2]]
    """
    order = np.argsort(lengths, kind="stable")
    ends, start = np.cumsum(lengths[order]), 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        fitting = int(np.searchsorted(ends, before + most_tokens, side="right"))
        stop = max(start + 1, min(fitting, start + most_sentences))
        yield order[start:stop]
        start = stop


def parts(sentences: Sequence[str], most_sentences: int = 4096, most_characters: int = 1_000_000) -> Iterator[Sequence[str]]:
    """Split a list of sentences into parts, to bound the tokenizer's memory (up to 500 bytes per character)."""
    start = characters = 0
    for end, sentence in enumerate(sentences):
        if end > start and (end - start == most_sentences or characters + len(sentence) > most_characters):
            yield sentences[start:end]
            start, characters = end, 0
        characters += len(sentence)
    if start < len(sentences):
        yield sentences[start:]


def without_surrogates(sentence: str) -> str:
    """Replace each lone surrogate by "?". It is not a character, but JSON files can contain some."""
    try:
        sentence.encode()
    except UnicodeEncodeError:
        return sentence.encode(errors="replace").decode()
    return sentence
