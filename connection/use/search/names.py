"""The engines of search and the number formats of an index. Standard library only, so that `--help` can list them."""

from __future__ import annotations

from typing import NamedTuple


class Named(NamedTuple):
    """An engine's module. stored: whether the index keeps the vectors in a file of its own."""

    module: str
    stored: bool = True


# To add an engine, add its file to engines/ and a line here.
ENGINES = {
    "exact": Named("connection.use.search.engines.exact"),
    "hnsw": Named("connection.use.search.engines.hnsw"),
    "milvus": Named("connection.use.search.engines.milvus", stored=False),
}
TYPES = {"float32": "<f4", "float16": "<f2"}  # of NUMBERS, as numpy names them
