"""Which packed sentences attention computes together: equal lengths always, near lengths where padding costs less.

Only attention pads sentences: everything else of BERT works on the packed row as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

# What another group costs, in products of two tokens: some operations on a few small matrices, whatever their size.
GROUP_COST = 2000


@dataclass(frozen=True)
class Group:
    """`count` sentences padded to `length` tokens: rows `start` to `stop` of the gathered (P · heads, d).

    bias: (count · heads, 1, length), 0 and −∞ where a key is padding; an empty stand-in where there is none.
    """

    start: int
    stop: int
    count: int
    length: int
    padded: bool
    bias: Tensor

    def block(self, rows: Tensor) -> Tensor:
        """The group's part (count · heads, length, d) of gathered rows (P · heads, d)."""
        return rows[self.start : self.stop].view(-1, self.length, rows.shape[1])


def choose_groups(groups: list[tuple[int, int]], group_cost: int) -> list[list[tuple[int, int]]]:
    """Runs of (length, count), sorted by length, → the same runs put together so that attention costs least.

    A group of n sentences, the longest of L tokens, costs n · L² + group_cost. Dynamic programme over where groups end.

    >>> choose_groups([(3, 10), (4, 10), (40, 10)], group_cost=2000)
    [[(3, 10), (4, 10)], [(40, 10)]]
    """
    best = [(0, 0)]  # of the first i runs: the least cost, and where its last group begins
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
    """How the heads of a packed row (T, H) are laid out for attention, and back.

    gather: (T, H) → (P · heads, d), group after group, in each (count, heads, length, d); P counts padding too.
    scatter: the way back, from rows that `new_rows` made. padding: the gathered rows that stand for no token. scale: 1 / √d.
    The T tokens stand at the beginning of `filled` rows, the rest belong to no sentence and come back as 0. is_trained:
    whether a backward will follow.
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
            lengths = np.repeat(*np.array(runs).T)  # (count,)
            count, length = len(lengths), int(lengths[-1])
            first = token + np.cumsum(lengths) - lengths  # (count,) each sentence's first token
            places = np.arange(length)
            is_padding = places >= lengths[:, None]  # (count, length)
            tokens = np.minimum(first[:, None] + places, (first + lengths - 1)[:, None])
            rows.append((tokens[:, None] * heads + np.arange(heads)[:, None]).ravel())  # (count · heads · length,)
            paddings.append(np.repeat(is_padding[:, None], heads, axis=1).ravel())
            stop = start + len(rows[-1])
            padded = bool(is_padding.any())
            bias = np.where(np.repeat(is_padding, heads, axis=0)[:, None], -np.inf, 0.0) if padded else np.zeros((1, 1, 1))
            self.groups.append(Group(start, stop, count, length, padded, torch.from_numpy(bias).to(dtype)))
            token, start = token + int(lengths.sum()), stop
        padding = np.concatenate(paddings)
        gathered = np.concatenate(rows)
        back = np.full(filled * heads, len(gathered), dtype=np.int64)  # one row more than there are: 0
        back[gathered[~padding]] = np.flatnonzero(~padding)
        self._gathered, self._back = torch.from_numpy(gathered), torch.from_numpy(back)
        self.padding = torch.from_numpy(np.flatnonzero(padding))

    def gather(self, states: Tensor) -> Tensor:
        return states.reshape(-1, self.dimension).index_select(0, self._gathered)

    def new_rows(self, rows: Tensor) -> Tensor:
        """Room for what attention makes of gathered rows, and one row of 0 behind it."""
        made = rows.new_empty(len(rows) + 1, self.dimension)
        made[-1] = 0
        return made

    def scatter(self, rows: Tensor) -> Tensor:
        return rows.index_select(0, self._back).view(-1, self.heads * self.dimension)

    @cached_property
    def attention_sizes(self) -> list[tuple[int, int, int]]:
        """The shape (count · heads, length, length) of each group's probabilities."""
        return [(group.count * self.heads, group.length, group.length) for group in self.groups]
