"""The order of what happens on the disk: nothing is renamed before it is synced, and a rename is synced too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from connection.disk import durable


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each operation as "what name", in order."""
    seen: list[str] = []
    monkeypatch.setattr(durable, "fault_point", lambda operation, path: seen.append(f"{operation} {path.name}"))
    return seen


@pytest.mark.skipif(os.name == "nt", reason="Windows syncs folders by itself")
def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path: Path, operations: list[str]) -> None:
    durable.replace_file(tmp_path / "a.txt", [b"one", b"two"])
    assert operations == [
        "open .a.txt.tmp",
        "write .a.txt.tmp",
        "sync .a.txt.tmp",
        "rename a.txt",
        f"sync {tmp_path.name}",
    ]
    assert (tmp_path / "a.txt").read_bytes() == b"onetwo"


def test_every_byte_is_on_the_disk_that_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync is asked for what the file holds by then, not before."""
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    content = durable.write_file(tmp_path / "a", [bytes(durable.BLOCK), b"rest"])
    assert sizes == [durable.BLOCK + 4] == [content.size]
    assert durable.digest_of(tmp_path / "a") == content


class Held(PermissionError):
    """What Windows raises where another program holds a file."""

    def __init__(self, number: int):
        super().__init__(13, "The process cannot access the file because it is being used by another process")
        self.winerror = number


@pytest.mark.parametrize("number", [5, 32, 145])
def test_what_a_virus_scanner_holds_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    tries: list[str] = []

    def held(what: str, real: Callable[..., object]) -> Callable[..., object]:
        def operation(*arguments: object) -> object:
            tries.append(what)
            if tries.count(what) < 3:
                raise Held(number)
            return real(*arguments)

        return operation

    monkeypatch.setattr(durable.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Path, "replace", held("rename", Path.replace))
    monkeypatch.setattr(Path, "unlink", held("delete", Path.unlink))
    monkeypatch.setattr(durable.shutil, "rmtree", held("delete folder", shutil.rmtree))
    (tmp_path / "folder").mkdir()
    durable.write_file(tmp_path / "a", [b"text"])
    durable.move(tmp_path / "a", tmp_path / "b")
    durable.remove(tmp_path / "b")
    durable.remove(tmp_path / "folder")
    assert [tries.count(what) for what in ("rename", "delete", "delete folder")] == [3, 3, 3]
    assert not list(tmp_path.iterdir())


def test_another_error_or_two_seconds_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 0.5, 1.0, 1.5, 1.9, 2.1])
    monkeypatch.setattr(durable.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(durable.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Path, "replace", lambda old, new: (_ for _ in ()).throw(Held(32)))
    with pytest.raises(Held):
        durable.move(tmp_path / "a", tmp_path / "b")
    assert next(moments, None) is None
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        durable.move(tmp_path / "a", tmp_path / "b")


def test_on_a_mac_the_drives_cache_is_emptied_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    known = SimpleNamespace(F_FULLFSYNC=51, fcntl=lambda descriptor, command: calls.append(f"fcntl {command}"))
    monkeypatch.setattr(durable, "fcntl", known, raising=False)
    monkeypatch.setattr(durable.sys, "platform", "darwin")
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))
    durable.write_file(tmp_path / "a", [b"text"])
    assert calls == ["fcntl 51"]

    def unknown(descriptor: int, command: int) -> None:
        raise OSError(45, "Operation not supported")

    known.fcntl = unknown
    durable.write_file(tmp_path / "a", [b"text"])
    assert calls == ["fcntl 51", "fsync"]
