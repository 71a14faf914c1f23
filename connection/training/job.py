"""The objects that a run needs throughout, as one dataclass."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch

from connection.disk import durable
from connection.disk.safetensors_file import safetensors_chunks
from connection.training.losses import LABELS, LOSS_WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from connection.reading.splits import Splits
    from connection.run.folder import Run
    from connection.script.interruption import Stop
    from connection.script.settings import Settings
    from connection.training.objective import Objective
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset


@dataclass(frozen=True)
class Job:
    """Everything that a run needs from start to end.

    settings: the constants of this run. splits: its rows as text. train, held_out: the same rows as token ids; held_out has
    "dev", and "test" if there is one. positives: the rows of POSITIVES_FILE. loss: what a step minimises. loading_seconds: the
    time to load the encoder and to tokenise.
    """

    settings: Settings
    run: Run
    splits: Splits
    encoder: ConnectionBert
    train: ConnectionDataset
    held_out: dict[str, ConnectionDataset]
    loss: Objective
    stop: Stop
    loading_seconds: float
    positives: ConnectionDataset | None = None

    def save(self, folder: Path) -> None:
        """Write the encoder to a folder, and the weights of losses' own beside it with the names of the classes."""
        self.encoder.save(folder)
        weights = self.loss.weights()
        if weights:
            durable.replace_file(folder / LOSS_WEIGHTS, safetensors_chunks(weights))
        if self.splits.classes:
            labels = json.dumps(list(self.splits.classes), ensure_ascii=False, indent=2) + "\n"
            durable.replace_file(folder / LABELS, [labels.encode()])

    def load_best_loss(self) -> None:
        """Give losses' own weights the values that belong to the encoder in best/."""
        if self.loss.weights():
            self.loss.load_weights(safetensors.torch.load_file(self.run.best / LOSS_WEIGHTS))

    @property
    def trained_ids(self) -> np.ndarray:
        """The token ids of all training sentences, (n,)."""
        return np.concatenate([self.train.ids, *([self.positives.ids] if self.positives else [])])

    @property
    def trained(self) -> dict[str, Tensor]:
        """Every parameter by name: those of the encoder as in transformers' model, those of losses as "loss/…"."""
        own: dict[str, Tensor] = {f"loss/{name.removeprefix('own.')}": weight for name, weight in self.loss.named_parameters()}
        return own | dict(self.encoder.bert.named_parameters())
