"""The training objectives, one file each. To add one, add its file here and a line in LOSSES.

From a notebook: `LOSSES["mine"] = Entry(my_function)`, then LOSS = "mine".

A loss is a pure function `loss(embeddings, targets, **parameters)` that returns a scalar. embeddings: the two sides of B pairs,
(B, H) each, in float32 (float64 in evaluation). targets: (B,). This file imports the standard library only, so that `--help`
can list them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[..., Tensor]  # of (Sequence[Tensor], Tensor), and parameters by name


@dataclass(frozen=True)
class Parameter:
    """A parameter of a loss: its default, and the lowest and the highest value that make sense."""

    default: float
    low: float
    high: float


@dataclass(frozen=True)
class Entry:
    """A loss and its description.

    function: the loss, or `module:name`, which `load` imports. shape: the kind of rows it learns from. label_range: lowest and
    highest target. only_ends: whether a target must be one of the two. meaning: the quantity it minimises, for `--help` and the
    documents. parameters: those of the function, by name.
    """

    function: str | Loss
    shape: str = "scored pairs"
    label_range: tuple[float, float] = (0, 1)
    meaning: str = "a loss of your own"
    only_ends: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def load(self) -> Loss:
        if callable(self.function):
            return self.function
        module, _, name = self.function.partition(":")
        loss: Loss = getattr(importlib.import_module(module), name)
        return loss


_SCALE = {"scale": Parameter(20.0, 1e-3, 1e4)}
_MARGIN = {"margin": Parameter(0.5, 0.0, 2.0)}
LOSSES = {
    "cosine": Entry(
        "connection.training.losses.cosine:cosine_loss",
        meaning="squared difference between cosine similarity and score",
    ),
    "cosent": Entry(
        "connection.training.losses.cosent:cosent_loss",
        meaning="pairs of a batch in the order of their scores, by cosine similarity",
        parameters=_SCALE,
    ),
    "angle": Entry(
        "connection.training.losses.angle:angle_loss",
        meaning="the same by an angle whose gradient does not vanish where cosines are near 1",
        parameters=_SCALE,
    ),
    "contrastive": Entry(
        "connection.training.losses.contrastive:contrastive_loss",
        meaning="yes-pairs together, no-pairs apart by a margin",
        only_ends=True,
        parameters=_MARGIN,
    ),
    "online_contrastive": Entry(
        "connection.training.losses.online_contrastive:online_contrastive_loss",
        meaning="the same for the hard pairs of a batch",
        only_ends=True,
        parameters=_MARGIN,
    ),
}
