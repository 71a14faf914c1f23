"""Attention over packed sentences for transformers' own layers, which run on CUDA, on MPS and in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from connection.encoder.packed.blocks import Blocks

PACKED = "connection_packed"  # the name under which transformers knows this attention


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    blocks: Blocks,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention (Vaswani et al., 2017) of each packed sentence within itself.

    query, key, value: (1, heads, T, d). blocks: the layout of the T tokens. sliding_window: tokens of this distance or more do
    not see each other. Returns (1, T, heads, d), and None for the attention weights.
    """
    biases = blocks.biases(query.dtype, window=sliding_window or None)
    rows = blocks.gather(torch.stack((query[0], key[0], value[0])).permute(2, 0, 1, 3))  # (P, 3, heads, d)
    return blocks.attend(rows, biases, dropout_p=dropout, scale=scaling)[None], None


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, lambda *args, **kwargs: None)
