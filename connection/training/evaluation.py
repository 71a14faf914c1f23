"""The evaluation of one set of pairs: similarities, metrics of its kind of pairs, loss."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from connection.reading.shape import Shape
from connection.training.bootstrap import Interval, mean_interval, spearman_interval, with_interval
from connection.training.candidates import Parts, gather
from connection.training.collapse import random_pairs, random_similarity
from connection.training.correlations import average_precision, best_threshold, pearson, settle_ties, spearman
from connection.training.losses.softmax import class_logits
from connection.training.metrics import NAMES
from connection.training.retrieval import retrieve, triplet_accuracy

if TYPE_CHECKING:
    from torch import Tensor

    from connection.training.objective import Objective
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset

BLOCK = 4096  # rows whose vectors are in memory as float64 at once


@dataclass
class Evaluation:
    """The metrics of one set of pairs.

    figures: the metrics by name (`connection/training/metrics.py`); nan where undefined. The first is the one by which dev
    chooses. similarities: (n,) the cosines, in the order of the rows. seconds: duration. interval: 95 % interval of the first
    metric. items: what that metric is the mean of, a number for each query or row; empty for Spearman. random_similarity: the
    mean cosine of sentences that are in no row together; None if there are none. by_length: the first metric of the first
    numbers of the embeddings alone, by how many. by_row: (n,) int64 each, what is known of each row beside its similarity:
    "rank" of its sentence2; "found", the number of the sentence that was found instead, -1 for none; "class", its number.
    """

    figures: dict[str, float]
    loss: float
    similarities: np.ndarray
    seconds: float
    interval: Interval | None = None
    items: np.ndarray = field(default_factory=lambda: np.empty(0))
    random_similarity: float | None = None
    by_length: dict[int, float] = field(default_factory=dict)
    by_row: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The name of the metric by which dev chooses."""
        return next(iter(self.figures))

    @property
    def value(self) -> float:
        """That metric."""
        return self.figures[self.metric]

    def as_json(self) -> dict[str, float | str | None]:
        """The metrics as metrics.jsonl has them: floats, null if undefined; `undefined` gives the reason for the first one."""
        metrics = self.figures | {"loss": self.loss, "random_similarity": self.random_similarity}
        plain: dict[str, float | str | None] = {
            name: value if value is not None and math.isfinite(value) else None for name, value in metrics.items()
        }
        return plain if math.isfinite(self.value) else plain | {"undefined": self.why_undefined()}

    @property
    def value_text(self) -> str:
        """The first metric with its interval."""
        return with_interval(self.value, self.interval)

    @property
    def main_figures(self) -> dict[str, float]:
        """The first two metrics, for tables."""
        return dict(itertools.islice(self.figures.items(), 2))

    @property
    def text(self) -> str:
        """The metrics as the console shows them after an evaluation: the first one with its interval."""
        others = [f"{NAMES[name]} {value:.4f}" for name, value in self.figures.items() if name not in (self.metric, *YES_NO)]
        return ", ".join([f"{NAMES[self.metric]} {self.value_text}", *others, f"loss {self.loss:.4f}"])

    def why_undefined(self) -> str:
        if not np.isfinite(self.similarities).all():
            return "a similarity is not finite"
        return "all similarities are equal" if np.ptp(self.similarities) == 0 else "all scores are equal"


YES_NO = ("average_precision", "f1")  # of scores that are the two ends of their range only


def evaluate(
    encoder: ConnectionBert,
    dataset: ConnectionDataset,
    objective: Objective,
    batch_size: int = 4096,
    loss_rows: int = 16,
    seed: int = 42,
    dimensions: Sequence[int] = (),
) -> Evaluation:
    """Compute the metrics of a set by an encoder. Each distinct sentence is encoded once.

    batch_size: sentences encoded at once. loss_rows: rows per call of the loss; with BATCH_SIZE the result is comparable to
    the training loss. seed: which sentences are taken for `random_similarity`. dimensions: the lengths of `by_length`. Besides
    the embeddings, memory holds BLOCK rows at a time.
    Draws no random number and does not change the encoder: evaluating more often does not change the training.
    """
    started = time.perf_counter()
    embeddings = torch.from_numpy(encoder.encode_tokens(dataset.sentences, batch_size))  # (S, H)
    rows = _Rows(embeddings, dataset, objective, sorted(length for length in dimensions if length < embeddings.shape[1]))
    losses = rows.compute(loss_rows)
    metrics, lengths = _METRICS[dataset.shape](rows, embeddings.shape[1]), rows.lengths
    return Evaluation(
        figures=metrics.figures,
        loss=sum(value * weight for value, weight in losses) / max(sum(weight for _, weight in losses), 1),
        similarities=rows.similarities,
        interval=metrics.interval,
        items=metrics.items,
        random_similarity=random_similarity(embeddings.numpy(), random_pairs(dataset.sides, len(embeddings), seed)),
        by_length={length: next(iter(_METRICS[dataset.shape](rows, length).figures.values())) for length in lengths},
        by_row=metrics.by_row,
        seconds=time.perf_counter() - started,
    )


class _Rows:
    """What metrics are computed from: similarities of each row, for each length of the embeddings, and the classes found.

    similarities: (n,). by_length: the same of the first numbers of the embeddings alone. found: (n,) the number of the class
    that is found for each row, by length; of pairs with a class only.
    """

    def __init__(self, embeddings: Tensor, dataset: ConnectionDataset, objective: Objective, lengths: Sequence[int]):
        self.embeddings, self.dataset, self.objective, self.lengths = embeddings, dataset, objective, lengths
        self.full = embeddings.shape[1]
        self.by_length = {length: np.empty(len(dataset)) for length in (*lengths, self.full)}
        self.found = {length: np.empty(len(dataset), dtype=np.int64) for length in (*lengths, self.full)}
        self.scores = dataset.scores.astype(np.float64)

    @property
    def similarities(self) -> np.ndarray:
        return self.by_length[self.full]

    @torch.no_grad()
    def compute(self, loss_rows: int) -> list[tuple[float, int]]:
        """Fill in similarities and classes. Returns the loss and the number of rows of each `loss_rows` rows."""
        dataset, losses = self.dataset, []
        scores = torch.from_numpy(dataset.scores).double()  # (n,)
        weights = self.objective.weights()
        for start in range(0, len(dataset), BLOCK):
            rows = slice(start, start + BLOCK)  # b of them
            first, second = (self.embeddings[dataset.sides[rows, side]].double() for side in (0, 1))  # (b, H) each
            for length, values in self.by_length.items():
                u, v = (side if length == self.full else side[:, :length] for side in (first, second))
                values[rows] = F.cosine_similarity(u, v).numpy()
                if dataset.shape is Shape.CLASSES:
                    logits = class_logits((u, v), weights["softmax.weight"].cpu(), weights["softmax.bias"].cpu())
                    self.found[length][rows] = logits.argmax(dim=1).numpy()
            parts = zip(*(part.split(loss_rows) for part in (first, second, scores[rows])), strict=True)
            for number, (u, v, targets) in enumerate(parts):
                these = np.arange(start + number * loss_rows, start + number * loss_rows + len(targets))
                losses.append((self._loss(u, v, targets, these), len(targets)))
        same = dataset.sides[:, 0] == dataset.sides[:, 1]
        for length, values in self.by_length.items():
            self.by_length[length] = settle_ties(values, same)
        return losses

    def _loss(self, first: Tensor, second: Tensor, targets: Tensor, rows: np.ndarray) -> float:
        candidates = self.dataset.candidates(rows)
        together = None
        if candidates is not None:
            used = np.unique(np.append(candidates.first, candidates.candidates))
            local = np.zeros(len(self.embeddings), dtype=np.int64)
            local[used] = np.arange(len(used))
            together = gather(self.embeddings[torch.from_numpy(used)].double(), candidates.at(local))
        return float(self.objective(Parts((first, second), targets, together)))


@dataclass(frozen=True)
class _Metrics:
    figures: dict[str, float]
    interval: Interval | None
    items: np.ndarray = field(default_factory=lambda: np.empty(0))
    by_row: dict[str, np.ndarray] = field(default_factory=dict)


def _of_scores(rows: _Rows, length: int) -> _Metrics:
    similarities, scores = rows.by_length[length], rows.scores
    figures = {"spearman": spearman(similarities, scores)}
    if length < rows.full:
        return _Metrics(figures, None)
    figures["pearson"] = pearson(similarities, scores)
    if np.unique(scores).tolist() == [0, 1] and np.isfinite(similarities).all():
        matches = scores == 1
        figures |= zip(
            YES_NO, (average_precision(similarities, matches), best_threshold(similarities, matches).f1), strict=True
        )
    return _Metrics(figures, spearman_interval(similarities, scores))


def _of_candidates(rows: _Rows, length: int) -> _Metrics:
    vectors, dataset = rows.embeddings.numpy()[:, :length], rows.dataset
    if not np.isfinite(vectors).all():
        return _Metrics(dict.fromkeys(("mrr_at_10", "recall_at_1", "recall_at_10"), math.nan), None)
    found = retrieve(vectors, dataset.sides, dataset.negatives)
    items = found.reciprocal_ranks
    figures = {"mrr_at_10": float(items.mean())}
    if length < rows.full:
        return _Metrics(figures, None)
    figures |= {f"recall_at_{depth}": found.recall_at(depth) for depth in (1, 10)}
    accuracy = triplet_accuracy(vectors, dataset.sides, dataset.negatives)
    if accuracy is not None:
        figures["triplet_accuracy"] = accuracy
    nearest = found.nearest[np.searchsorted(found.queries, dataset.sides[:, 0])]  # (n,)
    pairs, best = (first * len(dataset.texts) + second for first, second in (dataset.sides.T, (dataset.sides[:, 0], nearest)))
    by_row = {"rank": found.row_ranks, "found": np.where(np.isin(best, pairs), -1, nearest)}
    return _Metrics(figures, mean_interval(items), items, by_row)


def _of_classes(rows: _Rows, length: int) -> _Metrics:
    found = rows.found[length]
    right = (found == rows.scores).astype(np.float64)
    right[~np.isfinite(rows.by_length[length])] = math.nan
    figures = {"accuracy": float(right.mean())}
    return _Metrics(figures, mean_interval(right), right, {"class": found})


_METRICS: dict[Shape, Callable[[_Rows, int], _Metrics]] = {
    Shape.SCORED: _of_scores,
    Shape.TOGETHER: _of_candidates,
    Shape.NEGATIVES: _of_candidates,
    Shape.CLASSES: _of_classes,
}
