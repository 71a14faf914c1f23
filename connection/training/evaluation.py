"""The evaluation of one set of pairs: its similarities and what they are worth."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from connection.training.correlations import pearson, spearman

if TYPE_CHECKING:
    from connection.training.losses import Loss
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset


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
        plain: dict[str, float | str | None] = {
            name: value if math.isfinite(value) else None for name, value in metrics.items()
        }
        return plain if math.isfinite(self.spearman) else plain | {"undefined": self.why_undefined()}

    def why_undefined(self) -> str:
        if not np.isfinite(self.similarities).all():
            return "a similarity is not finite"
        return "all similarities are equal" if np.ptp(self.similarities) == 0 else "all scores are equal"


def evaluate(encoder: ConnectionBert, dataset: ConnectionDataset, loss: Loss, batch_size: int = 256) -> Evaluation:
    """Compare the encoder's similarities with the scores of a set. Each distinct sentence is encoded once.

    Draws no random number and leaves the encoder as it was: evaluating more often does not change the training.
    """
    started = time.perf_counter()
    embeddings = torch.from_numpy(encoder.encode_tokens(dataset.sentences, batch_size))  # (S, H)
    first, second = (embeddings[dataset.sides[:, side]].double() for side in (0, 1))  # (n, H)
    similarities = torch.nn.functional.cosine_similarity(first, second).numpy()
    scores = torch.from_numpy(dataset.scores).double()
    return Evaluation(
        spearman=spearman(similarities, scores.numpy()),
        pearson=pearson(similarities, scores.numpy()),
        loss=float(loss((first, second), scores)),
        similarities=similarities,
        seconds=time.perf_counter() - started,
    )
