"""Sentence pairs as token ids, tokenised once, and the packed batches of an epoch in its row order.

Does not read files (`connection/reading/`) or compute embeddings (`ConnectionBert.py`). A `PackedBatch` concatenates
sentences without padding:

>>> batch = pack([np.array([101, 7, 102]), np.array([101, 102])])
>>> batch.input_ids.tolist(), batch.position_ids.tolist()  # sorted by length, the shortest first
([101, 102, 101, 7, 102], [0, 1, 0, 1, 2])
>>> batch.lengths.tolist(), batch.order.tolist(), batch.groups  # order[i]: position of sentence i
([2, 3], [1, 0], [(2, 1), (3, 1)])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from connection.encoder.packed.blocks import Blocks, to_device
from connection.encoder.packed.products import filled_up, quantum
from connection.encoder.prompts import prompted
from connection.randomness import POSITIVES_ORDER, ROW_ORDER, derive
from connection.reading.shape import Shape
from connection.training.candidates import Candidates, KnownPairs, Parts, candidates_of, gather

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike
    from typing_extensions import Self


@dataclass
class PackedBatch:
    """N sentences of T tokens in total, concatenated in ascending order of length.

    input_ids: (T,) int32. position_ids: (T,) int64, each token's position in its sentence. lengths: (N,) int64, in packed
    order. order: (N,) int64, `order[i]` is the packed position of the i-th input sentence. groups: (length, count) of each
    run of equally long sentences, in packed order; attention and pooling work by these runs. blocks: their layout on another
    device than the CPU. fillers: how many more sentences there are to fill the row up; no element of order refers to one.
    """

    input_ids: Tensor
    position_ids: Tensor
    lengths: Tensor
    order: Tensor
    groups: list[tuple[int, int]]
    fillers: int = field(default=0, kw_only=True)
    blocks: Blocks | None = field(default=None, kw_only=True)

    @property
    def tokens(self) -> int:
        """The number of tokens of the N sentences."""
        return int(self.lengths[self.order.cpu()].sum())

    def divided(self, count: int) -> Iterator[PackedBatch]:
        """The sentences in `count` batches of nearly the same number, in the order of the input."""
        ends = torch.cumsum(self.lengths, 0).tolist()
        order, ids = self.order.cpu(), self.input_ids.cpu().numpy()
        sentences = [
            ids[ends[place] - length : ends[place]]
            for place, length in zip(order.tolist(), self.lengths[order].tolist(), strict=True)
        ]
        for part in np.array_split(np.arange(len(sentences)), min(count, len(sentences))):
            yield pack([sentences[number] for number in part.tolist()])

    def to(self, device: torch.device) -> Self:
        """The batch with the tensors that the encoder reads on `device`. lengths stay on the CPU."""
        if self.input_ids.device == device:
            return self
        moved = [to_device(tensor, device) for tensor in (self.input_ids, self.position_ids, self.order)]
        blocks = None if device.type == "cpu" else Blocks(self.groups, device, few_shapes=bool(self.fillers))
        return replace(self, input_ids=moved[0], position_ids=moved[1], order=moved[2], blocks=blocks)


@dataclass
class PackedPairs(PackedBatch):
    """B rows as N packed sentences.

    Of scored pairs, and of pairs with a class, the first B of the input sentences are sentence1, the next B sentence2
    (has_pairs). Of pairs that belong together, the input sentences are the distinct ones of the batch, to which `together`
    refers; those of POSITIVES_FILE come last, to which `positives` refers.
    scores: (B,) float32, or the numbers of the classes. rows: (B,) int64, the rows of the pairs in their dataset.
    """

    scores: Tensor
    rows: Tensor
    has_pairs: bool = True
    together: Candidates | None = None
    positives: Candidates | None = None

    def to(self, device: torch.device) -> Self:
        """The batch with the tensors that the encoder and the loss read on `device`. lengths and rows stay on the CPU."""
        if self.input_ids.device == device:
            return self
        move = partial(to_device, device=device)
        together, positives = (targets and targets.map(move) for targets in (self.together, self.positives))
        return replace(super().to(device), scores=move(self.scores), together=together, positives=positives)

    @property
    def shape(self) -> tuple[object, ...]:
        """What two batches on a device other than the CPU have in common if all their tensors have the same shapes."""
        assert self.blocks is not None
        candidates = [targets.shape for targets in (self.together, self.positives) if targets]
        return len(self.input_ids), len(self.order), self.blocks.shape, len(self.scores), *candidates

    @property
    def pairs(self) -> int:
        """The number of rows, with those of POSITIVES_FILE."""
        return len(self.rows) + (len(self.positives.first) if self.positives else 0)

    def parts(self, embeddings: Tensor) -> Parts:
        """What the loss is computed from. embeddings: (N, H), in the order of the input sentences."""
        pairs = None
        if self.has_pairs:
            both = 2 * len(self.scores)
            first, second = (embeddings if len(embeddings) == both else embeddings[:both]).chunk(2)
            pairs = (first, second)
        together, positives = (
            None if targets is None else gather(embeddings, targets) for targets in (self.together, self.positives)
        )
        return Parts(pairs, self.scores, together, positives)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The batch with each tensor that the encoder and the loss read on its device replaced, in a fixed order."""
        assert self.blocks is not None
        read = (self.input_ids, self.position_ids, self.order, self.scores)
        ids, positions, order, scores = map(function, read)
        together, positives = (targets and targets.map(function) for targets in (self.together, self.positives))
        blocks = self.blocks.map(function)
        mapped = replace(self, input_ids=ids, position_ids=positions, order=order, scores=scores, blocks=blocks)
        return replace(mapped, together=together, positives=positives)


FILLER_TOKENS = 16  # about the length of a filler, so that it is seldom the longest sentence


def fillers_for(sentences: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sentences with which the packed row of `sentences` has one of few lengths. They change no embedding.

    There is at least one, and their number depends on the length of the row only. They repeat a token of `sentences`.
    """
    tokens, filled, count = sum(map(len, sentences)), 0, 1
    while filled < tokens + count:
        filled = filled_up(max(tokens, filled) + 1)
        count = max(1, quantum(filled) // FILLER_TOKENS)
    whole = np.full(filled - tokens, sentences[0][0])
    return np.array_split(whole, count)


def pack(sentences: Sequence[np.ndarray], fillers: Sequence[np.ndarray] = ()) -> PackedBatch:
    """Concatenate N sentences (arrays of token ids, at least one token each), the shortest first; fillers among them."""
    count, sentences = len(sentences), [*sentences, *fillers]
    lengths = np.fromiter((len(ids) for ids in sentences), dtype=np.int64, count=len(sentences))  # (N,)
    packed = np.argsort(lengths, kind="stable")  # (N,) packed[j]: the sentence at packed position j
    order = np.empty_like(packed)
    order[packed] = np.arange(len(packed))
    lengths = lengths[packed]
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)  # (T,)
    distinct, counts = np.unique(lengths, return_counts=True)
    return PackedBatch(
        input_ids=torch.from_numpy(np.concatenate([sentences[i] for i in packed.tolist()]).astype(np.int32, copy=False)),
        position_ids=torch.from_numpy(positions),
        lengths=torch.from_numpy(lengths),
        order=torch.from_numpy(order[:count]),
        groups=list(zip(distinct.tolist(), counts.tolist(), strict=True)),
        fillers=len(fillers),
    )


@dataclass(frozen=True)
class TokenisedPair:
    """One pair: token ids of both sentences, (T1,) and (T2,) int32, its score from 0 to 1, its row in the dataset."""

    ids1: np.ndarray
    ids2: np.ndarray
    score: float
    row: int


def pack_pairs(pairs: Sequence[TokenisedPair], *, fill: bool = False) -> PackedPairs:
    """Pack both sentences of B pairs into one batch of 2B sentences: sentence1 of each pair, then sentence2 of each.

    fill: with fillers, so that batches have few shapes.
    """
    sentences = [pair.ids1 for pair in pairs] + [pair.ids2 for pair in pairs]
    batch = pack(sentences, fillers_for(sentences) if fill else ())
    scores = torch.tensor([pair.score for pair in pairs], dtype=torch.float32)
    rows = torch.tensor([pair.row for pair in pairs])
    return PackedPairs(**vars(batch), scores=scores, rows=rows)


class ConnectionDataset(Dataset[TokenisedPair]):
    """n pairs of sentences as token ids. Each of the S distinct sentences is tokenised once, when the dataset is made.

    ids: (all tokens of the distinct sentences,) int32. offsets: (S + 1,) int64; sentence s is `ids[offsets[s]:offsets[s + 1]]`.
    sides: (n, 2) int64, the numbers of the two sentences of each pair. scores: (n,) float32. texts: the S distinct sentences.
    cut: the number of them that were longer than the tokenizer's limit. negatives: (n, K) int64, the numbers of the hard
    negatives of each row, -1 for none. shape: the kind of pairs. chooses_from: the score from which a row belongs together, for
    losses that choose among candidates; None if no loss does.
    """

    def __init__(
        self,
        sentences1: Sequence[str],
        sentences2: Sequence[str],
        scores: ArrayLike,
        tokenize: Callable[[list[str]], tuple[list[np.ndarray], int]],
        *,
        negatives: Sequence[Sequence[str]] = (),
        shape: Shape = Shape.SCORED,
        chooses_from: float | None = None,
    ):
        """tokenize: sentences → (token ids of each, number of sentences cut), such as `ConnectionBert.tokenize`.

        negatives: columns of hard negatives, "" where a row has none.
        """
        others = [sentence for column in negatives for sentence in column if sentence]
        number = {sentence: i for i, sentence in enumerate(dict.fromkeys([*sentences1, *sentences2, *others]))}
        self.texts = list(number)
        tokens, self.cut = tokenize(self.texts)
        self.ids = np.concatenate(tokens).astype(np.int32, copy=False)
        self.offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])])
        columns = [[number[sentence] for sentence in side] for side in (sentences1, sentences2)]
        self.sides = np.array(columns, dtype=np.int64).T
        self.scores = np.asarray(scores, dtype=np.float32)
        rows = [[number[sentence] if sentence else -1 for sentence in column] for column in negatives]
        self.negatives = np.array(rows, dtype=np.int64).T if rows else np.empty((len(self.scores), 0), dtype=np.int64)
        self.shape = shape
        self.chooses_from = 0.0 if shape.has_candidates else chooses_from

    @property
    def has_pairs(self) -> bool:
        """Whether a batch has the two sentences of each row; else the distinct ones of all rows."""
        return not self.shape.has_candidates

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        tokenize: Callable[[list[str]], tuple[list[np.ndarray], int]],
        prompts: tuple[str, str] = ("", ""),
        *,
        shape: Shape = Shape.SCORED,
        chooses_from: float | None = None,
    ) -> Self:
        """The pairs of a table, as `connection.reading.pairs.Pairs` has it. prompts: before sentence1, before the others."""
        first = prompted(table["sentence1"], prompts[0])
        others = [name for name in table.columns if name.startswith("negative")]
        second = prompted(table["sentence2"], prompts[1])
        negatives = [[prompts[1] + sentence if sentence else "" for sentence in table[name]] for name in others]
        scores = table["score"].to_numpy()
        return cls(first, second, scores, tokenize, negatives=negatives, shape=shape, chooses_from=chooses_from)

    @cached_property
    def known(self) -> KnownPairs:
        """Which sentences a row has together."""
        return KnownPairs(self.sides, len(self.texts))

    def candidates(self, rows: Sequence[int] | np.ndarray) -> Candidates | None:
        """The rows as candidates of each other, with numbers of distinct sentences as indices; None if no loss needs them."""
        if self.chooses_from is None:
            return None
        rows = np.asarray(rows)
        weights = self.scores[rows] >= self.chooses_from
        first, second = self.sides[rows].T
        return candidates_of(first, second, self.negatives[rows], self.known, weights)

    def __len__(self) -> int:
        return len(self.scores)

    def sentence(self, number: int) -> np.ndarray:
        """The token ids of a distinct sentence, (T,) int32."""
        return self.ids[self.offsets[number] : self.offsets[number + 1]]

    def __getitem__(self, row: int) -> TokenisedPair:
        side1, side2 = self.sides[row]
        return TokenisedPair(self.sentence(side1), self.sentence(side2), float(self.scores[row]), int(row))

    @property
    def sentences(self) -> list[np.ndarray]:
        """The token ids of every distinct sentence."""
        return [self.sentence(number) for number in range(len(self.offsets) - 1)]

    def step_tokens(self, batches: Iterable[list[int]]) -> np.ndarray:
        """The number of tokens of each batch of rows, (steps,)."""
        lengths = np.diff(self.offsets)
        if self.has_pairs:
            pair_tokens = lengths[self.sides].sum(axis=1)  # (n,)
            return np.array([pair_tokens[rows].sum() for rows in batches])
        numbers = np.concatenate([self.sides, self.negatives], axis=1)  # (n, 2 + K)
        return np.array([lengths[_distinct(numbers[rows])].sum() for rows in batches])

    def batch(
        self, rows: Sequence[int], positives: tuple[ConnectionDataset, np.ndarray] | None = None, *, fill: bool = False
    ) -> PackedPairs:
        """The packed batch of some rows. positives: a set, and rows of it that are added. fill: as in `pack_pairs`."""
        together = self.candidates(rows)
        if self.has_pairs and together is None and positives is None:
            return pack_pairs([self[row] for row in rows], fill=fill)
        sentences: list[np.ndarray] = []
        if self.has_pairs:
            sentences = [self.sentence(number) for side in (0, 1) for number in self.sides[rows, side].tolist()]
            if together is not None:
                places = np.zeros(len(self.texts), dtype=np.int64)
                places[self.sides[rows].T.ravel()[::-1]] = np.arange(2 * len(rows))[::-1]  # of repeats, the first
                together = together.at(places)
                together = together.filled_to(len(rows)) if fill else together
        else:
            assert together is not None
            together = self._add(sentences, np.asarray(rows), together, fill)
        of_positives = None
        if positives is not None:
            dataset, chosen = positives
            of_positives = dataset.candidates(chosen)
            assert of_positives is not None
            of_positives = dataset._add(sentences, chosen, of_positives, fill)
        batch = pack(sentences, fillers_for(sentences) if fill else ())
        return PackedPairs(
            **vars(batch),
            scores=torch.from_numpy(self.scores[rows]),
            rows=torch.as_tensor(rows),
            has_pairs=self.has_pairs,
            together=together,
            positives=of_positives,
        )

    def _add(self, sentences: list[np.ndarray], rows: np.ndarray, targets: Candidates, fill: bool) -> Candidates:
        """Add the distinct sentences of some rows to `sentences`; returns their candidates, which refer to these.

        fill: add as many as if all were different, and fill the candidates up as well, so that there are few shapes.
        """
        numbers = np.concatenate([self.sides[rows], self.negatives[rows]], axis=1)  # (B, 2 + K)
        distinct = _distinct(numbers)
        places = np.zeros(len(self.texts), dtype=np.int64)
        places[distinct] = len(sentences) + np.arange(len(distinct))
        sentences += [self.sentence(number) for number in distinct.tolist()]
        if not fill:
            return targets.at(places)
        shortest = min(distinct.tolist(), key=lambda number: self.offsets[number + 1] - self.offsets[number])
        sentences += [self.sentence(shortest)] * (numbers.size - len(distinct))
        return targets.at(places).filled_to(numbers.size - len(rows))


def _distinct(numbers: np.ndarray) -> np.ndarray:
    """The distinct numbers that are not negative, in order of first appearance by columns."""
    flat = numbers.T.ravel()
    first = np.sort(np.unique(flat, return_index=True)[1])
    return flat[first][flat[first] >= 0]


class EpochBatches:
    """The rows of each batch of one epoch. Every row occurs once; the last batch may be smaller.

    Rows are sorted by 64 bits derived from (seed, epoch, row), so the order is the same on every machine and with every
    version, and does not depend on other random numbers. first: the number of batches to skip, for an epoch that is resumed.
    """

    def __init__(self, row_count: int, batch_size: int, seed: int, epoch: int, first: int = 0):
        self.order = row_order(row_count, seed, ROW_ORDER, epoch)[first * batch_size :]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.order), self.batch_size):
            yield self.order[start : start + self.batch_size].tolist()


def row_order(row_count: int, seed: int, purpose: int, number: int) -> np.ndarray:
    """The order of the rows in one pass over them, (n,), by 64 bits derived from (seed, purpose, number of the pass, row)."""
    return np.argsort(derive(seed, purpose, number, np.arange(row_count)), kind="stable")


class PositiveRows:
    """The rows of POSITIVES_FILE that each step takes: BATCH_SIZE ones of an endless row of passes, each in its own order."""

    def __init__(self, row_count: int, batch_size: int, seed: int):
        self.row_count, self.batch_size, self.seed = row_count, batch_size, seed

    def of_step(self, step: int) -> np.ndarray:
        """The rows of the step that follows `step` finished ones, (batch_size,). Short files repeat rows within a step."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        passes, positions = np.divmod(places, self.row_count)
        orders = {
            number: row_order(self.row_count, self.seed, POSITIVES_ORDER, number) for number in np.unique(passes).tolist()
        }
        return np.array(
            [orders[number][position] for number, position in zip(passes.tolist(), positions.tolist(), strict=True)]
        )


def remaining_batches(
    dataset: ConnectionDataset,
    batch_size: int,
    seed: int,
    epochs: int,
    done: int,
    *,
    positives: ConnectionDataset | None = None,
    fill: bool = False,
) -> Iterator[PackedPairs]:
    """The batches of a training of `epochs` epochs after its first `done` steps.

    positives: the rows of POSITIVES_FILE. fill: as in `pack_pairs`.
    """
    finished, first = divmod(done, -(-len(dataset) // batch_size))
    for epoch in range(finished + 1, epochs + 1):
        yield from epoch_loader(dataset, batch_size, seed, epoch, first, positives=positives, fill=fill)
        first = 0


def epoch_loader(
    dataset: ConnectionDataset,
    batch_size: int,
    seed: int,
    epoch: int,
    first: int = 0,
    *,
    positives: ConnectionDataset | None = None,
    fill: bool = False,
) -> EpochLoader:
    """The packed batches of one epoch in its row order, without the `first` ones; arguments as for `remaining_batches`."""
    sampler = EpochBatches(len(dataset), batch_size, seed, epoch, first)
    steps_before = (epoch - 1) * -(-len(dataset) // batch_size) + first
    others = (positives, PositiveRows(len(positives), batch_size, seed)) if positives else None
    return EpochLoader(dataset, sampler, others, steps_before, fill)


@dataclass(frozen=True)
class EpochLoader:
    """The batches of an epoch. batch_sampler: their rows. positives: what each step takes of POSITIVES_FILE, if there is one.

    steps_before: the steps of the training before the first batch. fill: as in `pack_pairs`.
    """

    dataset: ConnectionDataset
    batch_sampler: EpochBatches
    positives: tuple[ConnectionDataset, PositiveRows] | None
    steps_before: int
    fill: bool

    def __iter__(self) -> Iterator[PackedPairs]:
        for step, rows in enumerate(self.batch_sampler, start=self.steps_before):
            yield self.dataset.batch(rows, self._positives(step), fill=self.fill)

    def _positives(self, step: int) -> tuple[ConnectionDataset, np.ndarray] | None:
        return (self.positives[0], self.positives[1].of_step(step)) if self.positives else None

    def step_tokens(self) -> np.ndarray:
        """The number of tokens of each batch, (steps,)."""
        tokens = self.dataset.step_tokens(self.batch_sampler)
        if self.positives:
            dataset, rows = self.positives
            steps = range(self.steps_before, self.steps_before + len(tokens))
            tokens = tokens + dataset.step_tokens(rows.of_step(step).tolist() for step in steps)
        return tokens
