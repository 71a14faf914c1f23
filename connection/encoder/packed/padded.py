"""Packed sentences as a padded batch and back, for transformers' models whose attention cannot be replaced."""

from __future__ import annotations

import torch
from torch import Tensor


def padded(
    input_ids: Tensor, position_ids: Tensor, groups: list[tuple[int, int]], padding: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, positions and mask of N sentences, (N, L) each; mask is 1 for tokens and 0 for padding.

    input_ids, position_ids: (T,), packed. groups: (length, count) of each run of equally long sentences. padding: the id of a
    padding token, which also takes the place of its position.
    """
    mask = _mask(groups, input_ids.device)
    shape = tuple(mask.shape)
    ids, positions = (
        row.new_full(shape, padding).masked_scatter_(mask, row) for row in (input_ids, position_ids.to(torch.int64))
    )
    return ids, positions, mask.long()


def unpadded(states: Tensor, groups: list[tuple[int, int]]) -> Tensor:
    """States of padded sentences (N, L, H) → of their tokens, packed (T, H)."""
    return states[_mask(groups, states.device)]


def _mask(groups: list[tuple[int, int]], device: torch.device) -> Tensor:
    """(N, L) bool: whether there is a token."""
    lengths = [length for length, count in groups for _ in range(count)]
    return torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
