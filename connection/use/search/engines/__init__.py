"""The engines of search, one file each. To add one, add its file here and a line in `connection/use/search/names.py`.

The module of an engine has `open_engine(setup) → Engine`, which raises UserMistake where it cannot be used. It may have
`check_package()`, which raises UserMistake where a package is missing, and `room(setup, count)`: bytes of its own files.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from connection.use.search.index import Header
from connection.use.search.names import ENGINES

if TYPE_CHECKING:
    from connection.use.search.building import Vectors
    from connection.use.search.index import Generation


@dataclass(frozen=True)
class Setup:
    """What an engine works with. folder: INDEX. header: its index.json. numbers: as NUMBERS. size: H. uri: as MILVUS_URI.

    threads: of the CPU; 0 for all.
    """

    folder: Path
    header: Header
    numbers: str
    size: int
    uri: str = ""
    threads: int = 0


class Engine(Protocol):
    """Keeps the vectors of an index, or reads those in its files, and finds the nearest ones."""

    def vectors(self, building: Path, done: int) -> Vectors:
        """Where the vectors of a generation go; the first `done` of them are there."""

    def finish(self, building: Path, contents: dict[str, Any], old: Generation | None) -> None:
        """Add the engine's own files to a generation that has all else, and what is to be said of them to its contents."""

    def use(self, generation: Generation) -> None:
        """Search in this generation from now on."""

    def tidy(self) -> None:
        """Forget what the generation in use does not have; only for a process that may write to the index."""

    def search(self, queries: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors of queries (b, H) of length 1: numbers and cosine similarities, (b, most) each.

        Nearest first; of equal similarities, the lower number is first. Where there are fewer, -1 and -inf.
        """

    def all_vectors(self, size: int) -> Iterator[np.ndarray]:
        """The vectors (T, H) of all sentences, in their order, in blocks of at most `size`."""

    def close(self) -> None:
        """Let go of what other processes may want."""

    def text(self) -> str:
        """What a person should know of it; "" for nothing."""


def open_engine(name: str, setup: Setup) -> Engine:
    """The engine of a name. Raises UserMistake where it cannot be used."""
    engine: Engine = importlib.import_module(ENGINES[name].module).open_engine(setup)
    return engine


def engine_room(name: str, setup: Setup, count: int) -> int:
    """The bytes on the disk of INDEX that an engine's own files take for `count` vectors."""
    room = getattr(importlib.import_module(ENGINES[name].module), "room", None)
    return room(setup, count) if room is not None else 0


def check_engine(name: str) -> None:
    """Raise UserMistake, before anything is loaded, if the packages of an engine are missing."""
    check = getattr(importlib.import_module(ENGINES[name].module), "check_package", None)
    if check is not None:
        check()
