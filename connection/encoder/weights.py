"""The configuration and weights of an encoder's folder → a model of its family, each checked, nothing made up."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from torch import Tensor
from transformers import PretrainedConfig

from connection import UserMistake
from connection.encoder.folder import EncoderFolder
from connection.script.interruption import Stopped

if TYPE_CHECKING:
    from transformers import BertModel


def load_config(folder: EncoderFolder) -> PretrainedConfig:
    """The folder's config.json, by the fields that say what its family computes. Raises UserMistake where it does not fit."""
    try:
        config = folder.family.make_config(folder.config)
        _make_model(folder, config, pooler=True)
    except Exception as error:  # transformers, huggingface_hub and torch each have their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserMistake(f"{folder.bert / 'config.json'} describes no BERT: {reason}. Fetch the file again.") from error
    return config


def _make_model(folder: EncoderFolder, config: PretrainedConfig, *, pooler: bool) -> BertModel:
    """The family's model without memory for its weights.

    A signal that strikes while torch enters or leaves its mode for that comes out as torch's own error; it is put right here.
    """
    try:
        with torch.device("meta"):
            return folder.family.make_model(config, pooler=pooler)
    except Exception as error:
        if isinstance(error.__context__, Stopped):
            raise error.__context__ from None
        raise


def weights_bytes(folder: EncoderFolder) -> int:
    """What the encoder's weights take as float32, whatever type its file has, and without its heads. Reads none of them."""
    assert folder.weights is not None
    if folder.weights.suffix != ".safetensors":
        return sum(4 * weight.numel() for weight in _make_model(folder, load_config(folder), pooler=True).parameters())
    with _named_as_damaged(folder.weights), safetensors.safe_open(folder.weights, framework="pt") as file:
        kept = folder.family.weight_names(list(file.keys()))
        return sum(4 * math.prod(file.get_slice(name).get_shape()) for name in kept)


def load_model(folder: EncoderFolder, config: PretrainedConfig, *, attention: str) -> BertModel:
    """The family's model with every weight from the folder, in float32. attention: a name among those of transformers."""
    assert folder.weights is not None  # only a folder that is being downloaded is inspected without them
    given = _read_weights(folder.weights)
    names = folder.family.weight_names(list(given))  # theirs → ours
    ours = sorted(names.values())
    twice = [name for name, next_name in itertools.pairwise(ours) if name == next_name]
    if twice:
        raise UserMistake(f"{folder.weights} holds {twice[0]} under two names. Fetch the file again.")
    weights = {name: given[theirs] for theirs, name in names.items()}
    config._attn_implementation = attention
    model = _make_model(folder, config, pooler=any(name.startswith("pooler.") for name in weights))
    _check_weights(folder, weights, dict(model.named_parameters()))
    model.to_empty(device="cpu")
    folder.family.fill_buffers(model)
    model.load_state_dict(weights, strict=True)
    if pooler := getattr(model, "pooler", None):
        pooler.requires_grad_(False)  # kept and saved, but no pooling uses it: it never has a gradient
    return model


@contextlib.contextmanager
def _named_as_damaged(path: Path) -> Iterator[None]:
    """Their errors advise to load what is refused."""
    try:
        yield
    except Exception as error:
        raise UserMistake(f"{path} cannot be read as weights: it is damaged, or more than weights. Fetch it again.") from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    with _named_as_damaged(path):
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)  # tensors by name, and no code
    if not isinstance(weights, dict) or not all(
        isinstance(x, Tensor) and x.layout is torch.strided and isinstance(name, str) for name, x in weights.items()
    ):
        raise UserMistake(f"{path} is no table of weights by name, as BERT's are. Fetch the file again.")
    return weights


def _check_weights(folder: EncoderFolder, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raise UserMistake unless the names and shapes are those wanted and every number is finite in float32."""
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    shapes = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    if missing:
        problem = f"lacks {len(missing)} of {len(wanted)} weights, {missing[0]} among them"
    elif unknown:
        problem = f"holds {len(unknown)} weights that BERT does not have, {unknown[0]} among them"
    elif shapes:
        name = shapes[0]
        problem = f"has {name} of shape {tuple(given[name].shape)} where config.json says {tuple(wanted[name].shape)}"
    else:
        odd = [name for name, x in given.items() if not x.is_floating_point() or not x.float().isfinite().all()]
        problem = f"has numbers in {odd[0]} that are not finite, or whole numbers" if odd else ""
    if problem:
        raise UserMistake(f"{folder.weights} {problem}. The files belong to different models or are damaged; fetch them again.")
