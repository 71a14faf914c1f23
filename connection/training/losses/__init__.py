"""The training objectives, one file each. To add one, add its file here and a line in LOSSES.

From a notebook: `LOSSES["mine"] = Entry(my_function)`, then LOSS = "mine".

A loss is a pure function `loss(embeddings, targets)` that returns a scalar. embeddings: the two sides of B pairs, (B, H) each,
in float32 (float64 in evaluation). targets: (B,). This file imports the standard library only, so that `--help` can list them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[[Sequence[Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Entry:
    """A loss and its description.

    function: the loss, or `module:name`, which `load` imports. shape: the kind of rows it learns from. label_range: lowest and
    highest target. meaning: the quantity it minimises, for `--help` and the documents.
    """

    function: str | Loss
    shape: str = "scored pairs"
    label_range: tuple[float, float] = (0, 1)
    meaning: str = "a loss of your own"

    def load(self) -> Loss:
        if callable(self.function):
            return self.function
        module, _, name = self.function.partition(":")
        loss: Loss = getattr(importlib.import_module(module), name)
        return loss


LOSSES = {
    "cosine": Entry(
        "connection.training.losses.cosine:cosine_loss",
        shape="scored pairs",
        label_range=(0, 1),
        meaning="squared difference between cosine similarity and score",
    ),
}
