"""The optimizer, and what it remembers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def make_optimizer(encoder: torch.nn.Module, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), without decay of biases and LayerNorms; the loop sets the learning rate."""
    trained = [(name, weight) for name, weight in encoder.named_parameters() if weight.requires_grad]
    decayed = [(name, weight) for name, weight in trained if weight.dim() > 1]
    others = [(name, weight) for name, weight in trained if weight.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def optimizer_tensors(optimizer: torch.optim.Optimizer, encoder: torch.nn.Module) -> dict[str, Tensor]:
    """What the optimizer remembers, float32: `name/exp_avg`, `name/exp_avg_sq` and `name/step` of each weight it has moved."""
    return {
        f"{name}/{what}": value
        for name, weight in encoder.named_parameters()
        for what, value in optimizer.state.get(weight, {}).items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, encoder: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the memory of another one, from `optimizer_tensors`, copied into memory laid out as its own would be.

    Raises ValueError where names or shapes are not those of the encoder's weights.
    """
    rest = dict(tensors)
    for name, weight in encoder.named_parameters():
        if f"{name}/step" not in rest:
            continue  # a weight that never had a gradient
        state = {what: torch.zeros_like(weight, memory_format=torch.preserve_format) for what in ("exp_avg", "exp_avg_sq")}
        state["step"] = torch.zeros((), device=weight.device)
        for what, value in state.items():
            saved = rest.pop(f"{name}/{what}", None)
            if saved is None or saved.shape != value.shape:
                raise ValueError(f"{name}/{what} is missing, or has another shape")
            value.copy_(saved)
        optimizer.state[weight] = state
    if rest:
        raise ValueError(f"there is no weight for {min(rest)}")
