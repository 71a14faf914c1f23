"""Mines hard negatives: for each pair, sentences that the encoder finds similar to sentence1 though no row pairs them with it.

Exact: every sentence1 is compared with every candidate, by cosine similarity (`connection/use/nearest.py`).

Memory holds the distinct sentences, 4 × H bytes each for their embeddings of size H, 16 × NEGATIVES + 48 bytes per row, 16 per
known pair, and a few blocks of 32 MB.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from connection import UserMistake
from connection.reading.formats.workbook_output import cell_length
from connection.reading.overlap import normal_form
from connection.reading.rows import PairRow
from connection.script.settings import Settings
from connection.text import counted
from connection.use.nearest import MOST_NUMBERS, blocks_of, nearest, queries_at_once, scale, similarities_of, unit

TRIAL_COMPARISONS = (256, 4096)  # timed for the estimate


@dataclass(frozen=True)
class Rules:
    """Which candidates may be negatives; each as the constant of its name, None where that is "".

    >>> Rules(negatives=3).columns
    ['negative1', 'negative2', 'negative3']
    """

    negatives: int = 1
    ranks: tuple[int, int] = (1, 100)
    margin: float | None = None
    relative_margin: float | None = None
    most_alike: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The rules that the constants give. Raises UserMistake for more NEGATIVES than RANKS."""
        optional = (settings.MARGIN, settings.RELATIVE_MARGIN, settings.MOST_ALIKE)
        margin, relative_margin, most_alike = (None if value == "" else value for value in optional)
        low, high = settings.RANKS
        ranks = high - low + 1
        if ranks < settings.NEGATIVES:
            raise UserMistake(
                f"NEGATIVES is {settings.NEGATIVES}, but RANKS ({low}, {high}) are only {counted(ranks, 'rank')}: lower "
                "NEGATIVES or widen RANKS."
            )
        return cls(settings.NEGATIVES, (low, high), margin, relative_margin, most_alike)

    @property
    def columns(self) -> list[str]:
        """The columns of the negatives."""
        return [f"negative{number}" for number in range(1, self.negatives + 1)]

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the name of their constant."""
        values = {"MARGIN": self.margin, "RELATIVE_MARGIN": self.relative_margin, "MOST_ALIKE": self.most_alike}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Sentences:
    """What is compared: Q distinct sentence1 and C candidates, of which no two are alike (`normal_form`).

    texts: S distinct sentences with their prompts. first: (Q,) and candidates: (C,), indices into texts. query: (n,) each
    row's sentence1, an index into first. own: (n,) its sentence2, an index into texts. known: (P, 2) indices into first and
    candidates, ascending: candidates that a row pairs with the sentence1, in either order, or that are it. prompts: of
    sentence1, and of sentence2 and the candidates. longest_cell: of the pairs and the corpus, as a workbook counts
    characters; 0 if not asked for.
    """

    texts: list[str]
    first: np.ndarray
    candidates: np.ndarray
    query: np.ndarray
    own: np.ndarray
    known: np.ndarray
    prompts: tuple[str, str] = ("", "")
    longest_cell: int = 0

    def __len__(self) -> int:
        return len(self.query)

    def candidate(self, number: int) -> str:
        """The text of a candidate, as in its file; "" for -1."""
        return "" if number < 0 else self.texts[self.candidates[number]][len(self.prompts[1]) :]

    def row(self, number: int) -> tuple[str, str]:
        """Sentence1 and sentence2 of a row, as in its file."""
        texts = self.texts[self.first[self.query[number]]], self.texts[self.own[number]]
        return texts[0][len(self.prompts[0]) :], texts[1][len(self.prompts[1]) :]


def read_sentences(
    rows: Iterable[PairRow],
    corpus: Iterable[str] = (),
    *,
    prompts: tuple[str, str] = ("", ""),
    for_workbook: bool = False,
) -> Sentences:
    """Read every row of the pairs and the corpus once. Raises UserMistake for invalid rows.

    Candidates are the sentence2 and the sentences of the corpus, in this order. Of several that are alike, the first counts.

    >>> pairs = [PairRow(2, [], "a", "A cat", 0), PairRow(3, [], "b", "a  cat", 0), PairRow(4, [], "a", "dogs", 0)]
    >>> sentences = read_sentences(pairs, ["Dogs", "a", "men"])
    >>> [sentences.candidate(number) for number in range(len(sentences.candidates))]
    ['A cat', 'dogs', 'a', 'men']
    >>> sentences.known.tolist()  # "a" has the candidates 0, 1 and itself, "b" has 0
    [[0, 0], [0, 1], [0, 2], [1, 0]]
    """
    first, second, pairs, longest_cell = _distinct(rows, for_workbook)
    forms: dict[str, int] = {}  # normal form → its number
    candidates: dict[int, str] = {}  # the form of each candidate → its text
    second_forms = np.array([forms.setdefault(normal_form(text), len(forms)) for text in second], dtype=np.int64)
    for form, text in zip(second_forms.tolist(), second, strict=True):
        candidates.setdefault(form, text)
    for text in corpus:
        form = forms.setdefault(normal_form(text), len(forms))
        if form not in candidates:
            longest_cell = max(longest_cell, cell_length(text)) if for_workbook else 0
            candidates[form] = text
    first_forms = np.array([forms.setdefault(normal_form(text), len(forms)) for text in first], dtype=np.int64)
    texts: dict[str, int] = {}
    numbers = [
        np.array([texts.setdefault(prompt + text, len(texts)) for text in group], dtype=np.int64)
        for prompt, group in ((prompts[0], first), (prompts[1], second), (prompts[1], candidates.values()))
    ]
    return Sentences(
        texts=list(texts),
        first=numbers[0],
        candidates=numbers[2],
        query=pairs[:, 0].copy(),
        own=numbers[1][pairs[:, 1]],
        known=_known(first_forms, np.stack([first_forms[pairs[:, 0]], second_forms[pairs[:, 1]]], axis=1), list(candidates)),
        prompts=prompts,
        longest_cell=longest_cell,
    )


def _distinct(rows: Iterable[PairRow], for_workbook: bool) -> tuple[dict[str, int], dict[str, int], np.ndarray, int]:
    """The distinct sentence1 and sentence2 by number, those of each row (n, 2), and the longest cell, if asked for."""
    first, second, longest_cell = dict[str, int](), dict[str, int](), 0
    sides = array("q")
    for row in rows:
        if for_workbook:
            longest_cell = max(longest_cell, *map(cell_length, row.cells))
        sides.extend((first.setdefault(row.sentence1, len(first)), second.setdefault(row.sentence2, len(second))))
    return first, second, np.frombuffer(sides, dtype=np.int64).reshape(-1, 2), longest_cell


def _known(first: np.ndarray, pairs: np.ndarray, candidates: list[int]) -> np.ndarray:
    """`Sentences.known` from normal forms by number. first: (Q,), candidates: C distinct ones, pairs: (n, 2) of the rows."""
    count = int(max(pairs.max(), max(candidates))) + 1
    candidate_of = np.full(count, -1)
    candidate_of[candidates] = np.arange(len(candidates))
    both = np.concatenate([pairs, pairs[:, ::-1], np.stack([first, first], axis=1)])
    both = both[candidate_of[both[:, 1]] >= 0]
    codes = np.unique(both[:, 0] * len(candidates) + candidate_of[both[:, 1]])  # by form, then by candidate
    starts, ends = (np.searchsorted(codes, (first + more) * len(candidates)) for more in (0, 1))  # (Q,) each
    lengths = ends - starts
    rows = np.repeat(np.arange(len(first)), lengths)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.stack([rows, codes[np.repeat(starts, lengths) + within] % len(candidates)], axis=1)


def check_candidates(sentences: Sentences, rules: Rules) -> None:
    """Raise UserMistake if no row can have all its negatives."""
    known = np.bincount(sentences.known[:, 0], minlength=len(sentences.first))
    most = len(sentences.candidates) - int(known.min())
    if rules.negatives > most - rules.ranks[0] + 1:
        raise UserMistake(
            f"NEGATIVES is {rules.negatives} and RANKS begins at {rules.ranks[0]}, but a row has at most "
            f"{counted(most, 'candidate')} that it is not paired with. Lower them, or set CORPUS_FILE."
        )


@dataclass
class Mined:
    """What was found for each row.

    negatives: (n, K) numbers of candidates, the nearest first, -1 for none; similarities: (n, K), theirs to sentence1, nan for
    none. own: (n,) the similarity of the row's sentences. ranked: how many candidates were within RANKS, over all rows.
    left_out: of these, how many each limit left out; one may be counted by several.
    """

    negatives: np.ndarray
    similarities: np.ndarray
    own: np.ndarray
    ranked: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Miner:
    """Finds the negatives of all rows, from the embeddings (S, H) of `sentences.texts`, which it scales to length 1."""

    def __init__(self, embeddings: np.ndarray, sentences: Sentences, rules: Rules):
        scale(embeddings)
        self.embeddings, self.sentences, self.rules = embeddings, sentences, rules
        self.most = min(rules.ranks[1], len(sentences.candidates))

    def mine(self) -> Mined:
        """Compare each sentence1 with each candidate, block by block."""
        sentences, count, negatives = self.sentences, len(self.sentences), self.rules.negatives
        mined = Mined(np.full((count, negatives), -1), np.full((count, negatives), np.nan), np.empty(count))
        order = np.argsort(sentences.query, kind="stable")  # the rows of a block of queries are neighbours in it
        width = self.most - self.rules.ranks[0] + 1
        rows_at_once = max(1, MOST_NUMBERS // (width * self.embeddings.shape[1]))  # whose candidates' vectors are gathered
        window = slice(self.rules.ranks[0] - 1, None)
        size = queries_at_once(self.most)
        for start in tqdm(
            range(0, len(sentences.first), size), unit="block", disable=None, dynamic_ncols=True, desc="Comparing"
        ):
            stop = min(start + size, len(sentences.first))
            queries = self.embeddings[sentences.first[start:stop]]  # (b, H)
            blocks = blocks_of(self.embeddings, sentences.candidates)
            first, last = np.searchsorted(sentences.known[:, 0], [start, stop])
            numbers, similarities = nearest(queries, blocks, sentences.known[first:last] - [start, 0], self.most)
            first, last = np.searchsorted(sentences.query, [start, stop], sorter=order)
            for part in range(first, last, rows_at_once):
                rows = order[part : min(part + rows_at_once, last)]
                place = sentences.query[rows] - start
                self._choose(mined, rows, queries[place], numbers[place, window], similarities[place, window])
        return mined

    def _choose(
        self, mined: Mined, rows: np.ndarray, queries: np.ndarray, numbers: np.ndarray, similarities: np.ndarray
    ) -> None:
        """Choose the negatives of r rows. queries: (r, H). numbers, similarities: (r, W) of the candidates within RANKS."""
        own_vectors = unit(self.embeddings[self.sentences.own[rows]])  # (r, H)
        own = similarities_of(unit(queries), own_vectors)
        exists = numbers >= 0
        refused = too_similar(similarities, own, self.rules)
        if self.rules.most_alike is not None:
            vectors = unit(self.embeddings[self.sentences.candidates[np.maximum(numbers, 0)]])  # (r, W, H)
            refused["MOST_ALIKE"] = similarities_of(own_vectors, vectors) > self.rules.most_alike
        allowed = exists.copy()
        for limit, leaves_out in refused.items():
            mined.left_out[limit] += int(np.count_nonzero(leaves_out & exists))
            allowed &= ~leaves_out
        mined.ranked += int(np.count_nonzero(exists))
        chosen = np.argsort(~allowed, axis=1, kind="stable")[:, : self.rules.negatives]  # (r, K)
        is_one = np.take_along_axis(allowed, chosen, axis=1)
        mined.negatives[rows] = np.where(is_one, np.take_along_axis(numbers, chosen, axis=1), -1)
        mined.similarities[rows] = np.where(is_one, np.take_along_axis(similarities, chosen, axis=1), np.nan)
        mined.own[rows] = own


def comparing_seconds(sentences: Sentences, rules: Rules, size: int) -> float:
    """How long comparing will take, by a trial. size: of the embeddings."""
    queries, vectors = (
        unit(np.random.default_rng(0).normal(size=(count, size))).astype(np.float32) for count in TRIAL_COMPARISONS
    )
    began = time.perf_counter()
    nearest(queries, [vectors], np.empty((0, 2), dtype=np.int64), min(rules.ranks[1], len(vectors)))
    comparisons = len(sentences.first) * len(sentences.candidates)
    return float((time.perf_counter() - began) / np.prod(TRIAL_COMPARISONS) * comparisons)


def too_similar(similarities: np.ndarray, own: np.ndarray, rules: Rules) -> dict[str, np.ndarray]:
    """Which candidates MARGIN and RELATIVE_MARGIN leave out, (r, W) bool each; a similarity at the limit is allowed.

    similarities: (r, W) of sentence1 and the candidates. own: (r,) of sentence1 and its sentence2.
    RELATIVE_MARGIN: Moreira et al., NV-Retriever, 2024, https://arxiv.org/abs/2407.15831 (there "TopK-PercPos").

    >>> too_similar(np.array([[0.71, 0.7, 0.6]]), np.array([0.8]), Rules(margin=0.1, relative_margin=0.25))
    {'MARGIN': array([[ True, False, False]]), 'RELATIVE_MARGIN': array([[ True,  True, False]])}
    """
    highest = {}
    if rules.margin is not None:
        highest["MARGIN"] = own - rules.margin
    if rules.relative_margin is not None:
        highest["RELATIVE_MARGIN"] = own - np.abs(own) * rules.relative_margin
    return {rule: similarities > np.round(limit, 12)[:, None] for rule, limit in highest.items()}
