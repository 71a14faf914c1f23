"""A model's forward pass over packed sentences on the CPU. Layers are computed by `layer.py` with the model's own weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from connection.encoder.packed.attention_plan import AttentionPlan
from connection.encoder.packed.dropout import Mask, draw_masks
from connection.encoder.packed.layer import LayerMasks, PackedLayer
from connection.encoder.packed.products import filled_up, has_onednn

if TYPE_CHECKING:
    from transformers import BertModel
    from transformers.models.bert.modeling_bert import BertLayer


def runs_by_hand(bert: BertModel) -> bool:
    """Whether the layers written by hand apply: on the CPU, without autocast, with exact gelu and unmodified modules.

    They would ignore adapters, quantised weights and hooks. A model with any of these runs transformers' own layers.
    """
    on_cpu = bert.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return on_cpu and bert.config.hidden_act == "gelu" and all(map(_is_plain, _layers(bert)))


def _is_plain(layer: BertLayer) -> bool:
    attention, dense, output = layer.attention, layer.attention.output, layer.output
    linears = (
        attention.self.query,
        attention.self.key,
        attention.self.value,
        dense.dense,
        layer.intermediate.dense,
        output.dense,
    )
    norms = (dense.LayerNorm, output.LayerNorm)
    hooked = (layer, attention, attention.self, dense, layer.intermediate, output, *linears, *norms)
    return (
        all(type(module) is nn.Linear for module in linears)
        and all(type(module) is nn.LayerNorm for module in norms)
        and not any(module._forward_hooks or module._forward_pre_hooks for module in hooked)
        and not any(module._backward_hooks or module._backward_pre_hooks for module in hooked)
    )


def _layers(bert: BertModel) -> Iterable[BertLayer]:
    return cast("Iterable[BertLayer]", bert.encoder.layer)  # ModuleList is not generic


def row_count(tokens: int) -> int:
    """The number of rows computed for a packed row of `tokens`: rounded up if products run by oneDNN."""
    return filled_up(tokens) if has_onednn() else tokens


def packed_states(bert: BertModel, embedded: Tensor, groups: list[tuple[int, int]]) -> Tensor:
    """The token states of the last layer (T, H), equal to those of `bert` itself; with dropout if `bert` is in training mode.

    embedded: (T, H), the sums of embeddings from the family's `embed`. groups: (length, count) of each run of equally long
    sentences, in packed order.
    """
    config = bert.config
    heads, tokens = config.num_attention_heads, len(embedded)
    filled = row_count(tokens)
    plan = AttentionPlan(groups, heads, config.hidden_size // heads, filled, bert.dtype)
    embedding_mask, masks = _masks(bert, plan, filled) if bert.training else (None, [None] * config.num_hidden_layers)
    states = F.pad(bert.embeddings.LayerNorm(embedded), (0, 0, 0, filled - tokens))  # (filled, H)
    if embedding_mask is not None:
        states = states * embedding_mask.factors()
    for layer, mask in zip(_layers(bert), masks, strict=True):
        states = PackedLayer.apply(states, plan, mask, config.layer_norm_eps, *_weights(layer))
    return states[:tokens]


def _weights(layer: BertLayer) -> list[Tensor]:
    attention, dense = layer.attention.self, layer.attention.output
    modules: list[nn.Linear | nn.LayerNorm]
    modules = [attention.query, attention.key, attention.value, dense.dense, dense.LayerNorm]
    modules += [layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm]
    return [weight for module in modules for weight in (module.weight, module.bias)]


def _masks(bert: BertModel, plan: AttentionPlan, rows: int) -> tuple[Mask, list[LayerMasks]]:
    config = bert.config
    states, layers = (rows, config.hidden_size), config.num_hidden_layers
    hidden = draw_masks([states] * (1 + 2 * layers), config.hidden_dropout_prob)
    attention = draw_masks(plan.attention_sizes * layers, config.attention_probs_dropout_prob)
    count = len(plan.groups)
    return hidden[0], [
        LayerMasks(attention[i * count : (i + 1) * count], hidden[1 + 2 * i], hidden[2 + 2 * i]) for i in range(layers)
    ]
