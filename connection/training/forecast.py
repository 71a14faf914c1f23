"""Estimates how long a run will take, and prints it before the first step."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from connection.text import format_time

if TYPE_CHECKING:
    from torch import Tensor

    from connection.training.evaluation import Evaluation
    from connection.training.job import Job
    from connection.training.schedule import Schedule
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import EpochLoader, PackedPairs


def print_forecast(
    job: Job,
    schedule: Schedule,
    loader: EpochLoader,
    backward: Callable[[PackedPairs], Tensor],
    dev_before: Evaluation,
) -> None:
    """Print about how long the run will take, and its share of padding. loader: of the first epoch.

    backward: computes the loss and the gradients of a batch.
    """
    steps = schedule.steps - (job.run.checkpoints.newest or 0)
    if not steps:
        return
    seconds = tried_seconds_per_token(job.encoder, loader, backward)
    job.loss.zero_grad()
    evaluations = steps * len(schedule.evaluated) // schedule.steps_per_epoch + 1
    step_tokens = loader.step_tokens()
    print(time_text(steps, seconds * step_tokens.mean(), evaluations, dev_before.seconds))
    computed = job.encoder.rows_of(step_tokens) if job.settings.PRECISION == "float32" else step_tokens
    print(padding_text(step_tokens, computed))


def tried_seconds_per_token(
    encoder: ConnectionBert, loader: Iterable[PackedPairs], backward: Callable[[PackedPairs], Tensor], tries: int = 2
) -> float:
    """Seconds per token of forward and backward, the lowest of `tries` training batches. Does not change the encoder."""
    least = math.inf
    encoder.train()
    for batch in itertools.islice(loader, tries):  # the first one includes one-time setup
        clock = time.perf_counter()
        backward(batch)
        gradient = next(weight.grad for weight in encoder.parameters() if weight.grad is not None)
        float(gradient.sum())  # reading a number waits for the GPU
        encoder.zero_grad()
        least = min(least, (time.perf_counter() - clock) / batch.tokens)
    encoder.eval()
    return least


def time_text(steps: int, step_seconds: float, evaluations: int, evaluation_seconds: float) -> str:
    """The forecast as text, from the seconds of one step and of one evaluation."""
    total = steps * step_seconds + evaluations * evaluation_seconds
    return (
        f"This will take about {format_time(total)}: {steps:,} steps of {step_seconds:.2g} s, and {evaluations:,} evaluations."
    )


def padding_text(step_tokens: np.ndarray, step_rows: np.ndarray) -> str:
    """The share of padding among the computed rows, as text. step_tokens, step_rows: (n,) tokens and rows of each step.

    >>> padding_text(np.array([30, 64]), np.array([32, 64]))
    'Padding: 2.1 % of computed rows.'
    """
    share = 1 - int(step_tokens.sum()) / int(step_rows.sum())
    if not share:
        return "Padding: none."
    return f"Padding: {100 * share:.1f} % of computed rows."
