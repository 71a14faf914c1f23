"""Compares a query with every vector: exact, in bounded memory, from files that are mapped into memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from connection.use.nearest import NONE_SKIPPED, VECTORS_AT_ONCE, nearest, queries_at_once
from connection.use.search.building import VectorFile
from connection.use.search.engines import Setup
from connection.use.search.index import Generation


class Exact:
    """The engine without an index of its own."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.generation: Generation

    def vectors(self, building: Path, done: int) -> VectorFile:
        return VectorFile(building, self.setup.numbers, self.setup.size, done)

    def finish(self, building: Path, contents: dict[str, Any], old: Generation | None) -> None:
        pass

    def use(self, generation: Generation) -> None:
        self.generation = generation

    def tidy(self) -> None:
        pass

    def search(self, queries: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        return search_exactly(self.generation, queries, most)

    def all_vectors(self, size: int) -> Iterator[np.ndarray]:
        return self.generation.blocks(size)

    def close(self) -> None:
        pass

    def text(self) -> str:
        return ""


def search_exactly(generation: Generation, queries: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """As `Engine.search`, by comparing with every vector."""
    size = queries_at_once(most)
    parts = [
        nearest(queries[start : start + size], generation.blocks(VECTORS_AT_ONCE), NONE_SKIPPED, most)
        for start in range(0, len(queries), size)
    ]
    numbers, similarities = (np.concatenate(part) for part in zip(*parts, strict=True))
    return numbers, similarities


def open_engine(setup: Setup) -> Exact:
    return Exact(setup)
