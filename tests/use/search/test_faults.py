"""An index under faults: every operation on the disk fails in turn, while it is built and while it is brought up to date."""

from __future__ import annotations

import csv
import itertools
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import runs

import bertSearchWithConnectionData as script
from connection.disk.json_file import parse_json
from connection.script.requirements import is_installed
from connection.use.search import building

if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

from fault_driver import Fault, start

Answer = list[tuple[str, str, str]]


class Struck:
    """An index in `folder`/index, updated from one corpus to another by starts that a fault strikes."""

    def __init__(self, folder: Path, encoder: Path, engine: str):
        self.folder = folder
        before = runs.make_sentences(60, seed=1)
        self.corpora = {
            "before": runs.write_lines(folder / "before.txt", before),
            "after": runs.write_lines(folder / "after.txt", [*before[20:], *runs.make_sentences(50, seed=2), before[30]]),
        }
        queries = runs.write_lines(folder / "queries.txt", runs.make_sentences(5, seed=3))
        self.flags = {"encoder": encoder, "engine": engine, "device": "cpu", "threads": 1, "query_file": queries, "top_k": 5}
        self.index, self.kept = folder / "index", folder / "kept"
        self.answers = {}
        for name in ("before", "after"):
            assert self.run(name) == 0
            self.answers[name] = self.found
            if name == "before":
                shutil.copytree(self.index, self.kept)

    def run(self, corpus: str, fault: Fault | None = None) -> int:
        """Start the script; `found` is what it wrote, `said` what it printed."""
        output, log = self.folder / "found.csv", self.folder / "log.txt"
        output.unlink(missing_ok=True)
        path = self.corpora.get(corpus, "")
        flags = runs.flags(**self.flags, corpus_file=path, index=self.index, output_file=output)
        status = start(flags, log, fault, script.main)
        self.said = log.read_text(encoding="utf-8")
        self.found = read_answer(output) if status == 0 else []
        return status

    def strike(self, action: str, points: Iterable[int], *, fresh: bool) -> list[str]:
        """Strike at each point until one comes at which nothing happens; returns the operations. fresh: build, not update."""
        struck = []
        for point in points:
            shutil.rmtree(self.index)
            if not fresh:
                shutil.copytree(self.kept, self.index)
            told = self.folder / "told.txt"
            told.write_text("", encoding="utf-8")
            status = self.run("after", Fault(action, point, told))
            what = told.read_text(encoding="utf-8")
            assert (status == 0) == (self.found != []) and "Traceback" not in self.said, (point, what, self.said)
            if status == 2:
                assert "cannot be written" in self.said, (what, self.said)
            if status == 0:
                assert self.found == self.answers["after"], (point, what)
            counts = (parse_json(self.index / "index.json") or {}).get("generation", 0)
            if self.run("none") == 0:  # a reader finds a whole index, the old one or the new one
                assert counts and self.found in self.answers.values(), (point, what)
            else:
                assert fresh and "Set CORPUS_FILE" in self.said, (point, what, self.said)
            assert self.run("after") == 0, (point, what, self.said)
            assert self.found == self.answers["after"], (point, what)
            left = sorted(path.name for path in self.index.iterdir())
            assert left == sorted([f"generation-{self.generation()}", "index.json", *self.extra()]), (point, what, left)
            if not what:
                return struck
            struck.append(what)
        return struck

    def generation(self) -> int:
        return parse_json(self.index / "index.json")["generation"]

    def extra(self) -> list[str]:
        return ["vectors.db"] if self.flags["engine"] == "milvus" else []


def read_answer(path: Path) -> Answer:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["query_row"], row["corpus_row"], row["similarity"]) for row in csv.DictReader(file)]


@pytest.fixture
def struck(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Struck]:
    monkeypatch.setattr(building, "NEW_AT_ONCE", 20)

    def make(engine: str) -> Struck:
        if engine == "hnsw" and not is_installed("voyager"):
            pytest.skip("voyager is not installed")
        return Struck(tmp_path, tiny_encoder, engine)

    return make


def test_some_operations_on_the_disk_fail_and_the_index_is_the_old_or_the_new_one(struck: Callable[[str], Struck]) -> None:
    case = struck("exact")
    for action, point in (("kill", 9), ("kill", 40), ("power", 25), ("full", 12)):
        assert len(case.strike(action, [point], fresh=False)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "engine", "fresh"),
    [
        *((action, "exact", fresh) for action in ("kill", "power", "short", "full", "EIO") for fresh in (False, True)),
        ("kill", "hnsw", False),
    ],
)
def test_every_operation_on_the_disk_fails_in_turn_and_the_index_is_the_old_or_the_new_one(
    struck: Callable[[str], Struck], action: str, engine: str, fresh: bool
) -> None:
    operations = struck(engine).strike(action, itertools.count(1), fresh=fresh)
    assert len(operations) >= (8 if action == "short" else 30)
