"""Finds the closest pairs of an index, exact and in bounded memory, and groups of like sentences."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from connection.use.nearest import exact_similarities, unit
from connection.use.products import MOST_LEFT, Integers, Rows, Scores
from connection.use.search.engines import Engine
from connection.use.search.index import Generation

ROWS_AT_ONCE, COLUMNS_AT_ONCE = 512, 8192  # of a block of similarities
BAND = 16_384  # rows that are compared with the same columns while these are in memory
NEIGHBOURS = 33  # of each sentence that an approximate engine is asked for, itself among them


class Pairs(NamedTuple):
    """P pairs, best first. first, second: (P,) their numbers, the lower one first. similarities: (P,)."""

    first: np.ndarray
    second: np.ndarray
    similarities: np.ndarray


class _Best:
    """The best pairs so far; of equal similarities, the lower numbers first. least: the similarity that a new one needs."""

    def __init__(self, most: int, least: float):
        self.most, self.least = most, least
        self.parts: list[Pairs] = []
        self.count = 0

    def add(self, pairs: Pairs) -> None:
        keep = pairs.similarities >= self.least
        self.parts.append(Pairs(*(column[keep] for column in pairs)))
        self.count += int(np.count_nonzero(keep))
        if self.count >= 2 * self.most:
            self._prune()

    def _prune(self) -> None:
        pairs = Pairs(*(np.concatenate(columns) for columns in zip(*self.parts, strict=True)))
        order = np.lexsort((pairs.second, pairs.first, -pairs.similarities))[: self.most]
        self.parts = [Pairs(*(column[order] for column in pairs))]
        self.count = len(order)
        if self.count == self.most:
            self.least = float(self.parts[0].similarities[-1])

    def result(self) -> Pairs:
        if not self.parts:
            return Pairs(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
        self._prune()
        return self.parts[0]


def closest_sentences(generation: Generation, most: int, least: float) -> Pairs:
    """The `most` pairs of different sentences with the highest similarity of at least `least`. Every pair is compared once."""
    best, count = _Best(most, least), generation.count
    bands = range(0, count, BAND)
    blocks = sum(-(-(count - band) // COLUMNS_AT_ONCE) for band in bands)
    with tqdm(total=blocks, unit="block", disable=None, dynamic_ncols=True, desc="Comparing") as bar:
        for band in bands:
            vectors = generation.block(band, band + BAND)
            rows = [(row, Rows(vectors[row - band :][:ROWS_AT_ONCE])) for row in range(band, band + len(vectors), ROWS_AT_ONCE)]
            for column in range(band, count, COLUMNS_AT_ONCE):
                columns = generation.block(column, column + COLUMNS_AT_ONCE)
                integers = Integers(columns, each=False) if rows[0][1].wants_integers else None
                for row, part in rows:
                    if row < column + len(columns):
                        _compare(best, part, row, columns, column, integers)
                bar.update()
    return best.result()


def _compare(best: _Best, rows: Rows, row: int, columns: np.ndarray, column: int, integers: Integers | None) -> None:
    """Add the pairs of rows, the first of which is number `row`, with columns behind them that may be among the best."""
    for rough in (True, False):
        if rough and (integers is None or not rows.wants_integers):
            continue
        scores = rows.rough(integers) if rough and integers is not None else rows.exact(columns)
        if column < row + len(rows.vectors):  # these rows are among the columns, or behind them
            scores.skip_up_to(row - column)
        first, second = _candidates(scores, best)
        if not rough or len(first) <= scores.values.numel() * MOST_LEFT:
            break
    if len(first):
        best.add(Pairs(first + row, second + column, exact_similarities(unit(rows.vectors), columns, first, second)))


def _candidates(scores: Scores, best: _Best) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of what may be among the best; where that is much, the best of these scores give a limit too."""
    highest, everywhere = scores.highest(), np.arange(len(scores.scales))
    limit = best.least
    if highest.numel() >= best.most:
        limit = max(limit, _kth(scores.at_least(everywhere[:, None], highest.numpy()), best.most))
    first, second = scores.reaching(np.full(len(everywhere), limit), highest)
    if len(first) > 2 * best.most:
        limit = max(limit, _kth(scores.at_least(first, scores.values.numpy()[first, second]), best.most))
        first, second = scores.reaching(np.full(len(everywhere), limit), highest)
    return first, second


def _kth(values: np.ndarray, most: int) -> float:
    """The `most`-th highest of values."""
    return float(np.partition(values, values.size - most, axis=None)[values.size - most])


def closest_neighbours(generation: Generation, engine: Engine, vectors: Iterable[np.ndarray], most: int, least: float) -> Pairs:
    """The same by the nearest NEIGHBOURS of each sentence, as an approximate engine finds them.

    vectors: those of all sentences, in blocks.
    """
    best, start = _Best(2 * most, least), 0  # each pair may be found from both of its sides
    for block in tqdm(vectors, unit="block", disable=None, dynamic_ncols=True, desc="Searching"):
        numbers, similarities = engine.search(block, min(NEIGHBOURS, generation.count))
        own = np.arange(start, start + len(block))[:, None]
        rows, columns = np.nonzero((numbers >= 0) & (numbers != own))
        others = numbers[rows, columns]
        first, second = np.minimum(others, rows + start), np.maximum(others, rows + start)
        best.add(Pairs(first, second, similarities[rows, columns]))
        start += len(block)
    pairs = best.result()
    if len(pairs.first):
        repeats = (np.diff(pairs.first) == 0) & (np.diff(pairs.second) == 0)  # neighbours, since equal in all that orders them
        pairs = Pairs(*(column[np.concatenate([[True], ~repeats])][:most] for column in pairs))
    return pairs


def pairs_of_rows(generation: Generation, pairs: Pairs, most: int, least: float) -> Pairs:
    """The pairs of rows, from 0, that pairs of sentences stand for, and those of rows with the same sentence.

    pairs: the `most` best. Of equal similarities, the pair with the lower rows comes first.
    """
    repeated = np.flatnonzero(generation.counts > 1)
    levels = itertools.groupby(
        heapq.merge(
            ((-1.0, int(number), int(number)) for number in repeated if least <= 1),
            zip((-pairs.similarities).tolist(), pairs.first.tolist(), pairs.second.tolist(), strict=True),
        ),
        key=lambda pair: pair[0],
    )
    found: list[tuple[int, int]] = []
    similarities: list[float] = []
    for level, members in levels:
        streams = [_row_pairs(generation, first, second, most) for _, first, second in members]
        room = most - len(found)
        found += itertools.islice(heapq.merge(*streams), room)
        similarities += [-level] * (len(found) - len(similarities))
        if len(found) == most:
            break
    rows = np.array(found, dtype=np.int64).reshape(-1, 2)
    return Pairs(rows[:, 0], rows[:, 1], np.array(similarities))


def _row_pairs(generation: Generation, first: int, second: int, most: int) -> Iterator[tuple[int, int]]:
    """The pairs of a row with the first sentence and one with the second, the lower row first, in ascending order."""
    sides = [generation.rows_of(number, most + 1).tolist() for number in dict.fromkeys((first, second))]
    if len(sides) == 1:
        yield from itertools.combinations(sides[0], 2)
        return
    if len(sides[0]) == len(sides[1]) == 1:
        yield min(sides[0][0], sides[1][0]), max(sides[0][0], sides[1][0])
        return
    for row, others in sorted((row, 1 - side) for side in (0, 1) for row in sides[side]):
        yield from ((row, other) for other in sides[others] if other > row)


def group_rows(pairs: Pairs, least: float) -> np.ndarray:
    """The group of each pair with a similarity of at least `least`, 0 for the others: (P,).

    Groups are the connected components of these pairs, numbered from 1 by their first row.

    >>> rows = np.array([[4, 5], [0, 9], [5, 7], [1, 2]]).T
    >>> group_rows(Pairs(*rows, np.array([0.9, 0.9, 0.8, 0.1])), least=0.5).tolist()
    [2, 1, 2, 0]
    """
    parents: dict[int, int] = {}

    def root(row: int) -> int:
        parents.setdefault(row, row)
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    joined = pairs.similarities >= least
    for first, second in zip(pairs.first[joined].tolist(), pairs.second[joined].tolist(), strict=True):
        low, high = sorted((root(first), root(second)))
        parents[high] = low
    roots = np.array([root(row) if row in parents else -1 for row in pairs.first.tolist()], dtype=np.int64)
    numbered = np.unique(roots[joined])
    return np.where(joined, np.searchsorted(numbered, roots) + 1, 0)
