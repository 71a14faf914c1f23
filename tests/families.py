"""Tiny encoders of every family, with random weights and the tokenizer that the family's published encoders have."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import runs
import safetensors.torch
import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
PAIR_WORDS = [*runs.WORDS, ".", "?"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPECIAL = {
    "<s>": {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
            "unk_token": "<unk>", "mask_token": "<mask>"},
    "[CLS]": {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"},
}  # fmt: skip


def word_pieces(special: list[str], cased: bool = False) -> list[str]:
    letters = [*"abcdefghijklmnopqrstuvwxyz", *"0123456789-',"]
    capitals = [word.title() for word in runs.WORDS] if cased else []
    return [*special, *PAIR_WORDS, *capitals, *letters, *(f"##{letter}" for letter in letters), "고양이", "##가", "É"]


def write_vocab_txt(folder: Path, special: list[str] = BERT, cased: bool = False) -> int:
    pieces = word_pieces(special, cased)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return len(pieces)


def _template(first: str, last: str, backend: tokenizers.Tokenizer) -> processors.TemplateProcessing:
    ids = [(token, backend.token_to_id(token)) for token in (first, last)]
    return processors.TemplateProcessing(f"{first} $A {last}", f"{first} $A {last} $B {last}", special_tokens=ids)


def write_unigram(folder: Path) -> int:
    """tokenizer.json as XLM-RoBERTa, CamemBERT and the multilingual MiniLMs have it."""
    vocabulary = [(token, 0.0) for token in ROBERTA[:4]]
    pieces = [f"▁{word}" for word in PAIR_WORDS] + [
        *PAIR_WORDS,
        "▁",
        "▁the▁",
        *"abcdefghijklmnopqrstuvwxyz",
        "▁고양",
        "이",
        "é",
    ]
    vocabulary += [(piece, -2.0 - 0.01 * i) for i, piece in enumerate(dict.fromkeys(pieces))] + [("<mask>", 0.0)]
    backend = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.add_special_tokens(ROBERTA)
    backend.post_processor = _template("<s>", "</s>", backend)
    _save(folder, backend, "<s>")
    return backend.get_vocab_size()


def _bpe() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=ROBERTA, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator([" ".join(runs.WORDS)] * 3, trainer)
    return backend


def write_bpe(folder: Path) -> int:
    """tokenizer.json as RoBERTa and ModernBERT have it."""
    backend = _bpe()
    backend.post_processor = _template("<s>", "</s>", backend)
    _save(folder, backend, "<s>")
    return backend.get_vocab_size()


def write_bpe_files(folder: Path) -> int:
    """vocab.json and merges.txt, as RoBERTa was first published."""
    backend = _bpe()
    backend.model.save(str(folder))
    return backend.get_vocab_size()


def write_wordpiece_json(folder: Path) -> int:
    """vocab.txt and tokenizer.json of a cased Korean RoBERTa, as klue/roberta-base has them: its class is BertTokenizer."""
    size = write_vocab_txt(folder, ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"], cased=True)
    pieces = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = transformers.BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=False)
    tokenizer.save_pretrained(folder)
    return size


def _save(folder: Path, backend: tokenizers.Tokenizer, first: str) -> None:
    backend.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 40, **SPECIAL[first]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


@dataclass(frozen=True)
class Tiny:
    """model: transformers' class. write: writes the tokenizer's files and returns the size of the vocabulary."""

    model: str
    write: Callable[[Path], int]
    changes: dict[str, object]

    def make(self, folder: Path, seed: int = 0) -> Path:
        """A folder with config.json, the tokenizer and weights, none of them at its initial 0 or 1; dropout as by default."""
        folder.mkdir(parents=True)
        model_class = getattr(transformers, self.model)
        sizes = SIZES | {"max_position_embeddings": 60, "vocab_size": self.write(folder)} | self.changes
        torch.manual_seed(seed)
        model = model_class(model_class.config_class(**sizes))
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)
        config = {key: value for key, value in model.config.to_dict().items() if not key.startswith("_")}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        safetensors.torch.save_file(weights, folder / "model.safetensors")
        return folder


DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
TINY = {
    "bert, Unigram": Tiny("BertModel", write_unigram, {"pad_token_id": 1}),
    "roberta, BPE": Tiny("RobertaModel", write_bpe, {}),
    "roberta, BPE in two files": Tiny("RobertaModel", write_bpe_files, {}),
    "roberta, WordPiece": Tiny("RobertaModel", write_wordpiece_json, {"type_vocab_size": 1}),
    "xlm-roberta, Unigram": Tiny("XLMRobertaModel", write_unigram, {}),
    "camembert, Unigram": Tiny("CamembertModel", write_unigram, {}),
    "electra, WordPiece": Tiny("ElectraModel", write_vocab_txt, {"embedding_size": 32}),
    "electra, narrow": Tiny("ElectraModel", write_vocab_txt, {"embedding_size": 16}),
    "distilbert, WordPiece": Tiny("DistilBertModel", write_vocab_txt, DISTILBERT),
    "mpnet, WordPiece": Tiny("MPNetModel", lambda folder: write_vocab_txt(folder, [*ROBERTA[:3], "[UNK]", "<mask>"]), {}),
    "modernbert, BPE": Tiny(
        "ModernBertModel",
        write_bpe,
        {"local_attention": 8, "pad_token_id": 1, **dict.fromkeys(("bos_token_id", "cls_token_id"), 0),
         **dict.fromkeys(("eos_token_id", "sep_token_id"), 2)},
    ),
}  # fmt: skip
