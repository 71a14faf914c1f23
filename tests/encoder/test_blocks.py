"""What runs on a card, computed on the CPU: blocks of sentences, composed layers, batches of few shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from connection import UserMistake
from connection.encoder.ahead import on_device
from connection.encoder.device import check_precision, seed_generators
from connection.encoder.packed.blocks import SPLIT_FROM, Blocks
from ConnectionBert import ConnectionBert
from ConnectionDataset import PackedBatch, fillers_for, pack

CPU = torch.device("cpu")
LENGTHS = [3, 3, 4, 9, 9, 5, 17, 2, 30, 5, 1]


def draw(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(5, 50, size=length).astype(np.int32) for length in lengths]


@pytest.fixture
def composed(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> ConnectionBert:
    """A tiny encoder in float64 that computes as on a card."""
    monkeypatch.setattr(ConnectionBert, "runs_by_hand", False)
    return ConnectionBert.load(tiny_encoder).double()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.booleans(), st.sampled_from([0, 500, 400_000]))
def test_attention_in_blocks_is_the_formula_for_each_sentence(lengths: list[int], few_shapes: bool, cost: int) -> None:
    """Values and gradients, in whatever blocks."""
    batch = pack(draw(lengths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connection.encoder.packed.blocks.BLOCK_COST", cost)
        blocks = Blocks(batch.groups, CPU, few_shapes=few_shapes)
    parts = torch.randn(sum(lengths), 3, 2, 4, dtype=torch.float64, requires_grad=True)  # of 2 heads
    weights = torch.randn(sum(lengths), 2, 4, dtype=torch.float64)
    found = blocks.attend(blocks.gather(parts), blocks.biases(torch.float64), scale=0.7)
    (gradient,) = torch.autograd.grad((found * weights).sum(), parts)
    expected = []
    for sentence in parts.split(sorted(lengths)):
        query, key, value = sentence.permute(1, 2, 0, 3)  # (heads, length, d) each
        expected.append((torch.softmax(query @ key.mT * 0.7, -1) @ value).transpose(0, 1))
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-12, rtol=0)
    (by_formula,) = torch.autograd.grad((torch.cat(expected) * weights).sum(), parts)
    torch.testing.assert_close(gradient, by_formula, atol=1e-12, rtol=0)


def test_a_window_hides_distant_tokens_and_a_bias_is_added() -> None:
    blocks = Blocks([(3, 1), (6, 1)], CPU)
    (plain,) = blocks.biases(torch.float32)
    (windowed,) = blocks.biases(torch.float32, window=2)
    (biased,) = blocks.biases(torch.float32, position_bias=torch.ones(2, blocks.longest, blocks.longest))
    assert plain is not None and windowed is not None and biased is not None
    assert plain.shape == (2, 1, 1, 16) and plain[0, 0, 0].tolist() == [0] * 3 + [-torch.inf] * 13
    distances = (torch.arange(16)[:, None] - torch.arange(16)).abs()
    assert torch.equal(windowed[1, 0].isinf(), (distances >= 2) | (torch.arange(16) >= 6))
    assert torch.equal(biased, plain + torch.ones(2, 16, 16))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_filled_batch_gives_the_embeddings_and_gradients_of_its_sentences_alone(
    composed: ConnectionBert, pooling: str
) -> None:
    sentences = draw(LENGTHS)
    filled = pack(sentences, fillers_for(sentences))
    assert len(filled.input_ids) % 32 == 0 and filled.fillers and filled.tokens == sum(LENGTHS)
    filled.blocks = Blocks(filled.groups, CPU, few_shapes=True)
    composed.pooling = pooling
    results = []
    for batches in ([pack([sentence]) for sentence in sentences], [filled]):
        composed.zero_grad()
        embeddings = torch.cat([composed(batch) for batch in batches])
        (embeddings * torch.arange(embeddings.numel(), dtype=torch.float64).view_as(embeddings).sin()).sum().backward()
        results.append((embeddings, [x.grad for x in composed.parameters() if x.grad is not None]))
    (alone, gradients), (together, other_gradients) = results
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)
    torch.testing.assert_close(other_gradients, gradients, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("count", "most"), [(32, 30), (SPLIT_FROM, 10)])
def test_filled_batches_have_few_shapes(count: int, most: int) -> None:
    random, shapes = np.random.default_rng(1), set()
    for _ in range(200):
        sentences = draw((4 + random.gamma(4, 3, size=count)).astype(int).tolist())
        batch = pack(sentences, fillers_for(sentences))
        blocks = Blocks(batch.groups, CPU, few_shapes=True)
        shapes.add((len(batch.input_ids), len(batch.lengths), blocks.shape))
    assert 2 < len(shapes) <= most


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_fillers_follow_from_the_length_of_the_row(lengths: list[int]) -> None:
    fillers = fillers_for(draw(lengths))
    total = sum(lengths) + sum(map(len, fillers))
    assert all(len(filler) for filler in fillers) and total % 32 == 0
    assert len(fillers) == len(fillers_for([np.ones(total - len(fillers), dtype=np.int32)]))
    assert max(map(len, fillers)) <= 64


def test_dropout_falls_where_it_does_in_bert(composed: ConnectionBert, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden: list[tuple] = []
    attention: list[float] = []
    real = F.scaled_dot_product_attention

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, *, dropout_p: float, scale: float) -> Tensor:
        attention.append(dropout_p)
        return real(query, key, value, bias, dropout_p=dropout_p, scale=scale)

    def drop(states: Tensor, p: float, training: bool) -> Tensor:
        hidden.append((tuple(states.shape), p, training))
        return states

    monkeypatch.setattr(F, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(F, "dropout", drop)
    config, batch = composed.bert.config, pack(draw(LENGTHS))
    config.hidden_dropout_prob, config.attention_probs_dropout_prob = 0.2, 0.3
    composed.train()(batch)
    layers = config.num_hidden_layers
    assert hidden == [((sum(LENGTHS), config.hidden_size), 0.2, True)] * (1 + 2 * layers) and set(attention) == {0.3}
    hidden.clear()
    attention.clear()
    composed.eval()(batch)
    assert not any(training for _, _, training in hidden) and set(attention) == {0.0}


def test_batches_arrive_in_order_and_an_error_at_its_place() -> None:
    def make(fails: bool) -> Iterator[PackedBatch]:
        for length in (2, 5, 3):
            yield pack(draw([length]))
        if fails:
            raise OSError("the disk is gone")

    elsewhere = torch.device("meta")
    arrived = list(on_device(make(fails=False), elsewhere))
    assert [len(batch.input_ids) for batch in arrived] == [2, 5, 3]
    assert all(batch.input_ids.device == elsewhere and batch.blocks is not None for batch in arrived)
    stream, seen = on_device(make(fails=True), elsewhere), []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(len(batch.input_ids) for batch in stream)
    assert [len(batch.input_ids) for batch in on_device(make(fails=False), CPU)] == [2, 5, 3]


def test_a_precision_that_the_device_has_not_is_refused() -> None:
    with pytest.raises(UserMistake, match=r'PRECISION is "tf32", which CPU, .* has no units for; .* Set PRECISION = "float32"'):
        check_precision("tf32", CPU)
    check_precision("float32", CPU)
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_seed_of_a_step_is_that_of_torch() -> None:
    draws: list[Callable[[], object]] = [lambda: torch.manual_seed(2**62 + 5), lambda: seed_generators(CPU, 2**62 + 5)]
    values = []
    for seed in draws:
        seed()
        values.append(torch.rand(4))
    assert torch.equal(*values)
