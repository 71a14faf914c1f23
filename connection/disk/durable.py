"""The one door through which a run's files reach the disk: after a kill or a power cut at any moment, each is whole or absent.

A file is written beside its place, synced and renamed onto it, then its folder is synced; a folder of files likewise.
What a rename may overtake without these syncs: Pillai et al., OSDI 2014. Knows nothing of what the files hold.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from connection import UserMistake

BLOCK = 8 << 20  # bytes that are written or read at a time
PATIENCE_SECONDS = 2.0  # with a file that another program holds
Chunk = bytes | bytearray | memoryview

if sys.platform == "darwin":
    import fcntl


def before(operation: str, path: Path) -> None:
    """Called before each operation on the disk. Does nothing; a test puts in its place what lets the k-th one fail."""


@dataclass(frozen=True)
class Content:
    """What a file holds, in short: its SHA-256 in hexadecimal, and its size in bytes."""

    sha256: str
    size: int


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, those that are not there."""
    before("make folder", folder)
    folder.mkdir(parents=True, exist_ok=True)


def write_file(path: Path, chunks: Iterable[Chunk]) -> Content:
    """Write a file and sync it. Until this returns it is not whole: for files of a folder that is renamed afterwards."""
    digest, size = hashlib.sha256(), 0
    before("open", path)
    with path.open("wb", buffering=0) as file:
        for block in _blocks(chunks):
            digest.update(block)
            size += len(block)
            _write(file, path, block)
        _sync(file, path)
    return Content(digest.hexdigest(), size)


def replace_file(path: Path, chunks: Iterable[Chunk]) -> None:
    """Write a file that appears whole, in the place of the one that was there, or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write_file(temporary, chunks)
        move(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def move(old: Path, new: Path) -> None:
    """Rename a file onto `new`, or a folder to where nothing is, within one disk; once this returns it stays so."""
    before("rename", new)
    _patiently(lambda: old.replace(new))
    sync_folder(new.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder with all that is in it; of a link only the link. Nothing there: nothing happens."""
    if path.is_symlink() or path.is_file():
        before("delete", path)
        _patiently(path.unlink)
    elif path.exists():
        before("delete", path)
        _patiently(lambda: shutil.rmtree(path))


def _patiently(operation: Callable[[], object]) -> None:
    """Do it, for two seconds again and again where Windows says that another program, a virus scanner mostly, holds a file.

    5: access denied; 32: used by another process; 145: the folder is not empty, since a file's deletion is still pending.
    """
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            operation()
            return
        except OSError as error:
            if getattr(error, "winerror", None) not in (5, 32, 145) or time.monotonic() > give_up:
                raise
        time.sleep(0.05)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk. Windows does this by itself, and some file systems have no such call."""
    if os.name == "nt":
        return
    before("sync", folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _flush(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Have a folder with all that is in it on the disk, whoever wrote it."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("r+b") as file:  # Windows syncs only what may be written
                _sync(file, path)
    sync_folder(folder)


def read_blocks(path: Path) -> Iterator[bytes]:
    """A file's bytes, some at a time."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block


def content_of(path: Path) -> Content:
    """What a file on the disk holds. Raises OSError where it cannot be read."""
    digest, size = hashlib.sha256(), 0
    for block in read_blocks(path):
        digest.update(block)
        size += len(block)
    return Content(digest.hexdigest(), size)


class Log:
    """A file that grows line by line. A kill may cut its last line short, and no other."""

    def __init__(self, path: Path, kept: bytes = b""):
        """kept: what the file begins with."""
        self.path = path
        replace_file(path, [kept])
        before("open", path)
        self._file = path.open("ab", buffering=0)

    def add(self, line: str) -> None:
        _write(self._file, self.path, f"{line}\n".encode())

    def sync(self) -> None:
        _sync(self._file, self.path)

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def writing(path: Path, hint: str = "") -> Iterator[None]:
    """Turn what the system says against a write into one sentence that names the path. hint: a sentence that follows it.

    Where the disk is full, the sentence says how much is free.
    """
    try:
        yield
    except Exception as error:
        # tokenizers, which is written in Rust, has errors of its own that end in "(os error 28)"
        if not isinstance(error, OSError) and "(os error " not in str(error):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.ENOSPC or "(os error 28)" in reason:
            reason += f" ({_free(path) / 1e6:,.1f} MB are free there)"
        raise UserMistake(f"{path} cannot be written: {reason}.{f' {hint}' * bool(hint)}") from error


def _free(path: Path) -> int:
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    return shutil.disk_usage(folder).free


def _blocks(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same bytes in blocks: small chunks joined, large ones cut."""
    pending = bytearray()
    for chunk in chunks:
        if len(pending) + len(chunk) <= BLOCK:
            pending += chunk
            continue
        if pending:
            yield pending
        pending = bytearray()
        view = memoryview(chunk)
        for start in range(0, len(view), BLOCK):
            yield view[start : start + BLOCK]
    if pending:
        yield pending


def _write(file: BinaryIO, path: Path, block: Chunk) -> None:
    before("write", path)
    rest = memoryview(block)
    while rest:  # the system may take less than it was given
        rest = rest[os.write(file.fileno(), rest) :]


def _sync(file: BinaryIO, path: Path) -> None:
    before("sync", path)
    _flush(file.fileno())


def _flush(descriptor: int) -> None:
    """Have a file or folder on the disk. macOS' fsync leaves it in the drive's own cache, which a power cut empties."""
    if sys.platform == "darwin":
        with contextlib.suppress(OSError):  # a network's file system may not know it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)
