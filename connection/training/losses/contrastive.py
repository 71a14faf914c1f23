"""The contrastive loss of yes/no pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(embeddings: Sequence[Tensor], labels: Tensor, margin: float = 0.5) -> Tensor:
    """Pairs with the label 1 are drawn together, those with 0 pushed apart until their distance is `margin`.

        loss = 1/B · Σ ½ · (y · d² + (1 − y) · max(0, margin − d)²),   d = 1 − cosine similarity

    Hadsell, Chopra and LeCun, 2006, with the cosine distance.

    embeddings: those of sentence1 and of sentence2, (B, H) each. labels: (B,), 1 for yes and 0 for no. margin: a distance,
    from 0 to 2. Returns a scalar.

    >>> u, v = Tensor([[1.0, 0.0], [1.0, 0.0]]), Tensor([[0.0, 1.0], [1.0, 0.0]])  # distances 1 and 0
    >>> contrastive_loss((u, v), Tensor([1.0, 0.0])).item()  # ½ · ½ · (1² + 0.5²)
    0.3125
    """
    first, second = embeddings
    distances = 1 - F.cosine_similarity(first, second)  # (B,)
    losses = labels * distances.square() + (1 - labels) * F.relu(margin - distances).square()
    return losses.mean() / 2
