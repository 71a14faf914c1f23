"""A model's forward pass over packed sentences from torch's differentiable operations: for cards, and in bfloat16.

It computes what transformers' modules compute, with fewer operations: one call of attention per block, no padding elsewhere.
In bfloat16 the operands of products and attention are cast; sums, LayerNorm and softmax's sum stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from connection.encoder.packed.blocks import Blocks

if TYPE_CHECKING:
    from transformers import BertModel

    from connection.encoder.families.bert import Bert, LayerModules


def composed_states(family: Bert, model: BertModel, embedded: Tensor, blocks: Blocks) -> Tensor:
    """The token states of the last layer (T, H), equal to those of the model itself; with dropout if it is in training mode.

    embedded: (T, E), the sums of embeddings from the family's `embed`. Under autocast, the operands of products and of
    attention have its type.
    """
    device = embedded.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else embedded.dtype
    with torch.autocast(device, enabled=False):
        return states_in(dtype, family, model, embedded, blocks)


def states_in(dtype: torch.dtype, family: Bert, model: BertModel, embedded: Tensor, blocks: Blocks) -> Tensor:
    """The same with operands of this type."""
    config, dropouts, training = model.config, family.dropouts(model.config), model.training
    heads = config.num_attention_heads
    activation = _activation(family.activation(config))
    scale = (config.hidden_size // heads) ** -0.5
    attention_dropout = dropouts.attention if training else 0.0
    biases = blocks.biases(dtype, family.position_bias(model, blocks.longest))
    states = F.dropout(model.embeddings.LayerNorm(embedded), dropouts.hidden, training)
    states = family.project(model, states)
    for modules in family.layers(model):
        rows = blocks.gather(_projections(states.to(dtype), modules, dtype).unflatten(1, (3, heads, -1)))  # (P, 3, heads, d)
        attended = blocks.attend(rows, biases, dropout_p=attention_dropout, scale=scale).flatten(1)  # (T, H)
        dense = _linear(attended, modules.attended, dtype)
        dense = F.dropout(dense, dropouts.hidden, training and dropouts.after_attention)
        states = modules.attended_norm(states + dense)
        dense = _linear(activation(_linear(states, modules.inner, dtype)), modules.output, dtype)
        states = modules.output_norm(states + F.dropout(dense, dropouts.hidden, training))
    return states


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    """An activation by its name in config.json."""
    if name == "gelu":
        return F.gelu
    from transformers.activations import ACT2FN

    found: Callable[[Tensor], Tensor] = ACT2FN[name]
    return found


def _linear(states: Tensor, module: nn.Linear, dtype: torch.dtype) -> Tensor:
    return F.linear(states.to(dtype), module.weight.to(dtype), module.bias.to(dtype))


def _projections(states: Tensor, modules: LayerModules, dtype: torch.dtype) -> Tensor:
    """Queries, keys and values by one product, (T, 3H)."""
    three = modules[:3]
    weight, bias = torch.cat([x.weight for x in three]), torch.cat([x.bias for x in three])
    return F.linear(states, weight.to(dtype), bias.to(dtype))
