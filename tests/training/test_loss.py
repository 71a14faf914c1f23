"""The objectives: against a loop by hand, their symmetry, and their gradients."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor

from connection.training.candidates import Parts
from connection.training.losses import LOSSES, Shape
from connection.training.losses.cosine import cosine_loss
from connection.training.losses.expression import Term, check_loss, parse
from connection.training.losses.matryoshka import for_prefixes
from connection.training.objective import Objective

OF_SCORES = [name for name, entry in LOSSES.items() if Shape.SCORED in entry.shapes and not entry.chooses]


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


def targets_for(name: str, scores: Tensor) -> Tensor:
    """Scores, or labels where the loss learns from those."""
    return (scores > scores.median()).to(scores.dtype) if LOSSES[name].only_ends else scores


@pytest.mark.parametrize("name", [name for name in OF_SCORES if name != "angle"])  # the sine of an angle changes its sign
def test_swapping_the_two_sides_leaves_the_loss_equal(name: str) -> None:
    u, v, scores = pairs()
    loss, targets = LOSSES[name].load(), targets_for(name, scores)
    assert torch.equal(loss((u, v), targets), loss((v, u), targets))


@pytest.mark.parametrize("name", OF_SCORES)
def test_the_gradient_is_the_numerical_one(name: str) -> None:
    u, v, scores = pairs(6, 4)
    loss, targets = LOSSES[name].load(), targets_for(name, scores)
    assert torch.autograd.gradcheck(lambda u, v: loss((u, v), targets), (u.requires_grad_(), v.requires_grad_()))


THEIRS = {
    "cosine": ("CosineSimilarityLoss", {}),
    "cosent": ("CoSENTLoss", {"scale": 7.0}),
    "angle": ("AnglELoss", {"scale": 7.0}),
    "contrastive": ("ContrastiveLoss", {"margin": 0.9}),
    "online_contrastive": ("OnlineContrastiveLoss", {"margin": 0.9}),
}


@pytest.mark.parametrize("dimension", [6, 7])
@pytest.mark.parametrize("name", OF_SCORES)
def test_values_and_gradients_are_those_of_sentence_transformers(name: str, dimension: int) -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    assert set(THEIRS) == set(OF_SCORES)
    kind, changed = THEIRS[name]
    for parameters in ({}, changed):
        for count, seed in ((1, 0), (2, 1), (9, 2), (64, 3)):
            generator = torch.Generator().manual_seed(seed)
            u, v = torch.randn(2, count, dimension, generator=generator, dtype=torch.float64).requires_grad_()
            graded = (torch.rand(count, generator=generator) * 6).floor().double() / 8  # with ties; theirs rounds to float32
            targets = targets_for(name, graded)
            theirs = getattr(losses, kind)(model=None, **parameters)
            expected = theirs.compute_loss_from_embeddings([u, v], targets)
            found = LOSSES[name].load()((u, v), targets, **parameters)
            torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
            gradients = [torch.autograd.grad(loss, (u, v), allow_unused=True) for loss in (found, expected)]
            for ours, other in zip(*gradients, strict=True):
                zeros = torch.zeros_like(u)
                torch.testing.assert_close(
                    zeros if ours is None else ours, zeros if other is None else other, atol=1e-10, rtol=1e-10
                )


@pytest.mark.parametrize("name", OF_SCORES)
def test_parameters_are_those_of_the_function_and_of_sentence_transformers(name: str) -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    _, _, *own = inspect.signature(LOSSES[name].load()).parameters.values()
    assert {x.name: x.default for x in own} == {key: x.default for key, x in LOSSES[name].parameters.items()}
    theirs = inspect.signature(getattr(losses, THEIRS[name][0])).parameters
    assert all(theirs[x.name].default == x.default for x in own)


@pytest.mark.parametrize("name", ["cosent", "angle"])
def test_extreme_similarities_give_finite_numbers(name: str) -> None:
    """exp(20,000) is no float32."""
    u = torch.eye(2).repeat(3, 1).requires_grad_()
    v = -u.detach()
    v[0] = u.detach()[0]
    loss = LOSSES[name].load()((u, v), torch.tensor([0.0, 1, 1, 1, 1, 1]), scale=1e4)
    (gradient,) = torch.autograd.grad(loss, u)
    assert loss.isfinite() and gradient.isfinite().all()
    assert name == "angle" or loss.item() == pytest.approx(2e4 + math.log(5), rel=1e-6)


def test_a_sum_weighs_its_terms_and_passes_parameters_on() -> None:
    u, v, scores = pairs()
    found = Objective("cosine + 0.25 * cosent(scale=3)", 5)(Parts((u, v), scores))
    expected = cosine_loss((u, v), scores) + 0.25 * LOSSES["cosent"].load()((u, v), scores, scale=3.0)
    assert torch.equal(found, expected)
    assert torch.equal(Objective("cosine", 5)(Parts((u, v), scores)), cosine_loss((u, v), scores))
    assert Objective("2 * cosine", 5)(Parts((u, v), scores)).item() == pytest.approx(
        2 * cosine_loss((u, v), scores).item(), rel=1e-12
    )


@pytest.mark.parametrize("name", OF_SCORES)
def test_a_loss_for_prefixes_is_the_sum_of_the_loss_of_each(name: str) -> None:
    u, v, scores = pairs(9, 8)
    loss, targets = LOSSES[name].load(), targets_for(name, scores)
    found = for_prefixes(loss, (2, 5), 8)((u, v), targets)
    expected = sum(loss((u[:, :length], v[:, :length]), targets) for length in (2, 5, 8))
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert for_prefixes(loss, (8,), 8) is for_prefixes(loss, (), 8) is loss


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin", 'must be one of "cosine", '),
        ("", "must be one of"),
        ("(" * 5000, "must be one of"),
        ("cosine - cosent", "must be one of"),
        ("cosine.cosent", "must be one of"),
        ("__import__('os').remove('x')", "must be one of"),
        ("cosine + cosine", "must name each loss once; cosine is there twice"),
        ("cosent(20)", "must give the parameters of cosent by name: scale=20"),
        ("cosine(scale=20)", "must give the parameters of cosine by name: it has none"),
        ("cosent(**{})", "must give the parameters of cosent by name"),
        ("cosent(scale=1e9)", "must have a scale from 0.001 to 10000 in cosent"),
        ("cosent(scale=True)", "must have plain numbers"),
        ("cosent(scale=x)", "must have plain numbers"),
        ("1e999 * cosine", "must have plain numbers"),
        ("in_batch(both=1)", "must have True or False for both"),
        ("in_batch(20)", "must give the parameters of in_batch by name: scale=20, both=False"),
        ("0 * cosine", "must have factors above 0"),
    ],
)
def test_what_is_no_loss_is_refused_by_what_is_wrong(text: str, message: str) -> None:
    assert (check_loss(text) or "").startswith(message)


def test_spaces_and_the_order_of_factors_do_not_matter() -> None:
    assert parse(" 0.5*angle( scale = 3 )+cosine ") == parse("angle(scale=3) * 0.5 + cosine")
    assert parse("cosent") == [Term(1.0, "cosent")]


@pytest.mark.parametrize("name", OF_SCORES)
def test_the_gradient_of_an_embedding_of_zeros_is_finite(name: str) -> None:
    u, v = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    LOSSES[name].load()((u, v), torch.tensor([0.0, 1.0])).backward()
    assert u.grad.isfinite().all() and v.grad.isfinite().all()
