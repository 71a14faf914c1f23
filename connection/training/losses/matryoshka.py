"""Matryoshka training: the first dimensions of an embedding alone are an embedding, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from connection.training.losses import Loss


def for_prefixes(loss: Loss, dimensions: Sequence[int], full: int) -> Loss:
    """The sum of a loss over prefixes of the embeddings; the loss itself where there is no shorter one.

        Σ_d loss(u[:d], v[:d], …)

    Kusupati et al., 2022 (arXiv 2205.13147), with equal weights, as sentence-transformers' MatryoshkaLoss.

    dimensions: the lengths of the prefixes. full: the length of an embedding, which is always included.
    """
    lengths = lengths_of(dimensions, full)
    return partial(_sum, loss, lengths) if len(lengths) > 1 else loss


def lengths_of(dimensions: Sequence[int], full: int) -> list[int]:
    """The lengths of all prefixes, the longest first.

    >>> lengths_of((64, 128), full=384)
    [384, 128, 64]
    """
    return sorted({*dimensions, full}, reverse=True)


def _sum(loss: Loss, lengths: Sequence[int], embeddings: Sequence[Tensor], targets: Tensor) -> Tensor:
    first, *others = (loss([side[:, :length] for side in embeddings], targets) for length in lengths)
    for other in others:
        first = first + other
    return first
