"""The progress of a training: counters, times and best evaluation."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from connection.text import format_time
from connection.training.evaluation import Evaluation


@dataclass
class EpochRow:
    """One epoch so far: the loss summed over its pairs, its last evaluation of dev, and the seconds spent."""

    epoch: int
    loss_sum: float = 0.0
    pairs: int = 0
    dev: Evaluation | None = None
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0

    @property
    def mean_loss(self) -> float:
        return self.loss_sum / self.pairs

    def cells(self, figures: int) -> tuple[str, ...]:
        """The row of the table of epochs. figures: how many metrics it has."""
        loss = f"{self.mean_loss:.4f}" if self.pairs else "-"
        shown = (self.dev.loss, *self.dev.main_figures.values()) if self.dev else ()
        metrics = [f"{value:.4f}" for value in shown] or ["-"] * (1 + figures)
        return (str(self.epoch), loss, *metrics, format_time(self.training_seconds), format_time(self.evaluation_seconds))


@dataclass
class Best:
    """The best evaluation so far: the highest value of the metric by which dev chooses. A tie keeps the earlier one; nan never
    wins.

    >>> best = Best()
    >>> [best.offer(step, score) for step, score in enumerate([0.3, 0.7, 0.5, 0.7, math.nan])], best.step, best.stale
    ([True, True, False, False, False], 1, 3)
    """

    step: int | None = None
    value: float = -math.inf
    stale: int = field(default=0)  # evaluations since the best one

    def offer(self, step: int, score: float) -> bool:
        """Record the evaluation after `step` if it is strictly better; return whether it is."""
        if score > self.value:
            self.step, self.value, self.stale = step, score, 0
            return True
        self.stale += 1
        return False


@dataclass
class Training:
    """The progress of a training. `rows[0]` is the evaluation before it; `over`: whether PATIENCE has ended it.

    before: the evaluations of dev and test before the first step, on the machine on which the run began.
    loss, learning_rate: of the last step, for the progress bar. lap_began: a clock reading. Checkpoints omit these three.
    """

    best: Best = field(default_factory=Best)
    rows: list[EpochRow] = field(default_factory=lambda: [EpochRow(epoch=0)])
    step: int = 0
    pairs: int = 0
    tokens: int = 0
    train_seconds: float = 0.0
    saving_seconds: float = 0.0
    over: bool = False
    before: dict[str, Evaluation] = field(default_factory=dict)
    loss: float = math.nan
    learning_rate: float = math.nan
    lap_began: float = 0.0

    def lap(self) -> float:
        """The seconds since the previous call."""
        began, self.lap_began = self.lap_began, time.perf_counter()
        return self.lap_began - began

    @property
    def epoch(self) -> int:
        return self.rows[-1].epoch

    def count_step(self, pairs: int, tokens: int, loss: float, learning_rate: float, seconds: float) -> None:
        """Add one step. loss: the mean over its pairs."""
        self.loss, self.learning_rate = loss, learning_rate
        self.step += 1
        self.pairs += pairs
        self.tokens += tokens
        self.train_seconds += seconds
        row = self.rows[-1]
        row.pairs += pairs
        row.loss_sum += loss * pairs
        row.training_seconds += seconds

    def count_evaluation(self, dev: Evaluation) -> None:
        self.rows[-1].dev = dev
        self.rows[-1].evaluation_seconds += dev.seconds
