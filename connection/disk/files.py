"""Files and folders before a run writes: checksums, free space, permission, and an OUTPUT that exists already."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from connection import UserMistake
from connection.disk import durable
from connection.disk.durable import writing

TRIAL = ".connection-trial"


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal. Raises UserMistake if it cannot be read."""
    try:
        return durable.digest_of(path).sha256
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror or error}.") from None


class Digests:
    """The SHA-256 of files, computed in a thread while the program does other work. files: constant → label → path."""

    def __init__(self, files: Mapping[str, Mapping[str, Path]]):
        self.files = files
        self._found: dict[str, dict[str, str]] = {}
        self._mistake: UserMistake | None = None
        self._thread = threading.Thread(target=self._compute, name="digests", daemon=True)  # the program may end before it
        self._thread.start()

    def _compute(self) -> None:
        try:
            for name, paths in self.files.items():
                self._found[name] = {label: sha256(path) for label, path in paths.items()}
        except UserMistake as mistake:
            self._mistake = mistake

    def result(self) -> dict[str, dict[str, str]]:
        """Constant → label → SHA-256, as soon as all are known. Raises UserMistake if a file cannot be read."""
        self._thread.join()
        if self._mistake:
            raise self._mistake
        return self._found


def check_writable(folder: Path) -> None:
    """Raise UserMistake unless `folder`, or its nearest existing parent, is writable. Permission bits do not tell, so it is
    tried."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    with writing(nearest):
        durable.make_folder(nearest / TRIAL)
        with contextlib.suppress(FileNotFoundError):  # another run may try the same folder
            (nearest / TRIAL).rmdir()


def check_space(output: Path, weights: int, *, trains: bool = True, going_on: bool = False) -> None:
    """Raise UserMistake unless the disk of OUTPUT has enough free space for a run.

    weights: size of the encoder's weights as written, in bytes. A run needs best/ twice (the new one is complete before the
    old one is deleted) and, if it `trains`, three checkpoints, each of 4 × weights: the weights, AdamW's two moments, the
    best weights. going_on: the run is resumed, so the files in OUTPUT count towards what it needs.
    """
    needed = (2 + 3 * 4 * trains) * weights + 10_000_000
    if going_on:
        needed -= sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    folder = next(folder for folder in (output, *output.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserMistake(
            f"OUTPUT: the disk of {folder} has {free / 1e6:,.0f} MB free, and the run needs about {needed / 1e6:,.0f} MB. "
            "Free some space, or name an OUTPUT on another disk."
        )


def set_aside(output: Path) -> Path:
    """Rename OUTPUT to the first free name of OUTPUT-1, OUTPUT-2, … (scores.csv to scores-1.csv). Deletes nothing."""
    number, ending = 1, output.suffix if output.is_file() else ""
    while (aside := output.with_name(f"{output.name.removesuffix(ending)}-{number}{ending}")).exists():
        number += 1
    with writing(aside):
        durable.move(output, aside)
    return aside
