"""What a run tells a person: its counters and clocks, the table of its epochs, its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from connection.encoder.device import describe_device, peak_memory_bytes
from connection.reading.preview import format_time
from connection.training.evaluation import Best, Evaluation


@dataclass
class EpochRow:
    """One epoch as it goes on: the loss summed over its pairs, the last evaluation in it, the seconds spent on each."""

    epoch: int
    loss_sum: float = 0.0
    pairs: int = 0
    dev: Evaluation | None = None
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0

    @property
    def mean_loss(self) -> float:
        return self.loss_sum / self.pairs

    def cells(self) -> tuple[str, ...]:
        loss = f"{self.mean_loss:.4f}" if self.pairs else "-"
        metrics = [f"{value:.4f}" for value in (self.dev.loss, self.dev.spearman, self.dev.pearson)] if self.dev else ["-"] * 3
        return (str(self.epoch), loss, *metrics, format_time(self.training_seconds), format_time(self.evaluation_seconds))


@dataclass
class Training:
    """How far a training has come. `rows[0]` is the evaluation before it; `over`: that PATIENCE has ended it."""

    best: Best = field(default_factory=Best)
    rows: list[EpochRow] = field(default_factory=lambda: [EpochRow(epoch=0)])
    step: int = 0
    pairs: int = 0
    tokens: int = 0
    train_seconds: float = 0.0
    saving_seconds: float = 0.0
    over: bool = False

    @property
    def epoch(self) -> int:
        return self.rows[-1].epoch

    def count_step(self, pairs: int, tokens: int, loss: float, seconds: float) -> None:
        """Add one step: its pairs and tokens, its mean loss, the time it took."""
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
    encoder: str,
    device: torch.device,
    training: Training,
    before: Mapping[str, Evaluation],
    after: Mapping[str, Evaluation],
    overlap: Mapping[str, Any],
    pairs: Mapping[str, int],
    loading_seconds: float,
) -> dict[str, Any]:
    """The contents of summary.json; `before` and `after` hold the evaluations of dev and, where there is one, test.

    pairs: how many train, dev and test have. loading_seconds: what the encoder and the token ids took to be there.
    """
    seconds = training.train_seconds
    evaluations = [evaluation for name, evaluation in before.items() if name != "dev"] + list(after.values())
    summary = {
        "encoder": encoder,
        "device": describe_device(device),
        "steps": training.step,
        "best_step": training.best.step,
        "before": _correlations(before),
        "after": _correlations(after),
        "pairs": {name: pairs.get(name) for name in ("train", "dev", "test")},
        "overlap": overlap,
        "train_seconds": seconds,
        "evaluation_seconds": sum(row.evaluation_seconds for row in training.rows) + sum(e.seconds for e in evaluations),
        "loading_seconds": loading_seconds,
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


def _correlations(evaluations: Mapping[str, Evaluation]) -> dict[str, dict[str, float | None] | None]:
    metrics = {name: evaluation.as_json() for name, evaluation in evaluations.items()}
    return {
        name: {key: metrics[name][key] for key in ("spearman", "pearson")} if name in metrics else None
        for name in ("dev", "test")
    }
