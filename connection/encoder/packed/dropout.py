"""Draws the dropout masks of a whole step at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

_LEVELS = 1 << 16


# Masks of so many numbers in all are kept as float32, 64 MB; larger ones as bool, a quarter of that, and made float when used.
_FLOATS_KEPT = 16_000_000


@dataclass(frozen=True)
class Mask:
    """The numbers that a dropout keeps, and their factor 1 / (1 − p). kept: bool, or float32 with the factor in it already."""

    kept: Tensor
    scale: float

    def factors(self) -> Tensor:
        """0 or `scale`, float32."""
        return self.kept.to(torch.float32).mul_(self.scale) if self.kept.dtype == torch.bool else self.kept


def draw_masks(shapes: Sequence[Sequence[int]], probability: float) -> list[Mask]:
    """A mask of each shape, which drops values with `probability`. Uses torch's random generator.

    Inverted dropout (Srivastava et al., 2014). Random numbers have 16 bits, so the probability is rounded to a multiple of
    2⁻¹⁶ (0.1 to 0.100006); the scale is that of the rounded probability and keeps the mean. One 64-bit draw gives four
    numbers. With torch's Bernoulli numbers, a training step takes 1.1 times as long (benchmarks/leave_one_out.py).
    """
    sizes = [prod(shape) for shape in shapes]
    dropped = round(probability * _LEVELS)
    bits = torch.empty(-(-sum(sizes) // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: sum(sizes)] >= dropped - _LEVELS // 2
    scale = _LEVELS / (_LEVELS - dropped)
    if sum(sizes) <= _FLOATS_KEPT:
        kept = kept.to(torch.float32).mul_(scale)
    return [Mask(part.view(*shape), scale) for part, shape in zip(kept.split(sizes), shapes, strict=True)]
