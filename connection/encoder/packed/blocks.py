"""Packed sentences as a few padded blocks for torch's attention, on any device and in any precision.

Attention runs in one call per block instead of one per length, so that a card is not kept waiting for many small kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from connection.encoder.packed.attention_plan import choose_groups

# The fixed cost of a block, in the unit n · L² of `choose_groups`: a call costs a card as much as a large padded matrix.
BLOCK_COST = 400_000
MULTIPLE = 16  # the length of a padded block is rounded up to it; torch's kernels would copy a mask of another length
# From so many sentences on, the longest eighth is a block of its own, if the layout may have few shapes only.
SPLIT_FROM, SPLIT_SHARE = 256, 8


@dataclass(frozen=True)
class Block:
    """`count` sentences as (count, length) tokens: rows `start` to `stop` of the gathered rows.

    padded: whether there may be padding. bias: (count, 1, 1, length), −∞ where a key is padding, else 0. kept:
    (count, length, 1), 1 for a token and 0 for padding. lengths: (count, 1), the number of tokens of each sentence.
    """

    start: int
    stop: int
    count: int
    length: int
    padded: bool
    bias: Tensor
    kept: Tensor
    lengths: Tensor

    def of(self, rows: Tensor) -> Tensor:
        """The block's view (count, length, …) of gathered rows (P, …)."""
        return rows[self.start : self.stop].unflatten(0, (self.count, self.length))


class Blocks:
    """The layout of T packed tokens in blocks of P rows in all, and the way back.

    gather: (T, …) → (P, …), a row of padding being a copy of a token. scatter: (P, …) → (T, …).
    Both move rows without adding any, forward and backward, so the result is the same bits each time on a card too.
    firsts: (N,) the first token of each sentence. blocks: the blocks, which follow each other in the P rows.
    """

    def __init__(self, groups: Sequence[tuple[int, int]], device: torch.device, *, few_shapes: bool = False):
        """groups: (length, count) of each run of equally long sentences, in packed order.

        few_shapes: divide by the number of sentences, not by what costs least, so that batches of as many sentences mostly
        have the same shapes.
        """
        lengths = np.repeat(*np.array(groups).T)  # (N,) [(3, 2), (4, 1)] → [3, 3, 4]
        self.groups, self.device = list(groups), device
        first = np.cumsum(lengths) - lengths  # (N,) each sentence's first token
        rows, back, blocks, begin, start = [], [], [], 0, 0
        for end in _divided(lengths) if few_shapes else _by_cost(groups):
            own = lengths[begin:end, None]  # (count, 1)
            count, longest = end - begin, int(own[-1, 0])
            length = longest if own[0, 0] == longest and not few_shapes else -(-longest // MULTIPLE) * MULTIPLE
            positions = np.arange(length)
            is_token = positions < own  # (count, length)
            rows.append((first[begin:end, None] + np.minimum(positions, own - 1)).ravel())
            back.append(start + np.flatnonzero(is_token))
            stop = start + count * length
            bias = np.where(is_token, np.float32(0), np.float32(-np.inf))[:, None, None]
            tensors = (bias, is_token[..., None].astype(np.float32), own.astype(np.float32))
            padded = few_shapes or not is_token.all()
            blocks.append(Block(start, stop, count, length, padded, *(_moved(x, device) for x in tensors)))
            begin, start = end, stop
        self.blocks = blocks
        self.is_padded = any(block.padded for block in blocks)
        self.rows, self.back, self.firsts = (_moved(x, device) for x in (np.concatenate(rows), np.concatenate(back), first))

    def map(self, function: Callable[[Tensor], Tensor]) -> Blocks:
        """The same layout with each of its tensors replaced, in a fixed order."""
        copy = object.__new__(Blocks)
        copy.__dict__ = dict(self.__dict__)
        copy.rows, copy.back, copy.firsts = map(function, (self.rows, self.back, self.firsts))
        copy.blocks = [
            replace(x, bias=function(x.bias), kept=function(x.kept), lengths=function(x.lengths)) for x in self.blocks
        ]
        return copy

    @property
    def shape(self) -> tuple[tuple[int, int], ...]:
        """(count, length) of each block."""
        return tuple((block.count, block.length) for block in self.blocks)

    @property
    def longest(self) -> int:
        """The length of the longest block, in tokens."""
        return max(block.length for block in self.blocks)

    def gather(self, states: Tensor) -> Tensor:
        return _Gather.apply(states, self.rows, self.back) if self.is_padded else states

    def scatter(self, rows: Tensor) -> Tensor:
        return _Scatter.apply(rows, self.back) if self.is_padded else rows

    def biases(self, dtype: torch.dtype, position_bias: Tensor | None = None, window: int | None = None) -> list[Tensor | None]:
        """What each block adds to its attention scores, (count, 1 or heads, 1 or length, length); None for nothing.

        position_bias: (heads, L, L). window: tokens of this distance or more do not see each other.
        """
        biases = []
        for block in self.blocks:
            bias = block.bias if block.padded else None
            if position_bias is not None:
                own = position_bias[None, :, : block.length, : block.length]
                bias = own.expand(block.count, -1, -1, -1) if bias is None else bias + own
            if window is not None and block.length > window:
                positions = torch.arange(block.length, device=self.device)
                hidden = (positions[:, None] - positions).abs() >= window  # (length, length)
                outside = torch.zeros_like(hidden, dtype=torch.float32).masked_fill_(hidden, -torch.inf)
                bias = outside.expand(block.count, 1, -1, -1) if bias is None else bias + outside
            biases.append(None if bias is None else bias.to(dtype))
        return biases

    def attend(self, rows: Tensor, biases: Sequence[Tensor | None], **options: Any) -> Tensor:
        """Scaled dot-product attention (Vaswani et al., 2017) of each sentence within itself, (T, heads, d).

        rows: gathered, (P, 3, heads, d), of queries, keys and values. biases: what `biases` returned. options: dropout_p and
        scale, as torch names them.
        """
        attended = []
        for block, bias in zip(self.blocks, biases, strict=True):
            parts = block.of(rows).permute(2, 0, 3, 1, 4)  # (3, count, heads, length, d)
            if rows.device.type != "cuda":  # torch 2.11 on MPS computes wrong values for others (pytorch issue 181133)
                parts = parts.contiguous()
            query, key, value = parts.unbind()
            states = F.scaled_dot_product_attention(query, key, value, bias, **options)
            attended.append(states.transpose(1, 2).flatten(0, 1))  # (count · length, heads, d)
        return self.scatter(attended[0] if len(attended) == 1 else torch.cat(attended))


class _Gather(torch.autograd.Function):
    """states (T, …) → rows (P, …). The gradient of padding is 0: masked keys and unused queries have none."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, rows: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return states.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, *ctx.saved_tensors), None, None


class _Scatter(torch.autograd.Function):
    """rows (P, …) → states (T, …)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        ctx.rows = len(rows)
        return rows.index_select(0, back)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (back,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.rows, *gradient.shape[1:]).index_copy_(0, back, gradient), None


def _by_cost(groups: Sequence[tuple[int, int]]) -> list[int]:
    """The end of each block, as a number of sentences, where padding costs less than another block."""
    return np.cumsum([sum(count for _, count in runs) for runs in choose_groups(list(groups), BLOCK_COST)]).tolist()


def _divided(lengths: np.ndarray) -> list[int]:
    """The end of each block, which depends on the number of sentences only."""
    count = len(lengths)
    return [count - count // SPLIT_SHARE, count] if count >= SPLIT_FROM else [count]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; the program does not wait for a copy from the CPU to a card."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _moved(values: np.ndarray, device: torch.device) -> Tensor:
    return to_device(torch.from_numpy(np.ascontiguousarray(values)), device)
