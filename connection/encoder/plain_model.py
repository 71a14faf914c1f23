"""A model's weights under transformers' names, without transformers' code.

Importing that code takes longer than importing torch (benchmarks/README.md). Where this project computes BERT's layers itself,
only the weights are needed, and the modules that hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from connection.encoder.families.bert import Bert


class PlainModel(nn.Module):
    """Linear layers, LayerNorms and embeddings, nested as in transformers' model of the family, in the same order.

    They are on torch's "meta" device, until `take` gives them weights.
    It has what `ConnectionBert` uses of such a model. It cannot compute anything itself.
    """

    pooler: nn.Module | None

    def __init__(self, family: Bert, config: PretrainedConfig, *, pooler: bool):
        super().__init__()
        self.config, self._words = config, family.word_embeddings
        shapes, padding = family.shapes(config, pooler=pooler), family.padding_rows(config)
        if family.has_pooler and not pooler:
            self.pooler = None
        for stem in dict.fromkeys(name.rpartition(".")[0] for name in shapes):
            shape, has_bias = shapes[f"{stem}.weight"], f"{stem}.bias" in shapes
            module: nn.Module
            if len(shape) == 1:
                module = nn.LayerNorm(shape, eps=getattr(config, "layer_norm_eps", 1e-12), device="meta")
            elif has_bias:
                module = _linear(*shape)
            else:
                module = nn.Embedding.from_pretrained(torch.empty(shape, device="meta"), False, padding.get(stem))
            parent = self._container(stem.split(".")[:-1])
            parent.add_module(stem.rpartition(".")[2], module)

    def _container(self, path: list[str]) -> nn.Module:
        """The module at a path, made where it is missing."""
        module: nn.Module = self
        for place, name in enumerate(path, start=1):
            child = module._modules.get(name)
            if child is None:
                is_list = place < len(path) and path[place].isdecimal()
                child = nn.ModuleList() if is_list else nn.Module()
                module.add_module(name, child)
            module = child
        return module

    def take(self, weights: dict[str, Tensor]) -> None:
        """Replace the weights by these, of the same names and shapes, in float32 and in memory of their own.

        Empties `weights`, so that there is one copy. `to_empty` would do as well, but torch imports sympy for it.
        """
        own = {
            name: weights.pop(name).to(torch.float32, memory_format=torch.contiguous_format, copy=True) for name in [*weights]
        }
        self.load_state_dict(own, strict=True, assign=True)

    def forward(self, *arguments: Any, **named: Any) -> Any:
        raise RuntimeError("this encoder was loaded without transformers' layers; load it with whole=True")

    @property
    def device(self) -> torch.device:
        return self._first.device

    @property
    def dtype(self) -> torch.dtype:
        return self._first.dtype

    @property
    def _first(self) -> Tensor:
        return next(self.parameters())

    def num_parameters(self) -> int:
        return sum(weight.numel() for weight in self.parameters())

    def get_input_embeddings(self) -> nn.Module:
        return self.get_submodule(self._words)

    def set_input_embeddings(self, module: nn.Module) -> None:
        self.set_submodule(self._words, module)


def _linear(outputs: int, inputs: int) -> nn.Linear:
    """A linear layer on the "meta" device, without initial values, for which torch imports its compiler there."""
    module = nn.Linear(1, 1, device="meta")
    module.in_features, module.out_features = inputs, outputs
    module.weight = nn.Parameter(torch.empty(outputs, inputs, device="meta"))
    module.bias = nn.Parameter(torch.empty(outputs, device="meta"))
    return module


def named_shapes(model: nn.Module) -> Mapping[str, tuple[int, ...]]:
    """The shape of each weight, by name, in the model's order."""
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}
