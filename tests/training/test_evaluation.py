"""Correlations against scipy, `evaluate` against a loop by hand, and which evaluation is the best."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import connection.training.evaluation
from connection.training.correlations import average_precision, best_threshold, pearson, spearman
from connection.training.evaluation import Evaluation, evaluate
from connection.training.losses.cosine import cosine_loss
from connection.training.objective import Objective
from connection.training.progress import Best
from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset


def series(kind: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    x = random.normal(size=200)
    y = {
        "plain": x + random.normal(size=200),
        "ties": np.round(x * 2 + random.normal(size=200)) / 2,
        "opposite": -(x**3),
        "two values": (x > 0.5).astype(float),
        "far from 0": 1e6 + x + random.normal(size=200),
    }[kind]
    return (np.round(x, 1) if kind == "ties" else x), y


COSINE = Objective("cosine", dimension=32)
KINDS = ["plain", "ties", "opposite", "two values", "far from 0"]


@pytest.mark.parametrize("kind", KINDS)
def test_correlations_are_those_of_scipy(kind: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    x, y = series(kind)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_spearman_by_hand() -> None:
    """Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: the sums are 4.5, 4.5 and 5, and 4.5 / sqrt(4.5 · 5) = 0.9487."""
    assert spearman(np.array([1.0, 2.0, 2.0, 9.0]), np.array([0.0, 1.0, 2.0, 3.0])) == pytest.approx(4.5 / math.sqrt(22.5))


@pytest.mark.parametrize("correlation", [pearson, spearman])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]),
        ([1.0], [2.0]),
        ([1.0, math.nan, 3.0], [1.0, 2.0, 3.0]),
        ([math.nan] * 3, [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [1.0, math.nan, 3.0]),
    ],
)
def test_what_is_not_defined_is_nan(correlation: Callable[..., float], x: list[float], y: list[float]) -> None:
    assert math.isnan(correlation(np.array(x), np.array(y)))


def test_correlations_are_symmetric_and_blind_to_scale() -> None:
    x, y = series("ties")
    for correlation in (pearson, spearman):
        assert correlation(x, y) == pytest.approx(correlation(y, x), abs=1e-14)
        assert correlation(x, y) == pytest.approx(correlation(3 * x + 1, y / 7), abs=1e-12)
        assert type(correlation(x, y)) is float


@pytest.fixture
def encoder(tiny_encoder: Path) -> ConnectionBert:
    return ConnectionBert.load(tiny_encoder)


@pytest.fixture
def texts(sentence_factory: Callable[..., list[str]]) -> tuple[list[str], list[str], list[float]]:
    """Columns of 14 pairs; some sentences come twice."""
    sentences = sentence_factory(18)
    return sentences[:14], sentences[4:], np.linspace(0, 1, 14).round(1).tolist()


def test_evaluate_is_the_loop_by_hand(encoder: ConnectionBert, texts: tuple[list[str], list[str], list[float]]) -> None:
    similarities = []
    for one, two in zip(*texts[:2], strict=True):
        u, v = (encoder.encode([sentence])[0].astype(np.float64) for sentence in (one, two))
        similarities.append(u @ v / math.sqrt((u @ u) * (v @ v)))
    loss = np.mean([(a - b) ** 2 for a, b in zip(similarities, texts[2], strict=True)])
    evaluation = evaluate(encoder, ConnectionDataset(*texts, encoder.tokenize), COSINE, batch_size=7)
    assert evaluation.similarities == pytest.approx(np.array(similarities), abs=1e-6)  # in the order of the rows
    assert evaluation.loss == pytest.approx(loss, abs=1e-6)
    assert evaluation.figures["pearson"] == pytest.approx(np.corrcoef(similarities, texts[2])[0, 1], abs=1e-5)
    assert evaluation.value == pytest.approx(spearman(np.array(similarities), np.array(texts[2])), abs=1e-3)
    others = {"loss": evaluation.loss, "random_similarity": evaluation.random_similarity}
    assert evaluation.as_json() == evaluation.figures | others and list(evaluation.figures) == ["spearman", "pearson"]
    sentences = list(dict.fromkeys([*texts[0], *texts[1]]))
    together = {frozenset(pair) for pair in zip(texts[0], texts[1], strict=True)}
    vectors = encoder.encode(sentences).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    apart = [
        vectors[i] @ vectors[j]
        for i, j in itertools.combinations(range(len(sentences)), 2)
        if frozenset((sentences[i], sentences[j])) not in together
    ]
    assert len(apart) < 1000 and evaluation.random_similarity == pytest.approx(np.mean(apart), abs=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_leaves_everything_as_it_was(
    encoder: ConnectionBert, texts: tuple[list[str], list[str], list[float]], training: bool
) -> None:
    encoder.train(training)
    weights = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    dataset = ConnectionDataset(*texts, encoder.tokenize)
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002 the global stream is what must not move
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (evaluate(encoder, dataset, COSINE) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert all(module.training == training for module in encoder.modules())
    assert np.array_equal(first.similarities, second.similarities)  # no dropout, though the encoder may be training
    assert all(torch.equal(weight, weights[name]) for name, weight in encoder.named_parameters())
    assert all(weight.grad is None for weight in encoder.parameters())
    assert all(weight.requires_grad != (".pooler." in name) for name, weight in encoder.named_parameters())


def test_each_distinct_sentence_is_encoded_once(
    encoder: ConnectionBert, texts: tuple[list[str], list[str], list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    real = ConnectionBert.encode_tokens
    monkeypatch.setattr(ConnectionBert, "encode_tokens", lambda self, ids, size: encoded.extend(ids) or real(self, ids, size))
    evaluate(encoder, ConnectionDataset(*texts, encoder.tokenize), COSINE)
    assert len(encoded) == len({*texts[0], *texts[1]}) < 28


@pytest.mark.parametrize(
    ("similarities", "scores", "reason"),
    [
        ([0.5, 0.5, 0.5], [0.0, 0.5, 1.0], "all similarities are equal"),
        ([0.1, 0.2, 0.3], [0.5, 0.5, 0.5], "all scores are equal"),
        ([0.1, math.nan, 0.3], [0.0, 0.5, 1.0], "a similarity is not finite"),
    ],
)
def test_nan_is_written_as_null_with_the_reason(similarities: list[float], scores: list[float], reason: str) -> None:
    x, y = np.array(similarities), np.array(scores)
    figures = {"spearman": spearman(x, y), "pearson": pearson(x, y)}
    record = Evaluation(figures, float(((x - y) ** 2).mean()), x, 0.1).as_json()
    assert record["spearman"] is None and record["pearson"] is None and record["undefined"] == reason
    assert (record["loss"] is None) == (math.nan in similarities)
    json.dumps(record, allow_nan=False)


def test_an_encoder_with_a_nan_evaluates_to_nan(
    encoder: ConnectionBert, texts: tuple[list[str], list[str], list[float]]
) -> None:
    with torch.no_grad():
        encoder.bert.embeddings.LayerNorm.bias[0] = math.nan
    evaluation = evaluate(encoder, ConnectionDataset(*texts, encoder.tokenize), COSINE)
    assert math.isnan(evaluation.value) and math.isnan(evaluation.figures["pearson"]) and math.isnan(evaluation.loss)
    assert evaluation.as_json()["undefined"] == "a similarity is not finite"


@pytest.mark.parametrize(
    ("scores", "taken", "step", "stale"),
    [
        ([0.3, 0.7, 0.5], [True, True, False], 1, 1),
        ([0.3, 0.7, 0.7, 0.7], [True, True, False, False], 1, 2),  # a tie keeps the earlier
        ([math.nan, 0.2, math.nan], [False, True, False], 1, 1),  # nan never wins, nor does it stand in the way
        ([math.nan, math.nan], [False, False], None, 2),
        ([-0.4, -0.6, -0.1], [True, False, True], 2, 0),
        ([-1.0], [True], 0, 0),
    ],
)
def test_best_of_a_scripted_series(scores: list[float], taken: list[bool], step: int | None, stale: int) -> None:
    best = Best()
    assert [best.offer(number, score) for number, score in enumerate(scores)] == taken
    assert (best.step, best.stale) == (step, stale)
    assert best.value == (-math.inf if step is None else scores[step])


@pytest.mark.parametrize("digits", [1, 8])  # with ties, and without
def test_thresholds_and_average_precision_are_those_of_scikit_learn(digits: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn, which comes with the oracle, is not installed")
    for seed in range(20):
        random = np.random.default_rng(seed)
        matches = random.random(60) < 0.3
        similarities = (random.normal(0, 0.3, 60) + 0.4 * matches).round(digits)
        assert average_precision(similarities, matches) == pytest.approx(metrics.average_precision_score(matches, similarities))
        best = best_threshold(similarities, matches)
        precision, recall, _ = metrics.precision_recall_curve(matches, similarities)
        assert best.f1 == pytest.approx(np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-12)))
        predicted = similarities >= best.threshold
        assert best.precision == pytest.approx(metrics.precision_score(matches, predicted))
        assert best.recall == pytest.approx(metrics.recall_score(matches, predicted))


def test_all_matches_are_found_by_a_cut_below_all() -> None:
    best = best_threshold(np.array([0.5, 0.2]), np.array([True, True]))
    assert best.recall == best.precision == 1 and best.threshold <= 0.2


def test_pairs_of_one_sentence_are_ties(encoder: ConnectionBert, sentence_factory: Callable[..., list[str]]) -> None:
    """The float64 cosine of equal vectors takes several values around 1: their order would be noise."""
    first = sentence_factory(60)
    second = first[:20] + sentence_factory(40, 9)
    scores = [1.0] * 20 + [i / 80 for i in range(40)]
    dataset = ConnectionDataset(first, second, scores, encoder.tokenize)
    evaluation = evaluate(encoder, dataset, COSINE)
    assert set(evaluation.similarities[:20]) == {1.0}
    vectors = torch.from_numpy(encoder.encode([*first, *second])).double()
    exact = torch.nn.functional.cosine_similarity(vectors[:60], vectors[60:]).numpy()
    np.testing.assert_allclose(evaluation.similarities, exact, atol=1e-12)
    exact[:20] = 1
    assert evaluation.value == spearman(exact.round(12), np.array(scores))


def test_blocks_change_nothing_but_memory(
    encoder: ConnectionBert, texts: tuple[list[str], list[str], list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, sizes = ConnectionDataset(*texts, encoder.tokenize), []

    def seen_loss(embeddings: tuple[torch.Tensor, ...], scores: torch.Tensor) -> torch.Tensor:
        sizes.append(len(scores))
        return cosine_loss(embeddings, scores)

    objective = Objective("cosine", encoder.dimension)
    objective.functions = [seen_loss]
    whole = evaluate(encoder, dataset, objective, loss_rows=len(dataset))
    assert sizes == [len(dataset)]
    sizes.clear()
    monkeypatch.setattr(connection.training.evaluation, "BLOCK", 7)
    parts = evaluate(encoder, dataset, objective, loss_rows=3)
    assert set(sizes) <= {1, 2, 3} and sum(sizes) == len(dataset)
    assert np.array_equal(whole.similarities, parts.similarities)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)


def test_the_loss_of_a_set_is_the_mean_over_its_steps(
    encoder: ConnectionBert, texts: tuple[list[str], list[str], list[float]]
) -> None:
    """A loss that depends on the rows beside it, as in-batch negatives do, must be in the units of the training."""
    dataset = ConnectionDataset(*texts, encoder.tokenize)
    objective = Objective("cosine", encoder.dimension)
    objective.functions = [lambda embeddings, scores: torch.tensor(float(len(scores)))]
    evaluation = evaluate(encoder, dataset, objective, loss_rows=16)
    full, rest = divmod(len(dataset), 16)
    assert evaluation.loss == pytest.approx((full * 16 * 16 + rest * rest) / len(dataset))
