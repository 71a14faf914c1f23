"""How long a run will take, from its own first steps, and the share of padding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from connection.encoder.packed.products import products_in
from connection.text import format_time

if TYPE_CHECKING:
    from connection.training.evaluation import Evaluation
    from connection.training.job import Job
    from connection.training.schedule import Schedule

# The fastest of so many steps, by tokens, is the estimate. The first ones set things up once; a card records its graphs.
TIMED_STEPS, TIMED_STEPS_ON_CARD = 3, 32


class Forecast:
    """Times the first steps of a start, and then prints how long the rest will take."""

    def __init__(self, schedule: Schedule, mean_tokens: float, evaluation_seconds: float, timed: int):
        """mean_tokens: of a step. evaluation_seconds: of an evaluation of dev. timed: how many steps are timed."""
        self.schedule, self.mean_tokens, self.evaluation_seconds = schedule, mean_tokens, evaluation_seconds
        self.waiting = timed
        self.least = math.inf  # seconds per token

    def count(self, step: int, tokens: int, seconds: float) -> None:
        """Note a step, the run's `step`-th; print the forecast after the last one that is timed."""
        if not self.waiting:
            return
        self.waiting -= 1
        self.least = min(self.least, seconds / tokens)
        left = self.schedule.steps - step
        if not self.waiting and left:
            evaluations = left * len(self.schedule.evaluated) // self.schedule.steps_per_epoch + 1
            tqdm.write(time_text(left, self.least * self.mean_tokens, evaluations, self.evaluation_seconds))


def begin_forecast(job: Job, schedule: Schedule, step_tokens: np.ndarray, dev_before: Evaluation) -> Forecast:
    """Print the share of padding; what times the first steps. step_tokens: the number of tokens of each step of an epoch."""
    with products_in(job.settings.PRECISION, job.encoder.device):
        print(padding_text(step_tokens, job.encoder.rows_of(step_tokens)))
    timed = TIMED_STEPS if job.encoder.device.type == "cpu" else TIMED_STEPS_ON_CARD
    return Forecast(schedule, float(step_tokens.mean()), dev_before.seconds, timed)


def time_text(steps: int, step_seconds: float, evaluations: int, evaluation_seconds: float) -> str:
    """The forecast as text, from the steps and evaluations that are left and the seconds of one."""
    total = steps * step_seconds + evaluations * evaluation_seconds
    each = f"{steps:,} steps of {step_seconds:.2g} s, and {evaluations:,} evaluations"
    return f"The rest will take about {format_time(total)}: {each}."


def padding_text(step_tokens: np.ndarray, step_rows: np.ndarray) -> str:
    """The share of padding among the computed rows, as text. step_tokens, step_rows: (n,) tokens and rows of each step.

    >>> padding_text(np.array([30, 64]), np.array([32, 64]))
    'Padding: 2.1 % of computed rows.'
    """
    share = 1 - int(step_tokens.sum()) / int(step_rows.sum())
    if not share:
        return "Padding: none."
    return f"Padding: {100 * share:.1f} % of computed rows."
