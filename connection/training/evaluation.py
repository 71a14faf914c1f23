"""The evaluation of one set of pairs: similarities, correlations with the scores, loss."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from connection.training.bootstrap import Interval, spearman_interval, with_interval
from connection.training.collapse import random_pairs, random_similarity
from connection.training.correlations import average_precision, best_threshold, pearson, settle_ties, spearman

if TYPE_CHECKING:
    from connection.training.losses import Loss
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset

BLOCK = 4096  # rows whose vectors are in memory as float64 at once


@dataclass
class Evaluation:
    """The metrics of one set of pairs.

    similarities: (n,) the cosines, in the order of the rows. seconds: duration. interval: 95 % interval of `spearman`.
    random_similarity: the mean cosine of sentences that are in no row together; None if there are none. by_length: Spearman of
    the first numbers of the embeddings alone, by how many. yes_no: where the scores are the two ends of their range only,
    "average_precision", and "f1" at the threshold that is best for these pairs.
    """

    spearman: float
    pearson: float
    loss: float
    similarities: np.ndarray
    seconds: float
    interval: Interval | None = None
    random_similarity: float | None = None
    by_length: dict[int, float] = field(default_factory=dict)
    yes_no: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, float | str | None]:
        """The metrics as metrics.jsonl has them: floats, null if undefined; `undefined` gives the reason for Spearman."""
        metrics = {name: getattr(self, name) for name in ("spearman", "pearson", "loss", "random_similarity")}
        plain: dict[str, float | str | None] = {
            name: value if value is not None and math.isfinite(value) else None for name, value in metrics.items()
        }
        plain |= self.yes_no
        return plain if math.isfinite(self.spearman) else plain | {"undefined": self.why_undefined()}

    @property
    def spearman_text(self) -> str:
        return with_interval(self.spearman, self.interval)

    def why_undefined(self) -> str:
        if not np.isfinite(self.similarities).all():
            return "a similarity is not finite"
        return "all similarities are equal" if np.ptp(self.similarities) == 0 else "all scores are equal"


def evaluate(
    encoder: ConnectionBert,
    dataset: ConnectionDataset,
    loss: Loss,
    batch_size: int = 4096,
    loss_rows: int = 16,
    seed: int = 42,
    dimensions: Sequence[int] = (),
) -> Evaluation:
    """Compare the encoder's similarities with the scores of a set. Each distinct sentence is encoded once.

    batch_size: sentences encoded at once. loss_rows: rows per call of the loss; with BATCH_SIZE the result is comparable to
    the training loss. seed: which sentences are taken for `random_similarity`. dimensions: the lengths of `by_length`. Besides
    the embeddings, memory holds BLOCK rows at a time.
    Draws no random number and does not change the encoder: evaluating more often does not change the training.
    """
    started = time.perf_counter()
    embeddings = torch.from_numpy(encoder.encode_tokens(dataset.sentences, batch_size))  # (S, H)
    scores = torch.from_numpy(dataset.scores).double()  # (n,)
    similarities, losses = np.empty(len(dataset)), []
    shorter = {length: np.empty(len(dataset)) for length in sorted(dimensions) if length < embeddings.shape[1]}
    for start in range(0, len(dataset), BLOCK):
        rows = slice(start, start + BLOCK)  # b of them
        first, second = (embeddings[dataset.sides[rows, side]].double() for side in (0, 1))  # (b, H) each
        similarities[rows] = torch.nn.functional.cosine_similarity(first, second).numpy()
        for length, values in shorter.items():
            values[rows] = torch.nn.functional.cosine_similarity(first[:, :length], second[:, :length]).numpy()
        parts = zip(*(part.split(loss_rows) for part in (first, second, scores[rows])), strict=True)
        losses += [(float(loss((u, v), targets)), len(targets)) for u, v, targets in parts]
    same = dataset.sides[:, 0] == dataset.sides[:, 1]
    similarities = settle_ties(similarities, same)
    return Evaluation(
        spearman=spearman(similarities, scores.numpy()),
        pearson=pearson(similarities, scores.numpy()),
        loss=sum(value * count for value, count in losses) / len(dataset),
        similarities=similarities,
        interval=spearman_interval(similarities, scores.numpy()),
        random_similarity=random_similarity(embeddings.numpy(), random_pairs(dataset.sides, len(embeddings), seed)),
        by_length={length: spearman(settle_ties(values, same), scores.numpy()) for length, values in shorter.items()},
        yes_no=_yes_no(similarities, dataset.scores),
        seconds=time.perf_counter() - started,
    )


def _yes_no(similarities: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    if np.unique(scores).tolist() != [0, 1] or not np.isfinite(similarities).all():
        return {}
    matches = scores == 1
    return {
        "average_precision": average_precision(similarities, matches),
        "f1": best_threshold(similarities, matches).f1,
    }
