"""In-batch negatives: each sentence1 must find its sentence2 among those of all rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from connection.training.candidates import Candidates


def in_batch_loss(embeddings: Sequence[Tensor], targets: Candidates, scale: float = 20.0, both: float = False) -> Tensor:
    """Cross entropy of choosing each row's sentence2 among the candidates by cosine similarity.

        loss = mean_i −log( exp(scale · cos(u_i, v_i)) / Σ_c exp(scale · cos(u_i, c)) )

    Henderson et al., 2017 (arXiv 1705.00652, section 4.4), with cosines as van den Oord et al., 2018 (arXiv 1807.03748); known
    as multiple negatives ranking loss or InfoNCE. Candidates are distinct, and one that is known to belong to u_i is left out
    of the sum, so that no right answer counts as wrong.

    embeddings: those of each sentence1, (B, H), and of the candidates, (C, H). targets: which of them belong together. scale:
    the reciprocal of the temperature. both: also choose each row's sentence1 among those of all rows, and take the mean.
    Returns a scalar, the mean over the rows that belong together; 0 if there is none.

    >>> from connection.training.candidates import KnownPairs, candidates_of
    >>> import numpy as np
    >>> pairs = np.array([[0, 2], [1, 3]])
    >>> targets = candidates_of(*pairs.T, np.empty((2, 0), dtype=np.int64), KnownPairs(pairs, 4))
    >>> u = v = Tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(in_batch_loss((u, v), targets, scale=2.0).item(), 4)  # log(1 + e⁻²)
    0.1269
    """
    first, candidates = (F.normalize(side, dim=1) for side in embeddings)
    similarities = scale * first @ candidates.T  # (B, C)
    losses = _entropy(similarities, targets.excluded, targets.positive)
    if both:
        seconds = F.embedding(targets.positive, candidates)  # (B, H)
        own = torch.arange(len(first), device=first.device)
        losses = (losses + _entropy(scale * seconds @ first.T, targets.excluded_first, own)) / 2
    weights = targets.weights.to(losses.dtype)
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def _entropy(similarities: Tensor, excluded: Tensor, positive: Tensor) -> Tensor:
    """−log softmax of each row at its positive, (B,). similarities, excluded: (B, C). positive: (B,)."""
    return F.cross_entropy(similarities.masked_fill(excluded, -torch.inf), positive, reduction="none")
