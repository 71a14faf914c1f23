"""Steps on a CUDA card. Each test is skipped where there is none; `benchmarks/cuda.py` compares a card with the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from connection.reading.shape import Shape
from connection.training.losses import LOSSES
from connection.training.losses.cosine import cosine_loss
from connection.training.objective import Objective
from connection.training.replay import Replayed
from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset, PackedPairs, TokenisedPair, pack_pairs

CARD = torch.device("cuda:0")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card")


def batches(count: int, rows: int = 8) -> Iterator[PackedPairs]:
    random = np.random.default_rng(0)
    for _ in range(count):
        sides = [[random.integers(5, 50, size=n).astype(np.int32) for n in random.integers(3, 20, size=rows)] for _ in "12"]
        pairs = [TokenisedPair(*pair, score, 0) for *pair, score in zip(*sides, random.random(rows), strict=True)]
        yield pack_pairs(pairs, fill=True).to(CARD)


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
    compute = Replayed(step(encoder), encoder.parameters(), CARD)
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

    compute = Replayed(step(encoder, reads), encoder.parameters(), CARD)
    replayed, plain = results(compute, encoder), results(step(encoder), encoder)
    assert not compute.works and "without CUDA graphs" in capsys.readouterr().out
    assert all(torch.equal(a, b) for x, y in zip(replayed, plain, strict=True) for a, b in zip(x, y, strict=True))


def rows_of(encoder: ConnectionBert, shape: Shape, chooses: bool) -> ConnectionDataset:
    random = np.random.default_rng(0)
    lengths = random.integers(1, 9, 96).tolist()
    first, second = ([f"{side} {'the cat ' * n}{i}" for i, n in enumerate(lengths)] for side in "ab")
    scores = {Shape.SCORED: random.integers(0, 2, 96), Shape.CLASSES: np.arange(96) % 3}.get(shape, np.ones(96))
    negatives = [[*second[1:], ""]] if shape is Shape.NEGATIVES else []
    least = 0.5 if chooses and shape is Shape.SCORED else None
    tokenize = encoder.tokenize
    return ConnectionDataset(first, second, scores, tokenize, negatives=negatives, shape=shape, chooses_from=least)


FITTING = [(loss, shape) for loss, entry in LOSSES.items() for shape in entry.shapes]


@pytest.mark.parametrize(("loss", "shape"), FITTING, ids=str)
def test_each_loss_has_the_values_and_gradients_of_the_cpu(tiny_encoder: Path, loss: str, shape: Shape) -> None:
    found = []
    for device in (torch.device("cpu"), CARD):
        encoder = ConnectionBert.load(tiny_encoder)
        encoder.bert.config.hidden_dropout_prob = encoder.bert.config.attention_probs_dropout_prob = 0.0
        dataset = rows_of(encoder, shape, LOSSES[loss].chooses)
        encoder = encoder.to(device).train()
        objective = Objective(loss, encoder.dimension, classes=3).to(device)
        trained = [*encoder.parameters(), *objective.parameters()]

        def compute(batch: PackedPairs, encoder: ConnectionBert = encoder, objective: Objective = objective) -> Tensor:
            value: Tensor = objective(batch.parts(encoder(batch)))
            value.backward()
            return value.detach()

        by_graph = Replayed(compute, trained, device) if device == CARD else compute
        for start in range(0, 96, 16):
            batch = dataset.batch(range(start, start + 16), fill=device == CARD).to(device)
            value = by_graph(batch).cpu().clone()
            found.append((value, [None if x.grad is None else x.grad.cpu().clone() for x in trained]))
            for x in trained:
                x.grad = None
    for (value, gradients), (other, others) in zip(found[:6], found[6:], strict=True):
        assert value.item() == pytest.approx(other.item(), abs=1e-5, rel=1e-5)
        for a, b in zip(gradients, others, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.allclose(a, b, atol=1e-4 * max(1.0, float(a.abs().max())))
