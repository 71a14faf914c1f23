"""The matrix products of a linear layer: its output and both gradients, in float32 by oneDNN where that is faster.

torch multiplies float32 matrices with MKL, which uses only half of the vector unit of AMD CPUs. oneDNN, part of the same
torch, uses all of it (figures in benchmarks/README.md). torch itself uses oneDNN for convolutions and in its compiler; this
module calls the compiler's operator. If that is missing, and for tensors other than float32 on the CPU, torch's own product
is used, which rounds differently.

In bfloat16, both operands have that type, and the result is float32 again. oneDNN computes it by torch's public operations.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor

from connection.encoder.packed.processor import has_bfloat16, is_intel


def products_in(precision: str, device: torch.device) -> torch.autocast:
    """A context in which the encoder's products have operands of PRECISION. float32 on a CPU without units for bfloat16."""
    half = precision == "bfloat16" and (device.type != "cpu" or has_bfloat16())
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def operand_type(dtype: torch.dtype) -> torch.dtype:
    """The type of operands of products on the CPU now, for weights of `dtype`: that of autocast, if it is on."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else dtype


_casts: ContextVar[dict[int, tuple[Tensor, Tensor]] | None] = ContextVar("casts", default=None)


@contextlib.contextmanager
def weights_cast_once() -> Iterator[None]:
    """While the `with` lasts, weights do not change, so each is cast to bfloat16 once for all batches."""
    token = _casts.set({})
    try:
        yield
    finally:
        _casts.reset(token)


def cast_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight as an operand of this type."""
    casts = _casts.get()
    if weight.dtype == dtype or casts is None:
        return weight.to(dtype)
    if id(weight) not in casts:
        casts[id(weight)] = weight, weight.to(dtype)  # the weight too, so that its id stays its own
    return casts[id(weight)][1]


def linear(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """states (T, K) · weight (N, K)ᵀ + bias (N,) → (T, N). The product of bfloat16 is made float32 before the bias is added."""
    if states.dtype == torch.float32 and states.device.type == "cpu" and has_onednn():
        return torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    if states.dtype == torch.bfloat16:
        product = F.linear(states, weight)
        return product.float() if bias is None else product + bias
    return F.linear(states, weight, bias)


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient (T, K) of a linear layer's input. gradient: that of its output, (T, N). weight: (N, K)."""
    return linear(gradient, weight.t())


def weight_gradient(gradient: Tensor, states: Tensor) -> Tensor:
    """The gradient (N, K) of a linear layer's weight. gradient: that of its output, (T, N). states: its input, (T, K)."""
    if states.dtype == torch.bfloat16:
        return (gradient.t() @ states).float()  # faster than `linear` with turned operands
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


def has_onednn() -> bool:
    """Whether float32 products are computed by oneDNN: where it is faster, and torch has the operator."""
    return is_faster() and works()


@functools.cache
def is_faster() -> bool:
    """Whether oneDNN is faster than torch's own products: with AVX-512, on processors that are not Intel's.

    With AVX2 alone, oneDNN is faster for some shapes and slower for others. On Intel's processors MKL is as fast for the output
    and faster for the gradient of the weight (benchmarks/README.md).
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and not is_intel()


@functools.cache
def works() -> bool:
    """Whether torch has oneDNN's linear operator, with the results of torch's own product, for transposed inputs too."""
    if not torch.backends.mkldnn.is_available():
        return False
    left, right = torch.linspace(-1, 1, 35).view(7, 5), torch.linspace(-1, 2, 15).view(3, 5)
    try:
        plain = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
        turned = torch.ops.mkldnn._linear_pointwise(left.t(), right.new_ones(2, 7).t().contiguous().t(), None, "none", [], "")
    except (AttributeError, RuntimeError):  # a private operator, which another version of torch may rename
        return False
    expected = [left @ right.t(), left.t() @ right.new_ones(7, 2)]
    return all(torch.allclose(*pair, atol=1e-6) for pair in zip((plain, turned), expected, strict=True))
