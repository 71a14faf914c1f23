"""The order of what happens on the disk: nothing is renamed before it is synced, and a rename is synced too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connection.disk import durable


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each operation as "what name", in order."""
    seen: list[str] = []
    monkeypatch.setattr(durable, "before", lambda operation, path: seen.append(f"{operation} {path.name}"))
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
    assert durable.content_of(tmp_path / "a") == content
