"""Folders of encoders, damaged at random: one sentence or an encoder whose tokens are those of the makers' own code.

Never a traceback, never a hang, never other tokens in silence. What a seed found is a test of its own in another file.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import tokenizers
import transformers

from connection import UserMistake
from connection.encoder.casing import normalization
from ConnectionBert import ConnectionBert

SENTENCES = ["a cat is sleeping.", "The red DOG? É №3 고양이", "x" * 120, ""]
LONGEST = 30  # seconds for one folder, far above what any takes
ODD = [
    None, True, False, 0, 1, -1, 2, 3, 7, 60, 1e9, 10**30, -0.5, 1e-300, "", "x", "[CLS]", "<s>", "bert",
    "é\u2028", [], [1], [[]], {},
    {"a": None}, "../..", "gelu_new", float("nan"),
]  # fmt: skip
LINES = ["", " ", "[CLS]", "[PAD]", "##", "##é", "▁the", "\x85x", "a\rb", "\u2028", "ﬁ", "😀", "cat", "THE", "가", "\ufeff"]
FOLDERS = [
    "bert, vocab.txt",
    "bert, Unigram",
    "roberta, BPE",
    "roberta, BPE in two files",
    "roberta, WordPiece",
    "mpnet, WordPiece",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sentence encoders' folders, to be copied and damaged."""
    made = {}
    folder = tmp_path_factory.mktemp("whole")
    tiny = families.TINY | {"bert, vocab.txt": families.Tiny("BertModel", families.write_vocab_txt, {})}
    for name in FOLDERS:
        made[name] = tiny[name].make(folder / name)
        sentence = folder / f"{name}, saved"
        ConnectionBert.load(made[name], max_tokens=30, quiet=True).save(sentence)
        for file in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
            (made[name] / file).parent.mkdir(exist_ok=True)
            shutil.copy(sentence / file, made[name] / file)
    return made


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) within a JSON value; of long lists and tables the first."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    found = [(value, key) for key in keys[:60]]
    for key in keys[:60]:
        found += nodes(value[key])
    return found


def change_json(data: bytes, choose: random.Random) -> bytes:
    value = json.loads(data)
    for _ in range(choose.choice([1, 1, 1, 2, 4])):
        places = nodes(value)
        if not places:
            break
        container, key = choose.choice(places)
        action = choose.random()
        if action < 0.25:
            del container[key]
        elif action < 0.35 and isinstance(container, dict):
            container[choose.choice([*container, "is_decoder", "add_prefix_space", "do_lower_case", "model_type"])] = (
                copy.deepcopy(choose.choice(ODD))
            )
        elif action < 0.45:
            container[key] = copy.deepcopy(choose.choice(places)[0])
        else:
            container[key] = copy.deepcopy(choose.choice(ODD))
    return json.dumps(value, ensure_ascii=choose.random() < 0.5).encode("utf-8", "surrogatepass")


def change_lines(data: bytes, choose: random.Random) -> bytes:
    lines = data.decode("utf-8").split("\n")
    for _ in range(choose.choice([1, 1, 2, 5])):
        at, action = choose.randrange(len(lines)), choose.random()
        if action < 0.3:
            del lines[at]
        elif action < 0.5:
            lines.insert(at, choose.choice(LINES))
        elif action < 0.7:
            lines[at] = choose.choice(LINES)
        else:
            other = choose.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        lines = lines or [""]
    return choose.choice(["\n", "\n", "\n", "\r\n"]).join(lines).encode("utf-8", "surrogatepass")


def change_bytes(data: bytes, choose: random.Random) -> bytes:
    changed = bytearray(data)
    action = choose.random()
    if action < 0.3:
        return bytes(changed[: choose.randrange(len(changed) + 1)])
    for _ in range(choose.choice([1, 3, 20])):
        changed[choose.randrange(min(len(changed), 4000))] = choose.randrange(256)
    return bytes(changed)


def change_header(data: bytes, choose: random.Random) -> bytes:
    """Of a safetensors file."""
    length = struct.unpack("<Q", data[:8])[0]
    header = change_json(data[8 : 8 + length], choose)
    claimed = len(header) if choose.random() < 0.8 else choose.choice([0, 1, len(header) - 1, 2**40, 2**63])
    return struct.pack("<Q", claimed) + header + data[8 + length :]


def damage(folder: Path, choose: random.Random) -> str:
    """Change one file of the folder, or two; what was done."""
    done = []
    for _ in range(choose.choice([1, 1, 1, 2])):
        path = choose.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
        data = path.read_bytes()
        changes: list[Callable[[bytes, random.Random], bytes]] = [change_bytes]
        if path.suffix == ".json":
            changes = [change_json] * 8 + [change_bytes]
        elif path.suffix == ".txt":
            changes = [change_lines] * 5 + [change_bytes]
        elif path.suffix == ".safetensors":
            changes = [change_header] * 3 + [change_bytes]
        change = choose.choice(changes)
        try:
            path.write_bytes(change(data, choose) if data else b"")
        except ValueError:  # already damaged
            continue
        done.append(f"{change.__name__} of {path.relative_to(folder)}")
        if choose.random() < 0.05:
            path.unlink()
            done[-1] = f"no {path.relative_to(folder)}"
    return ", ".join(done)


def makers_tokens(folder: Path, encoder: ConnectionBert) -> list[list[int]]:
    """What the makers' code gives for the folder's files: the tokenizers library, or transformers' class for a vocabulary."""
    files = {path.name for path in folder.iterdir()}
    config = json.loads((folder / "tokenizer_config.json").read_text()) if "tokenizer_config.json" in files else {}
    if "tokenizer.json" in files:
        backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        # What the configuration names as a special token is one, whatever the file says: so transformers has it.
        special = [config.get(f"{name}_token") for name in ("cls", "sep", "unk", "pad", "mask", "bos", "eos")]
        backend.add_special_tokens([token for token in special if isinstance(token, str) and token])
        backend.no_padding()
        backend.no_truncation()
        if isinstance(backend.normalizer, tokenizers.normalizers.BertNormalizer):
            for name, field in (("do_lower_case", "lowercase"), ("strip_accents", "strip_accents")):
                if name in config:
                    setattr(backend.normalizer, field, config[name])
        if isinstance(backend.pre_tokenizer, tokenizers.pre_tokenizers.ByteLevel) and "add_prefix_space" in config:
            backend.pre_tokenizer.add_prefix_space = bool(config["add_prefix_space"])
        if encoder.lower_case_first:
            backend.normalizer = tokenizers.normalizers.Sequence(
                [tokenizers.normalizers.Lowercase(), *([backend.normalizer] if backend.normalizer else [])]
            )
        return [encoding.ids for encoding in backend.encode_batch(SENTENCES)]
    if "vocab.txt" in files:
        vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        options = {
            name: config[name] for name in ("do_lower_case", "strip_accents", "tokenize_chinese_chars") if name in config
        }
        options = options if "do_lower_case" in options else normalization(dict.fromkeys(vocabulary)) | options
        kind = transformers.MPNetTokenizer if encoder.family.name == "MPNet" else transformers.BertTokenizer
        tokenizer = kind.from_pretrained(folder, **options)
    else:
        tokenizer = transformers.RobertaTokenizer.from_pretrained(folder)
    if encoder.lower_case_first:
        normalizer = tokenizer.backend_tokenizer.normalizer
        tokenizer.backend_tokenizer.normalizer = tokenizers.normalizers.Sequence(
            [tokenizers.normalizers.Lowercase(), *([normalizer] if normalizer else [])]
        )
    return tokenizer(SENTENCES)["input_ids"]


def check(folder: Path, done: str) -> str:
    """Load and use a damaged folder; what came of it."""
    began = time.perf_counter()
    try:
        encoder = ConnectionBert.load(folder, quiet=True)
    except UserMistake as mistake:
        told = str(mistake)
        assert len(told) < 1500 and "Traceback" not in told, done
        return "refused"
    tokens, whole_lengths = encoder.tokenize_whole(SENTENCES)
    expected = makers_tokens(folder, encoder)
    assert whole_lengths.tolist() == [len(ids) for ids in expected], done
    for ours, theirs in zip(tokens, expected, strict=True):
        assert ours.tolist() == theirs or len(theirs) > encoder.max_tokens, (done, ours.tolist(), theirs)
    vectors = encoder.encode(SENTENCES)
    assert vectors.shape == (len(SENTENCES), encoder.embedding_size) and vectors.dtype == np.float32, done
    assert time.perf_counter() - began < LONGEST, done
    return "loaded"


def run(whole: dict[str, Path], folder: Path, seeds: range) -> None:
    outcomes = []
    for seed in seeds:
        choose = random.Random(seed)
        name = FOLDERS[seed % len(FOLDERS)]
        damaged = Path(shutil.copytree(whole[name], folder / "damaged"))
        done = f"seed {seed}, {name}: {damage(damaged, choose)}"
        try:
            outcomes.append(check(damaged, done))
        except Exception as error:
            error.add_note(done)
            raise
        shutil.rmtree(damaged)
    assert {"loaded", "refused"} <= set(outcomes)


def test_a_damaged_folder_is_refused_in_a_sentence_or_gives_the_makers_tokens(whole: dict[str, Path], tmp_path: Path) -> None:
    run(whole, tmp_path, range(150))


@pytest.mark.slow
def test_thousands_of_damaged_folders(whole: dict[str, Path], tmp_path: Path) -> None:
    run(whole, tmp_path, range(1000, 5000))
