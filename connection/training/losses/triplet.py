"""Triplets: each sentence1 must be nearer to its sentence2 than to its hard negatives, by a margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from connection.training.candidates import Candidates


def triplet_loss(embeddings: Sequence[Tensor], targets: Candidates, margin: float = 5.0) -> Tensor:
    """Hinge loss of Euclidean distances, for every hard negative of every row.

        loss = mean_(i,n) max(0, ‖u_i − v_i‖ − ‖u_i − n‖ + margin)

    Schroff et al., 2015 (arXiv 1503.03832), for sentences Reimers and Gurevych, 2019 (arXiv 1908.10084), whose margin of 5
    suits embeddings that are not normalised. Where they are, distances are at most 2: take a margin of 0.5 or so.

    embeddings: those of each sentence1, (B, H), and of the candidates, (C, H). targets: which candidates are the sentence2 and
    the hard negatives of each row. Returns a scalar, the mean over all negatives; 0 if there is none.

    >>> from connection.training.candidates import KnownPairs, candidates_of
    >>> import numpy as np
    >>> targets = candidates_of(np.array([0]), np.array([1]), np.array([[2, -1]]), KnownPairs(np.array([[0, 1]]), 3))
    >>> u, candidates = Tensor([[0.0, 0.0]]), Tensor([[3.0, 4.0], [6.0, 8.0]])
    >>> round(triplet_loss((u, candidates), targets, margin=7.0).item(), 4)  # 5 − 10 + 7
    2.0
    """
    first, candidates = embeddings
    to_positive = torch.linalg.vector_norm(first - F.embedding(targets.positive, candidates), dim=1)  # (B,)
    exists = (targets.negatives >= 0).to(first.dtype)  # (B, K)
    negatives = F.embedding(targets.negatives.clamp(min=0), candidates)  # (B, K, H)
    to_negatives = torch.linalg.vector_norm(first[:, None] - negatives, dim=2)  # (B, K)
    losses = F.relu(to_positive[:, None] - to_negatives + margin) * exists
    return losses.sum() / exists.sum().clamp(min=1)
