"""The regression objective of Sentence-BERT."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def cosine_loss(embeddings: Sequence[Tensor], scores: Tensor) -> Tensor:
    """Mean squared difference between the cosine similarity of a pair and its score.

        loss = 1/B · Σ (cos(u_i, v_i) − score_i)²

    Reimers and Gurevych, 2019, section 3 (arXiv 1908.10084).

    embeddings: those of sentence1 and of sentence2, (B, H) each. scores: (B,), from 0 to 1. Returns a scalar.

    >>> u, v = Tensor([[1.0, 0.0], [1.0, 0.0]]), Tensor([[0.0, 2.0], [3.0, 0.0]])
    >>> cosine_loss((u, v), Tensor([0.5, 1.0])).item()  # cosines 0 and 1: (0.25 + 0) / 2
    0.125
    """
    first, second = embeddings
    return F.mse_loss(F.cosine_similarity(first, second), scores)
