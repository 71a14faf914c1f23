"""Word embeddings of which only the rows that training can move are trained.

A token that no training sentence holds never gets a gradient, and AdamW without weight decay never moves its row: the
gradient, the moments and their sums need not exist. Of bert-base-uncased's 30,522 rows the STS benchmark's train uses 10,796.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TrainedRows(nn.Module):
    """A table (V, H) in two parts: `rows` (U, H), the one parameter, and `rest` (V − U, H), a buffer, which stays as it is.

    Both are tensors of their own, so that copies, averages, moves and casts of the module stay whole.
    """

    rest: Tensor
    place: Tensor

    def __init__(self, weight: Tensor, token_ids: Tensor, padding: int | None = None):
        """weight: (V, H). token_ids: the tokens whose rows are trained, in any number and order. padding: a token that has
        no gradient wherever it occurs, as in torch's Embedding."""
        super().__init__()
        trained = torch.zeros(len(weight), dtype=torch.bool)
        trained[token_ids] = True
        order = torch.argsort(~trained, stable=True)  # (V,) the trained tokens, then the others
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))  # (V,) where a token's row is: in `rows`, and from U on in `rest`
        self.tokens = order[: int(trained.sum())].tolist()
        self.padding = int(place[padding]) if padding in self.tokens else None
        first, others = (part.to(weight.device) for part in order.split([len(self.tokens), len(order) - len(self.tokens)]))
        self.rows = nn.Parameter(weight.detach()[first])
        self.register_buffer("rest", weight.detach()[others])
        self.register_buffer("place", place.to(weight.device))

    def forward(self, token_ids: Tensor) -> Tensor:
        """Rows (…, H) of tokens (…). In training every token must be one of the trained."""
        place, trained = self.place[token_ids], len(self.rows)
        if self.training or not len(self.rest):
            return F.embedding(place, self.rows, padding_idx=self.padding)
        known = F.embedding(place.clamp(max=trained - 1), self.rows)
        others = F.embedding((place - trained).clamp(min=0), self.rest)
        return torch.where((place < trained)[..., None], known, others)

    @property
    def weight(self) -> Tensor:
        """The table as it was given, (V, H), a copy with the rows as trained."""
        return torch.cat([self.rows, self.rest])[self.place]

    @torch.no_grad()
    def load(self, weight: Tensor) -> None:
        """Take the rows of another table (V, H)."""
        order = torch.argsort(self.place)
        first, others = weight.to(self.rows)[order].split([len(self.rows), len(self.rest)])
        self.rows.copy_(first)
        self.rest.copy_(others)
