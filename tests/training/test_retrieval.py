"""MRR and recall against sentence-transformers and a loop by hand; a step in parts against the whole step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from connection.reading.shape import Shape
from connection.training import retrieval
from connection.training.evaluation import evaluate
from connection.training.memory import backward_in_parts
from connection.training.objective import Objective
from connection.training.retrieval import retrieve, triplet_accuracy
from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset, PositiveRows, epoch_loader, remaining_batches

Columns = tuple[list[str], list[str], list[list[str]]]  # sentence1, sentence2 and columns of negatives


@pytest.fixture
def columns(sentence_factory: Callable[..., list[str]]) -> Columns:
    """30 rows, many to few: 6 sentence2, and negatives of which some are missing and some are somebody's sentence2."""
    first, second = sentence_factory(30, 1), sentence_factory(6, 2)
    random = np.random.default_rng(3)
    pool = [*second, *sentence_factory(8, 4), ""]
    negatives = [[str(random.choice(pool)) for _ in first] for _ in range(2)]
    first[7] = first[3]  # a question with two answers
    return first, [second[i % 6] for i in range(30)], negatives


def dataset_of(columns: Columns, encoder: ConnectionBert, shape: Shape = Shape.NEGATIVES) -> ConnectionDataset:
    first, second, negatives = columns
    return ConnectionDataset(first, second, [1.0] * len(first), encoder.tokenize, negatives=negatives, shape=shape)


def test_mrr_and_recall_are_those_of_sentence_transformers() -> None:
    evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(70, 8)).astype(np.float32)
    sides = np.stack([random.integers(0, 25, 60), random.integers(25, 50, 60)], axis=1)
    negatives = random.integers(40, 70, (60, 2))
    negatives[::5] = -1
    found = retrieve(embeddings, sides, negatives)
    relevant: dict[str, set[str]] = {}
    for one, two in sides.tolist():
        relevant.setdefault(str(one), set()).add(str(two))
    corpus = {str(n): str(n) for n in sorted({*sides[:, 1].tolist(), *negatives[negatives >= 0].tolist()})}
    util = pytest.importorskip("sentence_transformers.util")
    theirs = evaluation.InformationRetrievalEvaluator(
        {query: query for query in relevant},
        corpus,
        relevant,
        mrr_at_k=[10],
        precision_recall_at_k=[1, 10],
        score_functions={"cosine": util.cos_sim},
        write_csv=False,
    )

    class Model:
        """An encoder whose sentences are the numbers of their embeddings."""

        def __getattr__(self, name: str) -> Callable[..., torch.Tensor]:
            return lambda texts, **named: torch.from_numpy(embeddings[[int(text) for text in texts]]).double()

    scores = theirs.compute_all_metrics(Model())["cosine"]
    assert found.reciprocal_ranks.mean() == pytest.approx(scores["mrr@k"][10], abs=1e-9)
    for depth in (1, 10):
        assert found.recall_at(depth) == pytest.approx(scores["recall@k"][depth], abs=1e-9)


@pytest.mark.parametrize("at_once", [retrieval.MOST_NUMBERS, 1])
def test_ranks_with_ties_and_a_sentence_that_is_on_both_sides(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 belongs to 3 and 4, 1 to 4, 2 to 0; candidates in this order: 3, 4, 0, 5. 3 and 5 are the same vector, nearest to 0."""
    monkeypatch.setattr(retrieval, "MOST_NUMBERS", at_once)
    embeddings = np.array([[1, 0.1], [1, 0.2], [0, 1], [1, 0], [0, 1], [2, 0]], dtype=np.float32)
    sides = np.array([[0, 3], [1, 4], [2, 0], [0, 4], [0, 3]])
    found = retrieve(embeddings, sides, np.array([[-1], [5], [-1], [-1], [-1]]))
    assert found.queries.tolist() == [0, 1, 2]
    assert found.row_ranks.tolist() == [1, 4, 2, 3, 1]  # 3 before 5, which is as near; 0 itself is no candidate for 0
    assert found.reciprocal_ranks.tolist() == [1, 1 / 4, 1 / 2] and found.nearest.tolist() == [3, 0, 4]
    later = retrieve(embeddings, np.array([[1, 3], [0, 5]]), np.full((2, 1), -1))
    assert later.row_ranks.tolist() == [1, 2] and later.nearest.tolist() == [3, 3]  # 5 behind 3, which is as near
    assert found.recall_at(1) == pytest.approx((1 / 2 + 0 + 0) / 3) and found.recall_at(10) == 1
    assert triplet_accuracy(embeddings, sides, np.array([[5], [5], [-1], [-1], [-1]])) == 0  # ties are not right
    assert triplet_accuracy(embeddings, sides, np.array([[4], [5], [-1], [-1], [-1]])) == 1 / 2
    assert triplet_accuracy(embeddings, sides, np.full((5, 1), -1)) is None


def test_the_evaluation_of_pairs_that_belong_together(tiny_encoder: Path, columns: Columns) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    dataset = dataset_of(columns, encoder)
    evaluation = evaluate(encoder, dataset, Objective("in_batch", encoder.dimension), loss_rows=8, dimensions=(8,))
    assert list(evaluation.figures) == ["mrr_at_10", "recall_at_1", "recall_at_10", "triplet_accuracy"]
    assert evaluation.metric == "mrr_at_10" and evaluation.value == evaluation.items.mean() and len(evaluation.items) == 29
    vectors = encoder.encode_tokens(dataset.sentences)
    by_hand = retrieve(vectors, dataset.sides, dataset.negatives)
    assert np.array_equal(evaluation.by_row["rank"], by_hand.row_ranks) and evaluation.value == by_hand.reciprocal_ranks.mean()
    found = [dataset.texts[number] if number >= 0 else None for number in evaluation.by_row["found"].tolist()]
    for row, (rank, other) in enumerate(zip(by_hand.row_ranks.tolist(), found, strict=True)):
        assert other is None or (rank > 1 and other != columns[1][row] and other != columns[0][row])
        assert rank > 1 or other is None
    assert evaluation.by_length == {8: retrieve(vectors[:, :8], dataset.sides, dataset.negatives).reciprocal_ranks.mean()}
    low, high = evaluation.interval
    assert low < evaluation.value < high
    losses = []
    for start in range(0, 30, 8):
        parts = dataset.batch([*range(start, min(start + 8, 30))])
        embeddings = encoder(parts).detach().double()
        losses.append((Objective("in_batch", 32)(parts.parts(embeddings)).item(), len(parts.rows)))
    assert evaluation.loss == pytest.approx(sum(x * n for x, n in losses) / 30, abs=1e-5)


@pytest.mark.parametrize("shape", [Shape.TOGETHER, Shape.NEGATIVES])
def test_a_batch_holds_each_distinct_sentence_once(tiny_encoder: Path, columns: Columns, shape: Shape) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    used = columns if shape is Shape.NEGATIVES else (*columns[:2], [])
    dataset = dataset_of(used, encoder, shape)
    rows = [3, 7, 9, 15, 21]
    batch = dataset.batch(rows)
    distinct = {text for row in rows for text in (used[0][row], used[1][row], *(column[row] for column in used[2])) if text}
    assert len(batch.order) == len(distinct) and batch.tokens == dataset.step_tokens([rows]).item()
    vectors = encoder(batch)
    parts = batch.parts(vectors)
    assert parts.pairs is None and parts.together is not None
    expected = torch.from_numpy(encoder.encode([used[0][row] for row in rows]))
    torch.testing.assert_close(parts.together.first, expected, atol=1e-5, rtol=1e-5)
    positives = parts.together.candidates[parts.together.targets.positive]
    torch.testing.assert_close(
        positives, torch.from_numpy(encoder.encode([used[1][row] for row in rows])), atol=1e-5, rtol=1e-5
    )
    filled = dataset.batch(rows, fill=True)
    others = dataset.batch([0, 1, 2, 4, 5], fill=True)
    assert filled.together.shape == others.together.shape and len(filled.order) == len(others.order)
    objective = Objective("in_batch", encoder.dimension)
    assert objective(filled.parts(encoder(filled))).item() == pytest.approx(objective(parts).item(), abs=1e-5)


def test_positives_come_in_an_endless_order_of_their_own(tiny_encoder: Path, columns: Columns) -> None:
    rows = PositiveRows(10, 4, seed=3)
    taken = np.concatenate([rows.of_step(step) for step in range(10)])
    passes = [taken[start : start + 10].tolist() for start in range(0, 40, 10)]
    assert all(sorted(one) == [*range(10)] for one in passes) and len({tuple(one) for one in passes}) == 4
    assert np.array_equal(PositiveRows(3, 8, 3).of_step(1), [*PositiveRows(3, 16, 3).of_step(0)][8:])
    encoder = ConnectionBert.load(tiny_encoder)
    train = ConnectionDataset(columns[0][:20], columns[1][:20], np.linspace(0, 1, 20), encoder.tokenize)
    positives = dataset_of((columns[0][20:], columns[1][20:], []), encoder, Shape.TOGETHER)
    all_steps = [*remaining_batches(train, 8, 3, epochs=2, done=0, positives=positives)]
    later = [*remaining_batches(train, 8, 3, epochs=2, done=4, positives=positives)]
    assert len(all_steps) == 6 and [batch.pairs for batch in all_steps] == [16, 16, 12] * 2
    for one, two in zip(all_steps[4:], later, strict=True):
        assert torch.equal(one.input_ids, two.input_ids) and torch.equal(one.positives.first, two.positives.first)
    for step, batch in enumerate(all_steps):
        chosen = PositiveRows(10, 8, 3).of_step(step)
        parts = batch.parts(encoder(batch))
        expected = torch.from_numpy(encoder.encode([columns[0][20:][row] for row in chosen.tolist()]))
        torch.testing.assert_close(parts.positives.first, expected, atol=1e-5, rtol=1e-5)
        assert len(parts.pairs[0]) == len(batch.rows)
    loaders = [epoch_loader(train, 8, 3, epoch, positives=positives) for epoch in (1, 2)]
    tokens = np.concatenate([loader.step_tokens() for loader in loaders]).tolist()
    assert tokens == [batch.tokens for batch in all_steps]


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("loss", ["in_batch(both=True)", "cosent + 0.5 * in_batch"])
def test_a_step_in_parts_has_the_gradients_of_the_whole(
    bert_factory: Callable, tiny_encoder: Path, columns: Columns, loss: str, count: int
) -> None:
    """In float64, without dropout."""
    encoder = ConnectionBert.load(tiny_encoder).double()
    shape = Shape.SCORED if "cosent" in loss else Shape.NEGATIVES
    first, second, negatives = columns
    scores = np.linspace(0, 1, 30)
    negatives = negatives if shape is Shape.NEGATIVES else []
    dataset = ConnectionDataset(first, second, scores, encoder.tokenize, negatives=negatives, shape=shape, chooses_from=0.5)
    batch = dataset.batch([*range(16)])
    objective = Objective(loss, encoder.dimension)
    objective(batch.parts(encoder(batch))).backward()
    whole = {name: weight.grad.clone() for name, weight in encoder.named_parameters() if weight.grad is not None}
    encoder.zero_grad()
    value = backward_in_parts(encoder, batch, count, lambda embeddings: objective(batch.parts(embeddings)))
    assert value.item() == pytest.approx(objective(batch.parts(encoder(batch))).item(), abs=1e-12)
    for name, gradient in whole.items():
        torch.testing.assert_close(dict(encoder.named_parameters())[name].grad, gradient, atol=1e-9, rtol=1e-9)


def test_the_second_pass_of_a_part_has_the_dropout_of_the_first(tiny_encoder: Path, columns: Columns) -> None:
    encoder = ConnectionBert.load(tiny_encoder).train()
    dataset = dataset_of(columns, encoder)
    batch, seen = dataset.batch([*range(12)]), []
    handle = encoder.register_forward_hook(lambda module, arguments, output: seen.append(output.detach().clone()))
    objective = Objective("in_batch", encoder.dimension)
    after = []
    for _ in range(2):
        torch.manual_seed(5)
        backward_in_parts(encoder, batch, 3, lambda embeddings: objective(batch.parts(embeddings)))
        after.append(torch.get_rng_state())
    handle.remove()
    assert len(seen) == 12 and torch.equal(after[0], after[1])
    assert all(torch.equal(one, two) for one, two in zip(seen[:3], seen[3:6], strict=True))  # the same masks, bit for bit
    assert all(torch.equal(one, two) for one, two in zip(seen[:6], seen[6:], strict=True))
    assert not any(torch.equal(seen[0][:3], part[:3]) for part in seen[1:3])
