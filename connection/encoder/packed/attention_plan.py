"""Groups packed sentences for attention: equal lengths always, similar lengths if padding costs less than another group.

Only attention pads sentences; the other operations of BERT work on the packed row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

# The fixed cost of a group, in the unit of n · L² below: its operations have an overhead whatever the size of its matrices.
GROUP_COST = 2000


@dataclass(frozen=True)
class Group:
    """`count` sentences padded to `length` tokens: rows `start` to `stop` of the gathered rows (P · heads, d).

    bias: (count · heads, 1, length), −∞ where a key is padding, else 0; a single 0 if the group has no padding.
    """

    start: int
    stop: int
    count: int
    length: int
    padded: bool
    bias: Tensor

    def by_head(self, blocks: Tensor) -> Tensor:
        """(count · heads, …) → (count, heads, …)."""
        return blocks.unflatten(0, (self.count, -1))

    def block(self, rows: Tensor) -> Tensor:
        """The group's view (count · heads, length, d) of gathered rows (P · heads, d)."""
        return rows[self.start : self.stop].view(-1, self.length, rows.shape[1])


def choose_groups(groups: list[tuple[int, int]], group_cost: int) -> list[list[tuple[int, int]]]:
    """Merge runs of (length, count), sorted by length, into the groups of least total cost.

    A group of n sentences whose longest has L tokens costs n · L² + group_cost. Solved by dynamic programming.

    >>> choose_groups([(3, 10), (4, 10), (40, 10)], group_cost=2000)
    [[(3, 10), (4, 10)], [(40, 10)]]
    """
    best = [(0, 0)]  # for the first i runs: the least cost, and the start of the last group
    for end in range(1, len(groups) + 1):
        length, count, options = groups[end - 1][0], 0, []
        for begin in range(end - 1, -1, -1):
            count += groups[begin][1]
            options.append((best[begin][0] + count * length**2 + group_cost, begin))
        best.append(min(options))
    chosen: list[list[tuple[int, int]]] = []
    end = len(groups)
    while end:
        begin = best[end][1]
        chosen.insert(0, groups[begin:end])
        end = begin
    return chosen


class AttentionPlan:
    """The layout of a packed row (T, H) for attention, and the way back.

    gather: (T, H) → (P · heads, d), one group after the other, each as (count, heads, length, d). P counts padding too.
    scatter: the inverse, for rows made by `new_rows`. padding: the indices of gathered rows that are padding. scale: 1 / √d.
    The T tokens are the first of `filled` rows; the others belong to no sentence, and scatter returns 0 for them.
    is_trained: whether a backward pass will follow.
    """

    def __init__(
        self, groups: list[tuple[int, int]], heads: int, dimension: int, filled: int, dtype: torch.dtype = torch.float32
    ):
        self.heads, self.dimension = heads, dimension
        self.is_trained = torch.is_grad_enabled()
        self.scale = 1 / math.sqrt(dimension)
        self.groups: list[Group] = []
        rows, paddings, token, start = [], [], 0, 0
        for runs in choose_groups(groups, GROUP_COST):
            lengths = np.repeat(*np.array(runs).T)  # (count,) [(3, 2), (4, 1)] → [3, 3, 4]
            count, length = len(lengths), int(lengths[-1])
            first = token + np.cumsum(lengths) - lengths  # (count,) each sentence's first token
            positions = np.arange(length)
            is_padding = positions >= lengths[:, None]  # (count, length)
            tokens = np.minimum(first[:, None] + positions, (first + lengths - 1)[:, None])
            rows.append((tokens[:, None] * heads + np.arange(heads)[:, None]).ravel())  # (count · heads · length,)
            paddings.append(np.repeat(is_padding[:, None], heads, axis=1).ravel())
            stop = start + len(rows[-1])
            padded = bool(is_padding.any())
            bias = np.where(np.repeat(is_padding, heads, axis=0)[:, None], -np.inf, 0.0) if padded else np.zeros((1, 1, 1))
            self.groups.append(Group(start, stop, count, length, padded, torch.from_numpy(bias).to(dtype)))
            token, start = token + int(lengths.sum()), stop
        padding = np.concatenate(paddings)
        gathered = np.concatenate(rows)
        back = np.full(filled * heads, len(gathered), dtype=np.int64)  # the index of the extra row of 0
        back[gathered[~padding]] = np.flatnonzero(~padding)
        self._gathered, self._back = torch.from_numpy(gathered), torch.from_numpy(back)
        self.padding = torch.from_numpy(np.flatnonzero(padding))

    def gather(self, states: Tensor) -> Tensor:
        return states.reshape(-1, self.dimension).index_select(0, self._gathered)

    def new_rows(self, rows: Tensor) -> Tensor:
        """An uninitialised tensor like the gathered rows, with an extra row of 0 at the end."""
        output = rows.new_empty(len(rows) + 1, self.dimension)
        output[-1] = 0
        return output

    def scatter(self, rows: Tensor) -> Tensor:
        return rows.index_select(0, self._back).view(-1, self.heads * self.dimension)

    @property
    def longest(self) -> int:
        """The length of the longest group, in tokens."""
        return max(group.length for group in self.groups)

    @cached_property
    def attention_sizes(self) -> list[tuple[int, int, int]]:
        """The shape (count · heads, length, length) of each group's probabilities."""
        return [(group.count * self.heads, group.length, group.length) for group in self.groups]
