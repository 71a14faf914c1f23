"""Builds the next generation of an index: known sentences are copied, new ones encoded; in pieces, so that a kill loses one.

The order of what is written: each piece and then how far it goes; all files, then their digests; the folder's new name; then
index.json, which makes the generation the one that counts. Only then the old one is deleted.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from connection import UserMistake
from connection.disk import durable
from connection.disk.json_file import parse_json
from connection.use.nearest import scale
from connection.use.search.corpus import Corpus, Keys, different
from connection.use.search.index import (
    CONTENTS,
    FILES,
    INDEX,
    PROGRESS,
    Generation,
    Header,
    generation_folder,
    leftovers,
    memory_map,
    read_header,
)
from connection.use.search.names import TYPES

NEW_AT_ONCE = 4096  # sentences that are encoded between two points at which a killed start continues
SENTENCES_AT_ONCE = 65_536  # new or not
SPARE_BYTES = 10_000_000

Encode = Callable[[Sequence[str]], np.ndarray]  # sentences → their embeddings, (m, ≥ H) float32


class Vectors(Protocol):
    """Where the vectors of a generation go while it is built. They have length 1."""

    def add(self, keys: np.ndarray, vectors: np.ndarray, known: np.ndarray) -> None:
        """Add (m, H) vectors in the order of the sentences. known: (m,) bool, whether an earlier generation has them."""

    def sync(self) -> None:
        """Return once all that was added is on the disk."""

    def close(self) -> None: ...


class VectorFile:
    """The vectors in a file of the index, as float32 or float16."""

    def __init__(self, folder: Path, numbers: str, size: int, done: int):
        self.type = TYPES[numbers]
        self.file = durable.Growing(folder / "vectors", done * size * np.dtype(self.type).itemsize)

    def add(self, keys: np.ndarray, vectors: np.ndarray, known: np.ndarray) -> None:
        self.file.add(np.ascontiguousarray(vectors, dtype=self.type).view(np.uint8).reshape(-1).data)

    def sync(self) -> None:
        self.file.sync()

    def close(self) -> None:
        self.file.close()


@dataclass(frozen=True)
class Source:
    """Sentences whose vectors are known: of a generation, or of one that was not completed. vectors: None if elsewhere."""

    keys: Keys
    vectors: np.ndarray | None


@dataclass(frozen=True)
class Plan:
    """What a start will do. known: (M,) bool, the sentences whose vectors are there. gone: how many others will go.

    done: how many sentences, from the first one on, the folder `building` has already. room: bytes that the generation takes,
    without the files of an engine.
    """

    known: np.ndarray
    gone: int
    done: int
    room: int
    building: Path

    @property
    def new(self) -> int:
        return int(np.count_nonzero(~self.known[self.done :]))

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do, but for rows in another order."""
        return bool(self.new or self.gone)


class Builder:
    """Brings the index in `folder` up to a corpus. Not to be used by two processes at once."""

    def __init__(self, folder: Path, header: Header, corpus: Corpus, numbers: str, size: int):
        """header: of the index as it is, or as it will be. numbers: as NUMBERS. size: H."""
        self.folder, self.header, self.corpus, self.numbers, self.size = folder, header, corpus, numbers, size
        self.item = np.dtype(TYPES[numbers]).itemsize

    def plan(self, generation: Generation | None, *, stored: bool = True) -> Plan:
        """What is to do. generation: the one that counts. stored: whether the index has the vectors, not a database."""
        self.generation, self.stored = generation, stored
        building, done = self._building()
        self.sources = [*self._own_source(), *self._unfinished(building)]
        known = np.zeros(len(self.corpus.keys), dtype=bool)
        for source in self.sources:
            known |= source.keys.find(self.corpus.keys) >= 0
        gone = 0
        if generation is not None:
            gone = int(np.count_nonzero(Keys(self.corpus.keys).find(generation.keys) < 0))
        room = len(known) * (24 + self.size * self.item * stored) + 8 * len(self.corpus.rows) + self.corpus.text_bytes
        return Plan(known, gone, done, room, building)

    def is_current(self) -> bool:
        """Whether the generation that counts is that of the corpus."""
        return self.generation is not None and (
            np.array_equal(self.generation.keys, self.corpus.keys) and np.array_equal(self.generation.rows, self.corpus.rows)
        )

    def check_space(self, plan: Plan) -> None:
        """Raise UserMistake if the disk has not enough room."""
        nearest = next(path for path in (self.folder, *self.folder.absolute().parents) if path.is_dir())
        there = sum(path.stat().st_size for path in plan.building.glob("*")) if plan.done else 0
        free, needed = shutil.disk_usage(nearest).free, plan.room - there + SPARE_BYTES
        if free < needed:
            raise UserMistake(
                f"INDEX: the disk of {nearest} has {free / 1e6:,.0f} MB free, and the index needs {needed / 1e6:,.0f} MB. Free "
                "some space, or name an INDEX on another disk."
            )

    def begin(self) -> None:
        """Make the folder an index, if it is none yet."""
        if read_header(self.folder) is None:
            with durable.writing(self.folder):
                durable.make_folder(self.folder)
                durable.replace_file(self.folder / INDEX, [self.header.text().encode()])

    def build(
        self,
        plan: Plan,
        sentences: Iterable[str],
        encode: Encode,
        vectors: Callable[[Path, int], Vectors],
        finish: Callable[[Path, dict[str, Any]], None],
    ) -> None:
        """Write the generation, and make it the one that counts.

        sentences: the corpus, to be read again. vectors: the folder, and how many are done → where vectors go. finish: adds
        the files of an engine to the folder, and what is to be said of them to the contents.
        """
        with durable.writing(self.folder):
            if not plan.done:
                durable.remove(plan.building)
                durable.make_folder(plan.building)
                durable.write_file(plan.building / "keys", [self.corpus.keys.tobytes()])
            with contextlib.closing(vectors(plan.building, plan.done)) as target:
                self._write_pieces(plan, sentences, encode, target)
            contents: dict[str, Any] = {"sentences": len(self.corpus.keys), "rows": len(self.corpus.rows), "size": self.size}
            contents["numbers"] = self.numbers
            durable.write_file(plan.building / "rows", [np.ascontiguousarray(self.corpus.rows, dtype="<i8").data.cast("B")])
            finish(plan.building, contents)
            self._complete(plan.building, contents)

    def _write_pieces(self, plan: Plan, sentences: Iterable[str], encode: Encode, target: Vectors) -> None:
        ends = self._ends(plan)
        texts = durable.Growing(plan.building / "texts", int(ends[-1]) if len(ends) else 0)
        end_file = durable.Growing(plan.building / "ends", 8 * plan.done)
        done = plan.done
        bar = tqdm(total=plan.new, unit="sentence", disable=None, dynamic_ncols=True, desc="Encoding")
        with contextlib.closing(texts), contextlib.closing(end_file), bar:
            for piece in _pieces(different(self.corpus, sentences), plan.known, done):
                known = plan.known[done : done + len(piece)]
                data = [text.encode("utf-8", "surrogatepass") for text in piece]
                vectors = self._vectors(slice(done, done + len(piece)), piece, encode)
                if not len(vectors):
                    continue
                target.add(self.corpus.keys[done : done + len(piece)], vectors, known)
                lengths = np.array([len(text) for text in data], dtype="<i8")
                end_file.add((texts.size + np.cumsum(lengths)).astype("<i8").tobytes())
                texts.add(b"".join(data))
                for file in (target, texts, end_file):
                    file.sync()
                done += len(piece)
                self._note(plan.building, done, texts.size)
                bar.update(int(np.count_nonzero(~known)))

    def _vectors(self, numbers: slice, texts: Sequence[str], encode: Encode) -> np.ndarray:
        """The vectors (m, H) of some sentences of the corpus, of length 1."""
        keys = self.corpus.keys[numbers]
        found = np.empty((len(keys), self.size), dtype=np.float32)
        missing = np.ones(len(keys), dtype=bool)
        for source in self.sources:
            places = source.keys.find(keys)
            here = missing & (places >= 0)
            if source.vectors is not None:
                found[here] = source.vectors[places[here]]
            missing &= ~here
        if missing.any():
            vectors = np.ascontiguousarray(encode([texts[i] for i in np.flatnonzero(missing).tolist()])[:, : self.size])
            scale(vectors)
            found[missing] = vectors
        return found

    def _note(self, building: Path, done: int, text_bytes: int) -> None:
        progress = {"sentences": self.corpus.digest, "done": done, "text_bytes": text_bytes}
        durable.replace_file(building / PROGRESS, [json.dumps(progress).encode()])

    def _ends(self, plan: Plan) -> np.ndarray:
        return np.array(memory_map(plan.building / "ends", "<i8", (plan.done,))) if plan.done else np.empty(0, dtype=np.int64)

    def _complete(self, building: Path, contents: dict[str, Any]) -> None:
        durable.remove(building / PROGRESS)
        digests = {path.name: durable.digest_of(path) for path in sorted(building.iterdir()) if path.name != CONTENTS}
        contents["files"] = {name: {"sha256": digest.sha256, "bytes": digest.size} for name, digest in digests.items()}
        durable.write_file(building / CONTENTS, [(json.dumps(contents, indent=2) + "\n").encode()])
        number = int(building.name.rpartition("-")[2])
        durable.move(building, generation_folder(self.folder, number))
        self.header = replace(self.header, generation=number)
        durable.replace_file(self.folder / INDEX, [self.header.text().encode()])

    def is_tidy(self) -> bool:
        """Whether there is no older generation."""
        return leftovers(self.folder, complete=True).keys() == {self.header.generation}

    def tidy(self, *, unfinished: bool = True) -> None:
        """Delete older generations, and those that were not completed, if asked for. On Windows a reader may hold one."""
        with contextlib.suppress(OSError):
            for complete in (True, False) if unfinished else (True,):
                for number, path in leftovers(self.folder, complete=complete).items():
                    if not complete or number != self.header.generation:
                        durable.remove(path)

    def _own_source(self) -> Iterator[Source]:
        if self.generation is not None:
            vectors = self.generation.vectors if self.stored else None
            yield Source(Keys(self.generation.keys), vectors)

    def _unfinished(self, building: Path) -> Iterator[Source]:
        """What starts that were killed over another corpus have left; not in `building`, which is continued."""
        for path in leftovers(self.folder, complete=False).values():
            done, keys = self._progress(path), path / "keys"
            if path != building and done and keys.is_file() and keys.stat().st_size >= 16 * done:
                vectors = memory_map(path / "vectors", TYPES[self.numbers], (done, self.size)) if self.stored else None
                yield Source(Keys(np.array(memory_map(keys, FILES["keys"], (done,)))), vectors)

    def _progress(self, building: Path, of: str = "") -> int:
        """How many sentences a folder has; 0 if its files do not bear that out. of: only of a corpus with this digest."""
        progress = parse_json(building / PROGRESS)
        if not isinstance(progress, dict) or (of and progress.get("sentences") != of):
            return 0
        done, text_bytes = progress.get("done"), progress.get("text_bytes")
        if type(done) is not int or type(text_bytes) is not int or done < 1:
            return 0
        least = {"ends": 8 * done, "texts": text_bytes} | ({"vectors": done * self.size * self.item} if self.stored else {})
        sizes = {name: (building / name).stat().st_size if (building / name).is_file() else -1 for name in least}
        return done if all(sizes[name] >= size for name, size in least.items()) else 0

    def _building(self) -> tuple[Path, int]:
        """The folder to build in, and how many sentences it has: that of a killed start over the same corpus, or a new one."""
        unfinished = leftovers(self.folder, complete=False)
        for path in unfinished.values():
            if done := self._progress(path, self.corpus.digest):
                return path, done
        taken = [*unfinished, *leftovers(self.folder, complete=True), self.header.generation]
        return self.folder / f"building-{max(taken) + 1}", 0


def _pieces(texts: Iterable[str], known: np.ndarray, done: int) -> Iterator[list[str]]:
    """The sentences from number `done` on, in pieces with at most NEW_AT_ONCE new ones. Reads all, whatever `done` is."""
    piece: list[str] = []
    new = 0
    for number, text in enumerate(texts):
        if number < done:
            continue
        piece.append(text)
        new += not known[number]
        if new == NEW_AT_ONCE or len(piece) == SENTENCES_AT_ONCE:
            yield piece
            piece, new = [], 0
    yield piece
