"""MPNet (Song et al., 2020): BERT's layers with a bias of attention scores by the distance of two tokens, shared by all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection import UserMistake
from connection.encoder.families.bert import Bert
from connection.encoder.families.roberta import positions_after_padding

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertModel, PretrainedConfig

    from connection.encoder.packed.blocks import Blocks

PADDING = 1  # in MPNetEmbeddings, whatever the configuration says
BUCKETS, FARTHEST = 32, 128  # of distances, as transformers computes them, whatever the configuration says


class MPNet(Bert):
    name = "MPNet"
    config_class, model_class, prefix = "MPNetConfig", "MPNetModel", "mpnet."
    heads = ("lm_head.", "classifier.", "qa_outputs.")
    buffers = ("embeddings.position_ids",)
    layer_names = (
        "attention.attn.q",
        "attention.attn.k",
        "attention.attn.v",
        "attention.attn.o",
        "attention.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
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

    def further_shapes(self, config: PretrainedConfig) -> dict[str, tuple[int, ...]]:
        return {"encoder.relative_attention_bias.weight": (config.relative_attention_num_buckets, config.num_attention_heads)}

    def padding_rows(self, config: PretrainedConfig) -> dict[str, int]:
        return dict.fromkeys((self.word_embeddings, "embeddings.position_embeddings"), PADDING)

    def position_bias(self, model: Any, length: int) -> Tensor | None:
        embedding = model.encoder.relative_attention_bias
        bias: Tensor = embedding(distance_buckets(length).to(embedding.weight.device))  # (length, length, heads)
        return bias.permute(2, 0, 1).contiguous()

    def states(self, model: BertModel, input_ids: Tensor, position_ids: Tensor, blocks: Blocks) -> Tensor:
        """Padded: transformers' MPNet has no place for an attention of ours."""
        from connection.encoder.packed.padded import padded, unpadded

        ids, positions, mask = padded(input_ids, position_ids, blocks.groups, PADDING)
        return unpadded(model(input_ids=ids, position_ids=positions, attention_mask=mask).last_hidden_state, blocks.groups)


def distance_buckets(length: int) -> Tensor:
    """The bucket of the distance of each two of `length` positions, (length, length) int64.

    Half of the buckets are for tokens that follow. Of each half, half are for one distance each, and the others widen with the
    logarithm of the distance up to FARTHEST (Raffel et al., 2020, section 2.1).
    """
    import torch

    positions = torch.arange(length)
    distance = positions[:, None] - positions  # (length, length)
    half, exact = BUCKETS // 2, BUCKETS // 4
    far = exact + (torch.log(distance.abs().float() / exact) / math.log(FARTHEST / exact) * (half - exact)).long()
    bucket = torch.where(distance.abs() < exact, distance.abs(), far.clamp(max=half - 1))
    return bucket + half * (distance < 0)


FAMILY = MPNet()
