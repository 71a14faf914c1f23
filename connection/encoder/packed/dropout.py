"""Dropout masks of a whole step, drawn at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

_LEVELS = 1 << 16


def draw_masks(shapes: Sequence[Sequence[int]], probability: float) -> list[Tensor]:
    """A mask of each shape: 0 with `probability`, else what keeps the mean, 1 / (1 − probability). From torch's generator.

    Srivastava et al., 2014, scaled in training. A random number has 16 bits: the probability is rounded to a multiple of
    2⁻¹⁶ (0.1 to 0.100006), and the masks keep the mean for the rounded one. Four numbers come out of one draw; with torch's
    own Bernoulli numbers a training step is 1.1 times as long (benchmarks/leave_one_out.py).
    """
    sizes = [prod(shape) for shape in shapes]
    dropped = round(probability * _LEVELS)
    bits = torch.empty(-(-sum(sizes) // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: sum(sizes)] >= dropped - _LEVELS // 2
    scaled = kept.to(torch.float32).mul_(_LEVELS / (_LEVELS - dropped))
    return [mask.view(*shape) for mask, shape in zip(scaled.split(sizes), shapes, strict=True)]
