"""How the weights move and when they are judged: the optimizer, the learning rate of each step, the steps of evaluation."""

from __future__ import annotations

import math

import torch


def make_optimizer(encoder: torch.nn.Module, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), without decay of biases and LayerNorms; the loop sets the learning rate."""
    decayed = [(name, weight) for name, weight in encoder.named_parameters() if weight.dim() > 1]
    others = [(name, weight) for name, weight in encoder.named_parameters() if weight.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8, fused=True)


def learning_rate_at(step: int, total_steps: int, highest: float, warmup: float) -> float:
    """The learning rate of the step after `step` steps: a straight line up over the warm-up, then one down to 0.

    As transformers' get_linear_schedule_with_warmup, and so 0 in the very first step if there is a warm-up.

    >>> [learning_rate_at(step, 10, 1.0, 0.2) for step in (0, 1, 2, 6, 9)]
    [0.0, 0.5, 1.0, 0.5, 0.125]
    """
    warmup_steps = math.ceil(warmup * total_steps)
    if step < warmup_steps:
        return highest * step / warmup_steps
    return highest * (total_steps - step) / (total_steps - warmup_steps)


def evaluation_steps(steps_per_epoch: int, evaluations: int) -> set[int]:
    """The steps of an epoch, counting from 1, after which dev is evaluated: evenly spread, the last one among them.

    >>> sorted(evaluation_steps(10, 4))
    [3, 5, 8, 10]
    """
    evaluations = min(evaluations, steps_per_epoch)
    return {math.ceil(number * steps_per_epoch / evaluations) for number in range(1, evaluations + 1)}
