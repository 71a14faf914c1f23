"""Keeps a second start away from an OUTPUT at which a process is at work."""

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
    """Keep other starts away from `output`, which `constant` names; the claim dies with its process, or with the `with`.

    Raises UserMistake, with the other process's number, where one is at work there. The claim is a lock on a file beside
    OUTPUT, or inside of it where its parent may not be written to.
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
        with contextlib.suppress(OSError):  # before the release: who waits for this file must not get it
            Path(lock.lock_file).unlink()
        lock.release()


def _lock(output: Path, path: Path, constant: str) -> filelock.BaseFileLock:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(1)  # Windows locks the first byte
            owner = file.read().strip().decode(errors="replace")
    except OSError:
        owner = ""
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserMistake(
            f"{constant}: another process{f' (number {owner})' * bool(owner)} is writing into {output}. Wait until it has "
            f"ended, or name another {constant}."
        ) from None
    with contextlib.suppress(OSError), path.open("r+b") as file:
        file.seek(1)
        file.write(f"{os.getpid()}\n".encode())
    return lock
