"""Checks that stop a run at the first number that is not finite, before it can reach the saved weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from connection import UserMistake
from connection.training.losses import LOSSES
from connection.training.losses.expression import parse

if TYPE_CHECKING:
    from connection.encoder.folder import EncoderFolder
    from connection.reading.splits import Splits
    from connection.training.evaluation import Evaluation
    from connection.training.job import Job
    from ConnectionDataset import PackedPairs

SHOWN_LINES = 5


def refuse_unfit_scores(loss: str, splits: Splits, score_range: tuple[float, float]) -> None:
    """Raise UserMistake if LOSS learns from two labels only and a set has another score; needs no torch."""
    needy = [term.name for term in parse(loss) if term.entry.only_ends]
    if not needy:
        return
    fitting = ", ".join(name for name, entry in LOSSES.items() if not entry.only_ends)
    for pairs in splits.named().values():
        scores = pairs.table["score"].to_numpy()
        other = ((scores != 0) & (scores != 1)).nonzero()[0]
        if len(other):
            low, high = score_range
            line, score = pairs.table["line"].iloc[other[0]], low + (high - low) * scores[other[0]]
            raise UserMistake(
                f'LOSS is "{loss}", and {needy[0]} learns from yes/no labels: every score must be {low:g} or {high:g} '
                f"(SCORE_RANGE), but {pairs.path}, line {line}, has {score:g}. Losses that learn from such scores: {fitting}."
            )


def refuse_long_dimensions(dimensions: Sequence[int], folder: EncoderFolder) -> None:
    """Raise UserMistake if DIMENSIONS has a length that the encoder's embeddings do not have; needs no torch."""
    name, default = folder.family.width_and_heads[0]
    full = folder.config.get(name, default)
    if dimensions and max(dimensions) > full:
        raise UserMistake(f"DIMENSIONS has {max(dimensions):,}, but the embeddings of {folder.folder} have {full:,} numbers.")


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
