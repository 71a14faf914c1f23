"""downloadBert.py against a hub of our own on 127.0.0.1, which speaks the two requests that are made of the real one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import downloadBert
from ConnectionBert import ConnectionBert

ROOT = Path(downloadBert.__file__).resolve().parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """models: the files of each by name. break_at: bytes after which weights break off, once; then nothing is served."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models: dict[str, dict[str, bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.break_at = 0
        self.down = False
        self.wrong: set[str] = set()  # files whose content is not what the listing says

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append((path, self.headers.get("Range")))
        listing = re.fullmatch(r"/api/models/(.+?)(/revision/main)?", path)
        file = re.fullmatch(rf"/(.+)/resolve/{COMMIT}/(.+)", path)
        if listing and listing[1] in self.server.models:
            self.answer(json.dumps(self.listing(listing[1])).encode())
        elif file and not self.server.down and file[2] in self.server.models.get(file[1], {}):
            self.send_file(self.server.models[file[1]][file[2]], file[2])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound" if listing else "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def listing(self, name: str) -> dict:
        siblings = []
        for file, data in self.server.models[name].items():
            sibling = {
                "rfilename": file,
                "size": len(data),
                "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
            }
            if len(data) > 10_000:
                sibling["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            siblings.append(sibling)
        return {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}

    def send_file(self, data: bytes, name: str) -> None:
        data = bytes(reversed(data)) if name in self.server.wrong else data
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.server.break_at and len(data) > self.server.break_at:
            self.wfile.write(data[start : self.server.break_at])
            self.server.down = True
            return
        self.wfile.write(data[start:])

    def answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run the script as a person does, HF_ENDPOINT naming our hub, into `tmp_path`/bert."""

    def run(name: str, endpoint: str = "") -> subprocess.CompletedProcess:
        code = "import sys, pathlib, downloadBert, huggingface_hub.constants as c; "
        code += "from connection.script.running import run_script; "
        code += "c.DOWNLOAD_CHUNK_SIZE = 10_000; "  # instead of 10 MB: what arrived of the chunk that breaks off is lost
        code += f"downloadBert.FOLDER = pathlib.Path({str(tmp_path / 'bert')!r}); "
        code += f"sys.exit(run_script(lambda: downloadBert.main([{name!r}])))"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        environment |= {"HF_ENDPOINT": endpoint or hub.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=ROOT,
            env=environment,
            check=False,
        )

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def model(tiny_encoder: Path) -> dict[str, bytes]:
    """A BERT as the hub has them: with files for other programs."""
    others = {
        "README.md": b"# A model",
        "pytorch_model.bin": b"x" * 20_000,
        "tf_model.h5": b"y" * 20_000,
        "modeling.py": b"evil",
    }
    return contents(tiny_encoder) | others


@pytest.mark.parametrize("name", [pytest.param("bert-tiny", marks=pytest.mark.slow), "klue/bert-tiny"])
def test_a_bert_arrives_whole_with_only_the_files_that_are_needed(
    hub: Hub, fetch: Callable, model: dict[str, bytes], tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    hub.models[name] = model
    result = fetch(name)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "bert" / name) == contents(tiny_encoder)
    assert {path.name for path in (tmp_path / "bert").iterdir()} == {name.split("/")[0]}
    assert f'set ENCODER = "transformers/bert/{name}"' in result.stderr
    ours, theirs = (ConnectionBert.load(folder).encode(["a cat"]) for folder in (tmp_path / "bert" / name, tiny_encoder))
    assert np.array_equal(ours, theirs)
    asked = len(hub.asked)
    assert "exists already" in fetch(name).stderr and len(hub.asked) == asked


@pytest.mark.slow
def test_a_sentence_encoder_brings_its_pooling_and_normalize(
    hub: Hub, fetch: Callable, tiny_encoder: Path, tmp_path: Path
) -> None:
    encoder = ConnectionBert.load(tiny_encoder, pooling="cls", max_tokens=17)
    encoder.normalize = True
    encoder.save(tmp_path / "saved")
    hub.models["BAAI/tiny"] = contents(tmp_path / "saved") | {"onnx/model.onnx": b"x" * 20_000}
    assert fetch("BAAI/tiny").returncode == 0
    loaded = ConnectionBert.load(tmp_path / "bert" / "BAAI" / "tiny")
    assert (loaded.pooling, loaded.normalize, loaded.max_tokens) == ("cls", True, 17)
    assert not (tmp_path / "bert" / "BAAI" / "tiny" / "onnx").exists()


@pytest.mark.slow
def test_a_fetch_that_broke_off_goes_on_where_it_stopped(
    hub: Hub, fetch: Callable, model: dict[str, bytes], tiny_encoder: Path, tmp_path: Path
) -> None:
    hub.models["bert-tiny"] = model
    hub.break_at = 30_000
    result = fetch("bert-tiny")
    assert result.returncode == 2 and "it resumes where it stopped" in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "bert" / "bert-tiny").exists()
    hub.break_at, hub.down, hub.asked = 0, False, []
    assert fetch("bert-tiny").returncode == 0
    assert [span for path, span in hub.asked if path.endswith("model.safetensors")] == ["bytes=30000-"]
    assert contents(tmp_path / "bert" / "bert-tiny") == contents(tiny_encoder)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model.safetensors", "vocab.txt"])
def test_a_wrong_sum_is_refused_and_nothing_is_put_in_place(
    hub: Hub, fetch: Callable, model: dict[str, bytes], tmp_path: Path, file: str
) -> None:
    hub.models["bert-tiny"] = model
    hub.wrong = {file}
    result = fetch("bert-tiny")
    assert result.returncode == 2 and f"bert-tiny: {file} is not the published file: its checksum is " in result.stderr
    assert not (tmp_path / "bert" / "bert-tiny").exists()
    hub.wrong = set()
    assert fetch("bert-tiny").returncode == 0  # the wrong bytes are not gone on from


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.json": b'{"model_type": "t5"}'}, 'the model type is "t5"; the types bert, camembert, '),
        ({"config.json": None}, "other lacks config.json"),
        ({"vocab.txt": None}, "other lacks vocab.txt or tokenizer.json"),
        (
            {"vocab.txt": "[PAD] [UNK] [CLS] [SEP] [MASK] ▁고 ▁공 국".replace(" ", "\n").encode()},
            "is a SentencePiece vocabulary",
        ),
        ({"tokenizer_config.json": b'{"word_tokenizer_type": "mecab"}'}, 'splits Japanese text by "mecab"'),
        ({"tokenizer_config.json": b'{"tokenizer_class": "KoBertTokenizer"}'}, "its vocabulary is for KoBertTokenizer"),
        ({"adapter_config.json": b'{"peft_type": "LORA"}', "model.safetensors": None}, "holds an adapter (LORA)"),
        (
            {"config.json": b'{"vocab_size": 40}'},
            "the vocabulary has a piece number 56, but the weights are for 40 pieces",
        ),
        (
            {
                "model.safetensors": None,
                "pytorch_model.bin": None,
                "tf_model.h5": None,
                "model.safetensors.index.json": b"{}",
            },
            "its weights are in several files",
        ),
        ({"model.safetensors": None, "pytorch_model.bin": None}, "has neither model.safetensors nor pytorch_model.bin"),
        (
            {"modules.json": b'[{"type": "sentence_transformers.models.CLIPModel", "path": ""}]'},
            "lists the modules CLIPModel",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason_before_weights_are_fetched(
    hub: Hub, fetch: Callable, model: dict[str, bytes], tmp_path: Path, change: dict, message: str
) -> None:
    hub.models["org/other"] = {name: data for name, data in (model | change).items() if data is not None}
    result = fetch("org/other")
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert str(tmp_path) not in result.stderr.split("By hand")[0]
    assert not [path for path, _ in hub.asked if path.endswith((".safetensors", ".bin"))]
    assert not (tmp_path / "bert" / "org" / "other").exists()


def test_what_is_not_there_a_hub_that_does_not_answer_and_no_name(hub: Hub, fetch: Callable) -> None:
    result = fetch("bert-base-uncasd")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert f"bert-base-uncasd could not be downloaded from {hub.url}: there is no public model of this name" in result.stderr
    assert "By hand: put config.json, vocab.txt and model.safetensors (or pytorch_model.bin) from the model" in result.stderr
    result = fetch("bert-tiny", endpoint="http://127.0.0.1:9")
    assert result.returncode == 2 and "bert-tiny could not be downloaded from http://127.0.0.1:9: " in result.stderr
    assert "Traceback" not in result.stderr
    assert '"../x" is not the name of a model' in fetch("../x").stderr
