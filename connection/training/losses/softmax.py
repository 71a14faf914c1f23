"""Classes of pairs: a linear classifier on both embeddings and their difference, trained with the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from connection.randomness import LOSS_WEIGHTS, derive


def softmax_loss(embeddings: Sequence[Tensor], classes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Cross entropy of a linear classifier of pairs.

        loss = mean −log softmax(W [u; v; |u − v|] + b)_class

    Reimers and Gurevych, 2019 (arXiv 1908.10084, section 3), for pairs as those of SNLI. The classifier is saved
    beside the encoder; the scoring script predicts classes with it, and other programs ignore it.

    embeddings: those of sentence1 and of sentence2, (B, H) each. classes: (B,) the number of each pair's class. weight:
    (classes, 3, h), h ≥ H: the factors of u, v and |u − v|; the first H of them are used. bias: (classes,). Returns a scalar.

    >>> u, v = Tensor([[1.0]]), Tensor([[0.0]])
    >>> weight = Tensor([[[0.0], [0.0], [1.0]], [[0.0], [0.0], [0.0]]])  # class 0 where u and v differ
    >>> round(softmax_loss((u, v), Tensor([0]), weight, torch.zeros(2)).item(), 4)  # log(1 + e⁻¹)
    0.3133
    """
    return F.cross_entropy(class_logits(embeddings, weight, bias), classes.long())


def class_logits(embeddings: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """The logit of each class, (B, classes); arguments as for `softmax_loss`."""
    first, second = embeddings
    features = torch.cat([first, second, (first - second).abs()], dim=1)  # (B, 3H)
    used = weight[:, :, : first.shape[1]].flatten(1)  # (classes, 3H)
    return F.linear(features, used.to(features.dtype), bias.to(features.dtype))


def initial_weights(dimension: int, classes: int, seed: int) -> dict[str, Tensor]:
    """Weights and biases of the classifier, uniform as torch's nn.Linear draws them, but derived from the seed."""
    shapes = {"weight": (classes, 3, dimension), "bias": (classes,)}
    bound = (3 * dimension) ** -0.5
    found = {}
    for number, (name, shape) in enumerate(shapes.items()):
        bits = derive(seed, LOSS_WEIGHTS, number, np.arange(int(np.prod(shape))))
        uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # from 0 to 1
        found[name] = torch.from_numpy(((2 * uniform - 1) * bound).astype(np.float32)).reshape(shape)
    return found
