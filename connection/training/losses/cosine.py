"""The objectives of training: pure functions of embeddings and scores.

An objective takes the embeddings of both sides of B pairs and their scores from 0 to 1, and returns a scalar. To add one, write
the function and name it in `OBJECTIVES` and among the choices of LOSS in `connection/constants.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def cosine_loss(embeddings1: Tensor, embeddings2: Tensor, scores: Tensor) -> Tensor:
    """Mean squared difference between the cosine similarity of a pair and its score.

        loss = 1/B · Σ (cos(u_i, v_i) − score_i)²

    The regression objective of Sentence-BERT (Reimers and Gurevych, 2019, section 3; arXiv 1908.10084).

    embeddings1, embeddings2: (B, H). scores: (B,), each from 0 to 1. Returns a scalar.

    >>> u, v = Tensor([[1.0, 0.0], [1.0, 0.0]]), Tensor([[0.0, 2.0], [3.0, 0.0]])
    >>> cosine_loss(u, v, Tensor([0.5, 1.0])).item()  # cosines 0 and 1: (0.25 + 0) / 2
    0.125
    """
    return F.mse_loss(F.cosine_similarity(embeddings1, embeddings2), scores)


Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
OBJECTIVES: dict[str, Objective] = {"cosine": cosine_loss}
