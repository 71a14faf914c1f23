"""RoBERTa (Liu et al., 2019): BERT's layers; positions are counted from the padding token's number + 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection import UserMistake
from connection.encoder.families.bert import Bert
from connection.text import shown

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig


class Roberta(Bert):
    """Its vocabulary is byte-level BPE; Korean ones, such as klue/roberta-base, have BERT's WordPiece."""

    name = "RoBERTa"
    config_class, model_class, prefix = "RobertaConfig", "RobertaModel", "roberta."
    heads = ("lm_head.", "classifier.", "qa_outputs.")
    tokenizer_classes: Mapping[str, str] = {"vocab.json": "RobertaTokenizer", "vocab.txt": "BertTokenizer"}

    def check_config(self, config: Mapping[str, Any], path: Path) -> None:
        super().check_config(config, path)
        padding, most = config.get("pad_token_id", 1), config.get("max_position_embeddings", 512)
        if type(padding) is not int or not 0 <= padding < most - 3:
            raise UserMistake(
                f'{path}: "pad_token_id" is {shown(padding)}; {self.name} counts positions from it, so a whole number below '
                f'"max_position_embeddings" ({most:,}) is expected.'
            )

    def positions(self, input_ids: Tensor, positions: Tensor, config: PretrainedConfig) -> Tensor:
        return positions_after_padding(input_ids, positions, config.pad_token_id)

    def embedding_shapes(self, config: PretrainedConfig) -> dict[str, tuple[int, ...]]:
        found = super().embedding_shapes(config)
        last = "embeddings.position_embeddings.weight"
        return {name: shape for name, shape in found.items() if name != last} | {last: found[last]}

    def padding_rows(self, config: PretrainedConfig) -> dict[str, int]:
        return dict.fromkeys((self.word_embeddings, "embeddings.position_embeddings"), config.pad_token_id)

    def most_tokens(self, config: PretrainedConfig) -> int:
        return config.max_position_embeddings - config.pad_token_id - 1


def positions_after_padding(input_ids: Tensor, positions: Tensor, padding: int) -> Tensor:
    """Positions (T,) that count from `padding` + 1, as in fairseq. A padding token within a text has `padding` and counts not.

    input_ids, positions: (T,), packed tokens and their positions in their sentences from 0.
    """
    import torch

    is_padding = input_ids == padding
    counted = is_padding.long().cumsum(0)
    first = torch.arange(len(positions), device=positions.device) - positions  # (T,) the first token of each one's sentence
    before = counted - counted[first] + is_padding[first]  # padding tokens of the sentence up to each token
    return torch.where(is_padding, padding, positions + (padding + 1) - before)


FAMILY = Roberta()
