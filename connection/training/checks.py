"""Checks that stop a run at the first number that is not finite, before it can reach the saved weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from connection import UserMistake

if TYPE_CHECKING:
    from connection.training.evaluation import Evaluation
    from connection.training.job import Job
    from ConnectionDataset import PackedPairs

SHOWN_LINES = 5


def refuse_broken_encoder(job: Job, before: Mapping[str, Evaluation]) -> None:
    """Raise UserMistake if the encoder gives vectors that are not finite before training; training cannot correct that."""
    for name, evaluation in before.items():
        if not all(map(math.isfinite, evaluation.similarities)):
            raise UserMistake(
                f"{job.settings.ENCODER}: before any training, this encoder gives vectors that are not finite for sentences of "
                f"{name}. Its weights are damaged; fetch them again."
            )


def refuse_non_finite(job: Job, step: int, batch: PackedPairs, loss: float, gradient_norm: float) -> None:
    """Raise UserMistake if the loss or the gradient norm is not finite. Call it before the optimizer's step."""
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return
    train = job.splits.train
    lines = train.table["line"].iloc[batch.rows.tolist()].tolist()
    listed = ", ".join(map(str, lines[:SHOWN_LINES])) + ", …" * (len(lines) > SHOWN_LINES)
    raise UserMistake(
        f"Step {step}: the loss is {loss:g} and the gradient norm {gradient_norm:g}; this step has not changed the weights. "
        f"Lower LEARNING_RATE, or check the rows of this step, on lines {listed} of {train.path}."
    )
