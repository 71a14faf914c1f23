"""A step in parts, for batches that do not fit into memory at once. The result is that of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import PackedBatch


def backward_in_parts(encoder: ConnectionBert, batch: PackedBatch, count: int, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The loss of a batch, with its gradients added to those of the encoder's weights, computed `count` parts at a time.

    Gao et al., 2021 (arXiv 2101.06983): embeddings are first computed without what a backward pass needs; the gradient of the
    loss by each embedding follows; then each part is computed again, with the same dropout, and that gradient passed on. So
    memory holds one part's activations, and the time of the forward passes doubles.

    loss: a function of the embeddings (N, H) of the batch's sentences, in their order.
    """
    device = encoder.device
    parts = [part.to(device) for part in batch.divided(count)]
    states, found = [], []
    with torch.no_grad():
        for part in parts:
            states.append(_random_state(device))
            found.append(encoder(part))
    embeddings = torch.cat(found).requires_grad_()
    with torch.autocast(device.type, enabled=False), torch.enable_grad():
        value = loss(embeddings)
        value.backward()
    assert embeddings.grad is not None
    after = _random_state(device)
    for part, state, gradient in zip(parts, states, embeddings.grad.split([len(part.order) for part in parts]), strict=True):
        _set_random_state(device, state)
        encoder(part).backward(gradient)
    _set_random_state(device, after)
    return value


def _random_state(device: torch.device) -> Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)
