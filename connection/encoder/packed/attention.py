"""Attention over packed sentences for transformers' own layers, which run on CUDA, on MPS and in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

PACKED = "connection_packed"  # the name under which transformers knows this attention


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    sentence_groups: list[tuple[int, int]],
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention (Vaswani et al., 2017) of each packed sentence within itself.

    query, key, value: (1, heads, T, d). sentence_groups: (length, count) of each run of equally long sentences. A run is one
    batch without padding, so no mask is needed. Its tensors are made contiguous, because torch 2.11 on MPS computes wrong
    values for others (pytorch issue 181133). sliding_window: tokens of this distance or more do not see each other.
    Returns (1, T, heads, d), and None for the attention weights.
    """
    attended, start = [], 0
    for length, count in sentence_groups:
        end = start + length * count
        # (1, heads, T, d) → (count, heads, length, d)
        parts = (x[0, :, start:end].unflatten(1, (count, length)).transpose(0, 1) for x in (query, key, value))
        q, k, v = (part.contiguous() for part in parts)
        window = _window(length, sliding_window, query.device) if sliding_window and length > sliding_window else None
        states = F.scaled_dot_product_attention(q, k, v, attn_mask=window, dropout_p=dropout, scale=scaling)
        attended.append(states.transpose(1, 2).flatten(0, 1))  # (count · length, heads, d)
        start = end
    return torch.cat(attended)[None], None


def _window(length: int, size: int, device: torch.device) -> Tensor:
    """(length, length) bool: which positions see which."""
    positions = torch.arange(length, device=device)
    return (positions[:, None] - positions).abs() < size


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, lambda *args, **kwargs: None)
