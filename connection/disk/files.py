"""Files and folders before anything is written: sums, room, permission, what is there already."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from connection import UserMistake
from connection.disk import durable
from connection.disk.durable import writing

TRIAL = ".connection-trial"


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal. Raises UserMistake for a file that cannot be read."""
    try:
        return durable.content_of(path).sha256
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror or error}.") from None


def check_writable(folder: Path) -> None:
    """Raise UserMistake unless a folder can be made in `folder`, or where it would lie: tried, as permissions do not tell."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    with writing(there):
        durable.make_folder(there / TRIAL)
        with contextlib.suppress(FileNotFoundError):  # two runs may try the same folder
            (there / TRIAL).rmdir()


def check_space(output: Path, weights: int, *, trains: bool = True, going_on: bool = False) -> None:
    """Raise UserMistake unless the disk of OUTPUT has room for what a run writes.

    weights: the bytes of the encoder's weights as they are written. A run needs best/ twice, while it is replaced, and three
    checkpoints, each of the weights, two moments and the best weights, if it `trains`.
    going_on: what lies in OUTPUT is part of it.
    """
    needed = (2 + 3 * 4 * trains) * weights + 10_000_000
    if going_on:
        needed -= sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    folder = next(folder for folder in (output, *output.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserMistake(
            f"OUTPUT: the disk of {folder} has {free / 1e6:,.0f} MB free, and the run will write about {needed / 1e6:,.0f} MB. "
            "Make room, or name an OUTPUT on another disk."
        )


def set_aside(output: Path) -> Path:
    """Rename OUTPUT to the first free of OUTPUT-1, OUTPUT-2, … (scores.csv to scores-1.csv, …); nothing is deleted."""
    number, ending = 1, output.suffix if output.is_file() else ""
    while (aside := output.with_name(f"{output.name.removesuffix(ending)}-{number}{ending}")).exists():
        number += 1
    with writing(aside):
        durable.move(output, aside)
    return aside
