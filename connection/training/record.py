"""Logs and prints a training while it runs: steps, evaluations, epochs."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

from tqdm import tqdm

from connection.text import counted, format_time
from connection.training.progress import EpochRow, Training

if TYPE_CHECKING:
    from connection.training.evaluation import Evaluation
    from connection.training.job import Job
    from connection.training.schedule import Schedule
    from ConnectionDataset import PackedPairs


def begin_training(job: Job, before: dict[str, Evaluation]) -> Training:
    """A training before its first step. Records the evaluation of dev: the one to beat."""
    training = Training(before=before)
    record_evaluation(job, training, before["dev"])
    return training


def follow_epochs(
    batches: Iterable[PackedPairs], schedule: Schedule, training: Training, rows: int
) -> Generator[PackedPairs, None, None]:
    """Yield the remaining batches of a training, until `training.over`, with a heading and a progress bar for each epoch.

    batches: starting with the step after `training.step`. rows: training rows per epoch. Close the generator if a step
    fails, so that its progress bar ends.
    """
    stream = iter(batches)
    while training.step < schedule.steps and not training.over:
        epoch, done = schedule.epoch_of(training.step)
        print(f"\n======== Epoch {epoch} / {schedule.epochs} ========")
        if not done:
            training.rows.append(EpochRow(epoch))
        initial = sum(row.pairs for row in training.rows if row.epoch == epoch)
        with tqdm(total=rows, initial=initial, unit="pair", disable=None, dynamic_ncols=True) as bar:
            training.lap()
            while schedule.epoch_of(training.step)[0] == epoch and not training.over:
                batch = next(stream)
                yield batch
                bar.update(len(batch.rows))
                bar.set_postfix(loss=f"{training.loss:.4f}", learning_rate=f"{training.learning_rate:.2e}", refresh=False)
            if training.over:
                tqdm.write(f"Stopped early: {counted(training.best.stale, 'evaluation')} without a better one (PATIENCE).")
        print(f"Training loss {training.rows[-1].mean_loss:.4f}. Elapsed: {format_time(training.train_seconds)}")


def record_step(
    job: Job, training: Training, batch: PackedPairs, loss: float, gradient_norm: float, learning_rate: float
) -> float:
    """Count a step, with the seconds since the previous one, which are returned, and log it."""
    pairs, seconds = batch.pairs, training.lap()
    training.count_step(pairs, batch.tokens, loss, learning_rate, seconds)
    job.run.log(
        {
            "step": training.step,
            "epoch": training.epoch,
            "loss": loss,
            "learning_rate": learning_rate,
            "gradient_norm": gradient_norm,
            "pairs_per_second": pairs / seconds,
        }
    )
    return seconds


def record_evaluation(job: Job, training: Training, evaluation: Evaluation) -> None:
    """Log and print an evaluation of dev; save the weights to best/ if they are the best so far.

    Not the initial ones: they are in ENCODER, and a run seldom ends with them as its best.
    """
    training.count_evaluation(evaluation)
    job.run.log({"step": training.step, "epoch": training.epoch, "split": "dev"} | evaluation.as_json())
    better = training.best.offer(training.step, evaluation.value)
    training.lap()
    if better and training.step:
        job.run.keep_best(job.save)
        training.saving_seconds += training.lap()
    when = f"After step {training.step:,}" if training.step else "Before training"
    tqdm.write(
        f"{when}: dev {evaluation.text} "
        f"({format_time(evaluation.seconds)}){', the best so far' if better and training.step else ''}"
    )


def obey_stop(job: Job, training: Training) -> None:
    """End the run after its checkpoint was written. Raises Stopped."""
    command = "the same command without START_OVER" if job.settings.START_OVER else "the same command"
    tqdm.write(f"Saved after step {training.step:,}. Run {command} to resume.")
    job.stop.obey()
