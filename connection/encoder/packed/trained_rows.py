"""Word embeddings of which only the rows of tokens in the training sentences are trained.

The row of any other token never gets a gradient, and AdamW without weight decay never changes it, so it needs neither a
gradient nor moments. The train set of the STS benchmark uses 10,796 of bert-base-uncased's 30,522 rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TrainedRows(nn.Module):
    """A table (V, H) in two tensors: `rows` (U, H), the only parameter, and `rest` (V − U, H), a buffer that is not trained.

    row_of: (V,), a buffer: the index of each token's row in `rows` followed by `rest`. Neither tensor is a view of the other,
    so that copying, averaging, moving and casting the module is correct.
    """

    rest: Tensor
    row_of: Tensor

    def __init__(self, weight: Tensor, token_ids: Tensor, padding: int | None = None):
        """weight: (V, H). token_ids: the tokens whose rows are trained, in any order, repeated or not. padding: the token that
        never gets a gradient, as `padding_idx` in torch's Embedding."""
        super().__init__()
        trained = torch.zeros(len(weight), dtype=torch.bool)
        trained[token_ids] = True
        order = torch.argsort(~trained, stable=True)  # (V,) the trained tokens, then the others
        row_of = torch.empty_like(order)
        row_of[order] = torch.arange(len(order))  # (V,)
        self.tokens = order[: int(trained.sum())].tolist()
        self.padding = int(row_of[padding]) if padding in self.tokens else None
        first, others = (part.to(weight.device) for part in order.split([len(self.tokens), len(order) - len(self.tokens)]))
        self.rows = nn.Parameter(weight.detach()[first])
        self.register_buffer("rest", weight.detach()[others])
        self.register_buffer("row_of", row_of.to(weight.device))

    def forward(self, token_ids: Tensor) -> Tensor:
        """The rows (…, H) of tokens (…). In training mode, every token must be a trained one."""
        row, trained = self.row_of[token_ids], len(self.rows)
        if self.training or not len(self.rest):
            return F.embedding(row, self.rows, padding_idx=self.padding)
        known = F.embedding(row.clamp(max=trained - 1), self.rows)
        others = F.embedding((row - trained).clamp(min=0), self.rest)
        return torch.where((row < trained)[..., None], known, others)

    @property
    def weight(self) -> Tensor:
        """A copy of the whole table (V, H), in the order of the vocabulary, with the trained rows."""
        return torch.cat([self.rows, self.rest])[self.row_of]

    @torch.no_grad()
    def load(self, weight: Tensor) -> None:
        """Copy the values of another table (V, H)."""
        order = torch.argsort(self.row_of)
        first, others = weight.to(self.rows)[order].split([len(self.rows), len(self.rest)])
        self.rows.copy_(first)
        self.rest.copy_(others)
