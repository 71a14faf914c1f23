"""What a finished run tells: the table of its epochs, its figures, summary.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connection.encoder.device import describe_device, peak_memory_bytes
from connection.text import format_time
from connection.training.evaluation import Evaluation
from connection.training.progress import EpochRow, Training

if TYPE_CHECKING:
    from connection.training.job import Job


def epoch_table(rows: Sequence[EpochRow]) -> str:
    """The epochs of a run as a table; epoch 0 is the evaluation before training."""
    header = ("Epoch", "Training loss", "Dev loss", "Dev Spearman", "Dev Pearson", "Training time", "Evaluation time")
    lines = [header, tuple("-" * len(title) for title in header), *(row.cells() for row in rows)]
    return "\n".join("  ".join(cell.rjust(len(title)) for cell, title in zip(line, header, strict=True)) for line in lines)


def result_text(training: Training, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]) -> str:
    """The table of epochs, before → after of each set, and a warning where training has not helped."""
    lines = ["", epoch_table(training.rows), ""]
    for name in before:
        lines.append(f"{name.capitalize():4} Spearman {before[name].spearman:.4f} before, {after[name].spearman:.4f} after")
    if training.best.step is None:
        lines.append(f"No evaluation gave a Spearman ({before['dev'].why_undefined()}): best/ holds the last weights.")
    elif training.best.step == 0 and training.step:
        lines.append("Warning: no evaluation was better than the one before training: best/ holds the weights it began with.")
    return "\n".join(lines)


def summarise(
    job: Job, training: Training, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]
) -> dict[str, Any]:
    """The contents of summary.json; `before` and `after` hold the evaluations of dev and, where there is one, test."""
    device = job.encoder.device
    pairs = {name: len(split) for name, split in job.splits.named().items()}
    seconds = training.train_seconds
    evaluations = [evaluation for name, evaluation in before.items() if name != "dev"] + list(after.values())
    summary = {
        "encoder": job.settings.ENCODER.name,
        "device": describe_device(device),
        "steps": training.step,
        "best_step": training.best.step,
        "before": _correlations(before),
        "after": _correlations(after),
        "pairs": {name: pairs.get(name) for name in ("train", "dev", "test")},
        "overlap": job.splits.overlap,
        "train_seconds": seconds,
        "evaluation_seconds": sum(row.evaluation_seconds for row in training.rows) + sum(e.seconds for e in evaluations),
        "loading_seconds": job.loading_seconds,
        "saving_seconds": training.saving_seconds,
        "pairs_per_second": training.pairs / seconds if seconds else None,
        "tokens_per_second": training.tokens / seconds if seconds else None,
        "peak_memory_bytes": peak_memory_bytes(device),
    }
    if training.best.step is None:
        summary["best_step_undefined"] = before["dev"].why_undefined()
    return summary


def speed_text(summary: Mapping[str, Any]) -> str:
    """Where the time of a run went, from the contents of summary.json."""
    rates = [summary[name] for name in ("pairs_per_second", "tokens_per_second")]
    speed = f" ({rates[0]:,.0f} pairs, {rates[1]:,.0f} tokens a second)" if all(rates) else ""
    return (
        f"Training took {format_time(summary['train_seconds'])}{speed}, "
        f"evaluation {format_time(summary['evaluation_seconds'])}, saving {format_time(summary['saving_seconds'])}."
    )


def _correlations(evaluations: Mapping[str, Evaluation]) -> dict[str, dict[str, float | str | None] | None]:
    metrics = {name: evaluation.as_json() for name, evaluation in evaluations.items()}
    return {
        name: {key: metrics[name][key] for key in ("spearman", "pearson")} if name in metrics else None
        for name in ("dev", "test")
    }
