"""The files of an encoder's folder → BertConfig, tokenizer and BertModel, each checked, nothing made up."""

from __future__ import annotations

import itertools
import json
from typing import Any

import safetensors.torch
import tokenizers
import torch
from tokenizers import normalizers
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from connection import UserMistake
from connection.encoder.folder import EncoderFolder, encoder_names, is_cased, read_json

# What a config.json may set: what BERT computes. Not how it answers, nor what code runs.
_CONFIG = {
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
}

# What BertTokenizer calls the settings of the BertNormalizer in a tokenizer.json.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def load_config(folder: EncoderFolder) -> BertConfig:
    """The folder's config.json, by the fields that say what BERT computes. Raises UserMistake where one is no BERT's."""
    known = {name: value for name, value in folder.config.items() if name in _CONFIG}
    try:
        config = BertConfig(**known, use_cache=False)
        with torch.device("meta"):
            BertModel(config)
    except Exception as error:  # transformers, huggingface_hub and torch each have their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserMistake(f"{folder.bert / 'config.json'} describes no BERT: {reason}. Fetch the file again.") from error
    return config


def load_tokenizer(folder: EncoderFolder, config: BertConfig) -> Tokenizer:
    """The folder's WordPiece tokenizer, normalizing as its files say or, where they do not, as its vocabulary needs."""
    try:
        vocabulary = _read_vocabulary(folder)
        tokenizer = AutoTokenizer.from_pretrained(
            folder.bert, config=config, local_files_only=True, trust_remote_code=False, **_normalization(folder, vocabulary)
        )
        model = tokenizer.backend_tokenizer.model
    except UserMistake:
        raise
    except Exception as error:
        raise UserMistake(f"{folder.bert}: its vocabulary cannot be read ({error}). Fetch its files again.") from error
    special = (tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token)
    if not isinstance(model, tokenizers.models.WordPiece) or not set(special) <= set(vocabulary):
        raise UserMistake(
            f"{folder.bert}: its vocabulary is not BERT's: WordPiece with [CLS], [SEP] and [UNK] is expected, and this is "
            f"{type(model).__name__} of {len(vocabulary):,} pieces. The files belong to different models or are damaged."
        )
    largest = max(tokenizer.get_vocab().values())
    if largest >= config.vocab_size:
        raise UserMistake(
            f"{folder.bert}: the vocabulary has a piece number {largest}, but the weights are for "
            f"{config.vocab_size} pieces (config.json). The files belong to different models."
        )
    if folder.lower_case_first:
        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
    return tokenizer


def _read_vocabulary(folder: EncoderFolder) -> list[str]:
    if (folder.bert / "tokenizer.json").is_file():
        return list(json.loads((folder.bert / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    text = (folder.bert / "vocab.txt").read_text(encoding="utf-8")
    if text.startswith("\ufeff"):
        raise UserMistake(f"{folder.bert / 'vocab.txt'} begins with a byte order mark: save it as UTF-8 without one.")
    return text.splitlines()


def _normalization(folder: EncoderFolder, vocabulary: list[str]) -> dict[str, Any]:
    """Arguments for BertTokenizer, which lower-cases whatever the files are for unless it is told.

    tokenizer_config.json comes first, then the normalizer in tokenizer.json, and last the vocabulary.
    """
    normalizer = read_json(folder.bert / "tokenizer.json", missing={}).get("normalizer") or {}
    stated = {}
    if normalizer.get("type") == "BertNormalizer":
        stated = {ours: normalizer[name] for ours, name in _NORMALIZER.items() if name in normalizer}
    written = read_json(folder.bert / "tokenizer_config.json", missing={})
    stated |= {name: written[name] for name in _NORMALIZER if name in written}
    return {"do_lower_case": not is_cased(vocabulary)} | stated


def load_bert(folder: EncoderFolder, config: BertConfig, *, attention: str) -> BertModel:
    """A BertModel with every weight from the folder, in float32. attention: the name of an attention of transformers."""
    given = _read_weights(folder)
    names = encoder_names(list(given))  # theirs → ours
    ours = sorted(names.values())
    twice = [name for name, next_name in itertools.pairwise(ours) if name == next_name]
    if twice:
        raise UserMistake(f"{folder.weights} holds {twice[0]} under two names. Fetch the file again.")
    weights = {name: given[theirs] for theirs, name in names.items()}
    has_pooler = any(name.startswith("pooler.") for name in weights)
    config._attn_implementation = attention
    with torch.device("meta"):
        bert = BertModel(config, add_pooling_layer=has_pooler)
    _check_weights(folder, weights, dict(bert.named_parameters()))
    bert.to_empty(device="cpu")
    bert.embeddings.position_ids = torch.arange(config.max_position_embeddings)[None]
    bert.embeddings.token_type_ids = torch.zeros_like(bert.embeddings.position_ids)
    bert.load_state_dict(weights, strict=True)
    return bert


def _read_weights(folder: EncoderFolder) -> dict[str, Tensor]:
    path = folder.weights
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)  # tensors by name, and no code
    except Exception as error:  # theirs advise to load what is refused
        raise UserMistake(f"{path} cannot be read as weights: it is damaged, or more than weights. Fetch it again.") from error
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
