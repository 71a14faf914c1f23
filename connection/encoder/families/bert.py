"""BERT (Devlin et al., 2018), and what a family of encoders is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection import UserMistake

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BertModel, PretrainedConfig


class Bert:
    """What this project must know of a family: its configuration, its weights' names, its embeddings.

    Its layers are BERT's own: `connection/encoder/packed/` computes them, once `embed` has given the first states.
    So in annotations `BertModel` is the model of any family: its parts bear the same names.
    """

    config_class, model_class = "BertConfig", "BertModel"  # of transformers
    word_embeddings = "embeddings.word_embeddings"  # the module's name in the model
    prefix = "bert."  # before every name of a checkpoint that was published with its heads
    heads = ("cls.", "classifier.", "qa_outputs.")  # what it was trained with, or for: no part of an encoder
    buffers = ("embeddings.position_ids", "embeddings.token_type_ids")
    # What a config.json may set: what the model computes. Not how it answers, nor what code runs.
    config_fields = frozenset(
        """
        vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act hidden_dropout_prob
        attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_eps pad_token_id
        """.split()
    )
    sizes: Mapping[str, int] = {  # whole numbers from 1 to these
        "vocab_size": 10_000_000,
        "hidden_size": 65_536,
        "num_hidden_layers": 1_000,
        "num_attention_heads": 1_024,
        "intermediate_size": 262_144,
        "max_position_embeddings": 1_000_000,
        "type_vocab_size": 1_024,
    }
    fractions: Mapping[str, tuple[float, float]] = {  # numbers from … to …
        "hidden_dropout_prob": (0, 0.99),
        "attention_probs_dropout_prob": (0, 0.99),
        "layer_norm_eps": (1e-20, 0.01),  # with 0, a row of equal numbers has no finite gradient
    }

    def check_config(self, config: Mapping[str, Any], path: Path) -> None:
        """Raise UserMistake where a config.json describes what cannot be trained; neither torch nor weights are needed."""
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
            raise UserMistake(f'{path}: "hidden_size" is no multiple of "num_attention_heads".')

    def make_config(self, config: Mapping[str, Any]) -> PretrainedConfig:
        """transformers' configuration, of the fields of a config.json that say what the model computes."""
        import transformers

        known = {name: value for name, value in config.items() if name in self.config_fields}
        return getattr(transformers, self.config_class)(**known, use_cache=False)

    def make_model(self, config: PretrainedConfig, *, pooler: bool) -> BertModel:
        """transformers' model, its weights not yet those of any file."""
        import transformers

        return getattr(transformers, self.model_class)(config, add_pooling_layer=pooler)

    def fill_buffers(self, model: BertModel) -> None:
        """Give a model that was made on the device `meta` what is neither in its weight file nor a weight."""
        import torch

        positions = torch.arange(model.config.max_position_embeddings)[None]
        model.embeddings.register_buffer("position_ids", positions, persistent=False)
        model.embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)

    def weight_names(self, names: Sequence[str]) -> dict[str, str]:
        """A weight file's tensor names → the model's; heads and position buffers are left out.

        Published checkpoints put `bert.` before every name and call a LayerNorm's weight and bias gamma and beta.
        """
        prefix = self.prefix if any(name.startswith(self.prefix) for name in names) else ""
        kept = {}
        for name in names:
            ours = name.removeprefix(prefix)
            is_head = (prefix and not name.startswith(prefix)) or name.startswith(self.heads)
            if is_head or ours in self.buffers:
                continue
            kept[name] = ours.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        return kept

    def positions(self, positions: Tensor, config: PretrainedConfig) -> Tensor:
        """Each token's place in its sentence (T,), counting from 0 → its row among the position embeddings."""
        return positions

    def most_tokens(self, config: PretrainedConfig) -> int:
        """The longest sentence that the model has positions for."""
        return config.max_position_embeddings

    def embed(self, model: BertModel, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """The sum of a token's embeddings, before LayerNorm and dropout. input_ids, position_ids: (T,). Returns (T, H)."""
        embeddings = model.embeddings
        return (
            embeddings.word_embeddings(input_ids)
            + embeddings.position_embeddings(position_ids)
            + embeddings.token_type_embeddings.weight[0]
        )


FAMILY = Bert()
