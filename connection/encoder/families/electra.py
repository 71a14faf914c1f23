"""ELECTRA (Clark et al., 2020): BERT's layers; small models have narrow embeddings, projected to the width of the layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connection.encoder.families.bert import Bert, with_bias

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig


class Electra(Bert):
    name = "ELECTRA"
    config_class, model_class, prefix = "ElectraConfig", "ElectraModel", "electra."
    heads = ("discriminator_predictions.", "generator_predictions.", "generator_lm_head.", "classifier.", "qa_outputs.")
    has_pooler = False
    config_fields = Bert.config_fields | {"embedding_size"}
    sizes: Mapping[str, int] = {**Bert.sizes, "embedding_size": 65_536}
    width_and_heads = ("hidden_size", 256), ("num_attention_heads", 4)

    def embedding_shapes(self, config: PretrainedConfig) -> dict[str, tuple[int, ...]]:
        found, width, hidden = super().embedding_shapes(config), config.embedding_size, config.hidden_size
        return found | (with_bias("embeddings_project", (hidden, width)) if width != hidden else {})

    def project(self, model: Any, embedded: Tensor) -> Tensor:
        projection = getattr(model, "embeddings_project", None)
        return embedded if projection is None else projection(embedded)


FAMILY = Electra()
