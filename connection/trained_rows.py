"""Word embeddings of which only the rows that training can move are trained.

A token that no training sentence holds never gets a gradient, and AdamW without weight decay never moves its row: the
gradient, the moments and their sums need not exist. Of bert-base-uncased's 30,522 rows the STS benchmark uses 10,796.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TrainedRows(nn.Module):
    """A table (V, H) in which `rows` (U, H), the one parameter, are trained and the others stay as they are.

    The table is kept with the trained rows first; `rows` is their view, so that what the optimizer does is in the table at
    once. Moving the module to another device would part the two: make it where it is to stay.
    """

    def __init__(self, weight: Tensor, token_ids: Tensor):
        """weight: (V, H). token_ids: the tokens whose rows are trained, in any number and order."""
        super().__init__()
        trained = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
        trained[token_ids] = True
        order = torch.argsort(~trained, stable=True)  # (V,) row i of the table is that of token order[i]
        self.place = torch.empty_like(order)
        self.place[order] = torch.arange(len(order), device=order.device)  # (V,) where a token's row lies
        self.table = weight.detach()[order]
        self.rows = nn.Parameter(self.table[: int(trained.sum())])

    def forward(self, token_ids: Tensor) -> Tensor:
        """Rows (…, H) of tokens (…). In training every token must be one of the trained."""
        return F.embedding(self.place[token_ids], self.rows if self.training else self.table)

    @property
    def weight(self) -> Tensor:
        """The table as it was given, (V, H), a copy with the rows as trained."""
        return self.table[self.place]

    @torch.no_grad()
    def load(self, weight: Tensor) -> None:
        """Take the rows of another table (V, H)."""
        self.table[self.place] = weight.to(self.table)
