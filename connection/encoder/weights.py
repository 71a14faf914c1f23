"""Loads the configuration and weights of an encoder's folder into a model. Every weight must be in the file."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import safetensors.torch
import torch
from torch import Tensor

from connection import UserMistake
from connection.encoder.families import FAMILIES
from connection.encoder.folder import EncoderFolder
from connection.encoder.plain_model import PlainModel, named_shapes
from connection.script.interruption import Stopped

if TYPE_CHECKING:
    from transformers import BertModel, PretrainedConfig


def load_config(folder: EncoderFolder) -> PretrainedConfig:
    """transformers' configuration for the folder's config.json. Raises UserMistake if no model can be made of it."""
    try:
        config = folder.family.make_config(folder.config)
        _make_model(folder, config, pooler=True)
    except Exception as error:  # transformers, huggingface_hub and torch raise different ones
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserMistake(
            f"{folder.bert / 'config.json'} does not describe a {folder.family.name}: {reason}. Download it again."
        ) from error
    return config


def _needs_only_weights(folder: EncoderFolder, config: PretrainedConfig) -> bool:
    """Whether this project computes the layers itself, by an activation that needs no code of transformers either."""
    return bool(folder.family.layers_at) and folder.family.activation(config) == "gelu"


def _make_model(
    folder: EncoderFolder, config: PretrainedConfig, *, pooler: bool, whole: bool = False
) -> BertModel | PlainModel:
    """The family's model on torch's "meta" device, which allocates no memory for weights. whole: as for `load_model`.

    torch turns a signal received while it enters or leaves that device into an error of its own; this raises `Stopped` again.
    """
    try:
        if not whole and _needs_only_weights(folder, config):
            return PlainModel(folder.family, config, pooler=pooler)
        with torch.device("meta"):
            return folder.family.make_model(config, pooler=pooler)
    except Exception as error:
        if isinstance(error.__context__, Stopped):
            raise error.__context__ from None
        raise


def weights_bytes(folder: EncoderFolder) -> int:
    """Size of the encoder's weights in float32, in bytes, without heads. Reads no weights."""
    assert folder.weights is not None
    if folder.weights.suffix != ".safetensors":
        return sum(4 * weight.numel() for weight in _make_model(folder, load_config(folder), pooler=True).parameters())
    with _named_as_damaged(folder.weights), safetensors.safe_open(folder.weights, framework="pt") as file:
        kept = weight_names(folder, list(file.keys()))
        return sum(4 * math.prod(file.get_slice(name).get_shape()) for name in kept)


def load_model(folder: EncoderFolder, config: PretrainedConfig, *, whole: bool) -> BertModel:
    """The family's model with the weights of the folder, in float32, with the attention of packed sentences.

    whole: transformers' model, whose code takes its time to import; else only its weights, where that is enough.
    Raises UserMistake if a weight is missing, unknown, of another shape, or not finite.
    """
    assert folder.weights is not None  # only downloadBert.py inspects a folder without weights
    tensors = _read_weights(folder.weights)
    names = weight_names(folder, list(tensors))  # name in the file → name in the model
    sorted_names = sorted(names.values())
    twice = [name for name, next_name in itertools.pairwise(sorted_names) if name == next_name]
    if twice:
        raise UserMistake(f"{folder.weights} holds {twice[0]} under two names. Download the file again.")
    weights = {name: tensors.pop(file_name) for file_name, name in names.items()}
    whole = whole or not _needs_only_weights(folder, config)
    if whole and folder.family.packs_attention:
        from connection.encoder.packed.attention import PACKED
    config._attn_implementation = PACKED if whole and folder.family.packs_attention else "eager"
    model = _make_model(folder, config, pooler=any(name.startswith("pooler.") for name in weights), whole=whole)
    _check_weights(folder, weights, named_shapes(model))
    if isinstance(model, PlainModel):
        model.take(weights)
    else:
        model.to_empty(device="cpu")
        folder.family.fill_buffers(model)
        model.load_state_dict(weights, strict=True)
    if pooler := getattr(model, "pooler", None):
        pooler.requires_grad_(False)  # saved with the rest, but no pooling uses it, so it never has a gradient
    return cast("BertModel", model)  # which stands for the model of any family


def weight_names(folder: EncoderFolder, names: Sequence[str]) -> dict[str, str]:
    """The names of the weight file → the names in the model, without heads and buffers.

    What another program put before all of them is left out, such as `module.` or `0.auto_model.`. Raises UserMistake where not
    all have it, and where the file holds more than one encoder.
    """
    stem = f"{folder.family.word_embeddings}.weight"
    before = {name.removesuffix(stem) for name in names if name == stem or name.endswith(f".{stem}")}
    if len(before) > 1:
        raise UserMistake(f"{folder.weights} holds several encoders, whose names begin with {', '.join(sorted(before))}.")
    outer, own = before.pop() if before else "", folder.family.prefix
    if f".{outer}".endswith(f".{own}"):  # module.bert. → module.
        outer = outer.removesuffix(own)
    other = next((name for name in names if not name.startswith(outer)), None)
    if other is not None:
        raise UserMistake(
            f"{folder.weights}: the names of the encoder's weights begin with {outer}, but not all do, such as {other}. It "
            "holds more than an encoder, and what the rest computes is not known."
        )
    family = next((key for key in FAMILIES if f".{outer}".endswith(f".{key.replace('-', '_')}.")), None)
    if family is not None:
        raise UserMistake(
            f'{folder.weights} holds a model of the type "{family}", by the names of its weights; config.json says '
            f"{folder.family.name}. The files belong to different models."
        )
    inner = folder.family.weight_names([name.removeprefix(outer) for name in names])
    return {outer + name: own for name, own in inner.items()}


@contextlib.contextmanager
def _named_as_damaged(path: Path) -> Iterator[None]:
    """Replace the errors of torch and safetensors, which advise unsafe loading, by a UserMistake."""
    try:
        yield
    except Exception as error:
        raise UserMistake(
            f"{path} cannot be read as weights: it is damaged or contains more than weights. Download it again."
        ) from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    with _named_as_damaged(path):
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)  # loads tensors, runs no code
    if not _are_weights(weights) and isinstance(weights, dict):  # {"state_dict": …, "epoch": …}
        inside = [name for name, value in weights.items() if isinstance(value, dict) and value and _are_weights(value)]
        if len(inside) > 1:
            raise UserMistake(f"{path} holds several sets of weights: {', '.join(map(str, inside))}. Save one of them alone.")
        weights = weights[inside[0]] if inside else weights
    if not _are_weights(weights):
        raise UserMistake(f"{path} does not contain the weights of an encoder by name. Download the file again.")
    return weights


def _are_weights(value: Any) -> bool:
    """Whether a value is a table of names and tensors."""
    return isinstance(value, dict) and all(
        isinstance(x, Tensor) and x.layout is torch.strided and isinstance(name, str) for name, x in value.items()
    )


def _check_weights(folder: EncoderFolder, weights: dict[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise UserMistake unless names and shapes are as expected and every value is finite in float32."""
    missing, unknown = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    misshapen = [name for name in expected if name in weights and tuple(weights[name].shape) != expected[name]]
    if missing:
        problem = f"lacks {len(missing)} of {len(expected)} weights, such as {missing[0]}"
    elif unknown:
        problem = f"has {len(unknown)} weights that {folder.family.name} does not have, such as {unknown[0]}"
    elif misshapen:
        name = misshapen[0]
        problem = f"has {name} of shape {tuple(weights[name].shape)} where config.json says {expected[name]}"
    else:
        invalid = [name for name, x in weights.items() if not x.is_floating_point() or not x.float().isfinite().all()]
        problem = f"has values in {invalid[0]} that are not finite or not floating point" if invalid else ""
    if problem:
        raise UserMistake(f"{folder.weights} {problem}. The files are damaged or of different models; download them again.")
