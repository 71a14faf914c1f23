"""The schedule of a training: learning rate and epoch of each step; when dev is evaluated and a checkpoint written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connection.script.settings import Settings


def learning_rate_at(step: int, total_steps: int, highest: float, warmup: float) -> float:
    """The learning rate of the step that follows `step` finished ones: linear warm-up from 0, then linear decay to 0.

    Same as transformers' get_linear_schedule_with_warmup; with a warm-up, the first step has learning rate 0.

    >>> [learning_rate_at(step, 10, 1.0, 0.2) for step in (0, 1, 2, 6, 9)]
    [0.0, 0.5, 1.0, 0.5, 0.125]
    """
    warmup_steps = math.ceil(warmup * total_steps)
    if step < warmup_steps:
        return highest * step / warmup_steps
    return highest * (total_steps - step) / (total_steps - warmup_steps)


def spread_steps(steps_per_epoch: int, count: int) -> frozenset[int]:
    """`count` evenly spaced steps of an epoch, counted from 1; the last step is one of them.

    >>> sorted(spread_steps(10, 4))
    [3, 5, 8, 10]
    """
    count = min(count, steps_per_epoch)
    return frozenset(math.ceil(number * steps_per_epoch / count) for number in range(1, count + 1))


@dataclass(frozen=True)
class Schedule:
    """The steps of a whole training. `done` is the number of finished steps; `step` is the last finished one, counted from 1.

    evaluated, saved: the steps of an epoch, counted from 1, after which dev is evaluated or a checkpoint is written.

    >>> schedule = Schedule(epochs=2, steps_per_epoch=3, highest_rate=1.0, warmup=0.0, evaluated={3}, saved={2, 3})
    >>> schedule.steps, schedule.epoch_of(3), [schedule.evaluates_after(step) for step in (2, 3, 5, 6)]
    (6, (2, 0), [False, True, False, True])
    """

    epochs: int
    steps_per_epoch: int
    highest_rate: float
    warmup: float
    evaluated: frozenset[int]
    saved: frozenset[int]

    @classmethod
    def of(cls, settings: Settings, rows: int) -> Schedule:
        """The schedule that follows from the constants and the number of training rows."""
        steps = math.ceil(rows / settings.BATCH_SIZE)
        evaluated, saved = (
            spread_steps(steps, count) for count in (settings.EVALUATIONS_PER_EPOCH, settings.CHECKPOINTS_PER_EPOCH)
        )
        return cls(settings.EPOCHS, steps, settings.LEARNING_RATE, settings.WARMUP, evaluated, saved)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def learning_rate(self, done: int) -> float:
        """The learning rate of the step that follows `done` finished ones."""
        return learning_rate_at(done, self.steps, self.highest_rate, self.warmup)

    def epoch_of(self, done: int) -> tuple[int, int]:
        """The epoch (counted from 1) of the step that follows `done` finished ones; the number of finished steps in it."""
        finished_epochs, steps_done = divmod(done, self.steps_per_epoch)
        return finished_epochs + 1, steps_done

    def evaluates_after(self, step: int) -> bool:
        return self._in_epoch(step) in self.evaluated

    def saves_after(self, step: int) -> bool:
        return self._in_epoch(step) in self.saved

    def _in_epoch(self, step: int) -> int:
        return (step - 1) % self.steps_per_epoch + 1
