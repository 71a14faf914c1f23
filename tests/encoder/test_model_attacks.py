"""Folders of encoders made to do harm: no code of theirs runs, nothing outside is read, no memory is taken on their word."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from connection import UserMistake
from ConnectionBert import ConnectionBert

SENTENCES = ["a cat is sleeping.", "two"]
NAME = "embeddings.LayerNorm.bias"  # 32 numbers of the tiny encoder


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


@pytest.fixture
def canary(folder: Path) -> Path:
    """A file that appears when the code in the encoder's folder runs."""
    path = folder.parent / "canary"
    code = f"from pathlib import Path\nPath({str(path)!r}).touch()\nclass Model: pass\nModule = Tokenizer = Config = Model\n"
    for name in ("evil.py", "modeling_bert.py", "tokenization_evil.py", "__init__.py"):
        (folder / name).write_text(code, encoding="utf-8")
    return path


def change_json(path: Path, **changes: object) -> None:
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(old | changes), encoding="utf-8")


# -------------------------------------------------------------------------------------------------------------- pickles


class Bomb:
    """Pickled, it makes a file when it is read."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "training_args.bin", "scheduler.pt", "pytorch_model.bin"])
def test_no_pickle_beside_safetensors_is_opened(folder: Path, tmp_path: Path, name: str) -> None:
    expected = ConnectionBert.load(folder).encode(SENTENCES)
    torch.save({"weights": Bomb(tmp_path / "canary")}, folder / name)
    (folder / "vocab.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "canary")))
    assert np.array_equal(ConnectionBert.load(folder).encode(SENTENCES), expected)
    assert not (tmp_path / "canary").exists()
    torch.load(folder / name, weights_only=False)
    assert (tmp_path / "canary").exists()  # the bomb was a live one


# ----------------------------------------------------------------------------------------------------------------- code

CODE = {
    "auto_map of the model": ("config.json", {"auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}}),
    "auto_map of the tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
    "a tokenizer class of its own": ("tokenizer_config.json", {"tokenizer_class": "EvilTokenizer"}),
    "attention from elsewhere": ("config.json", {"_attn_implementation_internal": "kernels-community/flash-attn"}),
    "kernels": ("config.json", {"use_kernels": True, "attn_implementation": "evil/kernels", "kernel_config": {"x": "evil"}}),
    "trust": ("config.json", {"trust_remote_code": True, "custom_pipelines": {"x": {"impl": "evil.Model"}}}),
}


@pytest.mark.parametrize(("name", "changes"), CODE.values(), ids=CODE)
def test_no_code_of_the_folder_runs(folder: Path, canary: Path, name: str, changes: dict[str, object]) -> None:
    expected = ConnectionBert.load(folder).encode(SENTENCES)
    change_json(folder / name, **changes)
    try:
        assert np.array_equal(ConnectionBert.load(folder).encode(SENTENCES), expected)
    except UserMistake as refused:
        assert str(folder) in str(refused)
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["os.system", "evil.Module", "sentence_transformers.models.evil.Module", "builtins.exec"])
def test_modules_of_other_code_are_refused_by_name(folder: Path, canary: Path, kind: str) -> None:
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]), encoding="utf-8")
    with pytest.raises(UserMistake, match=r"modules\.json lists the modules "):
        ConnectionBert.load(folder)
    assert not canary.exists()


# ---------------------------------------------------------------------------------------------------------- safetensors


def damage_header(content: bytes, change: object) -> bytes:
    """The file with `change(header)` for its header."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    changed = change(header) or header
    text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def entry(**changes: object):
    return lambda header: header[NAME].update(changes)


def twice(header: dict) -> bytes:
    text = json.dumps(header)
    return (text[:-1] + f', "{NAME}": {json.dumps(header[NAME])}}}').encode()


def overlapping(header: dict) -> None:
    header["embeddings.LayerNorm.weight"]["data_offsets"] = header[NAME]["data_offsets"]


def hole(header: dict) -> None:
    for described in header.values():
        if "data_offsets" in described:
            described["data_offsets"] = [place + 64 for place in described["data_offsets"]]


HEADERS = {
    "offsets past the end": entry(data_offsets=[0, 1 << 40]),
    "offsets that run backwards": entry(data_offsets=[128, 0]),
    "offsets below 0": entry(data_offsets=[-128, 0]),
    "overlapping offsets": overlapping,
    "a hole": hole,
    "another type": entry(dtype="F64"),
    "a type of its own": entry(dtype="PICKLE"),
    "a shape of 10^18 numbers": entry(shape=[10**9, 10**9]),
    "a shape that overflows": entry(shape=[2**63, 2]),
    "no object": lambda header: b"[1, 2]",
    "deep": lambda header: b"[" * 100_000,
    "one key twice": twice,
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_a_safetensors_header_that_lies_is_refused(folder: Path, change: object) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(damage_header(path.read_bytes(), change))
    if change is twice:  # the later of two equal entries counts: nothing can be smuggled in
        assert np.isfinite(ConnectionBert.load(folder).encode(SENTENCES)).all()
        return
    with pytest.raises(UserMistake, match=r"model\.safetensors cannot be read as weights"):
        ConnectionBert.load(folder)


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 100_000_001, 10**12, 0])
def test_the_length_of_a_safetensors_header_is_not_believed(folder: Path, length: int) -> None:
    path, started = folder / "model.safetensors", time.monotonic()
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(UserMistake, match=r"model\.safetensors cannot be read as weights"):
        ConnectionBert.load(folder)
    assert time.monotonic() - started < 5


# ------------------------------------------------------------------------------------------------------ paths and sizes


@pytest.mark.parametrize("path", ["../outside", "/outside", "0/../../outside", "link"])
def test_a_path_out_of_the_folder_is_refused(folder: Path, path: str) -> None:
    outside = Path(shutil.copytree(folder, folder.parent / "outside"))
    if path == "link":
        if sys.platform == "win32":
            pytest.skip("links need a right there")
        (folder / "link").symlink_to(outside)
    named = str(outside) if path == "/outside" else path
    modules = [{"idx": 0, "name": "0", "path": named, "type": "sentence_transformers.models.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(UserMistake, match=r"modules\.json names a path outside of its folder\."):
        ConnectionBert.load(folder)


def test_an_index_of_shards_is_not_followed(folder: Path) -> None:
    """It names files, and could name any."""
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    index = {"weight_map": {NAME: "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(UserMistake, match=r"lacks model\.safetensors or pytorch_model\.bin"):
        ConnectionBert.load(folder)


ABSURD = {
    "hidden_size": 1_000_000_000,
    "num_hidden_layers": 1_000_000,
    "vocab_size": 2**40,
    "max_position_embeddings": 10**12,
    "intermediate_size": -1,
    "num_attention_heads": 0,
    "type_vocab_size": True,
}


@pytest.mark.parametrize(("name", "value"), ABSURD.items())
def test_an_absurd_size_is_refused_before_anything_is_made(folder: Path, name: str, value: int) -> None:
    change_json(folder / "config.json", **{name: value})
    started = time.monotonic()
    with pytest.raises(UserMistake, match=rf'config\.json: "{name}" is {value!r}; a whole number from 1 to '):
        ConnectionBert.load(folder)
    assert time.monotonic() - started < 2


LARGE = [("vocab_size", 9_000_000), ("hidden_size", 65_536), pytest.param("num_hidden_layers", 999, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("name", "value"), LARGE)
def test_a_large_size_that_the_weights_do_not_have_takes_no_memory(folder: Path, name: str, value: int) -> None:
    change_json(folder / "config.json", **{name: value})
    started = time.monotonic()
    with pytest.raises(UserMistake, match=r"lacks|config\.json says"):
        ConnectionBert.load(folder)
    assert time.monotonic() - started < 30
