"""BERT (Devlin et al., 2018), and the interface of a family of encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection import UserMistake

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertModel, PretrainedConfig


class Bert:
    """What differs between families: the configuration, the names of the weights, the embeddings.

    The layers of every family are BERT's and are computed by `connection/encoder/packed/` from the output of `embed`. In
    annotations, `BertModel` therefore stands for the model of any family: its modules have the same names.
    """

    config_class, model_class = "BertConfig", "BertModel"  # of transformers
    word_embeddings = "embeddings.word_embeddings"  # the module's name in the model
    prefix = "bert."  # of every weight's name in checkpoints that were published with heads
    heads = ("cls.", "classifier.", "qa_outputs.")  # output layers of pre-training or of a task; not part of an encoder
    buffers = ("embeddings.position_ids", "embeddings.token_type_ids")
    # The fields of config.json that are used: those that determine what the model computes. Others are ignored.
    config_fields = frozenset(
        """
        vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act hidden_dropout_prob
        attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_eps pad_token_id
        """.split()
    )
    sizes: Mapping[str, int] = {  # whole numbers from 1 to the limit
        "vocab_size": 10_000_000,
        "hidden_size": 65_536,
        "num_hidden_layers": 1_000,
        "num_attention_heads": 1_024,
        "intermediate_size": 262_144,
        "max_position_embeddings": 1_000_000,
        "type_vocab_size": 1_024,
    }
    fractions: Mapping[str, tuple[float, float]] = {  # numbers from the first limit to the second
        "hidden_dropout_prob": (0, 0.99),
        "attention_probs_dropout_prob": (0, 0.99),
        "layer_norm_eps": (1e-20, 0.01),  # with 0, the gradient of a row of equal values is not finite
    }

    def check_config(self, config: Mapping[str, Any], path: Path) -> None:
        """Raise UserMistake if a config.json describes a model that cannot be trained. Needs neither torch nor the weights."""
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise UserMistake(f"{path}: this BERT is a decoder; an encoder is needed.")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise UserMistake(f'{path}: "position_embedding_type" is "{config["position_embedding_type"]}", not "absolute".')
        for name, highest in self.sizes.items():
            value = config.get(name, 1)
            if type(value) is not int or not 1 <= value <= highest:
                raise UserMistake(f'{path}: "{name}" is {value!r}; a whole number from 1 to {highest:,} is expected.')
        for name, (low, high) in self.fractions.items():
            value = config.get(name, low)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise UserMistake(f'{path}: "{name}" is {value!r}; a number from {low:g} to {high:g} is expected.')
        if config.get("hidden_size", 768) % config.get("num_attention_heads", 12):
            raise UserMistake(f'{path}: "hidden_size" is not a multiple of "num_attention_heads".')

    def make_config(self, config: Mapping[str, Any]) -> PretrainedConfig:
        """transformers' configuration, from the `config_fields` of a config.json."""
        import transformers

        known = {name: value for name, value in config.items() if name in self.config_fields}
        return getattr(transformers, self.config_class)(**known, use_cache=False)

    def make_model(self, config: PretrainedConfig, *, pooler: bool) -> BertModel:
        """transformers' model, before weights are loaded. pooler: with BERT's pooler layer."""
        import transformers

        return getattr(transformers, self.model_class)(config, add_pooling_layer=pooler)

    def fill_buffers(self, model: BertModel) -> None:
        """Fill the buffers of a model that was made on the "meta" device. They are not in the weight file."""
        import torch

        positions = torch.arange(model.config.max_position_embeddings)[None]
        model.embeddings.register_buffer("position_ids", positions, persistent=False)
        model.embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)

    def weight_names(self, names: Sequence[str]) -> dict[str, str]:
        """The names of a weight file → the names in the model. Heads and buffers are left out.

        In published checkpoints, names may start with `bert.`, and LayerNorm's weight and bias may be called gamma and beta.
        """
        prefix = self.prefix if any(name.startswith(self.prefix) for name in names) else ""
        kept = {}
        for name in names:
            stem = name.removeprefix(prefix)
            is_head = (prefix and not name.startswith(prefix)) or name.startswith(self.heads)
            if is_head or stem in self.buffers:
                continue
            kept[name] = stem.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        return kept

    def positions(self, positions: Tensor, config: PretrainedConfig) -> Tensor:
        """The rows of the position embeddings (T,) for the tokens' positions in their sentences (T,), counting from 0."""
        return positions

    def most_tokens(self, config: PretrainedConfig) -> int:
        """The length of the longest sentence that the model has position embeddings for, in tokens."""
        return config.max_position_embeddings

    def embed(self, model: BertModel, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """The sums of word, position and token type embeddings (T, H), before LayerNorm and dropout.

        input_ids, position_ids: (T,).
        """
        embeddings = model.embeddings
        return (
            embeddings.word_embeddings(input_ids)
            + embeddings.position_embeddings(position_ids)
            + embeddings.token_type_embeddings.weight[0]
        )


FAMILY = Bert()
