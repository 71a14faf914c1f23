"""What in-batch losses learn from: which sentences of a batch belong together, and which tell nothing about each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass
class Candidates:
    """B rows whose sentence1 is compared with C candidates: the distinct sentence2 and hard negatives of these rows.

    first: (B,) the index of each sentence1 among the sentences of a batch. candidates: (C,) the same for the candidates.
    positive: (B,) the candidate that is the row's sentence2. excluded: (B, C) bool, candidates that are no negatives of a row,
    since a row of the file has them together, or since they are its sentence1; never its own positive. excluded_first: (B, B)
    bool, the same for sentence1 of the other rows against the row's sentence2, where repeats of a sentence1 count once.
    negatives: (B, K) the candidates that are the row's hard negatives, -1 for none. weights: (B,) 1 for rows that belong
    together, 0 for others.
    """

    first: Tensor
    candidates: Tensor
    positive: Tensor
    excluded: Tensor
    excluded_first: Tensor
    negatives: Tensor
    weights: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Each tensor replaced, in the order of the fields."""
        return replace(self, **{field.name: function(getattr(self, field.name)) for field in fields(self)})

    @property
    def shape(self) -> tuple[object, ...]:
        return self.excluded.shape, self.negatives.shape

    def at(self, places: np.ndarray) -> Self:
        """The same with other indices of sentences: number s becomes `places[s]`."""
        table = torch.from_numpy(places)
        return replace(self, first=table[self.first], candidates=table[self.candidates])

    def filled_to(self, count: int) -> Self:
        """The same with `count` candidates; those that are added repeat the first one and are excluded from every row."""
        missing = count - len(self.candidates)
        excluded = F.pad(self.excluded, (0, missing), value=True)
        return replace(self, candidates=torch.cat([self.candidates, self.candidates[:1].expand(missing)]), excluded=excluded)


class Together(NamedTuple):
    """Embeddings of each row's sentence1, (B, H), and of the candidates, (C, H), with what is known of them."""

    first: Tensor
    candidates: Tensor
    targets: Candidates


class Parts(NamedTuple):
    """What the loss of a batch is computed from. Each part is None where the data has no such rows.

    pairs: the embeddings of both sides, (B, H) each. scores: (B,) their scores, or the numbers of their classes. together: the
    rows as candidates of each other. positives: those of POSITIVES_FILE.
    """

    pairs: tuple[Tensor, Tensor] | None
    scores: Tensor
    together: Together | None = None
    positives: Together | None = None


def gather(embeddings: Tensor, targets: Candidates) -> Together:
    """The rows of `embeddings` (N, H) that the indices of `targets` name."""
    # Its backward adds up repeated rows in a fixed order, on a card too, which that of index_select does not.
    first, candidates = (F.embedding(indices, embeddings) for indices in (targets.first, targets.candidates))
    return Together(first, candidates, targets)


class KnownPairs:
    """The pairs of sentences that rows of a file have together, in either order."""

    def __init__(self, sides: np.ndarray, sentences: int):
        """sides: (n, 2) the numbers of the sentences of each row, below `sentences`."""
        self.sentences = sentences
        self.codes = np.unique(np.concatenate([sides @ [sentences, 1], sides @ [1, sentences]]))

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether a row has them together, for each of A and each of C sentences: (A, C) bool."""
        codes = first[:, None] * self.sentences + second  # (A, C)
        places = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        return self.codes[places] == codes


def candidates_of(
    first: np.ndarray, second: np.ndarray, negatives: np.ndarray, known: KnownPairs, weights: np.ndarray | None = None
) -> Candidates:
    """The candidates of B rows, with numbers of sentences as indices.

    first, second: (B,) the numbers of their sentences. negatives: (B, K) those of their hard negatives, -1 for none. known:
    what belongs together. weights: (B,), 1 each by default.

    >>> known = KnownPairs(np.array([[0, 2], [1, 2], [0, 3]]), sentences=4)  # 0 belongs to 2 and to 3
    >>> found = candidates_of(np.array([0, 1]), np.array([3, 2]), np.empty((2, 0), dtype=np.int64), known)
    >>> found.candidates.tolist(), found.positive.tolist(), found.excluded.tolist()  # 2 is no negative of 0
    ([3, 2], [0, 1], [[False, True], [False, False]])
    """
    flat = np.concatenate([second, negatives[negatives >= 0]])
    candidates = flat[np.sort(np.unique(flat, return_index=True)[1])]  # (C,) in order of first appearance
    sorter = np.argsort(candidates)
    place = sorter[np.searchsorted(candidates, np.maximum(np.append(second, negatives), candidates.min()), sorter=sorter)]
    positive, of_negatives = place[: len(second)], place[len(second) :].reshape(negatives.shape)
    excluded = known.between(first, candidates) | (first[:, None] == candidates)  # (B, C)
    excluded[np.arange(len(first)), positive] = False
    repeats = np.ones(len(first), dtype=bool)
    repeats[np.unique(first, return_index=True)[1]] = False
    excluded_first = known.between(second, first) | (second[:, None] == first) | repeats  # (B, B)
    np.fill_diagonal(excluded_first, False)
    counted = np.ones(len(first)) if weights is None else weights
    return Candidates(
        first=torch.from_numpy(first),
        candidates=torch.from_numpy(candidates),
        positive=torch.from_numpy(positive),
        excluded=torch.from_numpy(excluded),
        excluded_first=torch.from_numpy(excluded_first),
        negatives=torch.from_numpy(np.where(negatives < 0, -1, of_negatives)),
        weights=torch.from_numpy(counted.astype(np.float32)),
    )
