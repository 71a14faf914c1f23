"""ModernBERT (Warner et al., 2024): layers of its own, with rotary positions and windows of attention.

transformers computes them, over packed sentences: slower than BERT's layers by hand, and without padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection import UserMistake
from connection.encoder.families.bert import Bert

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class ModernBert(Bert):
    name = "ModernBERT"
    config_class, model_class, prefix = "ModernBertConfig", "ModernBertModel", "model."
    word_embeddings = "embeddings.tok_embeddings"
    layers_at = ""
    heads = ("head.", "decoder.", "classifier.")
    buffers = ()
    has_pooler = False
    inputs = ("input_ids", "attention_mask")
    tokenizer_classes: Mapping[str, str] = {}
    config_fields = frozenset(
        """
        vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads hidden_activation
        max_position_embeddings initializer_range initializer_cutoff_factor norm_eps norm_bias pad_token_id attention_bias
        attention_dropout layer_types rope_parameters local_attention embedding_dropout mlp_bias mlp_dropout
        global_attn_every_n_layers global_rope_theta local_rope_theta
        """.split()
    )
    sizes: Mapping[str, int] = {
        **{name: limit for name, limit in Bert.sizes.items() if name != "type_vocab_size"},
        "local_attention": 1_000_000,
    }
    fractions: Mapping[str, tuple[float, float]] = {
        "attention_dropout": (0, 0.99),
        "embedding_dropout": (0, 0.99),
        "mlp_dropout": (0, 0.99),
        "norm_eps": (1e-20, 0.01),
    }

    def check_config(self, config: Mapping[str, Any], path: Path) -> None:
        super().check_config(config, path)
        rope = config.get("rope_parameters") or {}
        kinds = [parameters.get("rope_type", "default") for parameters in rope.values() if isinstance(parameters, dict)]
        if config.get("rope_scaling") or any(kind != "default" for kind in kinds):
            raise UserMistake(f"{path}: its rotary positions are scaled, which is not supported. Choose another encoder.")

    def fill_buffers(self, model: Any) -> None:
        model.rotary_emb = type(model.rotary_emb)(model.config)

    def activation(self, config: PretrainedConfig) -> str:
        return config.hidden_activation


FAMILY = ModernBert()
