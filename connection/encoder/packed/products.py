"""Matrix products of a linear layer: its output and both of its gradients, by oneDNN where torch has it on this processor.

torch multiplies float32 matrices with MKL, which on AMD processors leaves half of the vector unit unused; oneDNN, which
comes along in the same torch, does not (benchmarks/README.md has the figures). torch hands it the products of convolutions
and of its own compiler; we ask for the latter's operator. Where it is missing, or the numbers are not float32 on a
processor, torch's own products are taken: the same mathematics, other rounding.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def linear(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """states (T, K) · weight (N, K)ᵀ + bias (N,) → (T, N)."""
    if states.dtype == torch.float32 and states.device.type == "cpu" and has_onednn():
        return torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return F.linear(states, weight, bias)


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient (T, K) of a linear layer's input; gradient: of its output, (T, N). weight: (N, K)."""
    return linear(gradient, weight.t())


def weight_gradient(gradient: Tensor, states: Tensor) -> Tensor:
    """The gradient (N, K) of a linear layer's weight; gradient: of its output, (T, N). states: its input, (T, K)."""
    return linear(gradient.t(), states.t())


def filled_up(tokens: int) -> int:
    """To how many rows a packed row of `tokens` is filled up: a multiple of 32, of more where there are more than 1,024.

    oneDNN prepares code for every new shape and keeps it, 1.3 MB each (benchmarks/README.md): with a few sizes it soon has all.

    >>> [filled_up(tokens) for tokens in (1, 64, 65, 1025, 5000)]
    [32, 64, 96, 1088, 5120]
    """
    quantum = max(32, 1 << max(0, (tokens // 16).bit_length() - 1))
    return -(-tokens // quantum) * quantum


@functools.cache
def has_onednn() -> bool:
    """Whether this torch has oneDNN's linear layer, and it agrees with torch's own product, transposed inputs too.

    Only where there is AVX-512: with AVX2 alone oneDNN was faster in some products and slower in others.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available():
        return False
    left, right = torch.linspace(-1, 1, 35).view(7, 5), torch.linspace(-1, 2, 15).view(3, 5)
    try:
        plain = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
        turned = torch.ops.mkldnn._linear_pointwise(left.t(), right.new_ones(2, 7).t().contiguous().t(), None, "none", [], "")
    except (AttributeError, RuntimeError):  # the operator is torch's own affair: a later one may call it otherwise
        return False
    expected = [left @ right.t(), left.t() @ right.new_ones(7, 2)]
    return all(torch.allclose(*pair, atol=1e-6) for pair in zip((plain, turned), expected, strict=True))
