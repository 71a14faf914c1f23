"""A model's forward pass over packed sentences on the CPU. Layers are computed by `layer.py` with the model's own weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from connection.encoder.packed.attention_plan import AttentionPlan
from connection.encoder.packed.dropout import Mask, draw_masks
from connection.encoder.packed.layer import LayerMasks, PackedLayer
from connection.encoder.packed.products import filled_up, has_onednn, operand_type

if TYPE_CHECKING:
    from transformers import BertModel, PretrainedConfig

    from connection.encoder.families.bert import Bert, LayerModules


def runs_by_hand(family: Bert, model: BertModel) -> bool:
    """Whether the layers written by hand apply: BERT's layers on the CPU, with exact gelu, unmodified; in bfloat16 too."""
    on_cpu = model.device.type == "cpu" and operand_type(model.dtype) in (model.dtype, torch.bfloat16)
    return on_cpu and family.activation(model.config) == "gelu" and is_plain(family, model)


def is_plain(family: Bert, model: BertModel) -> bool:
    """Whether a model has BERT's layers, unmodified.

    Layers computed from their weights alone would ignore adapters, quantised weights and hooks. A model with any of these
    runs transformers' own layers.
    """
    layers = family.layers(model)
    return bool(layers) and all(map(_is_plain, layers))


def _is_plain(modules: LayerModules) -> bool:
    linears = (modules.query, modules.key, modules.value, modules.attended, modules.inner, modules.output)
    norms = (modules.attended_norm, modules.output_norm)
    return (
        all(type(module) is nn.Linear for module in linears)
        and all(type(module) is nn.LayerNorm for module in norms)
        and not any(
            module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
            for module in modules.layer.modules()
        )
    )


def row_count(tokens: int) -> int:
    """The number of rows computed for a packed row of `tokens`: rounded up if products run by oneDNN, as in bfloat16."""
    return filled_up(tokens) if has_onednn() or operand_type(torch.float32) == torch.bfloat16 else tokens


def packed_states(family: Bert, model: BertModel, embedded: Tensor, groups: list[tuple[int, int]]) -> Tensor:
    """The token states of the last layer (T, H), equal to those of the model itself; with dropout if it is in training mode.

    embedded: (T, E), the sums of embeddings from the family's `embed`. groups: (length, count) of each run of equally long
    sentences, in packed order. Under autocast, the operands of products have its type.
    """
    dtype, rows = operand_type(model.dtype), row_count(len(embedded))
    with torch.autocast("cpu", enabled=False):
        return states_in(dtype, family, model, embedded, groups, rows)


def states_in(
    dtype: torch.dtype, family: Bert, model: BertModel, embedded: Tensor, groups: list[tuple[int, int]], filled: int
) -> Tensor:
    """The same with operands of this type, for `filled` rows, of which the first T are tokens."""
    config, tokens = model.config, len(embedded)
    heads = config.num_attention_heads
    plan = AttentionPlan(groups, heads, config.hidden_size // heads, filled, model.dtype)
    layers = family.layers(model)
    masks = _masks(family, config, plan, (filled, embedded.shape[1])) if model.training else (None, [None] * len(layers))
    states = F.pad(model.embeddings.LayerNorm(embedded), (0, 0, 0, filled - tokens))  # (filled, E)
    if masks[0] is not None:
        states = states * masks[0].factors()
    states = family.project(model, states)  # (filled, H)
    bias = family.position_bias(model, plan.longest)
    for modules, mask in zip(layers, masks[1], strict=True):
        states = PackedLayer.apply(states, plan, mask, modules.output_norm.eps, dtype, bias, *_weights(modules))
    return states[:tokens]


def _weights(modules: LayerModules) -> list[Tensor]:
    return [weight for module in modules[:8] for weight in (module.weight, module.bias)]


def _masks(
    family: Bert, config: PretrainedConfig, plan: AttentionPlan, embedded: tuple[int, int]
) -> tuple[Mask, list[LayerMasks]]:
    """The masks of the embeddings, whose shape is `embedded`, and of each layer."""
    layers, count, dropouts = config.num_hidden_layers, len(plan.groups), family.dropouts(config)
    in_layer = [(embedded[0], config.hidden_size)] * (2 if dropouts.after_attention else 1)
    first, *hidden = draw_masks([embedded, *in_layer * layers], dropouts.hidden)
    attention = draw_masks(plan.attention_sizes * layers, dropouts.attention)
    in_layers = zip(hidden[::2], hidden[1::2], strict=True) if dropouts.after_attention else ((None, mask) for mask in hidden)
    return first, [
        LayerMasks(attention[i * count : (i + 1) * count], attended, output) for i, (attended, output) in enumerate(in_layers)
    ]
