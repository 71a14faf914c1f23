"""Atomic, durable writes: after a kill or a power cut at any moment, each file of a run is complete or absent.

Every write of a run goes through this module. A file is written under a temporary name, synced with fsync, renamed, and its
folder synced; a folder of files is written in the same way. Without these syncs, a rename may reach the disk before the data
(Pillai et al., OSDI 2014). What the files mean is not known here.
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

BLOCK = 8 << 20  # bytes written or read at a time
PATIENCE_SECONDS = 2.0  # how long an operation is retried while another program holds the file
Chunk = bytes | bytearray | memoryview

if sys.platform == "darwin":
    import fcntl


def fault_point(operation: str, path: Path) -> None:
    """Called before each disk operation. Does nothing; tests replace it to make the k-th operation fail."""


@dataclass(frozen=True)
class Digest:
    """A file's SHA-256 in hexadecimal, and its size in bytes."""

    sha256: str
    size: int


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents."""
    fault_point("make folder", folder)
    folder.mkdir(parents=True, exist_ok=True)


def write_file(path: Path, chunks: Iterable[Chunk]) -> Digest:
    """Write a file and sync it. Not atomic: for the files of a folder that is renamed afterwards."""
    digest, size = hashlib.sha256(), 0
    fault_point("open", path)
    with path.open("wb", buffering=0) as file:
        for block in _blocks(chunks):
            digest.update(block)
            size += len(block)
            _write(file, path, block)
        _sync(file, path)
    return Digest(digest.hexdigest(), size)


def replace_file(path: Path, chunks: Iterable[Chunk]) -> None:
    """Write a file atomically: either the new one is complete at `path`, or the old one is unchanged."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write_file(temporary, chunks)
        move(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def move(old: Path, new: Path) -> None:
    """Rename durably. A file may replace `new`; a folder needs `new` to be free. Both paths are on one disk."""
    fault_point("rename", new)
    _patiently(lambda: old.replace(new))
    sync_folder(new.parent)


def remove(path: Path) -> None:
    """Delete a file, or a folder with its contents; of a link, only the link. A missing path is no error."""
    if path.is_symlink() or path.is_file():
        fault_point("delete", path)
        _patiently(path.unlink)
    elif path.exists():
        fault_point("delete", path)
        _patiently(lambda: shutil.rmtree(path))


def _patiently(operation: Callable[[], object]) -> None:
    """Call `operation`; on Windows, retry for PATIENCE_SECONDS while another program (often a virus scanner) holds the file.

    5: access denied; 32: used by another process; 145: the folder is not empty, because a deletion is still pending.
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
    """Sync a folder's entries to the disk. Not needed on Windows; some file systems do not support it."""
    if os.name == "nt":
        return
    fault_point("sync", folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _flush(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Sync a folder and everything in it to the disk, including files that other code wrote."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("r+b") as file:  # Windows syncs only files that are open for writing
                _sync(file, path)
    sync_folder(folder)


def read_blocks(path: Path) -> Iterator[bytes]:
    """A file's bytes, BLOCK at a time."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block


def digest_of(path: Path) -> Digest:
    """SHA-256 and size of a file on the disk. Raises OSError if it cannot be read."""
    digest, size = hashlib.sha256(), 0
    for block in read_blocks(path):
        digest.update(block)
        size += len(block)
    return Digest(digest.hexdigest(), size)


class Log:
    """A file to which lines are appended. A kill may truncate its last line, and no other."""

    def __init__(self, path: Path, kept: bytes = b""):
        """kept: the bytes that the file starts with."""
        self.path = path
        replace_file(path, [kept])
        fault_point("open", path)
        self._file = path.open("ab", buffering=0)

    def add(self, line: str) -> None:
        _write(self._file, self.path, f"{line}\n".encode())

    def sync(self) -> None:
        _sync(self._file, self.path)

    def close(self) -> None:
        self._file.close()


class Growing:
    """A file to which bytes are appended, from a known size on: what lies beyond it, from a process that was killed, is cut."""

    def __init__(self, path: Path, size: int = 0):
        self.path, self.size = path, size
        fault_point("open", path)
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._file.truncate(size)
        self._file.seek(size)

    def add(self, chunk: Chunk) -> None:
        for block in _blocks([chunk]):
            _write(self._file, self.path, block)
            self.size += len(block)

    def sync(self) -> None:
        _sync(self._file, self.path)

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def writing(path: Path, hint: str = "") -> Iterator[None]:
    """Turn a failed write inside the `with` block into a UserMistake that names the path.

    hint: a sentence to append. If the disk is full, the message says how much space is free.
    """
    try:
        yield
    except Exception as error:
        # tokenizers, a Rust library, raises a plain Exception whose text ends in "(os error 28)"
        if not isinstance(error, OSError) and "(os error " not in str(error):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.ENOSPC or "(os error 28)" in reason:
            reason += f" ({_free(path) / 1e6:,.1f} MB are free)"
        raise UserMistake(f"{path} cannot be written: {reason}.{f' {hint}' * bool(hint)}") from error


def _free(path: Path) -> int:
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    return shutil.disk_usage(folder).free


def _blocks(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same bytes in blocks of at most BLOCK: small chunks are joined, large ones split."""
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
    fault_point("write", path)
    unwritten = memoryview(block)
    while unwritten:  # os.write may write less than it was given
        unwritten = unwritten[os.write(file.fileno(), unwritten) :]


def _sync(file: BinaryIO, path: Path) -> None:
    fault_point("sync", path)
    _flush(file.fileno())


def _flush(descriptor: int) -> None:
    """Flush a file or folder to the disk. On macOS, fsync stops at the drive's cache, which a power cut empties."""
    if sys.platform == "darwin":
        with contextlib.suppress(OSError):  # some network file systems do not support it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)
