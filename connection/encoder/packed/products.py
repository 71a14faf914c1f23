"""The matrix products of a linear layer (its output and both gradients), by oneDNN where that is faster.

torch multiplies float32 matrices with MKL, which uses only half of the vector unit of AMD CPUs. oneDNN, part of the same
torch, uses all of it (figures in benchmarks/README.md). torch itself uses oneDNN for convolutions and in its compiler; this
module calls the compiler's operator. If that is missing, and for tensors other than float32 on the CPU, torch's own product
is used, which rounds differently.
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
    """The gradient (T, K) of a linear layer's input. gradient: that of its output, (T, N). weight: (N, K)."""
    return linear(gradient, weight.t())


def weight_gradient(gradient: Tensor, states: Tensor) -> Tensor:
    """The gradient (N, K) of a linear layer's weight. gradient: that of its output, (T, N). states: its input, (T, K)."""
    return linear(gradient.t(), states.t())


def filled_up(tokens: int) -> int:
    """Round the length of a packed row up to a multiple of 32; from 1,024 tokens on, of a larger power of two.

    oneDNN compiles code for every new shape and keeps it, 1.3 MB each (benchmarks/README.md). Rounding limits the shapes.

    >>> [filled_up(tokens) for tokens in (1, 64, 65, 1025, 5000)]
    [32, 64, 96, 1088, 5120]
    """
    return -(-tokens // quantum(tokens)) * quantum(tokens)


def quantum(tokens: int) -> int:
    """The number of which `filled_up` gives multiples: from about 6 % down to 3 % of the tokens, at least 32."""
    return max(32, 1 << max(0, (tokens // 16).bit_length() - 1))


@functools.cache
def has_onednn() -> bool:
    """Whether torch has oneDNN's linear operator, and its results are those of torch's own product, for transposed inputs too.

    Only with AVX-512. With AVX2 alone, oneDNN was faster for some shapes and slower for others.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available():
        return False
    left, right = torch.linspace(-1, 1, 35).view(7, 5), torch.linspace(-1, 2, 15).view(3, 5)
    try:
        plain = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
        turned = torch.ops.mkldnn._linear_pointwise(left.t(), right.new_ones(2, 7).t().contiguous().t(), None, "none", [], "")
    except (AttributeError, RuntimeError):  # a private operator, which another version of torch may rename
        return False
    expected = [left @ right.t(), left.t() @ right.new_ones(7, 2)]
    return all(torch.allclose(*pair, atol=1e-6) for pair in zip((plain, turned), expected, strict=True))
