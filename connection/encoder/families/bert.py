"""BERT (Devlin et al., 2018), and the interface of a family of encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from connection import UserMistake
from connection.text import shown

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import BertModel, PretrainedConfig

    from connection.encoder.packed.blocks import Blocks


class LayerModules(NamedTuple):
    """The modules of a layer whose computation is BERT's, by their role. The first eight have a weight and a bias each."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attended: nn.Linear  # after attention
    attended_norm: nn.LayerNorm
    inner: nn.Linear
    output: nn.Linear
    output_norm: nn.LayerNorm
    layer: nn.Module  # which holds them all


class Dropouts(NamedTuple):
    """The dropout probabilities of a model, and whether it drops values of the dense output after attention."""

    hidden: float
    attention: float
    after_attention: bool = True


def with_bias(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of the weight and the bias of a linear layer (N, K) or a LayerNorm (N,)."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


class Bert:
    """What differs between families: the configuration, the names of modules and weights, the embeddings.

    Where `layers` gives the modules of BERT's layers, `connection/encoder/packed/` computes them from the output of `embed`. In
    annotations, `BertModel` stands for the model of any family.
    """

    name = "BERT"  # for messages
    config_class, model_class = "BertConfig", "BertModel"  # of transformers
    word_embeddings = "embeddings.word_embeddings"  # the module's name in the model
    layers_at = "encoder.layer"  # the name of the list of layers; "" where they are not BERT's
    # The modules of a layer by name, in the order of `LayerModules`.
    layer_names: tuple[str, ...] = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
    prefix = "bert."  # of every weight's name in checkpoints that were published with heads
    # Output layers of pre-training or of a task; not part of an encoder.
    heads: tuple[str, ...] = ("cls.", "classifier.", "qa_outputs.")
    buffers: tuple[str, ...] = ("embeddings.position_ids", "embeddings.token_type_ids")
    has_pooler = True
    packs_attention = True  # whether transformers' model takes the attention of `connection/encoder/packed/attention.py`
    # What the model takes of a tokenizer's output, for other programs that load what is saved.
    inputs: tuple[str, ...] = ("input_ids", "token_type_ids", "attention_mask")
    # transformers' class for the vocabulary file of a folder without tokenizer.json.
    tokenizer_classes: Mapping[str, str] = {"vocab.txt": "BertTokenizer"}
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
    width_and_heads = ("hidden_size", 768), ("num_attention_heads", 12)  # field and default; one is a multiple of the other

    def check_config(self, config: Mapping[str, Any], path: Path) -> None:
        """Raise UserMistake if a config.json describes a model that cannot be trained. Needs neither torch nor the weights."""
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise UserMistake(f"{path}: this {self.name} is a decoder; an encoder is needed.")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise UserMistake(f'{path}: "position_embedding_type" is "{config["position_embedding_type"]}", not "absolute".')
        for name, highest in self.sizes.items():
            value = config.get(name, 1)
            if type(value) is not int or not 1 <= value <= highest:
                raise UserMistake(f'{path}: "{name}" is {shown(value)}; a whole number from 1 to {highest:,} is expected.')
        for name, (low, high) in self.fractions.items():
            value = config.get(name, low)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise UserMistake(f'{path}: "{name}" is {shown(value)}; a number from {low:g} to {high:g} is expected.')
        (width, default_width), (heads, default_heads) = self.width_and_heads
        if config.get(width, default_width) % config.get(heads, default_heads):
            raise UserMistake(f'{path}: "{width}" is not a multiple of "{heads}".')

    def make_config(self, config: Mapping[str, Any]) -> PretrainedConfig:
        """transformers' configuration, from the `config_fields` of a config.json."""
        import transformers

        known = {name: value for name, value in config.items() if name in self.config_fields}
        return getattr(transformers, self.config_class)(**known, use_cache=False)

    def make_model(self, config: PretrainedConfig, *, pooler: bool) -> BertModel:
        """transformers' model, before weights are loaded. pooler: with the pooler layer, where the family has one."""
        import transformers

        options = {"add_pooling_layer": pooler} if self.has_pooler else {}
        return getattr(transformers, self.model_class)(config, **options)

    def shapes(self, config: PretrainedConfig, *, pooler: bool) -> dict[str, tuple[int, ...]]:
        """The shape of each weight of transformers' model by name, in its order. Only where the layers are BERT's."""
        hidden, inner = config.hidden_size, self.inner_size(config)
        own = [(hidden, hidden)] * 4 + [(hidden,), (inner, hidden), (hidden, inner), (hidden,)]
        found = self.embedding_shapes(config)
        for number in range(config.num_hidden_layers):
            for name, shape in zip(self.layer_names, own, strict=True):
                found |= with_bias(f"{self.layers_at}.{number}.{name}", shape)
        found |= self.further_shapes(config)
        return found | (with_bias("pooler.dense", (hidden, hidden)) if pooler else {})

    def embedding_shapes(self, config: PretrainedConfig) -> dict[str, tuple[int, ...]]:
        """Those of the modules before the layers."""
        width = getattr(config, "embedding_size", config.hidden_size)
        counts = {
            "word_embeddings": config.vocab_size,
            "position_embeddings": config.max_position_embeddings,
            "token_type_embeddings": getattr(config, "type_vocab_size", 0),  # some families have none
        }
        found = {f"embeddings.{name}.weight": (count, width) for name, count in counts.items() if count}
        return found | with_bias("embeddings.LayerNorm", (width,))

    def further_shapes(self, config: PretrainedConfig) -> dict[str, tuple[int, ...]]:
        """Those of modules between the layers and the pooler."""
        return {}

    def inner_size(self, config: PretrainedConfig) -> int:
        """The size of the layers' inner states."""
        return config.intermediate_size

    def padding_rows(self, config: PretrainedConfig) -> dict[str, int]:
        """The rows of embeddings that are not trained, by the name of the module."""
        return {self.word_embeddings: config.pad_token_id}

    def fill_buffers(self, model: BertModel) -> None:
        """Fill the buffers of a model that was made on the "meta" device. They are not in the weight file."""
        import torch

        positions = torch.arange(model.config.max_position_embeddings)[None]
        values = {"embeddings.position_ids": positions, "embeddings.token_type_ids": torch.zeros_like(positions)}
        for name in self.buffers:
            model.embeddings.register_buffer(name.removeprefix("embeddings."), values[name], persistent=False)

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

    def positions(self, input_ids: Tensor, positions: Tensor, config: PretrainedConfig) -> Tensor:
        """The rows of the position embeddings (T,) for packed tokens (T,).

        positions: (T,), those of the tokens in their sentences, counting from 0.
        """
        return positions

    def most_tokens(self, config: PretrainedConfig) -> int:
        """The length of the longest sentence that the model has position embeddings for, in tokens."""
        return config.max_position_embeddings

    def embed(self, model: BertModel, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """The sums of all embeddings (T, E), before LayerNorm and dropout; E = H in nearly all models.

        input_ids, position_ids: (T,).
        """
        embeddings = model.embeddings
        return (
            embeddings.word_embeddings(input_ids)
            + embeddings.position_embeddings(position_ids)
            + embeddings.token_type_embeddings.weight[0]
        )

    def project(self, model: Any, embedded: Tensor) -> Tensor:
        """The input of the first layer (T, H), from the embeddings after LayerNorm and dropout (T, E)."""
        return embedded

    def layers(self, model: Any) -> list[LayerModules]:
        """The modules of each layer; an empty list where the layers are not BERT's and only transformers computes them."""
        if not self.layers_at:
            return []
        modules_of = attrgetter(*self.layer_names)
        return [LayerModules._make((*modules_of(layer), layer)) for layer in attrgetter(self.layers_at)(model)]

    def activation(self, config: PretrainedConfig) -> str:
        return config.hidden_act

    def dropouts(self, config: PretrainedConfig) -> Dropouts:
        return Dropouts(config.hidden_dropout_prob, config.attention_probs_dropout_prob)

    def position_bias(self, model: Any, length: int) -> Tensor | None:
        """What is added to the attention scores of each pair of positions, (heads, length, length); None for nothing."""
        return None

    def states(self, model: BertModel, input_ids: Tensor, position_ids: Tensor, blocks: Blocks) -> Tensor:
        """The token states (T, H) of packed sentences by transformers' own layers, with the attention of `packed/attention.py`.

        input_ids, position_ids: (T,). blocks: the layout of the sentences for attention.
        """
        return model(input_ids=input_ids[None], position_ids=position_ids[None], blocks=blocks).last_hidden_state[0]


FAMILY = Bert()
