"""The objects that a run needs throughout, as one dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connection.reading.splits import Splits
    from connection.run.folder import Run
    from connection.script.interruption import Stop
    from connection.script.settings import Settings
    from connection.training.losses import Loss
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset


@dataclass(frozen=True)
class Job:
    """Everything that a run needs from start to end.

    settings: the constants of this run. splits: its rows as text. train, held_out: the same rows as token ids; held_out has
    "dev", and "test" if there is one. loading_seconds: the time to load the encoder and to tokenise.
    """

    settings: Settings
    run: Run
    splits: Splits
    encoder: ConnectionBert
    train: ConnectionDataset
    held_out: dict[str, ConnectionDataset]
    loss: Loss
    stop: Stop
    loading_seconds: float
