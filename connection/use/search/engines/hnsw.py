"""Approximate search by a graph of neighbours (HNSW; Malkov and Yashunin, 2018), by Voyager, from some 100,000 sentences on.

The graph finds candidates; their similarities are those of the exact engine. How many of the ten nearest it finds (recall) is
measured against the exact engine when it is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from connection.disk import durable
from connection.script.requirements import is_installed, missing_extra
from connection.use.nearest import NONE_SKIPPED, VECTORS_AT_ONCE, nearest, similarities_of, unit
from connection.use.search.building import VectorFile
from connection.use.search.corpus import Keys
from connection.use.search.engines import Setup
from connection.use.search.index import Generation, as_unit, memory_map
from connection.use.search.names import TYPES

if TYPE_CHECKING:
    import voyager

FILE = "graph"
NEIGHBOURS, BUILD_WIDTH = 16, 200  # M and efConstruction
WIDTHS = (64, 128, 256, 512)  # ef, the candidates of a query: the first one that finds GOOD_RECALL is used
GOOD_RECALL = 0.95
DEPTH, SAMPLE = 10, 200  # recall@10 of so many sentences
MOST_DELETED = 0.3  # share of the graph; beyond it, the graph is built anew
SEED = 1


def check_package() -> None:
    """Raise UserMistake if Voyager is not installed."""
    if not is_installed("voyager"):
        raise missing_extra('ENGINE = "hnsw" needs the package voyager.')


class Hnsw:
    """The engine. Vectors are known to the graph by the first 8 bytes of their keys, so that it can be kept when rows go."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.width, self.recall = WIDTHS[-1], 1.0
        self.generation: Generation

    def vectors(self, building: Path, done: int) -> VectorFile:
        return VectorFile(building, self.setup.numbers, self.setup.size, done)

    def finish(self, building: Path, contents: dict[str, Any], old: Generation | None) -> None:
        count = contents["sentences"]
        vectors = memory_map(building / "vectors", TYPES[self.setup.numbers], (count, self.setup.size))
        keys = np.array(memory_map(building / "keys", "S16", (count,)))
        graph = self._kept(old, keys)
        new = np.flatnonzero(~np.isin(labels_of(keys), np.array(list(graph.ids), dtype=np.uint64)))
        print(f"Graph of neighbours: {len(new):,} of {count:,} sentences to add.", flush=True)
        for start in range(0, len(new), VECTORS_AT_ONCE):
            part = new[start : start + VECTORS_AT_ONCE]
            graph.add_items(as_unit(vectors[part]), labels_of(keys[part]), num_threads=self.setup.threads or -1)
        contents["hnsw"] = dict(zip(("width", "recall"), self._measured(graph, vectors, keys), strict=True))
        file = durable.Growing(building / FILE)
        writer = _Writer(file)
        graph.save(writer)
        writer.flush()
        file.close()

    def _kept(self, old: Generation | None, keys: np.ndarray) -> voyager.Index:
        """The graph of an earlier generation without what has gone, or an empty one."""
        import voyager

        if old is not None and "hnsw" in old.contents:
            graph = voyager.Index.load(str(old.folder / FILE))
            gone = old.keys[Keys(keys).find(old.keys) < 0]
            if graph.num_elements - len(graph) + len(gone) <= MOST_DELETED * graph.num_elements:
                for label in labels_of(gone).tolist():
                    graph.mark_deleted(label)
                return graph
        return voyager.Index(voyager.Space.Cosine, self.setup.size, M=NEIGHBOURS, ef_construction=BUILD_WIDTH, random_seed=SEED)

    def _measured(self, graph: voyager.Index, vectors: np.ndarray, keys: np.ndarray) -> tuple[int, float]:
        """The first of WIDTHS that finds GOOD_RECALL of the nearest DEPTH of a sample, or the last one; and its recall."""
        most = min(DEPTH, len(keys))
        sample = np.linspace(0, len(keys) - 1, min(SAMPLE, len(keys))).astype(np.int64)
        queries = as_unit(vectors[sample])
        blocks = (as_unit(vectors[start : start + VECTORS_AT_ONCE]) for start in range(0, len(keys), VECTORS_AT_ONCE))
        expected, _ = nearest(queries, blocks, NONE_SKIPPED, most)
        for width in WIDTHS:
            found = _candidates(graph, queries, most, width, self.setup.threads)
            same = labels_of(keys)[expected][:, :, None] == found[:, None, :]  # (s, 10, 10)
            recall = float(same.any(axis=2).mean())
            if recall >= GOOD_RECALL:
                break
        return width, recall

    def use(self, generation: Generation) -> None:
        import voyager

        self.generation = generation
        self.graph = voyager.Index.load(str(generation.folder / FILE))
        self.width, self.recall = (generation.contents["hnsw"][name] for name in ("width", "recall"))
        labels = labels_of(generation.keys)
        self.order = np.argsort(labels)
        self.labels = labels[self.order]

    def tidy(self) -> None:
        pass

    def search(self, queries: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        found = _candidates(self.graph, queries, most, self.width, self.setup.threads)
        numbers = self.order[np.searchsorted(self.labels, found)]  # (b, most)
        vectors = unit(as_unit(self.generation.vectors[numbers.ravel()])).reshape(*numbers.shape, -1)
        similarities = similarities_of(unit(queries), vectors)
        order = np.lexsort((numbers, -similarities), axis=1)
        return np.take_along_axis(numbers, order, axis=1), np.take_along_axis(similarities, order, axis=1)

    def all_vectors(self, size: int) -> Iterator[np.ndarray]:
        return self.generation.blocks(size)

    def close(self) -> None:
        pass

    def text(self) -> str:
        text = f"Recall@{DEPTH} of the graph, against the exact engine on {SAMPLE} sentences: {self.recall:.4f}."
        if self.recall < GOOD_RECALL:
            text += f' That is below {GOOD_RECALL}: some of the nearest sentences are not found. ENGINE = "exact" finds all.'
        return text


def room(setup: Setup, count: int) -> int:
    """The bytes of a graph: vectors again, and neighbours."""
    return count * (4 * setup.size + 10 * NEIGHBOURS)


def labels_of(keys: np.ndarray) -> np.ndarray:
    """The first 8 bytes of keys (m,) as uint64."""
    return np.frombuffer(keys.tobytes(), dtype="<u8")[::2].copy()


def _candidates(graph: voyager.Index, queries: np.ndarray, most: int, width: int, threads: int) -> np.ndarray:
    """The labels of the nearest `most` vectors of each query (b, H), as the graph finds them; (b, most)."""
    import voyager

    while True:
        try:
            return graph.query(queries, k=most, num_threads=threads or -1, query_ef=max(width, most))[0]
        except voyager.RecallError:  # a part of the graph that cannot be reached from where the search ended
            if width > graph.num_elements:
                raise
            width *= 4


class _Writer:
    """A file as Voyager writes to it: from the first byte to the last, a few bytes at a time."""

    def __init__(self, file: durable.Growing):
        self.file, self.pending = file, bytearray()

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError("not seekable")

    def tell(self) -> int:
        return self.file.size + len(self.pending)

    def write(self, data: bytes) -> int:
        self.pending += data
        if len(self.pending) >= durable.BLOCK:
            self._pass_on()
        return len(data)

    def flush(self) -> None:
        self._pass_on()
        self.file.sync()

    def _pass_on(self) -> None:
        self.file.add(self.pending)
        self.pending = bytearray()


def open_engine(setup: Setup) -> Hnsw:
    return Hnsw(setup)
