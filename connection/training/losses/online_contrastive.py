"""The contrastive loss of the hard pairs of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def online_contrastive_loss(embeddings: Sequence[Tensor], labels: Tensor, margin: float = 0.5) -> Tensor:
    """The contrastive loss of yes-pairs that are further apart than some no-pair, and of no-pairs closer than some yes-pair.

        loss = Σ_{yes, d > least d of no} d² + Σ_{no, d < largest d of yes} max(0, margin − d)²,   d = 1 − cosine similarity

    As sentence-transformers has it (OnlineContrastiveLoss); where a batch has pairs of one kind only, those beyond their mean
    are hard. A sum, not a mean.

    embeddings: those of sentence1 and of sentence2, (B, H) each. labels: (B,), 1 for yes and 0 for no; pairs with other labels
    do not count. margin: a distance, from 0 to 2. Returns a scalar.

    >>> u = Tensor([[1.0, 0.0]] * 3)
    >>> v = Tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])  # distances 1, 0 and 2
    >>> online_contrastive_loss((u, v), Tensor([1.0, 0.0, 0.0])).item()  # 1² + 0.5²; the third pair is far enough apart
    1.25
    """
    first, second = embeddings
    distances = 1 - F.cosine_similarity(first, second)  # (B,)
    yes, no = labels == 1, labels == 0
    farthest_yes = torch.where(yes.any(), _largest(distances, yes), _mean(distances, no))
    nearest_no = torch.where(no.any(), -_largest(-distances, no), _mean(distances, yes))
    # Without a test of a value, so that it can be recorded on a card.
    hard_yes, hard_no = yes & (distances > nearest_no), no & (distances < farthest_yes)
    return (hard_yes * distances.square()).sum() + (hard_no * F.relu(margin - distances).square()).sum()


def _largest(values: Tensor, chosen: Tensor) -> Tensor:
    return values.detach().masked_fill(~chosen, -torch.inf).max()


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values.detach() * chosen).sum() / chosen.sum()
