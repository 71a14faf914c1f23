"""Keeps the vectors in Milvus: milvus-lite in a folder of the index, or a server or cluster by its address, with one client.

A vector is known by the first 63 bits of its sentence's key, so that a repeated insertion changes nothing. The sentences stay
in the index: nothing is sent but vectors and these numbers, and only to MILVUS_URI.

milvus-lite is a server inside of this process: it listens on a free port of 127.0.0.1, without a password.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from connection import UserMistake
from connection.script.requirements import is_installed, missing_requirements_of
from connection.use.nearest import similarities_of, unit
from connection.use.search.engines import Setup
from connection.use.search.index import Generation

if TYPE_CHECKING:
    from pymilvus import MilvusClient

BATCH_BYTES = 4_000_000  # of a message
QUERIES_AT_ONCE = 100
LONGEST = 16_384  # the most that Milvus returns for a query
FOLDER = "vectors.db"  # of milvus-lite, in INDEX
LOCAL = "127.0.0.1,localhost"


def check_package() -> None:
    """Raise UserMistake if the client is not installed."""
    if not is_installed("pymilvus"):
        raise missing_requirements_of('ENGINE = "milvus" needs the package pymilvus.', "requirements-milvus.txt")


def check_embedded() -> None:
    """Raise UserMistake if milvus-lite is not installed; it has no wheel for Windows."""
    if not is_installed("milvus_lite"):
        if os.name == "nt":
            raise UserMistake(
                'ENGINE = "milvus" with MILVUS_URI = "" needs milvus-lite, which Windows does not have: set MILVUS_URI to the '
                'address of a server, or ENGINE = "hnsw".'
            )
        raise missing_requirements_of('MILVUS_URI = "" needs the package milvus-lite.', "requirements-milvus.txt")


class MilvusVectors:
    """Vectors of a generation on their way to Milvus. Those that an earlier generation has are there already."""

    def __init__(self, engine: Milvus):
        self.engine = engine

    def add(self, keys: np.ndarray, vectors: np.ndarray, known: np.ndarray) -> None:
        ids, vectors = ids_of(keys[~known]), vectors[~known]
        size = max(1, BATCH_BYTES // (4 * vectors.shape[1]))
        for start in range(0, len(ids), size):
            rows = zip(ids[start : start + size].tolist(), vectors[start : start + size], strict=True)
            with self.engine.errors():
                self.engine.client.upsert(self.engine.name, [{"id": number, "vector": vector} for number, vector in rows])

    def sync(self) -> None:
        """An insertion that has returned is in the log of Milvus; what is lost there all the same is found out by `use`."""

    def close(self) -> None:
        pass


class Milvus:
    """The engine. name: of its collection, which no other index has."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.name = f"sentences_{setup.header.identity}"
        self.client = self._connect()
        self.generation: Generation

    def _connect(self) -> MilvusClient:
        if not self.setup.uri:
            check_embedded()
            for name in ("NO_PROXY", "no_proxy"):  # gRPC asks a proxy even for this machine
                os.environ[name] = ",".join(filter(None, [os.environ.get(name), LOCAL]))
        from pymilvus import MilvusClient

        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # errors are told below, once
        logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
        uri = self.setup.uri or str(self.setup.folder.resolve() / FOLDER)
        with self.errors("cannot be reached"):
            return MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=None if not self.setup.uri else 30)

    @contextlib.contextmanager
    def errors(self, what: str = "failed") -> Iterator[None]:
        """Turn an error of Milvus into a UserMistake."""
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, ConnectionError) as error:
            where = f"MILVUS_URI: Milvus at {self.setup.uri}" if self.setup.uri else "ENGINE: milvus-lite"
            raise UserMistake(f"{where} {what}: {str(getattr(error, 'message', error)).splitlines()[0]}") from error

    def vectors(self, building: Path, done: int) -> MilvusVectors:
        with self.errors():
            if not self.client.has_collection(self.name):
                self._create()
        return MilvusVectors(self)

    def _create(self) -> None:
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.setup.size)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="AUTOINDEX" if self.setup.uri else "FLAT", metric_type="COSINE")
        self.client.create_collection(self.name, schema=schema, index_params=index, consistency_level="Strong")

    def finish(self, building: Path, contents: dict[str, Any], old: Generation | None) -> None:
        contents["milvus"] = {"collection": self.name}
        with self.errors():
            self.client.flush(self.name)

    def use(self, generation: Generation) -> None:
        self.generation = generation
        self.order = np.argsort(ids_of(generation.keys))
        self.ids = ids_of(generation.keys)[self.order]
        with self.errors():
            if not self.client.has_collection(self.name):
                raise UserMistake(f"INDEX: Milvus has no collection {self.name}. Delete the folder {self.setup.folder}.")
            self.client.load_collection(self.name)
        if self._count() < generation.count:
            raise UserMistake(
                f"INDEX: the collection {self.name} of Milvus has {self._count():,} vectors and the index {generation.count:,} "
                f"sentences: some are lost. Delete the folder {self.setup.folder}; the next start builds it again."
            )

    def _count(self) -> int:
        with self.errors():
            return int(self.client.query(self.name, output_fields=["count(*)"])[0]["count(*)"])

    def tidy(self) -> None:
        if self._count() == self.generation.count:
            return
        with self.errors(), contextlib.closing(self.client.query_iterator(self.name, LONGEST, output_fields=["id"])) as stream:
            while rows := stream.next():
                ids = np.array([row["id"] for row in rows], dtype=np.int64)
                gone = ids[self._numbers(ids) < 0].tolist()
                if gone:
                    self.client.delete(self.name, ids=gone)

    def search(self, queries: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        numbers, similarities = np.full((len(queries), most), -1), np.full((len(queries), most), -np.inf)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            part = queries[start : start + QUERIES_AT_ONCE]
            for row, (found, near) in enumerate(self._search(part, most), start):
                numbers[row, : len(found)], similarities[row, : len(found)] = found, near
        return numbers, similarities

    def _search(self, queries: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        limit = min(most, LONGEST)
        while True:
            with self.errors():
                results = self.client.search(self.name, data=list(queries), limit=limit, output_fields=["vector"])
            ids = [np.array([hit["id"] for hit in hits], dtype=np.int64) for hits in results]
            least = min(int(np.count_nonzero(self._numbers(found) >= 0)) for found in ids)
            if least >= min(most, self.generation.count) or limit == LONGEST:
                break
            limit = min(4 * limit, LONGEST)  # there are vectors of sentences that have gone, or are yet to come
        for query, hits, found in zip(queries, results, ids, strict=True):
            numbers = self._numbers(found)
            vectors = np.array([hit["entity"]["vector"] for hit in hits], dtype=np.float32).reshape(len(found), -1)
            similarities = similarities_of(unit(query[None]), unit(vectors)[None])[0]
            order = np.lexsort((numbers, -similarities))
            order = order[numbers[order] >= 0][:most]
            yield numbers[order], similarities[order]

    def _numbers(self, ids: np.ndarray) -> np.ndarray:
        places = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return np.where(self.ids[places] == ids, self.order[places], -1)

    def all_vectors(self, size: int) -> Iterator[np.ndarray]:
        """The vectors (T, H) of all sentences, in their order, in blocks."""
        ids = ids_of(self.generation.keys)
        for start in range(0, len(ids), min(size, LONGEST)):
            part = ids[start : start + min(size, LONGEST)].tolist()
            with self.errors():
                found = {row["id"]: row["vector"] for row in self.client.get(self.name, ids=part, output_fields=["vector"])}
            yield np.array([found[number] for number in part], dtype=np.float32)

    def close(self) -> None:
        self.client.close()

    def text(self) -> str:
        return f"Vectors: collection {self.name} of Milvus {f'at {self.setup.uri}' if self.setup.uri else '(milvus-lite)'}."


def room(setup: Setup, count: int) -> int:
    """The bytes of milvus-lite: its log, and its files."""
    return 0 if setup.uri else 2 * count * (4 * setup.size + 8)


def ids_of(keys: np.ndarray) -> np.ndarray:
    """The first 63 bits of keys (m,) as int64."""
    return (np.frombuffer(keys.tobytes(), dtype="<u8")[::2] >> np.uint64(1)).astype(np.int64)


def open_engine(setup: Setup) -> Milvus:
    return Milvus(setup)
