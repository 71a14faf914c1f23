"""Word embeddings of which only the rows that training can move are trained.

A token that no training sentence holds never gets a gradient, and AdamW without weight decay never moves its row: the
gradient, the moments and their sums need not exist. Of bert-base-uncased's 30,522 rows the STS benchmark's train uses 10,796.
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

    def __init__(self, weight: Tensor, token_ids: Tensor, padding: int | None = None):
        """weight: (V, H). token_ids: the tokens whose rows are trained, in any number and order. padding: a token that has
        no gradient wherever it occurs, as in torch's Embedding."""
        super().__init__()
        trained = torch.zeros(len(weight), dtype=torch.bool)
        trained[token_ids] = True
        order = torch.argsort(~trained, stable=True)  # (V,) row i of the table is that of token order[i]
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))  # (V,) where a token's row lies
        self.tokens = order[: int(trained.sum())].tolist()
        self.padding = int(place[padding]) if padding in self.tokens else None
        self.place, self.table = place.to(weight.device), weight.detach()[order.to(weight.device)]
        self.rows = nn.Parameter(self.table[: len(self.tokens)])

    def forward(self, token_ids: Tensor) -> Tensor:
        """Rows (…, H) of tokens (…). In training every token must be one of the trained."""
        if self.training:
            return F.embedding(self.place[token_ids], self.rows, padding_idx=self.padding)
        return F.embedding(self.place[token_ids], self.table)

    @property
    def weight(self) -> Tensor:
        """The table as it was given, (V, H), a copy with the rows as trained."""
        return self.table[self.place]

    @torch.no_grad()
    def load(self, weight: Tensor) -> None:
        """Take the rows of another table (V, H)."""
        self.table[self.place] = weight.to(self.table)
