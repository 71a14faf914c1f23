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
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from connection.encoder.packed.blocks import Blocks, to_device
from connection.encoder.packed.products import filled_up, quantum
from connection.randomness import ROW_ORDER, derive

if TYPE_CHECKING:
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

    def to(self, device: torch.device) -> Self:
        """The batch with the tensors that the encoder reads on `device`. lengths stay on the CPU."""
        if self.input_ids.device == device:
            return self
        moved = [to_device(tensor, device) for tensor in (self.input_ids, self.position_ids, self.order)]
        blocks = None if device.type == "cpu" else Blocks(self.groups, device, few_shapes=bool(self.fillers))
        return replace(self, input_ids=moved[0], position_ids=moved[1], order=moved[2], blocks=blocks)


@dataclass
class PackedPairs(PackedBatch):
    """B pairs as N = 2B packed sentences. Of the input sentences, the first B are sentence1 and the last B sentence2.

    scores: (B,) float32. rows: (B,) int64, the rows of the pairs in their dataset.
    """

    scores: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> Self:
        """The batch with the tensors that the encoder and the loss read on `device`. lengths and rows stay on the CPU."""
        return replace(super().to(device), scores=to_device(self.scores, device))

    @property
    def shape(self) -> tuple[object, ...]:
        """What two batches on a device other than the CPU have in common if all their tensors have the same shapes."""
        assert self.blocks is not None
        return len(self.input_ids), len(self.order), self.blocks.shape

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The batch with each tensor that the encoder and the loss read on its device replaced, in a fixed order."""
        assert self.blocks is not None
        read = (self.input_ids, self.position_ids, self.order, self.scores)
        ids, positions, order, scores = map(function, read)
        blocks = self.blocks.map(function)
        return replace(self, input_ids=ids, position_ids=positions, order=order, scores=scores, blocks=blocks)


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
    cut: the number of them that were longer than the tokenizer's limit.
    """

    def __init__(
        self,
        sentences1: Sequence[str],
        sentences2: Sequence[str],
        scores: ArrayLike,
        tokenize: Callable[[list[str]], tuple[list[np.ndarray], int]],
    ):
        """tokenize: sentences → (token ids of each, number of sentences cut), such as `ConnectionBert.tokenize`."""
        number = {sentence: i for i, sentence in enumerate(dict.fromkeys([*sentences1, *sentences2]))}
        self.texts = list(number)
        tokens, self.cut = tokenize(self.texts)
        self.ids = np.concatenate(tokens).astype(np.int32, copy=False)
        self.offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])])
        columns = [[number[sentence] for sentence in side] for side in (sentences1, sentences2)]
        self.sides = np.array(columns, dtype=np.int64).T
        self.scores = np.asarray(scores, dtype=np.float32)

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

    @property
    def tokens(self) -> int:
        """The number of tokens of one epoch: of both sentences of every pair, repeated sentences counted each time."""
        return int(np.diff(self.offsets)[self.sides].sum())

    def step_tokens(self, batches: Iterable[list[int]]) -> np.ndarray:
        """The number of tokens of each batch of rows, (steps,)."""
        pair_tokens = np.diff(self.offsets)[self.sides].sum(axis=1)  # (n,)
        return np.array([pair_tokens[rows].sum() for rows in batches])


class EpochBatches(Sampler[list[int]]):
    """The rows of each batch of one epoch. Every row occurs once; the last batch may be smaller.

    Rows are sorted by 64 bits derived from (seed, epoch, row), so the order is the same on every machine and with every
    version, and does not depend on other random numbers. first: the number of batches to skip, for an epoch that is resumed.
    """

    def __init__(self, row_count: int, batch_size: int, seed: int, epoch: int, first: int = 0):
        bits = derive(seed, ROW_ORDER, epoch, np.arange(row_count))
        self.order = np.argsort(bits, kind="stable")[first * batch_size :]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.order), self.batch_size):
            yield self.order[start : start + self.batch_size].tolist()


def remaining_batches(
    dataset: ConnectionDataset, batch_size: int, seed: int, epochs: int, done: int, *, fill: bool = False
) -> Iterator[PackedPairs]:
    """The batches of a training of `epochs` epochs after its first `done` steps. fill: as in `pack_pairs`."""
    finished, done = divmod(done, -(-len(dataset) // batch_size))
    for epoch in range(finished + 1, epochs + 1):
        yield from epoch_loader(dataset, batch_size, seed, epoch, done, fill=fill)
        done = 0


def epoch_loader(
    dataset: ConnectionDataset, batch_size: int, seed: int, epoch: int, first: int = 0, *, fill: bool = False
) -> DataLoader[TokenisedPair]:
    """The packed batches of one epoch in its row order, without the `first` ones. fill: as in `pack_pairs`."""
    return DataLoader(
        dataset,
        batch_sampler=EpochBatches(len(dataset), batch_size, seed, epoch, first),
        collate_fn=partial(pack_pairs, fill=fill),
        generator=torch.Generator(),  # the loader draws a seed from it; torch's global generator stays unchanged
    )
