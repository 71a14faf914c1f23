"""Losses that choose among candidates, and the classifier: against sentence-transformers, and against loops by hand."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from connection.training.candidates import Candidates, KnownPairs, Parts, candidates_of, gather
from connection.training.losses import LOSSES, Shape, fitting
from connection.training.losses.in_batch import in_batch_loss
from connection.training.losses.softmax import class_logits, initial_weights, softmax_loss
from connection.training.losses.triplet import triplet_loss
from connection.training.objective import Objective

Rows = tuple[list[int], list[int], list[list[int]]]  # the numbers of sentence1, sentence2 and negatives of some rows


def candidates(rows: Rows, known: list[tuple[int, int]] | None = None, weights: list[float] | None = None) -> Candidates:
    first, second, negatives = (np.array(column, dtype=np.int64) for column in rows)
    pairs = np.stack([first, second], axis=1) if known is None else np.array(known)
    numbers = 1 + max(*first, *second, negatives.max(initial=0), pairs.max())
    known_pairs = KnownPairs(pairs, int(numbers))
    return candidates_of(first, second, negatives.reshape(len(first), -1), known_pairs, weights and np.array(weights))


def drawn(count: int, dimension: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distinct_rows(count: int, negatives: int) -> Rows:
    """Rows of sentences that occur once each, in the order in which sentence-transformers has them."""
    columns = np.arange((2 + negatives) * count).reshape(2 + negatives, count)
    return columns[0].tolist(), columns[1].tolist(), columns[2:].T.tolist()


def assert_equal(ours: Tensor, theirs: Tensor, embeddings: list[Tensor]) -> None:
    """Value and gradients, to 1e-10."""
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    for found, expected in zip(*(torch.autograd.grad(loss, embeddings) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("negatives", [0, 1, 3])
@pytest.mark.parametrize("scale", [20.0, 3.0])
def test_in_batch_is_the_multiple_negatives_ranking_loss(negatives: int, scale: float) -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    for count in (1, 2, 9, 64):
        columns = [drawn(count, 6, seed).requires_grad_() for seed in range(2 + negatives)]
        parts = gather(torch.cat(columns), candidates(distinct_rows(count, negatives)))
        theirs = losses.MultipleNegativesRankingLoss(model=None, scale=scale)
        ours = in_batch_loss(parts[:2], parts.targets, scale=scale)
        assert_equal(ours, theirs.compute_loss_from_embeddings(columns, None), columns)
    for count in (1, 2, 9, 64) if not negatives else ():
        columns = [drawn(count, 6, seed).requires_grad_() for seed in range(2)]
        parts = gather(torch.cat(columns), candidates(distinct_rows(count, 0)))
        theirs = losses.MultipleNegativesSymmetricRankingLoss(model=None, scale=scale)
        ours = in_batch_loss(parts[:2], parts.targets, scale=scale, both=True)
        assert_equal(ours, theirs.compute_loss_from_embeddings(columns, None), columns)


@pytest.mark.parametrize("margin", [5.0, 0.3])
def test_triplet_is_theirs(margin: float) -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    for count in (1, 9, 64):
        columns = [drawn(count, 6, seed).requires_grad_() for seed in range(3)]
        parts = gather(torch.cat(columns), candidates(distinct_rows(count, 1)))
        theirs = losses.TripletLoss(model=None, triplet_margin=margin)
        ours = triplet_loss(parts[:2], parts.targets, margin=margin)
        assert_equal(ours, theirs.compute_loss_from_embeddings(columns, None), columns)


@pytest.mark.parametrize("classes", [2, 5])
def test_softmax_is_theirs(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    monkeypatch.setattr(inspect.getmodule(losses.SoftmaxLoss), "embed_columns", lambda model, columns: columns)

    class Model(torch.nn.Module):
        device = torch.device("cpu")

    theirs = losses.SoftmaxLoss(Model(), sentence_embedding_dimension=6, num_labels=classes).double()
    weights = {name: x.double().requires_grad_() for name, x in initial_weights(6, classes, seed=3).items()}
    with torch.no_grad():
        theirs.classifier.weight.copy_(weights["weight"].reshape(classes, -1))
        theirs.classifier.bias.copy_(weights["bias"])
    u, v = (drawn(9, 6, seed).requires_grad_() for seed in range(2))
    labels = torch.arange(9) % classes
    ours, expected = softmax_loss((u, v), labels.double(), **weights), theirs([u, v], labels)
    (found,) = torch.autograd.grad(ours, weights["weight"], retain_graph=True)
    (wanted,) = torch.autograd.grad(expected, theirs.classifier.weight, retain_graph=True)
    torch.testing.assert_close(found.reshape(classes, -1), wanted, atol=1e-10, rtol=1e-10)
    assert_equal(ours, expected, [u, v])


def test_parameters_and_defaults_are_those_of_the_functions_and_theirs() -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    for name, kind, theirs in (
        ("in_batch", "MultipleNegativesRankingLoss", "scale"),
        ("triplet", "TripletLoss", "triplet_margin"),
    ):
        entry = LOSSES[name]
        _, _, *own = inspect.signature(entry.load()).parameters.values()
        assert {x.name: x.default for x in own} == {key: x.default for key, x in entry.parameters.items()}
        assert own[0].default == inspect.signature(getattr(losses, kind)).parameters[theirs].default


# Rows 0 and 2 have the same sentence2 (10), rows 1 and 3 the same sentence1 (1); the file also pairs 0 with 11, and 13 with 2.
# Negatives: 12 for row 0; for row 1 its own sentence2, which only `triplet` can use; for row 3 the sentence1 of row 0.
ROWS: Rows = ([0, 1, 2, 1], [10, 11, 10, 13], [[12], [11], [-1], [0]])
KNOWN = [(0, 10), (1, 11), (2, 10), (1, 13), (0, 11), (13, 2)]


def test_candidates_are_distinct_and_what_belongs_together_is_no_negative() -> None:
    found = candidates(ROWS, KNOWN)
    assert found.candidates.tolist() == [10, 11, 13, 12, 0]
    assert found.positive.tolist() == [0, 1, 0, 2] and found.negatives.tolist() == [[3], [1], [-1], [4]]
    excluded = [[(int(row), int(c)) for c in found.candidates[mask]] for row, mask in enumerate(found.excluded)]
    assert excluded == [
        [(0, 11), (0, 0)],  # known, and the sentence itself
        [(1, 13)],
        [(2, 13)],  # the file has 13 with 2, the other way round
        [(3, 11)],
    ]
    # Rows whose sentence1 is no negative for the row's sentence2: known ones, and repeats of a sentence1 (row 3 repeats row 1).
    assert [torch.nonzero(row).flatten().tolist() for row in found.excluded_first] == [[2, 3], [0, 3], [0, 3], [1, 2]]


def test_in_batch_with_repeats_is_the_loop_by_hand() -> None:
    vectors = drawn(14, 5)
    unit = (vectors / vectors.norm(dim=1, keepdim=True)).tolist()
    known = {frozenset(pair) for pair in KNOWN}
    allowed = {*ROWS[1], *(n for row in ROWS[2] for n in row if n >= 0)}

    def term(query: int, right: int, among: set[int]) -> float:
        exponents = {
            c: 20 * sum(a * b for a, b in zip(unit[query], unit[c], strict=True))
            for c in among
            if c == right or (frozenset((query, c)) not in known and c != query)
        }
        return math.log(sum(map(math.exp, exponents.values()))) - exponents[right]

    there = [term(one, two, allowed) for one, two in zip(*ROWS[:2], strict=True)]
    back = [term(two, one, set(ROWS[0])) for one, two in zip(*ROWS[:2], strict=True)]
    parts = gather(vectors, candidates(ROWS, KNOWN))
    assert in_batch_loss(parts[:2], parts.targets).item() == pytest.approx(np.mean(there), rel=1e-12)
    assert in_batch_loss(parts[:2], parts.targets, both=True).item() == pytest.approx(np.mean(there + back), rel=1e-12)
    weighted = gather(vectors, candidates(ROWS, KNOWN, [0.0, 1.0, 0.0, 1.0]))
    found = in_batch_loss(weighted[:2], weighted.targets).item()
    assert found == pytest.approx((there[1] + there[3]) / 2, rel=1e-12)
    none = gather(vectors, candidates(ROWS, KNOWN, [0.0] * 4))
    assert in_batch_loss(none[:2], none.targets).item() == 0


def test_triplet_with_empty_negatives_is_the_loop_by_hand() -> None:
    vectors = drawn(14, 5)
    distance = lambda a, b: (vectors[a] - vectors[b]).norm().item()  # noqa: E731
    terms = [
        max(0.0, distance(one, two) - distance(one, negative) + 1)
        for one, two, (negative,) in zip(*ROWS, strict=True)
        if negative >= 0
    ]
    parts = gather(vectors, candidates(ROWS, KNOWN))
    assert triplet_loss(parts[:2], parts.targets, margin=1.0).item() == pytest.approx(np.mean(terms), rel=1e-12)


@pytest.mark.parametrize("name", ["in_batch", "triplet"])
def test_filling_up_changes_neither_value_nor_gradient(name: str) -> None:
    """A card's batches have few shapes: the candidates that are added are excluded from every row."""
    found = []
    for more in (0, 3):
        vectors = drawn(14, 5).requires_grad_()
        targets = candidates(ROWS, KNOWN)
        parts = gather(vectors, targets.filled_to(len(targets.candidates) + more))
        loss = LOSSES[name].load()(parts[:2], parts.targets)
        found.append((loss.detach(), *torch.autograd.grad(loss, vectors)))
    for plain, filled in zip(*found, strict=True):
        torch.testing.assert_close(filled, plain, atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_similarities_give_finite_numbers(dtype: torch.dtype) -> None:
    u = torch.eye(2, dtype=dtype).requires_grad_()
    parts = gather(torch.cat([u, -u.detach()]), candidates(([0, 1], [2, 3], [[], []])))
    loss = in_batch_loss(parts[:2], parts.targets, scale=1e4)
    assert loss.item() == pytest.approx(1e4, rel=1e-6) and torch.autograd.grad(loss, u)[0].isfinite().all()
    zeros = torch.zeros(4, 3, dtype=dtype, requires_grad=True)
    for name in ("in_batch", "triplet"):
        parts = gather(zeros, candidates(([0, 1], [2, 3], [[], []])))
        (gradient,) = torch.autograd.grad(LOSSES[name].load()(parts[:2], parts.targets), zeros, allow_unused=True)
        assert gradient is None or gradient.isfinite().all()


def test_the_weights_of_the_classifier_follow_from_the_seed_and_are_spread_as_torchs() -> None:
    first, again, other = (initial_weights(64, 3, seed) for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in first)
    theirs = torch.nn.Linear(3 * 64, 3)
    assert first["weight"].flatten(1).shape == theirs.weight.shape and first["bias"].shape == theirs.bias.shape
    bound = (3 * 64) ** -0.5
    assert 0.9 * bound < first["weight"].abs().max() <= bound
    assert first["weight"].std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_the_classifier_of_a_prefix_uses_its_part_of_the_weights() -> None:
    weights = initial_weights(6, 3, seed=1)
    u, v = drawn(4, 6), drawn(4, 6, 1)
    logits = class_logits((u[:, :2], v[:, :2]), **weights)
    w = weights["weight"].double()
    by_hand = u[:, :2] @ w[:, 0, :2].T + v[:, :2] @ w[:, 1, :2].T + (u - v)[:, :2].abs() @ w[:, 2, :2].T + weights["bias"]
    torch.testing.assert_close(logits, by_hand)


def test_an_objective_adds_the_terms_and_the_positives() -> None:
    vectors = drawn(14, 8)
    together = gather(vectors, candidates(ROWS, KNOWN))
    positives = gather(vectors, candidates(([3, 4], [5, 6], [[], []])))
    pairs, scores = (vectors[:4], vectors[4:8]), torch.rand(4, dtype=torch.float64)
    objective = Objective("cosine + 0.5 * in_batch(scale=3)", 8, positives_weight=0.25)
    expected = (
        F.mse_loss(F.cosine_similarity(*pairs), scores)
        + 0.5 * in_batch_loss(together[:2], together.targets, scale=3)
        + 0.25 * in_batch_loss(positives[:2], positives.targets)
    )
    assert objective(Parts(pairs, scores, together, positives)).item() == pytest.approx(expected.item(), rel=1e-12)
    assert objective.weights() == {} and objective.chooses
    shorter = Objective("in_batch", 8, dimensions=(3,))(Parts(None, scores, together))
    both = [in_batch_loss((together.first[:, :d], together.candidates[:, :d]), together.targets).item() for d in (8, 3)]
    assert shorter.item() == pytest.approx(sum(both), rel=1e-12)


def test_weights_of_a_loss_are_saved_and_loaded_by_name() -> None:
    first, second = (Objective("softmax", 4, classes=3, seed=seed) for seed in (1, 2))
    assert set(first.weights()) == {"softmax.weight", "softmax.bias"}
    assert [weight.requires_grad for weight in first.parameters()] == [True, True]
    second.load_weights(first.weights())
    assert all(torch.equal(x, second.weights()[name]) for name, x in first.weights().items())
    with pytest.raises(ValueError, match="weights of another loss"):
        second.load_weights({"softmax.bias": torch.zeros(3)})


def test_each_shape_has_losses_and_each_loss_a_shape() -> None:
    assert fitting(Shape.TOGETHER) == ["in_batch"] and fitting(Shape.NEGATIVES) == ["in_batch", "triplet"]
    assert fitting(Shape.CLASSES) == ["softmax"]
    assert {name for shape in Shape for name in fitting(shape)} == set(LOSSES)
