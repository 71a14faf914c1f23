"""A folder that is no encoder: what it is, and the one step that helps, said before torch is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import runs
import safetensors.torch
import torch
from torch import Tensor

import bertFineTuningWithConnectionData as script
import downloadBert
from connection import UserMistake
from connection.constants import KINDS
from connection.encoder import diagnosis
from connection.encoder.folder import inspect_encoder
from connection.script.settings import read_settings
from ConnectionBert import ConnectionBert

SENTENCES = ["a cat is sleeping.", "The red DOG?", "two"]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny plain BERT, to be changed."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def refusal(folder: Path) -> str:
    with pytest.raises(UserMistake) as error:
        inspect_encoder(folder)
    return str(error.value)


def write(folder: Path, name: str, content: bytes | dict[str, object] = b"x") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


# What is renamed, and what the message says.
RENAMED = [
    ("vocab.txt", "vocab (1).txt", 'There is "vocab (1).txt": rename it to vocab.txt.'),
    ("vocab.txt", "bert-base-uncased-vocab.txt", "rename it to vocab.txt."),
    ("vocab.txt", "vocab.txt.txt", "rename it to vocab.txt."),
    ("vocab.txt", "Vocab - Copy.txt", "rename it to vocab.txt."),
    ("config.json", "bert_config.json", 'There is "bert_config.json": rename it to config.json.'),
    ("config.json", "config(2).json", "rename it to config.json."),
    ("config.json", "conifg.json", "rename it to config.json."),
    ("model.safetensors", "model (1).safetensors", "rename it to model.safetensors."),
    ("model.safetensors", "bert-base-uncased-pytorch_model.bin", "rename it to pytorch_model.bin."),
    ("model.safetensors", "pytorch-model.bin", "rename it to pytorch_model.bin."),
    ("model.safetensors", "model.safetensors.crdownload", '"model.safetensors.crdownload" is an unfinished download'),
    ("model.safetensors", "bert_model.ckpt.index", "Its weights are a TensorFlow checkpoint: in Python, "),
    ("model.safetensors", "tf_model.h5", "Its weights are TensorFlow's: in Python, AutoModel"),
    ("model.safetensors", "flax_model.msgpack", "Its weights are Flax's"),
    ("model.safetensors", "onnx/model.onnx", "Its weights are an ONNX model, which cannot be trained"),
    ("model.safetensors", "model.gguf", "Its weights are a GGUF file"),
    ("model.safetensors", "model.safetensors.index.json", "Its weights are in several files"),
    ("vocab.txt", "spiece.model", 'Its vocabulary is the SentencePiece model "spiece.model": download tokenizer.json'),
    ("vocab.txt", "vocab.json", "Beside vocab.json there must be merges.txt"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "other", "message"), RENAMED)
def test_what_is_there_instead_of_a_file_is_named_with_the_step(folder: Path, name: str, other: str, message: str) -> None:
    write(folder, other, (folder / name).read_bytes())
    (folder / name).unlink()
    told = refusal(folder)
    assert told.startswith(f"ENCODER: {folder} lacks ") and message in told and len(told) < 600


@pytest.mark.parametrize("other", ["tokenizer_config.json", "special_tokens_map.json", "README.md", "vocabulary.pdf"])
def test_other_files_are_no_near_names(folder: Path, other: str) -> None:
    write(folder, other)
    (folder / "config.json").unlink()
    assert "rename" not in refusal(folder)


CONTENT = [
    ("model.safetensors", LFS, "is a pointer of Git LFS, not the file itself: run `git lfs pull`"),
    ("vocab.txt", LFS, "is a pointer of Git LFS"),
    ("config.json", b"<!DOCTYPE html>\n<html>", "is a web page, not the file itself"),
    ("model.safetensors", b"\n <HTML><body>", "is a web page"),
    ("vocab.txt", b'<?xml version="1.0"?><Error/>', "is a web page"),
    ("model.safetensors", b'{"error":"Repository not found"}', "is an error message of the server"),
    ("vocab.txt", b"Entry not found", "is an error message of the server"),
    ("model.safetensors", b"PK\x03\x04archive", "is a file of PyTorch: rename it to pytorch_model.bin"),
    ("model.safetensors", b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
]


@pytest.mark.parametrize(("name", "content", "message"), CONTENT)
def test_what_a_file_is_under_the_name_of_another_is_said(folder: Path, name: str, content: bytes, message: str) -> None:
    write(folder, name, content)
    assert refusal(folder).startswith(f"{folder / name} {message}")


def test_weights_of_safetensors_under_the_other_name_are_told_apart(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "is a safetensors file: rename it to model.safetensors" in refusal(folder)


def test_an_adapter_is_not_read_as_its_encoder(folder: Path) -> None:
    """transformers would load it into the encoder beside it."""
    write(folder, "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "some/base"})
    assert refusal(folder) == (
        f"ENCODER: {folder} holds an adapter (LORA) of some/base, not an encoder: merge it into its encoder first, in Python "
        "with peft's merge_and_unload() and save_pretrained(…)."
    )
    write(folder, "adapter_config.json", b"damaged")
    assert "holds an adapter, not an encoder" in refusal(folder)


def test_folders_of_the_hubs_cache_name_the_encoder_in_them(folder: Path, tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--acme--tiny"
    for commit in ("a" * 40, "b" * 40):
        shutil.copytree(folder, cached / "snapshots" / commit)
    write(cached, "refs/main", b"a" * 40)
    expected = cached / "snapshots" / ("a" * 40)
    assert refusal(cached) == f"ENCODER: {cached} is a folder of the hub's cache; its encoder is {expected}."
    assert refusal(cached / "snapshots").endswith(f"its encoder is {expected}.")
    assert refusal(tmp_path / "hub") == f"ENCODER: {tmp_path / 'hub'} is the hub's cache; its encoder is {expected}."
    inspect_encoder(expected)
    shutil.copytree(cached, tmp_path / "hub" / "models--acme--other")
    assert f"one of {tmp_path / 'hub' / 'models--acme--other'}" in refusal(tmp_path / "hub")


def test_a_folder_around_encoders_names_them(folder: Path, tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"ENCODER: {tmp_path} is a folder around an encoder; its encoder is {folder}."
    shutil.copytree(folder, tmp_path / "klue" / "bert-base")
    assert refusal(tmp_path).endswith("is a folder of encoders; its encoder is one of encoder, klue/bert-base.")


def test_an_encoder_is_found_by_its_name_in_the_folder_of_encoders(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """--encoder klue/bert-base; a folder that is where the path says comes first."""
    source = tmp_path / "project" / "script.py"
    source.parent.mkdir()
    source.write_text(Path(script.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    there = source.parent / "transformers" / "bert" / "klue" / "bert-base"
    shutil.copytree(folder, there)
    monkeypatch.chdir(tmp_path)
    flags = ["--encoder", "klue/bert-base"]
    assert there.resolve() == read_settings(source, vars(script), KINDS, flags).ENCODER
    assert there.resolve() == read_settings(source, vars(script) | {"ENCODER": "klue/bert-base"}, KINDS, []).ENCODER
    (tmp_path / "klue" / "bert-base").mkdir(parents=True)
    assert (tmp_path / "klue" / "bert-base").resolve() == read_settings(source, vars(script), KINDS, flags).ENCODER
    assert (tmp_path / "other").resolve() == read_settings(source, vars(script), KINDS, ["--encoder=other"]).ENCODER


def test_a_name_that_is_nowhere_is_answered_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "ENCODERS", tmp_path / "none")
    told = refusal(tmp_path / "klue" / "bert-base")
    assert "`python downloadBert.py klue/bert-base`, if that is its name on the hub" in told
    assert "klue/bert-base (Korean)" in told and "all-MiniLM-L6-v2 (English" in told


def test_korean_sentences_are_not_trained_with_the_english_encoder_by_itself(tmp_path: Path) -> None:
    """make train, without an encoder."""
    rows = [["sentence1", "sentence2", "score"], ["고양이가 잔다", "개가 잔다", 2], ["비가 온다", "눈이 온다", 3]]
    settings = read_settings(
        script.__file__, vars(script), KINDS, [f"--train-file={runs.write_rows(tmp_path / 'ko.csv', rows)}"]
    )
    with pytest.raises(UserMistake, match=r"is for English; .* Run `python downloadBert.py klue/bert-base` and set ENCODER"):
        downloadBert.refuse_other_language(settings)
    for other in ("--train-file=data/connections-train.csv", f"--train-file={tmp_path / 'none.csv'}"):
        downloadBert.refuse_other_language(read_settings(script.__file__, vars(script), KINDS, [other]))


# ------------------------------------------------------------------------------------------- names of weights, wrappers


def weights_of(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


Change = Callable[[dict[str, Tensor]], object]
WRAPPED: dict[str, Change] = {
    "module.": lambda w: {f"module.{name}": x for name, x in w.items()},
    "0.auto_model.": lambda w: {f"0.auto_model.{name}": x for name, x in w.items()},
    "model.bert. and heads": lambda w: {f"model.bert.{name}": x for name, x in w.items()} | {"model.cls.bias": torch.ones(3)},
    "_orig_mod.module.": lambda w: {f"_orig_mod.module.{name}": x for name, x in w.items()},
    "state_dict": lambda w: {"state_dict": w, "epoch": 3},
    "model, beside the optimizer's": lambda w: {
        "model": {f"module.{name}": x for name, x in w.items()},
        "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": []},
    },
}


@pytest.mark.parametrize("change", WRAPPED.values(), ids=WRAPPED)
def test_what_stands_before_all_names_or_around_the_weights_is_taken_off(folder: Path, change: Change) -> None:
    expected = ConnectionBert.load(folder).encode(SENTENCES)
    weights = weights_of(folder)
    (folder / "model.safetensors").unlink()
    torch.save(change(weights), folder / "pytorch_model.bin")
    assert (ConnectionBert.load(folder, quiet=True).encode(SENTENCES) == expected).all()


MIXED: dict[str, tuple[Change, str]] = {
    "another module": (
        lambda w: {f"0.auto_model.{name}": x for name, x in w.items()} | {"2.linear.weight": torch.ones(3, 3)},
        r"begin with 0\.auto_model\., but not all do, such as 2\.linear\.weight",
    ),
    "two encoders": (
        lambda w: {f"{side}.{name}": x for name, x in w.items() for side in ("query", "passage")},
        r"holds several encoders, whose names begin with passage\., query\.",
    ),
    "another family": (lambda w: {f"roberta.{name}": x for name, x in w.items()}, 'holds a model of the type "roberta"'),
    "two sets": (lambda w: {"model": w, "ema": dict(w)}, "holds several sets of weights: model, ema"),
    "nothing": (lambda w: {"epoch": 3}, "does not contain the weights of an encoder by name"),
}


@pytest.mark.parametrize(("change", "message"), MIXED.values(), ids=MIXED)
def test_weights_of_more_than_this_encoder_are_refused(folder: Path, change: Change, message: str) -> None:
    weights = weights_of(folder)
    (folder / "model.safetensors").unlink()
    torch.save(change(weights), folder / "pytorch_model.bin")
    with pytest.raises(UserMistake, match=message):
        ConnectionBert.load(folder)


def test_the_class_of_the_model_tells_the_family_where_its_type_is_not_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["model_type"]
    for classes, found in (([], "BERT"), (["BertForMaskedLM"], "BERT"), (["XLMRobertaModel"], "XLM-RoBERTa")):
        write(folder, "config.json", config | {"architectures": classes})
        assert inspect_encoder(folder).family.name == found
    write(folder, "config.json", config | {"architectures": ["AlbertModel"]})
    assert 'the model type is "AlbertModel"; the types bert, ' in refusal(folder)


# ------------------------------------------------------------------------------------- the layout of version 0.2


def test_the_layout_of_the_first_sentence_transformers_is_loaded(folder: Path, tmp_path: Path) -> None:
    """modules.json names models.BERT in 0_BERT, whose configuration names no type."""
    old = tmp_path / "old"
    bert = Path(shutil.copytree(folder, old / "0_BERT"))
    config = json.loads((bert / "config.json").read_text(encoding="utf-8"))
    write(bert, "config.json", {name: value for name, value in config.items() if name not in ("model_type", "architectures")})
    write(bert, "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": False})
    write(old, "config.json", {"__version__": "0.2.5"})
    write(old, "1_Pooling/config.json", {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False})
    listed = [("0_BERT", "BERT"), ("1_Pooling", "Pooling")]
    types = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{x}"}
        for i, (path, x) in enumerate(listed)
    ]
    (old / "modules.json").write_text(json.dumps(types), encoding="utf-8")
    encoder = ConnectionBert.load(old)
    assert (encoder.pooling, encoder.max_tokens) == ("max", 9)
    assert encoder.tokenize(["THE cat"])[0][0].tolist() != encoder.tokenize(["the cat"])[0][0].tolist()  # as it states
    write(bert, "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": True})
    encoder = ConnectionBert.load(old)
    assert encoder.tokenize(["THÉ cat"])[0][0].tolist() == encoder.tokenize(["the cat"])[0][0].tolist()
    vectors = encoder.encode(SENTENCES)
    encoder.save(tmp_path / "new")
    assert (ConnectionBert.load(tmp_path / "new").encode(SENTENCES) == vectors).all()


def test_modules_in_a_folder_that_is_not_there_are_named(tiny_encoder: Path, tmp_path: Path) -> None:
    ConnectionBert.load(tiny_encoder).save(tmp_path / "saved")
    path = tmp_path / "saved" / "modules.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"path": ""', '"path": "0_Transformer"'), encoding="utf-8")
    assert "0_Transformer, which is not there" in refusal(tmp_path / "saved")


def test_the_longest_sentence_is_read_by_its_older_names_too(folder: Path) -> None:
    write(folder, "sentence_roberta_config.json", {"max_seq_length": 11})
    description = inspect_encoder(folder)
    assert description.own_max_tokens == 11 and "sentence_roberta_config.json" in description.files
