"""The objectives: against a loop by hand, their symmetry, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from connection.training.losses import LOSSES
from connection.training.losses.cosine import cosine_loss


def pairs(count: int = 7, dimension: int = 5, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    """Embeddings of both sides (count, dimension) and scores (count,), all drawn."""
    generator = torch.Generator().manual_seed(3)
    sides = [torch.randn(count, dimension, generator=generator, dtype=dtype) for _ in range(2)]
    return *sides, torch.rand(count, generator=generator, dtype=dtype)


def by_hand(embeddings1: torch.Tensor, embeddings2: torch.Tensor, scores: torch.Tensor) -> float:
    total = 0.0
    for u, v, score in zip(embeddings1.tolist(), embeddings2.tolist(), scores.tolist(), strict=True):
        dot = sum(a * b for a, b in zip(u, v, strict=True))
        lengths = math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v))
        total += (dot / lengths - score) ** 2
    return total / len(scores)


def loss_of(u: Tensor, v: Tensor, scores: Tensor) -> Tensor:
    return cosine_loss((u, v), scores)


def test_cosine_loss_is_the_loop_by_hand() -> None:
    assert loss_of(*pairs()).item() == pytest.approx(by_hand(*pairs()), abs=1e-14)


def test_cosine_loss_of_one_pair() -> None:
    """cos((3, 4), (4, 3)) = 24/25, so the loss against 0.5 is 0.46² = 0.2116."""
    loss = loss_of(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]), torch.tensor([0.5]))
    assert loss.shape == () and loss.item() == pytest.approx(0.2116, abs=1e-6)


def test_a_scaled_embedding_gives_the_same_loss() -> None:
    u, v, scores = pairs()
    assert loss_of(3 * u, v / 7, scores).item() == pytest.approx(loss_of(u, v, scores).item(), abs=1e-14)


def test_the_loss_is_0_where_the_cosines_are_the_scores_and_at_most_4() -> None:
    u, v, _ = pairs()
    assert loss_of(u, v, torch.nn.functional.cosine_similarity(u, v)).item() == 0
    assert loss_of(u, -u, torch.ones(len(u), dtype=u.dtype)).item() == pytest.approx(4)


@pytest.mark.parametrize("name", LOSSES)
def test_swapping_the_two_sides_leaves_the_loss_equal(name: str) -> None:
    u, v, scores = pairs()
    loss = LOSSES[name].load()
    assert torch.equal(loss((u, v), scores), loss((v, u), scores))


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_numerical_one(name: str) -> None:
    u, v, scores = pairs(4, 3)
    assert torch.autograd.gradcheck(lambda u, v: LOSSES[name].load()((u, v), scores), (u.requires_grad_(), v.requires_grad_()))


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_an_embedding_of_zeros_is_finite(name: str) -> None:
    u, v = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    LOSSES[name].load()((u, v), torch.tensor([0.5, 1.0])).backward()
    assert u.grad.isfinite().all() and v.grad.isfinite().all()
