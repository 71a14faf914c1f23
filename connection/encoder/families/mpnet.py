"""MPNet (Song et al., 2020): BERT's layers with a bias of attention scores by the distance of two tokens, shared by all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection import UserMistake
from connection.encoder.families.bert import Bert, LayerModules
from connection.encoder.families.roberta import positions_after_padding

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertModel, PretrainedConfig

    from connection.encoder.packed.blocks import Blocks

PADDING = 1  # in MPNetEmbeddings, whatever the configuration says
BUCKETS = 32  # of distances, as transformers computes them


class MPNet(Bert):
    name = "MPNet"
    config_class, model_class, prefix = "MPNetConfig", "MPNetModel", "mpnet."
    heads = ("lm_head.", "classifier.", "qa_outputs.")
    buffers = ("embeddings.position_ids",)
    packs_attention = False
    inputs = ("input_ids", "attention_mask")
    tokenizer_classes: Mapping[str, str] = {"vocab.txt": "MPNetTokenizer"}
    config_fields = (Bert.config_fields - {"type_vocab_size"}) | {"relative_attention_num_buckets"}
    sizes: Mapping[str, int] = {
        **{name: limit for name, limit in Bert.sizes.items() if name != "type_vocab_size"},
        "relative_attention_num_buckets": 65_536,
    }

    def check_config(self, config: Mapping[str, Any], path: Path) -> None:
        super().check_config(config, path)
        for name, least in (("relative_attention_num_buckets", BUCKETS), ("max_position_embeddings", PADDING + 4)):
            if config.get(name, least) < least:
                raise UserMistake(f'{path}: "{name}" is {config[name]}; at least {least} is expected.')

    def positions(self, input_ids: Tensor, positions: Tensor, config: PretrainedConfig) -> Tensor:
        return positions_after_padding(input_ids, positions, PADDING)

    def most_tokens(self, config: PretrainedConfig) -> int:
        return config.max_position_embeddings - PADDING - 1

    def embed(self, model: Any, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        return model.embeddings.word_embeddings(input_ids) + model.embeddings.position_embeddings(position_ids)

    def layers(self, model: Any) -> list[LayerModules]:
        return [
            LayerModules(
                layer.attention.attn.q,
                layer.attention.attn.k,
                layer.attention.attn.v,
                layer.attention.attn.o,
                layer.attention.LayerNorm,
                layer.intermediate.dense,
                layer.output.dense,
                layer.output.LayerNorm,
                layer,
            )
            for layer in model.encoder.layer
        ]

    def position_bias(self, model: Any, length: int) -> Tensor | None:
        weight = model.encoder.relative_attention_bias.weight
        return model.encoder.compute_position_bias(weight.new_empty(1, length, 0))[0]

    def states(self, model: BertModel, input_ids: Tensor, position_ids: Tensor, blocks: Blocks) -> Tensor:
        """Padded: transformers' MPNet has no place for an attention of ours."""
        from connection.encoder.packed.padded import padded, unpadded

        ids, positions, mask = padded(input_ids, position_ids, blocks.groups, PADDING)
        return unpadded(model(input_ids=ids, position_ids=positions, attention_mask=mask).last_hidden_state, blocks.groups)


FAMILY = MPNet()
