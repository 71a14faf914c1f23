"""Checks that stop a run at the first number that is not finite, before it can reach the saved weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from connection import UserMistake
from connection.reading.shape import Shape
from connection.training.losses import LOSSES, fitting
from connection.training.losses.expression import parse

if TYPE_CHECKING:
    from connection.encoder.folder import EncoderFolder
    from connection.reading.splits import Splits
    from connection.script.settings import Settings
    from connection.training.evaluation import Evaluation
    from connection.training.job import Job
    from ConnectionDataset import PackedPairs

SHOWN_LINES = 5


def refuse_unfit_loss(loss: str, splits: Splits, settings: Settings) -> None:
    """Raise UserMistake if LOSS does not learn from the training pairs, or cannot from some of them; needs no torch.

    loss: LOSS, or the usual one of these pairs.
    """
    shape = splits.shape
    for term in parse(loss):
        if shape not in term.entry.shapes:
            hint = (
                "name NEGATIVE_COLUMNS" if term.name == "triplet" else "set SCORE_COLUMN or LABEL_COLUMN as the loss needs it"
            )
            raise UserMistake(
                f'LOSS is "{settings.LOSS}", but {term.name} does not learn from {shape.value}, as {splits.train.path} '
                f"holds. Losses that do: {', '.join(fitting(shape))}. Take one of them, or {hint}."
            )
    _refuse_unfit_scores(loss, splits, settings.SCORE_RANGE)
    if any(term.name == "triplet" for term in parse(loss)):
        _refuse_missing_negatives(splits)
    if shape is Shape.SCORED and any(term.entry.chooses for term in parse(loss)):
        _refuse_no_positives(splits, settings)


def positive_from(settings: Settings) -> float:
    """The score, from 0 to 1, from which a scored pair belongs together: POSITIVE_SCORE, or the upper fifth of SCORE_RANGE."""
    low, high = settings.SCORE_RANGE
    return 0.8 if settings.POSITIVE_SCORE == "" else (settings.POSITIVE_SCORE - low) / (high - low)


def _refuse_no_positives(splits: Splits, settings: Settings) -> None:
    least, (low, high) = positive_from(settings), settings.SCORE_RANGE
    if not (splits.train.table["score"].to_numpy().astype("float32") >= least).any():
        raise UserMistake(
            f"{splits.train.path}: no score is at least {low + least * (high - low):g}, so no pair belongs together for "
            "in_batch. Lower POSITIVE_SCORE, or leave in_batch out of LOSS."
        )


def _refuse_missing_negatives(splits: Splits) -> None:
    """Raise UserMistake for training rows without any hard negative, from which triplet learns nothing."""
    table = splits.train.table
    without = ~(table[[name for name in table.columns if name.startswith("negative")]] != "").any(axis=1)
    if without.any():
        lines = table["line"][without].tolist()
        listed = ", ".join(f"{line:,}" for line in lines[:SHOWN_LINES]) + ", …" * (len(lines) > SHOWN_LINES)
        raise UserMistake(
            f"{splits.train.path}: triplet learns from rows with a negative, and {len(lines):,} rows have none "
            f"(NEGATIVE_COLUMNS), on lines {listed}. Fill them, delete these rows, or set "
            'LOSS = "in_batch", which learns from them as well.'
        )


def _refuse_unfit_scores(loss: str, splits: Splits, score_range: tuple[float, float]) -> None:
    """Raise UserMistake if LOSS learns from two labels only and a set has another score."""
    needy = [term.name for term in parse(loss) if term.entry.only_ends]
    if not needy:
        return
    others = ", ".join(name for name in fitting(splits.shape) if not LOSSES[name].only_ends)
    for pairs in splits.named().values():
        scores = pairs.table["score"].to_numpy()
        other = ((scores != 0) & (scores != 1)).nonzero()[0]
        if len(other):
            low, high = score_range
            line, score = pairs.table["line"].iloc[other[0]], low + (high - low) * scores[other[0]]
            raise UserMistake(
                f'LOSS is "{loss}", and {needy[0]} learns from yes/no labels: every score must be {low:g} or {high:g} '
                f"(SCORE_RANGE), but {pairs.path}, line {line}, has {score:g}. Losses that learn from such scores: {others}."
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
    train = job.splits.train  # of POSITIVES_FILE, no line is known to be the cause either
    lines = train.table["line"].iloc[batch.rows.tolist()].tolist()
    listed = ", ".join(map(str, lines[:SHOWN_LINES])) + ", …" * (len(lines) > SHOWN_LINES)
    raise UserMistake(
        f"Step {step}: the loss is {loss:g} and the gradient norm {gradient_norm:g}; this step has not changed the weights. "
        f"Lower LEARNING_RATE, or check the rows of this step, on lines {listed} of {train.path}."
    )
