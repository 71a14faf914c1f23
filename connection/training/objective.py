"""What a training step minimises: the terms of LOSS, also for the prefixes of DIMENSIONS, and the loss of POSITIVES_FILE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from connection.training.losses import LOSSES
from connection.training.losses.expression import Term, parse
from connection.training.losses.matryoshka import for_prefixes

if TYPE_CHECKING:
    from connection.training.candidates import Parts
    from connection.training.losses import Loss


class Objective(nn.Module):
    """The loss of a batch as a function of its `Parts`. Parameters are the weights that losses own, such as a classifier's."""

    def __init__(
        self,
        text: str,
        dimension: int,
        *,
        dimensions: Sequence[int] = (),
        classes: int = 0,
        seed: int = 42,
        positives_weight: float = 0.0,
    ):
        """text: LOSS. dimension: H. dimensions: as DIMENSIONS. classes: of pairs with a class. seed: of the initial weights.

        positives_weight: of the rows of POSITIVES_FILE; 0 if there are none.
        """
        super().__init__()
        self.terms = parse(text)
        self._sizes_and_seed = (dimension, classes, seed)
        self.own = nn.ModuleDict({name: nn.ParameterDict(weights) for name, weights in self._initial()})
        self.functions: list[Callable[..., Tensor]] = [
            for_prefixes(self._loss_of(term), dimensions, dimension) for term in self.terms
        ]
        self.positives_weight = positives_weight
        self.of_positives = for_prefixes(LOSSES["in_batch"].load(), dimensions, dimension)

    def _initial(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The losses with weights of their own, and their initial values."""
        for term in self.terms:
            if weights := term.entry.initial_weights(*self._sizes_and_seed):
                yield term.name, weights

    def initial_weights(self) -> dict[str, Tensor]:
        """What `weights` was before training."""
        return {f"{name}.{key}": weight for name, weights in self._initial() for key, weight in weights.items()}

    def _loss_of(self, term: Term) -> Loss:
        """A loss with its parameters, as a function of embeddings and targets."""
        function, parameters = term.entry.load(), term.parameters
        if term.name not in self.own:
            return partial(function, **parameters) if parameters else function
        own = self.own[term.name]
        assert isinstance(own, nn.ParameterDict)
        return lambda embeddings, targets: function(embeddings, targets, **dict(own.items()), **parameters)

    def forward(self, parts: Parts) -> Tensor:
        """The loss, a scalar."""
        return sum_of(self._values(parts))

    def _values(self, parts: Parts) -> Iterator[Tensor]:
        for term, function in zip(self.terms, self.functions, strict=True):
            if term.entry.chooses:
                assert parts.together is not None  # as LOSS was checked against the data
                value = function((parts.together.first, parts.together.candidates), parts.together.targets)
            else:
                assert parts.pairs is not None
                value = function(parts.pairs, parts.scores)
            yield value if term.weight == 1 else term.weight * value
        if parts.positives is not None:
            first, candidates, targets = parts.positives
            yield self.positives_weight * self.of_positives((first, candidates), targets)

    @property
    def chooses(self) -> bool:
        """Whether a term chooses among candidates."""
        return any(term.entry.chooses for term in self.terms)

    def weights(self) -> dict[str, Tensor]:
        """The weights of losses' own by name, such as "softmax.weight"; none for most losses."""
        return {name.removeprefix("own."): weight.detach() for name, weight in self.named_parameters()}

    @torch.no_grad()
    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Copy the result of `weights`. Raises ValueError if names or shapes differ."""
        own = self.weights()
        if {name: x.shape for name, x in own.items()} != {name: x.shape for name, x in weights.items()}:
            raise ValueError("these are the weights of another loss")
        for name, weight in own.items():
            weight.copy_(weights[name])


def sum_of(values: Iterator[Tensor]) -> Tensor:
    """The sum, from the first to the last."""
    total = next(values)
    for value in values:
        total = total + value
    return total
