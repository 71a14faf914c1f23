"""The folder of an index, read: the different sentences of a corpus, their vectors, and which row has which.

    index.json               what the index is, by which encoder, and the generation that counts
    generation-3/            complete
        contents.json        numbers, and size and SHA-256 of each file
        keys                 (M,) 16 bytes each (`corpus.py`)
        rows                 (N,) int64, the sentence of each row
        texts, ends          the sentences as UTF-8, end to end, and (M,) int64 where each ends
        vectors              (M, H) float32 or float16, of length 1; an engine may keep them elsewhere
        ...                  files of an engine
    building-4/              a generation that is not complete yet; the next start continues it

A generation is complete before index.json names it, and never changed. `building.py` writes all this.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from connection import UserMistake
from connection.disk import durable
from connection.disk.json_file import parse_json
from connection.use.search.corpus import KEY
from connection.use.search.names import TYPES

WHAT = "index of sentences"  # marks a folder as ours
FORMAT = 1
INDEX, CONTENTS, PROGRESS = "index.json", "contents.json", "progress.json"
FIRST_FILES = {f".{INDEX}.tmp", ".lock"}  # written before the header
FILES = {"keys": KEY, "rows": "<i8", "ends": "<i8"}


@dataclass(frozen=True)
class Header:
    """index.json. identity: a random name, under which a database has the vectors. generation: its number, 0 for none yet.

    fingerprint: what the vectors depend on, by name, in words for a person.
    """

    identity: str
    fingerprint: dict[str, Any]
    generation: int = 0

    def text(self) -> str:
        return json.dumps({"what": WHAT, "format": FORMAT, **self.__dict__}, ensure_ascii=False, indent=2) + "\n"


def read_header(folder: Path) -> Header | None:
    """The header of an index; None if the folder is missing or empty. Raises UserMistake for a folder that is none of ours.

    A start that was killed before the header was complete may have left FIRST_FILES.
    """
    if not folder.exists() or (folder.is_dir() and FIRST_FILES.issuperset(path.name for path in folder.iterdir())):
        return None
    found = parse_json(folder / INDEX)
    if not folder.is_dir() or not isinstance(found, dict) or found.get("what") != WHAT:
        raise UserMistake(f"INDEX: {folder} is no index of this project, and is left alone. Name another folder.")
    if found.get("format") != FORMAT:
        raise UserMistake(
            f"INDEX: {folder} was written by another version of this project (format {found.get('format')}, here {FORMAT}). "
            "Name another INDEX, or delete that folder."
        )
    try:
        return Header(str(found["identity"]), dict(found["fingerprint"]), int(found["generation"]))
    except (KeyError, TypeError, ValueError):
        raise UserMistake(f"INDEX: {folder / INDEX} is damaged. Delete the folder; the next start builds it again.") from None


def new_header(fingerprint: dict[str, Any]) -> Header:
    """The header of an index that is to be."""
    return Header(identity=secrets.token_hex(8), fingerprint=fingerprint)


def generation_folder(folder: Path, number: int) -> Path:
    return folder / f"generation-{number}"


def leftovers(folder: Path, *, complete: bool) -> dict[int, Path]:
    """The folders of generations by their number. complete: those named generation-…, else those named building-…."""
    prefix = "generation" if complete else "building"
    paths = folder.iterdir() if folder.is_dir() else ()
    named = ((re.fullmatch(rf"{prefix}-([1-9][0-9]{{0,17}})", path.name), path) for path in paths)
    return dict(sorted((int(found[1]), path) for found, path in named if found and path.is_dir() and not path.is_symlink()))


class Texts(Sequence[str]):
    """Sentences on the disk, read where asked for."""

    def __init__(self, folder: Path, ends: np.ndarray):
        self.ends = ends
        self.bytes = memory_map(folder / "texts", "u1", (int(ends[-1]) if len(ends) else 0,))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: Any) -> Any:
        start = int(self.ends[number - 1]) if number else 0
        return self.bytes[start : int(self.ends[number])].tobytes().decode("utf-8", "surrogatepass")


def memory_map(path: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """A file as an array that is read where it is used. Raises UserMistake if it does not have this shape."""
    if not np.prod(shape):
        return np.empty(shape, dtype=dtype)
    try:
        return np.memmap(path, dtype=dtype, mode="c", shape=shape)  # "c": torch refuses arrays that cannot be written
    except (OSError, ValueError) as error:
        raise UserMistake(f"{path} cannot be read: {error}. Delete the index; the next start builds it again.") from None


class Generation:
    """A complete generation, mapped into memory: M different sentences in N rows, vectors of size H."""

    def __init__(self, folder: Path):
        """Raises UserMistake if a file is damaged."""
        self.folder = folder
        contents = parse_json(folder / CONTENTS)
        self.contents = contents if isinstance(contents, dict) else {}
        for name, file in self.contents.get("files", {}).items():
            self._check(name, file)
        try:
            self.count, self.row_count, self.size = (int(self.contents[name]) for name in ("sentences", "rows", "size"))
            self.numbers = TYPES[self.contents["numbers"]]
        except (KeyError, TypeError, ValueError):
            raise _damaged(folder / CONTENTS) from None
        self.keys, self.rows, ends = (
            np.asarray(memory_map(folder / name, dtype, (self.row_count if name == "rows" else self.count,)))
            for name, dtype in FILES.items()
        )
        self.texts = Texts(folder, ends)

    def _check(self, name: str, file: Any) -> None:
        try:
            digest = durable.digest_of(self.folder / name)
        except OSError:
            raise _damaged(self.folder / name) from None
        if re.search(r"[/\\]", name) or [digest.sha256, digest.size] != [file.get("sha256"), file.get("bytes")]:
            raise _damaged(self.folder / name)

    @cached_property
    def vectors(self) -> np.ndarray:
        """(M, H), of NUMBERS' type; not in memory."""
        return memory_map(self.folder / "vectors", self.numbers, (self.count, self.size))

    @property
    def has_vectors(self) -> bool:
        return "vectors" in self.contents["files"]

    def blocks(self, size: int, start: int = 0) -> Iterator[np.ndarray]:
        """The vectors from `start` on in blocks (T, H) of at most `size`, as float32 of length 1."""
        for first in range(start, self.count, size):
            yield self.block(first, first + size)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Vectors start … stop - 1, as float32 of length 1."""
        return as_unit(self.vectors[start:stop])

    def rows_of(self, number: int, most: int) -> np.ndarray:
        """The first `most` rows that have a sentence, from 0."""
        order, starts = self._by_sentence
        return order[starts[number] : min(starts[number + 1], starts[number] + most)]

    @cached_property
    def counts(self) -> np.ndarray:
        """(M,) how many rows have each sentence."""
        return np.bincount(self.rows, minlength=self.count)

    @cached_property
    def _by_sentence(self) -> tuple[np.ndarray, np.ndarray]:
        return np.argsort(self.rows, kind="stable"), np.concatenate([[0], np.cumsum(self.counts)])


def as_unit(vectors: np.ndarray) -> np.ndarray:
    """Stored vectors (T, H) as float32 of length 1: those of float32 are, those of float16 have been rounded."""
    if vectors.dtype == np.float32:
        return vectors
    vectors = vectors.astype(np.float32)
    lengths = np.sqrt(np.einsum("th,th->t", vectors, vectors))
    return vectors / np.maximum(lengths, 1e-12)[:, None]


def _damaged(path: Path) -> UserMistake:
    return UserMistake(f"{path} is damaged or missing. Delete the folder {path.parent.parent}; the next start builds it again.")
