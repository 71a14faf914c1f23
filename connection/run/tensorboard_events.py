"""Writes metrics also as TensorBoard event files, if TENSORBOARD is True: `tensorboard --logdir OUTPUT/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connection.script.requirements import is_installed, missing_extra

FOLDER = "tensorboard"
_NOT_METRICS = ("step", "epoch", "split")


def check_tensorboard() -> None:
    """Raise UserMistake with the command to run if the package tensorboard is missing."""
    if not is_installed("tensorboard"):
        raise missing_extra("TENSORBOARD is True, but the package tensorboard is not installed.")


class EventFiles:
    """A run's event files, in `folder`/tensorboard. One tag per metric: `train/loss`, `dev/spearman` and so on."""

    def __init__(self, folder: Path, step: int | None = None):
        """step: the step after which a run resumes; later steps of an earlier start are hidden. None: a new run."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / FOLDER), flush_secs=10, purge_step=0 if step is None else step + 1)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the numbers of one line of metrics.jsonl."""
        split = record.get("split", "train")
        for name, value in record.items():
            if name not in _NOT_METRICS and isinstance(value, (int, float)):
                self._writer.add_scalar(f"{split}/{name}", value, record["step"])

    def close(self) -> None:
        self._writer.close()
