"""Token states of packed sentences → one vector per sentence (Reimers and Gurevych, 2019, section 3).

pooling: "mean" of all tokens, including [CLS] and [SEP]; "cls", the last hidden state of [CLS] (not BERT's pooler); "max" of
each dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from connection.encoder.packed.blocks import Blocks


def pool(states: Tensor, groups: list[tuple[int, int]], pooling: str) -> Tensor:
    """Token states (T, H) → vectors (N, H), in packed order. groups: (length, count) of each run of equally long sentences."""
    pooled = []
    for part, (length, count) in zip(states.split([length * count for length, count in groups]), groups, strict=True):
        tokens = part.unflatten(0, (count, length))  # (count, length, H)
        if pooling == "mean":
            pooled.append(tokens.mean(dim=1))
        elif pooling == "cls":
            pooled.append(tokens[:, 0])
        else:
            pooled.append(tokens.max(dim=1).values)
    return torch.cat(pooled)


def pool_blocks(states: Tensor, blocks: Blocks, pooling: str) -> Tensor:
    """The same in few operations, for cards."""
    if pooling == "cls":
        return states.index_select(0, blocks.firsts)
    rows, pooled = blocks.gather(states), []  # (P, H)
    for block in blocks.blocks:
        tokens = block.of(rows)  # (count, length, H)
        if pooling == "mean":
            pooled.append((tokens * block.kept).sum(dim=1) / block.lengths)
        else:
            pooled.append(tokens.masked_fill(block.kept == 0, -torch.inf).max(dim=1).values)
    return torch.cat(pooled)
