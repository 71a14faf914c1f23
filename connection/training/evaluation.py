"""How well similarities agree with scores, and which evaluation is the best.

Spearman and Pearson run from -1 to 1; they are nan where they are not defined (constant scores or predictions).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's product-moment correlation of two arrays (n,); nan where either is constant.

    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])), 4)  # 3 / sqrt(2 · 14/3)
    0.982
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if np.ptp(x) == 0 or np.ptp(y) == 0 or not np.isfinite(x).all():
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / math.sqrt((x @ x) * (y @ y)))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation (n,): Pearson's of the ranks, ties sharing their mean rank; nan as there.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 400.0]))
    1.0
    """
    return pearson(*(pd.Series(np.asarray(values, dtype=np.float64)).rank().to_numpy() for values in (x, y)))


@dataclass(frozen=True)
class Threshold:
    """Where to cut: a similarity of `threshold` or more means a match. What precision, recall and F1 are then."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_threshold(similarities: np.ndarray, matches: np.ndarray) -> Threshold:
    """The cut with the highest F1, half way between two similarities (n,); of several, the one with the fewest above it.

    matches: (n,) bool, True for the pairs that belong together, at least one of them.

    >>> best_threshold(np.array([0.9, 0.8, 0.6, 0.1]), np.array([True, False, True, False]))
    Threshold(threshold=0.35, precision=0.6666666666666666, recall=1.0, f1=0.8)
    """
    cuts, found, above = _cuts(similarities, matches)
    precision, recall = found / above, found / matches.sum()
    f1 = 2 * found / (above + matches.sum())
    best = int(np.argmax(f1))
    below = cuts[best + 1] if best + 1 < len(cuts) else cuts[best]
    return Threshold(float((cuts[best] + below) / 2), *(float(metric[best]) for metric in (precision, recall, f1)))


def average_precision(similarities: np.ndarray, matches: np.ndarray) -> float:
    """The mean precision over the recalls that falling thresholds reach, as scikit-learn's; arguments as above.

        AP = Σ (R_k − R_{k−1}) · P_k

    >>> average_precision(np.array([0.9, 0.8, 0.6]), np.array([True, False, True]))  # 1/2 · 1 + 1/2 · 2/3
    0.8333333333333333
    """
    _, found, above = _cuts(similarities, matches)
    return float(np.diff(found / matches.sum(), prepend=0) @ (found / above))


def _cuts(similarities: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct similarities, falling; how many matches, and how many pairs, are at or above each."""
    order = np.argsort(-similarities, kind="stable")
    falling = similarities[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    return falling[last], np.cumsum(matches[order])[last], last + 1


@dataclass
class Evaluation:
    """One evaluation of one set: `similarities` (n,) are the cosines, in the order of the set's rows."""

    spearman: float
    pearson: float
    loss: float
    similarities: np.ndarray
    seconds: float

    def as_json(self) -> dict[str, float | str | None]:
        """Metrics with null for what is not defined, and then why."""
        metrics = {"spearman": self.spearman, "pearson": self.pearson, "loss": self.loss}
        plain = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        return plain if math.isfinite(self.spearman) else plain | {"undefined": self.why_undefined()}

    def why_undefined(self) -> str:
        if not np.isfinite(self.similarities).all():
            return "a similarity is not finite"
        return "all similarities are equal" if np.ptp(self.similarities) == 0 else "all scores are equal"


def evaluate(
    encoder: ConnectionBert,
    dataset: ConnectionDataset,
    objective: Callable[[Tensor, Tensor, Tensor], Tensor],
    batch_size: int = 256,
) -> Evaluation:
    """Compare the encoder's similarities with the scores of a set. Each distinct sentence is encoded once.

    Draws no random number and leaves the encoder as it was: asking more often does not move the training.
    """
    started = time.perf_counter()
    embeddings = torch.from_numpy(encoder.encode_tokens(dataset.sentences, batch_size))  # (S, H)
    first, second = (embeddings[dataset.sides[:, side]].double() for side in (0, 1))  # (n, H)
    similarities = torch.nn.functional.cosine_similarity(first, second).numpy()
    scores = torch.from_numpy(dataset.scores).double()
    return Evaluation(
        spearman=spearman(similarities, scores.numpy()),
        pearson=pearson(similarities, scores.numpy()),
        loss=float(objective(first, second, scores)),
        similarities=similarities,
        seconds=time.perf_counter() - started,
    )


@dataclass
class Best:
    """The best evaluation so far: the highest dev Spearman. A tie keeps the earlier one; nan never wins.

    >>> best = Best()
    >>> [best.offer(step, score) for step, score in enumerate([0.3, 0.7, 0.5, 0.7, math.nan])], best.step, best.stale
    ([True, True, False, False, False], 1, 3)
    """

    step: int | None = None
    spearman: float = -math.inf
    stale: int = field(default=0)  # evaluations since then without a better one

    def offer(self, step: int, score: float) -> bool:
        """Take the evaluation after `step` if it is strictly better, and say whether it was."""
        if score > self.spearman:
            self.step, self.spearman, self.stale = step, score, 0
            return True
        self.stale += 1
        return False
