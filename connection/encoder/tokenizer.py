"""Loads the tokenizer of an encoder's folder: tokenizer.json as it stands, or else the vocabulary of its family.

The tokens are those of the makers' own code. A vocabulary that needs code of its own is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import tokenizers
import transformers
from tokenizers import normalizers, pre_tokenizers
from transformers import PretrainedConfig
from transformers import PreTrainedTokenizerBase as Tokenizer

from connection import UserMistake
from connection.disk import durable
from connection.disk.json_file import read_json, write_json
from connection.encoder import alternatives
from connection.encoder.casing import normalization
from connection.encoder.folder import EncoderFolder

# BertTokenizer's argument → the field of BertNormalizer in tokenizer.json.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
# Classes that read a vocabulary file without code of their own → transformers' class that does.
_CLASSES = {
    "vocab.txt": {
        "BertTokenizer": "BertTokenizer",
        "ConvBertTokenizer": "BertTokenizer",
        "DistilBertTokenizer": "BertTokenizer",
        "ElectraTokenizer": "BertTokenizer",
        "MobileBertTokenizer": "BertTokenizer",
        "MPNetTokenizer": "MPNetTokenizer",
    },
    "vocab.json": {"RobertaTokenizer": "RobertaTokenizer"},
}
_NO_CLASS = ("", "PreTrainedTokenizer", "TokenizersBackend")  # the family's is meant
_PROBE = "a ж 犬 가 \U0001f9ea \ue000"  # hardly any vocabulary has all of these
_SPECIAL = ("bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token")


def load_tokenizer(folder: EncoderFolder, config: PretrainedConfig) -> Tokenizer:
    """The folder's tokenizer. What no file says of a vocab.txt, the vocabulary itself tells (`casing.py`).

    Raises UserMistake for a vocabulary that is damaged, needs code of its own, or does not match config.json.
    """
    try:
        tokenizer = _load(folder)
        if folder.lower_case_first:
            _lower_case_first(tokenizer.backend_tokenizer)
        pieces = tokenizer.get_vocab()
        special = tokenizer.backend_tokenizer.num_special_tokens_to_add(False)
        tokenizer.backend_tokenizer.encode(_PROBE)  # fails now rather than at some sentence
    except UserMistake:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of tokenizers' Rust code
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserMistake(f"{folder.bert}: its vocabulary cannot be read ({reason}). Download its files again.") from error
    if not special or tokenizer.cls_token not in pieces or tokenizer.sep_token not in pieces:
        raise UserMistake(
            f"{folder.bert}: its tokenizer puts no tokens before and after a sentence, such as [CLS] and [SEP]. The files are "
            "damaged or belong to different models."
        )
    largest = max(pieces.values())
    if largest >= config.vocab_size:
        raise UserMistake(
            f"{folder.bert}: the vocabulary has a piece number {largest}, but the weights are for {config.vocab_size} pieces "
            "(config.json). The files belong to different models."
        )
    return tokenizer


def _load(folder: EncoderFolder) -> Tokenizer:
    written = read_json(folder.bert / "tokenizer_config.json", missing={})
    named = written.get("tokenizer_class") or folder.config.get("tokenizer_class") or ""
    _refuse_japanese(folder, named, written)
    if (folder.bert / "tokenizer.json").is_file():
        return _as_it_stands(folder, written)
    return _from_vocabulary(folder, str(named).removesuffix("Fast"), written)


def _lower_case_first(backend: tokenizers.Tokenizer) -> None:
    """sentence-transformers' do_lower_case. A tokenizer that was saved with it has it already."""
    steps = [backend.normalizer] if backend.normalizer else []
    if steps and isinstance(steps[0], normalizers.Sequence):
        steps = list(cast("Iterable[Any]", steps[0]))
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


def _as_it_stands(folder: EncoderFolder, written: dict[str, Any]) -> Tokenizer:
    """The tokenizer of tokenizer.json; what tokenizer_config.json states otherwise of BERT's normalizer is obeyed."""
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder.bert, local_files_only=True)
    backend = tokenizer.backend_tokenizer
    stated = {field: written[name] for name, field in _NORMALIZER.items() if name in written}
    if isinstance(backend.normalizer, normalizers.BertNormalizer):
        for field, value in stated.items():
            setattr(backend.normalizer, field, value)
    if isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel) and "add_prefix_space" in written:
        backend.pre_tokenizer.add_prefix_space = bool(written["add_prefix_space"])
    _check_template(backend)
    _name_special_tokens(tokenizer, folder.config)
    return tokenizer


def _check_template(backend: tokenizers.Tokenizer) -> None:
    """Raise ValueError for a post-processor with a token that it does not define, at which tokenizers' Rust code panics."""
    state = json.loads(backend.post_processor.__getstate__()) if backend.post_processor else {}
    for part in state.get("processors", [state]):
        used = {piece["SpecialToken"]["id"] for piece in part.get("single", []) if "SpecialToken" in piece}
        undefined = used - part.get("special_tokens", {}).keys()
        if undefined:
            raise ValueError(f"its post-processor does not define {undefined.pop()}")


def _name_special_tokens(tokenizer: Tokenizer, config: Mapping[str, Any]) -> None:
    """Name the special tokens that no file beside tokenizer.json names, as its parts use them."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    around = backend.encode("").tokens or [None]
    named = {"cls_token": around[0], "sep_token": around[-1]}
    named["unk_token"] = getattr(backend.model, "unk_token", None) or next(
        (token for token in ("<unk>", "[UNK]") if backend.token_to_id(token) is not None), None
    )
    padding = config.get("pad_token_id", 0)
    named["pad_token"] = backend.id_to_token(padding) if type(padding) is int and padding >= 0 else None
    for name, token in named.items():
        if token is not None and getattr(tokenizer, name) is None:
            setattr(tokenizer, name, token)


def _from_vocabulary(folder: EncoderFolder, named: str, written: dict[str, Any]) -> Tokenizer:
    """transformers' tokenizer of the family, made from vocab.txt or from vocab.json and merges.txt."""
    classes = folder.family.tokenizer_classes
    file = next((name for name in classes if (folder.bert / name).is_file()), None)
    path = folder.bert / (file or "vocab.txt")
    if file is None:
        raise UserMistake(
            f"{folder.bert}: without tokenizer.json, its vocabulary cannot be read: that of {folder.family.name} takes code "
            "of its own. Download tokenizer.json from the model's page, too, or choose another encoder."
        )
    class_name = classes[file] if named in _NO_CLASS else _CLASSES[file].get(named)
    if class_name is None:
        raise UserMistake(
            f"{folder.bert}: its vocabulary is for {named}, which takes code of its own. Download tokenizer.json from the "
            f"model's page, too; if there is none, choose another encoder: {alternatives.listed()}."
        )
    if file != "vocab.txt":
        return getattr(transformers, class_name).from_pretrained(folder.bert, local_files_only=True)
    vocabulary = _read_vocabulary(path)
    stated = {name: written[name] for name in _NORMALIZER if name in written}
    if folder.lower_case is not None:
        stated["do_lower_case"] = folder.lower_case
    options = stated if "do_lower_case" in stated else normalization(vocabulary) | stated
    tokenizer = getattr(transformers, class_name).from_pretrained(folder.bert, local_files_only=True, **options)
    special = [tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token]
    if not set(special) <= set(vocabulary):
        raise UserMistake(
            f"{path}: its vocabulary is not WordPiece's: {', '.join(special)} are expected, and not all are among its "
            f"{len(vocabulary):,} pieces. The file is damaged or belongs to another model."
        )
    return tokenizer


def _read_vocabulary(path: Path) -> Collection[str]:
    text = path.read_text(encoding="utf-8")
    if text.startswith("\ufeff"):
        raise UserMistake(f"{path} begins with a byte order mark: save it as UTF-8 without one.")
    vocabulary = dict.fromkeys(text.split("\n"))
    sentencepiece = [piece for piece in vocabulary if piece.startswith("▁")]
    if len(sentencepiece) > sum(piece.startswith("##") for piece in vocabulary):
        encoder = alternatives.suited_to("".join(vocabulary))
        raise UserMistake(
            f'{path} is a SentencePiece vocabulary, with pieces such as "{sentencepiece[-1]}", not one of WordPiece: it takes '
            f"the tokenizer of its makers, which is not supported. Another encoder of this language: "
            f"{alternatives.download(encoder)}."
        )
    return vocabulary


def _refuse_japanese(folder: EncoderFolder, named: str, written: dict[str, Any]) -> None:
    splitter = written.get("word_tokenizer_type")
    if "Japanese" not in str(named) and splitter in (None, "basic"):
        return
    what = f'by "{splitter}"' if splitter else "into words"
    raise UserMistake(
        f"{folder.bert}: its tokenizer splits Japanese text {what} before WordPiece (BertJapaneseTokenizer), which is not "
        f"supported. An encoder for Japanese: {alternatives.download(alternatives.MANY)}."
    )


def save_tokenizer(folder: Path, tokenizer: Tokenizer, *, max_tokens: int, inputs: Collection[str]) -> None:
    """Write tokenizer.json and tokenizer_config.json, from which every program gets the same tokens.

    inputs: what the model takes of a tokenizer's output.
    """
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    stated = {}
    if isinstance(backend.normalizer, normalizers.BertNormalizer):  # for programs that make a BertTokenizer of the vocabulary
        stated = {name: getattr(backend.normalizer, field) for name, field in _NORMALIZER.items()}
    special = {name: str(token) for name in _SPECIAL if (token := getattr(tokenizer, name)) is not None}
    write_json(
        folder / "tokenizer_config.json",
        {
            **special,
            **stated,
            "clean_up_tokenization_spaces": False,
            "model_input_names": list(inputs),
            "model_max_length": max_tokens,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    durable.replace_file(folder / "tokenizer.json", [backend.to_str(pretty=True).encode()])
