"""A lock that prevents two processes from writing to one OUTPUT."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from connection import UserMistake
from connection.disk.durable import writing


@contextlib.contextmanager
def claimed(output: Path, constant: str = "OUTPUT") -> Iterator[None]:
    """Lock `output`, the path in `constant`, inside the `with` block. The lock ends with the block or with the process.

    Raises UserMistake, with the id of the other process, if it is locked already. The lock file is beside OUTPUT, or inside
    it if its parent folder is not writable.
    """
    beside, inside = output.with_name(f".{output.name}.lock"), output / ".lock"
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = _lock(output, beside, constant)
        except OSError:
            if not output.is_dir():
                raise
            lock = _lock(output, inside, constant)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # before the release: a process that waits must not lock a deleted file
            Path(lock.lock_file).unlink()
        lock.release()


def _lock(output: Path, path: Path, constant: str) -> filelock.BaseFileLock:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(1)  # Windows locks the first byte; the process id stands behind it
            owner = file.read().strip().decode(errors="replace")
    except OSError:
        owner = ""
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserMistake(
            f"{constant}: another process{f' (id {owner})' * bool(owner)} is writing to {output}. Wait until it has ended, or "
            f"name another {constant}."
        ) from None
    with contextlib.suppress(OSError), path.open("r+b") as file:
        file.seek(1)
        file.write(f"{os.getpid()}\n".encode())
    return lock
