"""Summarises a finished run: the table of epochs, the figures, summary.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from connection.encoder.device import describe_device, peak_memory_bytes
from connection.encoder.preview import encoder_name
from connection.reading.preview import count_scores
from connection.reading.shape import Shape
from connection.text import format_time
from connection.training.bootstrap import Interval, mean_interval, spearman_gain_interval
from connection.training.collapse import collapse_text
from connection.training.evaluation import Evaluation
from connection.training.metrics import MEANINGS, NAMES
from connection.training.progress import EpochRow, Training

if TYPE_CHECKING:
    from connection.training.job import Job

INTERVAL = "[ ]: 95 % interval, by bootstrap over the {}."


def epoch_table(rows: Sequence[EpochRow], dev: Evaluation) -> str:
    """The epochs of a run as a table; epoch 0 is the evaluation before training. dev: an evaluation, for its metrics."""
    metrics = [f"Dev {NAMES[name]}" for name in dev.main_figures]
    header = ("Epoch", "Training loss", "Dev loss", *metrics, "Training time", "Evaluation time")
    lines = [header, tuple("-" * len(title) for title in header), *(row.cells(len(metrics)) for row in rows)]
    return "\n".join("  ".join(cell.rjust(len(title)) for cell, title in zip(line, header, strict=True)) for line in lines)


def result_text(job: Job, training: Training, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]) -> str:
    """The table of epochs, each set's figures before → after, and a warning if training has not helped."""
    lines = ["", epoch_table(training.rows, before["dev"]), ""]
    metric = before["dev"].metric
    gains = _gains(job, before, after)
    lines += [_change_text(name, before[name], after[name], gains[name], training.step) for name in before]
    if any(evaluation.interval for evaluation in before.values()):
        of = {"mrr_at_10": "different sentence1"}.get(metric, "pairs")
        lines.append(f"{MEANINGS[metric]} {INTERVAL.format(of)}")
    lines += _other_texts(before, after, training.step)
    lines += _length_texts(before, after)
    lines += _random_texts(before, after, training.step)
    if training.best.step is None:
        why = before["dev"].why_undefined()
        lines.append(f"{NAMES[metric]} was undefined in every evaluation ({why}): best/ holds the last weights.")
    elif training.best.step == 0 and training.step:
        lines.append("Warning: no evaluation was better than the one before training: best/ holds the initial weights.")
    return "\n".join(lines)


def _change_text(name: str, before: Evaluation, after: Evaluation, gain: Interval | None, steps: int) -> str:
    metric = NAMES[before.metric]
    if not steps:
        return f"{name.capitalize():4} {metric} {before.value_text}"
    text = f"{name.capitalize():4} {metric} {before.value_text} before, {after.value_text} after"
    if gain is None or np.array_equal(before.similarities, after.similarities):
        return text
    chance = "" if gain[0] > 0 or gain[1] < 0 else ": within chance"
    return f"{text}; change {after.value - before.value:+.4f} [{gain[0]:+.2f}, {gain[1]:+.2f}]{chance}"


def _other_texts(before: Mapping[str, Evaluation], after: Mapping[str, Evaluation], steps: int) -> list[str]:
    """The metrics of each set beside the one by which dev chooses; Pearson, which the table of epochs has, is left out."""
    lines = []
    for name, last in after.items():
        first = before[name].figures
        others = {key: value for key, value in last.figures.items() if key not in (last.metric, "pearson") and key in first}
        shown = [f"{NAMES[key]} {first[key]:.4f} → {x:.4f}" if steps else f"{NAMES[key]} {x:.4f}" for key, x in others.items()]
        lines += [f"{name.capitalize():4} {', '.join(shown)}"] if shown else []
    return lines


def _length_texts(before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]) -> list[str]:
    """The metric of each set at each length of DIMENSIONS."""
    return [
        f"{name.capitalize():4} {NAMES[last.metric]} of the first numbers of an embedding: "
        + "; ".join(f"{length}: {before[name].by_length[length]:.4f} → {x:.4f}" for length, x in last.by_length.items())
        for name, last in after.items()
        if last.by_length and last.by_length.keys() == before[name].by_length.keys()
    ]


def _random_texts(before: Mapping[str, Evaluation], after: Mapping[str, Evaluation], steps: int) -> list[str]:
    """How similar unrelated sentences are, and a warning for each set where training has drawn them together."""
    parts: list[str] = []
    warnings: list[str] = []
    for name in before:
        first, last = before[name].random_similarity, after[name].random_similarity
        if first is not None and last is not None:
            parts.append(f"{name} {first:.2f} before, {last:.2f} after" if steps else f"{name} {first:.2f}")
            warnings.append(collapse_text(name, first, last))
    return [f"Mean similarity of unrelated sentences: {'; '.join(parts)}.", *filter(None, warnings)] if parts else []


def _gains(job: Job, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]) -> dict[str, Interval | None]:
    """The 95 % interval of each set's change in the metric by which dev chooses."""
    found = {}
    for name, first in before.items():
        last = after[name]
        if first.metric == "spearman":
            found[name] = spearman_gain_interval(first.similarities, last.similarities, job.held_out[name].scores)
        else:
            found[name] = mean_interval(last.items - first.items) if len(first.items) == len(last.items) else None
    return found


def summarise(
    job: Job, training: Training, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]
) -> dict[str, Any]:
    """The contents of summary.json. before, after: the evaluations of dev and, if there is one, test."""
    device = job.encoder.device
    pairs = {name: len(split) for name, split in job.splits.named().items()}
    seconds = training.train_seconds
    evaluations = [evaluation for name, evaluation in before.items() if name != "dev"] + list(after.values())
    summary = {
        "encoder": encoder_name(job.settings.ENCODER),
        "device": describe_device(device),
        "loss": job.run.description["effective"]["LOSS"],
        "seed": job.settings.SEED,
        "learning_rate": job.settings.LEARNING_RATE,
        "metric": before["dev"].metric,
        "steps": training.step,
        "best_step": training.best.step,
        "before": _metrics(before),
        "after": _metrics(after, _gains(job, before, after)),
        "pairs": {name: pairs.get(name) for name in ("train", "dev", "test")},
        "overlap": job.splits.overlap,
        "data": _data(job),
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
    """Speed and times of a run as text, from the contents of summary.json."""
    rates = [summary[name] for name in ("pairs_per_second", "tokens_per_second")]
    speed = f" ({rates[0]:,.0f} pairs, {rates[1]:,.0f} tokens a second)" if all(rates) else ""
    return (
        f"Training took {format_time(summary['train_seconds'])}{speed}, "
        f"evaluation {format_time(summary['evaluation_seconds'])}, saving {format_time(summary['saving_seconds'])}."
    )


def _metrics(
    evaluations: Mapping[str, Evaluation], gains: Mapping[str, Interval | None] | None = None
) -> dict[str, dict[str, Any] | None]:
    by_set: dict[str, dict[str, Any] | None] = {"dev": None, "test": None}
    for name, evaluation in evaluations.items():
        plain = evaluation.as_json()
        metrics: dict[str, Any] = {key: plain[key] for key in (*evaluation.figures, "random_similarity")}
        if evaluation.by_length:
            metrics[f"{evaluation.metric}_by_length"] = {
                str(length): value if np.isfinite(value) else None for length, value in evaluation.by_length.items()
            }
        by_set[name] = metrics | {"interval": evaluation.interval} | ({"gain": gains[name]} if gains else {})
    return by_set


def _data(job: Job) -> dict[str, Any]:
    """Figures of the training pairs for the report, the same as on the console."""
    scores, train, shape = job.splits.train.table["score"].to_numpy(), job.train, job.splits.shape
    labels, counts = count_scores(scores, job.settings.SCORE_RANGE) if shape is Shape.SCORED else ([], [])
    if shape is Shape.CLASSES:
        labels, counts = list(job.splits.classes), np.bincount(scores.astype(int), minlength=len(job.splits.classes)).tolist()
    return {
        "shape": shape.value,
        "scores": {"labels": labels, "counts": counts},
        "negatives": int((train.negatives >= 0).sum()),
        "positives": len(job.positives) if job.positives else 0,
        "sentences": len(train.texts),
        "cut_sentences": train.cut,
        "tokens": len(train.ids),
        "unknown_tokens": int((train.ids == job.encoder.tokenizer.unk_token_id).sum()),
    }
