"""metrics.jsonl as TensorBoard event files, where TENSORBOARD asks for them: `tensorboard --logdir OUTPUT/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connection.script.requirements import is_installed, missing_extra

FOLDER = "tensorboard"
_PLACES = ("step", "epoch", "split")  # where a number belongs, no metric itself


def check_tensorboard() -> None:
    """Raise UserMistake with the command to run if the package tensorboard is missing."""
    if not is_installed("tensorboard"):
        raise missing_extra("TENSORBOARD is True, but the package tensorboard is not installed.")


class EventFiles:
    """A run's event files, in `folder`/tensorboard: a tag a metric, `train/loss`, `dev/spearman` and so on."""

    def __init__(self, folder: Path, step: int | None = None):
        """step: after which a run goes on; what an earlier start wrote of later steps is no longer shown."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / FOLDER), flush_secs=10, purge_step=0 if step is None else step + 1)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the numbers of one line of metrics.jsonl."""
        split = record.get("split", "train")
        for name, value in record.items():
            if name not in _PLACES and isinstance(value, (int, float)):
                self._writer.add_scalar(f"{split}/{name}", value, record["step"])

    def close(self) -> None:
        self._writer.close()
