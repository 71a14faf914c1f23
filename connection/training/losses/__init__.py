"""The training objectives, one file each. To add one, add its file here and a line in LOSSES.

From a notebook: `LOSSES["mine"] = Entry(my_function)`, then LOSS = "mine".

A loss is a pure function `loss(embeddings, targets, **parameters)` that returns a scalar. embeddings: the two sides of B pairs,
(B, H) each, in float32 (float64 in evaluation). targets: (B,) the scores from 0 to 1, or the numbers of the classes. A loss
that chooses among candidates has the embeddings of sentence1, (B, H), and of the candidates, (C, H), and `Candidates` as
targets. This file imports the standard library only, so that `--help` can list them.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connection.reading.shape import Shape

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[..., Tensor]  # of (Sequence[Tensor], Tensor), and parameters by name

LOSS_WEIGHTS, LABELS = "loss.safetensors", "labels.json"  # in best/, of losses with weights of their own


@dataclass(frozen=True)
class Parameter:
    """A parameter of a loss: its default, and the lowest and the highest value that make sense. is_switch: True or False."""

    default: float
    low: float
    high: float
    is_switch: bool = False


@dataclass(frozen=True)
class Entry:
    """A loss and its description.

    function: the loss, or `module:name`, which `load` imports. shapes: the kinds of rows it learns from. label_range: lowest
    and highest target. only_ends: whether a target must be one of the two. meaning: the quantity it minimises, for `--help` and
    the documents. parameters: those of the function, by name. chooses: whether it chooses among candidates. weights: a function
    of (H, number of classes, seed), or its `module:name`, that gives the initial weights of the loss's own, by their names as
    arguments of the function; they are trained.
    """

    function: str | Loss
    shapes: tuple[Shape, ...] = (Shape.SCORED,)
    label_range: tuple[float, float] = (0, 1)
    meaning: str = "a loss of your own"
    only_ends: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    chooses: bool = False
    weights: str | Callable[[int, int, int], dict[str, Tensor]] | None = None

    def load(self) -> Loss:
        loss: Loss = _imported(self.function)
        return loss

    def initial_weights(self, dimension: int, classes: int, seed: int) -> dict[str, Tensor]:
        """The initial weights of the loss's own, by name; none for most losses. dimension: H."""
        if self.weights is None:
            return {}
        made: dict[str, Tensor] = _imported(self.weights)(dimension, classes, seed)
        return made


def _imported(function: Any) -> Any:
    if callable(function):
        return function
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


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
    "in_batch": Entry(
        "connection.training.losses.in_batch:in_batch_loss",
        shapes=(Shape.TOGETHER, Shape.NEGATIVES, Shape.SCORED),
        label_range=(1, 1),
        meaning="each sentence1 finds its sentence2 among those of the batch",
        parameters=_SCALE | {"both": Parameter(False, False, True, is_switch=True)},
        chooses=True,
    ),
    "triplet": Entry(
        "connection.training.losses.triplet:triplet_loss",
        shapes=(Shape.NEGATIVES,),
        label_range=(1, 1),
        meaning="each sentence1 nearer to its sentence2 than to its negatives, by a margin",
        parameters={"margin": Parameter(5.0, 0.0, 1e3)},
        chooses=True,
    ),
    "softmax": Entry(
        "connection.training.losses.softmax:softmax_loss",
        shapes=(Shape.CLASSES,),
        label_range=(0, math.inf),
        meaning="the class of a pair, by a classifier that is trained with the encoder",
        weights="connection.training.losses.softmax:initial_weights",
    ),
}
USUAL = {Shape.SCORED: "cosine", Shape.TOGETHER: "in_batch", Shape.NEGATIVES: "in_batch", Shape.CLASSES: "softmax"}


def fitting(shape: Shape) -> list[str]:
    """The names of the losses that learn from such rows."""
    return [name for name, entry in LOSSES.items() if shape in entry.shapes]
