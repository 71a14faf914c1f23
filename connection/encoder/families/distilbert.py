"""DistilBERT (Sanh et al., 2019): BERT's layers by other names, without token types and without one of the dropouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connection.encoder.families.bert import Bert, Dropouts

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig


class DistilBert(Bert):
    name = "DistilBERT"
    config_class, model_class, prefix = "DistilBertConfig", "DistilBertModel", "distilbert."
    heads = ("vocab_", "pre_classifier.", "classifier.", "qa_outputs.")
    buffers = ("embeddings.position_ids",)
    layers_at = "transformer.layer"
    layer_names = (
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "sa_layer_norm",
        "ffn.lin1",
        "ffn.lin2",
        "output_layer_norm",
    )
    has_pooler = False
    inputs = ("input_ids", "attention_mask")
    # Without sinusoidal_pos_embds: wherever the position embeddings come from, they are in the weight file.
    config_fields = frozenset(
        """
        vocab_size dim n_layers n_heads hidden_dim activation dropout attention_dropout max_position_embeddings
        initializer_range pad_token_id
        """.split()
    )
    sizes: Mapping[str, int] = {
        "vocab_size": 10_000_000,
        "dim": 65_536,
        "n_layers": 1_000,
        "n_heads": 1_024,
        "hidden_dim": 262_144,
        "max_position_embeddings": 1_000_000,
    }
    fractions: Mapping[str, tuple[float, float]] = {"dropout": (0, 0.99), "attention_dropout": (0, 0.99)}
    width_and_heads = ("dim", 768), ("n_heads", 12)

    def embed(self, model: Any, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        return model.embeddings.word_embeddings(input_ids) + model.embeddings.position_embeddings(position_ids)

    def inner_size(self, config: PretrainedConfig) -> int:
        return config.hidden_dim

    def activation(self, config: PretrainedConfig) -> str:
        return config.activation

    def dropouts(self, config: PretrainedConfig) -> Dropouts:
        return Dropouts(config.dropout, config.attention_dropout, after_attention=False)


FAMILY = DistilBert()
