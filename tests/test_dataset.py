"""Packed batches: their layout. The dataset: tokenised once, in an order that follows from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ConnectionDataset import (
    ConnectionDataset,
    EpochBatches,
    PackedBatch,
    PackedPairs,
    TokenisedPair,
    epoch_loader,
    pack,
    pack_pairs,
)

Texts = tuple[list[str], list[str], list[float]]


def token_ids(lengths: list[int]) -> list[np.ndarray]:
    """Sentences of these lengths, every token another number."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end, dtype=np.int32) + 1000 for end, length in zip(ends, lengths, strict=True)]


def unpack(batch: PackedBatch) -> list[list[int]]:
    """The sentences of a batch in the order given: what `order`, `lengths` and `input_ids` say together."""
    packed = torch.split(batch.input_ids, batch.lengths.tolist())
    return [packed[place].tolist() for place in batch.order.tolist()]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_layout_of_a_packed_batch(lengths: list[int]) -> None:
    sentences = token_ids(lengths)
    batch = pack(sentences)
    assert batch.input_ids.dtype == torch.int32
    assert batch.position_ids.dtype == batch.lengths.dtype == batch.order.dtype == torch.int64
    assert batch.input_ids.shape == batch.position_ids.shape == (sum(lengths),)  # no padding token
    assert batch.lengths.tolist() == sorted(lengths)
    assert unpack(batch) == [ids.tolist() for ids in sentences]
    assert batch.position_ids.tolist() == [place for length in sorted(lengths) for place in range(length)]
    assert sorted(batch.order.tolist()) == list(range(len(lengths)))
    assert [length for length, count in batch.groups for _ in range(count)] == batch.lengths.tolist()
    assert len({length for length, _ in batch.groups}) == len(batch.groups)  # one group a length


def test_equally_long_sentences_keep_their_order() -> None:
    assert pack(token_ids([3, 2, 3, 2])).order.tolist() == [2, 0, 3, 1]


def test_pack_keeps_the_sentences_it_was_given() -> None:
    sentences = token_ids([5, 1, 3])
    copies = [ids.copy() for ids in sentences]
    pack(sentences).input_ids.fill_(0)
    pack([sentences[0]]).input_ids.fill_(0)  # a single one, too, is copied
    assert all(np.array_equal(ids, copy) for ids, copy in zip(sentences, copies, strict=True))


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=20))
def test_the_first_half_of_a_packed_batch_is_sentence1(lengths: list[tuple[int, int]]) -> None:
    ids = token_ids([length for pair in lengths for length in pair])
    pairs = [TokenisedPair(ids[2 * i], ids[2 * i + 1], score=i / 100, row=90 + i) for i in range(len(lengths))]
    batch = pack_pairs(pairs)
    sentences = unpack(batch)
    assert sentences[: len(pairs)] == [pair.ids1.tolist() for pair in pairs]
    assert sentences[len(pairs) :] == [pair.ids2.tolist() for pair in pairs]
    assert batch.rows.tolist() == [pair.row for pair in pairs]
    assert batch.scores.dtype == torch.float32
    assert batch.scores.tolist() == pytest.approx([pair.score for pair in pairs])


def test_to_moves_what_is_computed_with() -> None:
    batch = pack_pairs([TokenisedPair(*token_ids([3, 2]), score=0.5, row=4)]).to(torch.device("meta"))
    assert {x.device.type for x in (batch.input_ids, batch.position_ids, batch.order, batch.scores)} == {"meta"}
    assert batch.lengths.tolist() == [2, 3] and batch.rows.tolist() == [4] and batch.groups == [(2, 1), (3, 1)]
    assert type(batch) is PackedPairs and type(pack(token_ids([2])).to(torch.device("meta"))) is PackedBatch


class CountingTokenizer:
    """A number for every word; a sentence is cut to five. Remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, sentences: list[str]) -> tuple[list[np.ndarray], int]:
        self.asked.append(list(sentences))
        ids = [[len(word) for word in sentence.split()] for sentence in sentences]
        return [np.array(x[:5], dtype=np.int64) for x in ids], sum(len(x) > 5 for x in ids)


@pytest.fixture
def texts(sentence_factory: Callable[..., list[str]]) -> Texts:
    """Columns of 50 pairs; every sentence but a few comes twice."""
    sentences = sentence_factory(60)
    return sentences[:50], sentences[10:], [i / 50 for i in range(50)]


def test_each_distinct_sentence_is_tokenised_once(texts: Texts) -> None:
    tokenizer = CountingTokenizer()
    dataset = ConnectionDataset(*texts, tokenizer)
    assert len(tokenizer.asked) == 1
    assert sorted(tokenizer.asked[0]) == sorted({*texts[0], *texts[1]})
    for epoch in (1, 2):
        list(epoch_loader(dataset, 8, seed=1, epoch=epoch))
    assert len(tokenizer.asked) == 1 and len(dataset.sentences) == len(tokenizer.asked[0])
    assert dataset.cut == sum(len(sentence.split()) > 5 for sentence in {*texts[0], *texts[1]}) > 0


def test_the_rows_of_a_dataset(texts: Texts) -> None:
    tokenizer = CountingTokenizer()
    dataset = ConnectionDataset(*texts, tokenizer)
    assert len(dataset) == 50
    assert dataset.ids.dtype == np.int32 and dataset.scores.dtype == np.float32
    for row, (one, two, score) in enumerate(zip(*texts, strict=True)):
        pair = dataset[row]
        assert pair.ids1.tolist() == tokenizer([one])[0][0].tolist()
        assert pair.ids2.tolist() == tokenizer([two])[0][0].tolist()
        assert pair.score == pytest.approx(score) and pair.row == row
        assert type(pair.score) is float and type(pair.row) is int
    tokens = [sum(len(x) for row in rows for x in (dataset[row].ids1, dataset[row].ids2)) for rows in ([3], range(50))]
    assert dataset.step_tokens([[3], [*range(50)]]).tolist() == tokens


def test_a_sentence_paired_with_itself_is_one_sentence() -> None:
    dataset = ConnectionDataset(["a cat", "a dog"], ["a cat", "a cat"], [1, 0], CountingTokenizer())
    assert len(dataset.sentences) == 2 and dataset.sides.tolist() == [[0, 0], [1, 0]] and dataset.step_tokens([[0, 1]]) == 8


def rows_of(dataset: ConnectionDataset, seed: int, epoch: int, batch_size: int = 8) -> list[list[int]]:
    return [batch.rows.tolist() for batch in epoch_loader(dataset, batch_size, seed, epoch)]


def test_two_loaders_of_one_epoch_give_the_same_batches(texts: Texts) -> None:
    dataset = ConnectionDataset(*texts, CountingTokenizer())
    first = list(epoch_loader(dataset, 8, seed=1, epoch=1))
    torch.manual_seed(999)  # what was drawn before is of no account
    second = list(epoch_loader(dataset, 8, seed=1, epoch=1))
    assert len(first) == len(second) == 7
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one.rows, two.rows) and torch.equal(one.scores, two.scores)
        assert torch.equal(one.input_ids, two.input_ids) and torch.equal(one.order, two.order)


def test_another_epoch_and_another_seed_have_another_order(texts: Texts) -> None:
    dataset = ConnectionDataset(*texts, CountingTokenizer())
    orders = [rows_of(dataset, seed, epoch) for seed, epoch in [(1, 1), (1, 2), (2, 1), (0, 1), (1, 0)]]
    assert len({str(order) for order in orders}) == len(orders)
    assert rows_of(dataset, 1, 1, batch_size=5) != orders[0]
    assert sum(rows_of(dataset, 1, 1, batch_size=5), []) == sum(orders[0], [])  # noqa: RUF017 short lists


@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**32), st.integers(0, 100))
def test_every_row_comes_once_and_only_the_last_batch_is_smaller(rows: int, batch_size: int, seed: int, epoch: int) -> None:
    batches = list(EpochBatches(rows, batch_size, seed, epoch))
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert all(len(batch) == batch_size for batch in batches[:-1]) and 1 <= len(batches[-1]) <= batch_size
    assert len(batches) == len(EpochBatches(rows, batch_size, seed, epoch))


def test_the_order_of_rows_is_the_same_on_every_machine_and_version() -> None:
    """SplitMix64 reckoned in whole numbers of Python; if this fails, no run that was begun before can be continued."""
    assert list(EpochBatches(10, 4, seed=42, epoch=1)) == [[4, 2, 1, 9], [0, 8, 6, 7], [3, 5]]


def test_going_through_a_loader_draws_no_random_number(texts: Texts) -> None:
    dataset = ConnectionDataset(*texts, CountingTokenizer())
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 the global stream is what must not move
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for _ in epoch_loader(dataset, 8, seed=1, epoch=1):
        assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
