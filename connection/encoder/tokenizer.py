"""Loads the tokenizer of an encoder's folder, with the normalisation that the model was trained with."""

from __future__ import annotations

import json
from typing import Any

import tokenizers
from tokenizers import normalizers
from transformers import AutoTokenizer, PretrainedConfig
from transformers import PreTrainedTokenizerBase as Tokenizer

from connection import UserMistake
from connection.disk.json_file import read_json
from connection.encoder.folder import EncoderFolder

# BertTokenizer's argument → the field of BertNormalizer in tokenizer.json.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def load_tokenizer(folder: EncoderFolder, config: PretrainedConfig) -> Tokenizer:
    """The folder's WordPiece tokenizer. Its normalisation is taken from the files, or else derived from the vocabulary.

    Raises UserMistake for a vocabulary that is damaged, is not BERT's, or does not match config.json.
    """
    try:
        vocabulary = _read_vocabulary(folder)
        tokenizer = AutoTokenizer.from_pretrained(
            folder.bert, config=config, local_files_only=True, trust_remote_code=False, **_normalization(folder, vocabulary)
        )
        model = tokenizer.backend_tokenizer.model
    except UserMistake:
        raise
    except Exception as error:
        raise UserMistake(f"{folder.bert}: its vocabulary cannot be read ({error}). Download its files again.") from error
    special = (tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token)
    if not isinstance(model, tokenizers.models.WordPiece) or not set(special) <= set(vocabulary):
        raise UserMistake(
            f"{folder.bert}: its vocabulary is not BERT's: WordPiece with [CLS], [SEP] and [UNK] is expected, but this is "
            f"{type(model).__name__} with {len(vocabulary):,} pieces. The files are damaged or belong to different models."
        )
    largest = max(tokenizer.get_vocab().values())
    if largest >= config.vocab_size:
        raise UserMistake(
            f"{folder.bert}: the vocabulary has a piece number {largest}, but the weights are for {config.vocab_size} pieces "
            "(config.json). The files belong to different models."
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
    """The normalisation arguments for BertTokenizer, whose default is to lower-case whatever the files say.

    Taken from tokenizer_config.json, else from the normalizer in tokenizer.json, else from the vocabulary.
    """
    normalizer = read_json(folder.bert / "tokenizer.json", missing={}).get("normalizer") or {}
    stated = {}
    if normalizer.get("type") == "BertNormalizer":
        stated = {ours: normalizer[name] for ours, name in _NORMALIZER.items() if name in normalizer}
    written = read_json(folder.bert / "tokenizer_config.json", missing={})
    stated |= {name: written[name] for name in _NORMALIZER if name in written}
    return {"do_lower_case": not is_cased(vocabulary)} | stated


def is_cased(vocabulary: list[str]) -> bool:
    """Whether a vocabulary is cased: it has an ordinary piece with an upper-case letter or a Hangul syllable.

    An uncased BERT lower-cases and strips accents, which also decomposes Hangul syllables. A letter is upper case if it has
    a lower case: bert-base-uncased contains ℝ, which has none.

    >>> is_cased(["[UNK]", "the", "ℝ"]), is_cased(["[UNK]", "The"]), is_cased(["[UNK]", "한국"])
    (False, True, True)
    """
    ordinary = (piece for piece in vocabulary if not (piece.startswith("[") and piece.endswith("]")))
    return any(letter != letter.lower() or "가" <= letter <= "힣" for piece in ordinary for letter in piece)
