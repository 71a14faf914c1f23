"""The optimizer; its state as tensors, and back."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class AdamW(torch.optim.AdamW):
    """torch's, by its functions as they are written.

    torch wraps them for its compiler, and imports that when they are first called. It takes a second, and nothing is compiled.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


def make_optimizer(encoder: torch.nn.Module, weight_decay: float, loss: torch.nn.Module | None = None) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), without weight decay for biases and LayerNorms; the loop sets the learning rate.

    loss: its parameters are trained, too.
    """
    modules = [encoder] + ([] if loss is None else [loss])
    trained = [named for module in modules for named in module.named_parameters() if named[1].requires_grad]
    decayed = [(name, weight) for name, weight in trained if weight.dim() > 1]
    others = [(name, weight) for name, weight in trained if weight.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def clip_gradients(weights: Iterable[Tensor], limit: float) -> Tensor:
    """Scale the gradients of weights so that their norm, that of all as one vector, is at most `limit`; 0 for no limit.

    Returns the norm before that, a scalar. What torch.nn.utils.clip_grad_norm_ does, which on the CPU takes twice the time for
    the norm, and multiplies by 1 where nothing is to be clipped.
    """
    weights = list(weights)
    if weights[0].device.type != "cpu":
        return torch.nn.utils.clip_grad_norm_(weights, limit or math.inf)
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = torch.stack([torch.dot(flat, flat) for flat in (gradient.reshape(-1) for gradient in gradients)]).sum().sqrt()
    if 0 < limit < norm:
        torch._foreach_mul_(gradients, limit / (norm + 1e-6))
    return norm


def optimizer_tensors(optimizer: torch.optim.Optimizer, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The optimizer's state, float32: `name/exp_avg`, `name/exp_avg_sq` and `name/step` of each weight it has updated.

    trained: the weights by name.
    """
    return {
        f"{name}/{key}": value for name, weight in trained.items() for key, value in optimizer.state.get(weight, {}).items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, trained: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Restore an optimizer's state from `optimizer_tensors`, in the memory layout that the optimizer itself would use.

    trained: the weights by name. Raises ValueError if names or shapes do not match theirs.
    """
    unused = dict(tensors)
    for name, weight in trained.items():
        if f"{name}/step" not in unused:
            continue  # this weight never had a gradient
        state = {key: torch.zeros_like(weight, memory_format=torch.preserve_format) for key in ("exp_avg", "exp_avg_sq")}
        state["step"] = torch.zeros((), device=weight.device)
        for key, value in state.items():
            saved = unused.pop(f"{name}/{key}", None)
            if saved is None or saved.shape != value.shape:
                raise ValueError(f"{name}/{key} is missing or has the wrong shape")
            value.copy_(saved)
        optimizer.state[weight] = state
    if unused:
        raise ValueError(f"the encoder has no weight for {min(unused)}")
