"""Steps on a CUDA card. Each test is skipped where there is none; `benchmarks/cuda.py` compares a card with the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from connection.training.losses.cosine import cosine_loss
from connection.training.replay import Replayed
from ConnectionBert import ConnectionBert
from ConnectionDataset import PackedPairs, TokenisedPair, pack_pairs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card")


def batches(count: int, rows: int = 8) -> Iterator[PackedPairs]:
    random = np.random.default_rng(0)
    for _ in range(count):
        sides = [[random.integers(5, 50, size=n).astype(np.int32) for n in random.integers(3, 20, size=rows)] for _ in "12"]
        pairs = [TokenisedPair(*pair, score, 0) for *pair, score in zip(*sides, random.random(rows), strict=True)]
        yield pack_pairs(pairs, fill=True).to(torch.device("cuda:0"))


def step(encoder: ConnectionBert, loss: Callable = cosine_loss) -> Callable[[PackedPairs], Tensor]:
    def compute(batch: PackedPairs) -> Tensor:
        value = loss(encoder(batch).chunk(2), batch.scores)
        value.backward()
        return value.detach()

    return compute


def results(compute: Callable[[PackedPairs], Tensor], encoder: ConnectionBert) -> list[list[Tensor]]:
    found = []
    for number, batch in enumerate(batches(12)):
        torch.manual_seed(number)
        value = compute(batch).clone()
        found.append([value, *(x.grad.clone() for x in encoder.parameters() if x.grad is not None)])
        encoder.zero_grad()
    return found


def test_a_graph_gives_the_bits_of_the_function_with_its_dropout(tiny_encoder: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder).to("cuda").train()
    compute = Replayed(step(encoder), encoder)
    replayed, plain = results(compute, encoder), results(step(encoder), encoder)
    assert compute.works and 1 < len(compute.graphs) < 12
    for first, second in zip(replayed, plain, strict=True):
        assert len(first) == len(second) > 20
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    values = [float(x[0]) for x in plain]
    assert len(set(values)) == 12  # the seed and the batch matter


def test_a_loss_that_reads_a_value_is_computed_without_graphs(tiny_encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = ConnectionBert.load(tiny_encoder).to("cuda").train()

    def reads(embeddings: tuple[Tensor, Tensor], scores: Tensor) -> Tensor:
        return cosine_loss(embeddings, scores) * (2 if float(scores.max()) > 2 else 1)

    compute = Replayed(step(encoder, reads), encoder)
    replayed, plain = results(compute, encoder), results(step(encoder), encoder)
    assert not compute.works and "without CUDA graphs" in capsys.readouterr().out
    assert all(torch.equal(a, b) for x, y in zip(replayed, plain, strict=True) for a, b in zip(x, y, strict=True))
