"""Dropout masks of a whole step, drawn at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

_LEVELS = 1 << 16


@dataclass(frozen=True)
class Mask:
    """Which numbers a dropout keeps, and what they are multiplied by: 1 / (1 − p). kept: bool, a quarter of float32."""

    kept: Tensor
    scale: float

    def factors(self) -> Tensor:
        """0 or `scale`, float32: made anew each time that they are needed, forward and backward, rather than kept."""
        return self.kept.to(torch.float32).mul_(self.scale)


def draw_masks(shapes: Sequence[Sequence[int]], probability: float) -> list[Mask]:
    """A mask of each shape, which drops with `probability`. From torch's generator.

    Srivastava et al., 2014, scaled in training. A random number has 16 bits: the probability is rounded to a multiple of
    2⁻¹⁶ (0.1 to 0.100006), and the masks keep the mean for the rounded one. Four numbers come out of one draw; with torch's
    own Bernoulli numbers a training step is 1.1 times as long (benchmarks/leave_one_out.py).
    """
    sizes = [prod(shape) for shape in shapes]
    dropped = round(probability * _LEVELS)
    bits = torch.empty(-(-sum(sizes) // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: sum(sizes)] >= dropped - _LEVELS // 2
    scale = _LEVELS / (_LEVELS - dropped)
    return [Mask(part.view(*shape), scale) for part, shape in zip(kept.split(sizes), shapes, strict=True)]
