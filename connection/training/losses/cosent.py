"""CoSENT: pairs in the order of their scores, whatever the distance between scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def cosent_loss(embeddings: Sequence[Tensor], scores: Tensor, scale: float = 20.0) -> Tensor:
    """Log-sum-exp of how far each two pairs of a batch are in the wrong order.

        loss = log(1 + Σ_{score_i > score_j} exp(scale · (s_j − s_i))),   s = cosine similarity

    Su, 2022, https://kexue.fm/archives/8847. Only the order of the scores counts, not their distances. The sum is over all
    ordered pairs of a batch, so larger batches have larger losses.

    embeddings: those of sentence1 and of sentence2, (B, H) each. scores: (B,), any numbers. scale: how sharply a wrong order
    counts. Returns a scalar; 0 if all scores are equal.

    >>> u, v = Tensor([[1.0, 0.0], [1.0, 0.0]]), Tensor([[1.0, 0.0], [0.0, 1.0]])  # cosines 1 and 0
    >>> round(cosent_loss((u, v), Tensor([0.0, 1.0]), scale=2.0).item(), 4)  # the wrong order: log(1 + e²)
    2.1269
    """
    first, second = embeddings
    return ordered(F.cosine_similarity(first, second), scores, scale)


def ordered(similarities: Tensor, scores: Tensor, scale: float) -> Tensor:
    """The formula above for similarities (B,)."""
    wrong = scale * (similarities[None, :] - similarities[:, None])  # (B, B): row i should be above column j
    wrong = wrong.masked_fill(scores[:, None] <= scores[None, :], -torch.inf)
    return torch.logsumexp(torch.cat([wrong.new_zeros(1), wrong.flatten()]), dim=0)
