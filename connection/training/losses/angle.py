"""AnglE: CoSENT's order, by an angle in the complex plane instead of the cosine."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from connection.training.losses.cosent import ordered


def angle_loss(embeddings: Sequence[Tensor], scores: Tensor, scale: float = 20.0) -> Tensor:
    """CoSENT's loss with the similarity of AnglE, whose gradient does not vanish where the cosine is near 1 or −1.

        s = |Re + Im| of the complex product of u and the conjugate of v
          = |u · v + Σ (b·c − a·d)|,   u = (a, b), v = (c, d) of length 1, each split in halves

    Li and Li, 2023 (arXiv 2309.12871), as sentence-transformers computes it.

    embeddings: those of sentence1 and of sentence2, (B, H) each. scores: (B,), any numbers. scale: as in `cosent_loss`. Returns
    a scalar.

    >>> u, v = Tensor([[1.0, 0.0], [1.0, 0.0]]), Tensor([[1.0, 0.0], [-1.0, 0.0]])  # s = 1 for both: |cosine|, no sine
    >>> round(angle_loss((u, v), Tensor([1.0, 0.0])).item(), 4)  # log(1 + e⁰)
    0.6931
    """
    first, second = (F.normalize(F.pad(side, (0, side.shape[1] % 2)), dim=1) for side in embeddings)
    (a, b), (c, d) = first.chunk(2, dim=1), second.chunk(2, dim=1)
    similarities = ((first * second).sum(dim=1) + (b * c - a * d).sum(dim=1)).abs()
    return ordered(similarities, scores, scale)
