"""Every engine finds what the exact one finds; sentences come, change and go; another's index is refused; a start is cut."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import runs
from runs import write_lines

from connection import UserMistake
from connection.script.requirements import is_installed
from connection.use import encoding
from connection.use.search import building
from connection.use.search.engines.milvus import Milvus
from connection.use.search.names import ENGINES

ROOT = Path(building.__file__).resolve().parents[3]
Search = Callable[..., list[dict[str, str]]]
PACKAGES = {"hnsw": "voyager", "milvus": "milvus_lite"}


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name in PACKAGES and not is_installed(PACKAGES[name]):
        pytest.skip(f"{PACKAGES[name]} is not installed")
    if name == "milvus":
        try:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                socket.create_connection(listener.getsockname(), timeout=1).close()
        except OSError as error:
            pytest.skip(f"milvus-lite listens on 127.0.0.1, which is down here: {error}")
    return name


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was encoded, in order."""
    texts: list[str] = []
    embed = encoding.SentenceEncoder.embed

    def noted(self: encoding.SentenceEncoder, part: list[str]) -> object:
        texts.extend(part)
        return embed(self, part)

    monkeypatch.setattr(encoding.SentenceEncoder, "embed", noted)
    return texts


def found(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["query_row"], row["corpus_row"]) for row in rows]


def recall(rows: list[dict[str, str]], expected: list[dict[str, str]]) -> float:
    return len(set(found(rows)) & set(found(expected))) / len(expected)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many vectors Milvus had at each end of the script, and how many sentences the index."""
    if not is_installed("pymilvus"):
        return []
    counts: list[tuple[int, int]] = []
    close = Milvus.close

    def counted(self: Milvus) -> None:
        if hasattr(self, "generation"):
            counts.append((self._count(), self.generation.count))
        close(self)

    monkeypatch.setattr(Milvus, "close", counted)
    return counts


def test_build_search_add_change_delete_refuse(
    engine: str,
    search: Search,
    tmp_path: Path,
    queries: Path,
    sentences: list[str],
    encoded: list[str],
    kept: list[tuple[int, int]],
) -> None:
    gone = [sentences[0], next(sentence for sentence in sentences[11:] if sentence != sentences[0])]
    write_lines(queries, [*queries.read_text(encoding="utf-8").splitlines(), *gone])
    flags = {"query_file": queries, "engine": engine, "top_k": 10}
    rows = search(**flags)
    expected = search(**flags | {"engine": "exact"}, index=tmp_path / "expected")
    assert recall(rows, expected) >= 0.99
    similarities = {pair: row["similarity"] for pair, row in zip(found(expected), expected, strict=True)}
    assert all(
        row["similarity"] == similarities.get(pair, row["similarity"]) for pair, row in zip(found(rows), rows, strict=True)
    )
    changed = [sentence for sentence in sentences if sentence not in gone]
    changed.insert(10, "never a big dog")
    changed += ["two small birds", "three red birds"]
    write_lines(tmp_path / "corpus.txt", changed)
    encoded.clear()
    rows = search(**flags)
    asked = queries.read_text(encoding="utf-8").splitlines()
    assert [text for text in encoded if text not in asked] == ["never a big dog", "two small birds", "three red birds"]
    expected = search(**flags | {"engine": "exact"}, index=tmp_path / "fresh")
    assert recall(rows, expected) >= 0.99
    encoded.clear()
    assert found(search(**flags)) == found(rows) and encoded == asked
    assert [path.name for path in (tmp_path / "index").glob("generation-*")] == ["generation-2"]
    other = runs.write_encoder(tmp_path / "other", runs.make_bert(seed=1))
    with pytest.raises(UserMistake, match=r"INDEX: .* was built differently: another ENCODER \(model\.safetensors\)\. Name"):
        search(**flags, encoder=other)
    with pytest.raises(UserMistake, match=r"was built differently: CORPUS_PROMPT was '' and is 'query: '; DIMENSION was 32 "):
        search(**flags, corpus_prompt="query: ", dimension=8)
    assert found(search(**flags)) == found(rows)
    assert len(kept) == (4 if engine == "milvus" else 0) and all(one == other for one, other in kept)


@pytest.mark.slow
def test_a_start_that_is_interrupted_goes_on(
    engine: str, search: Search, queries: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the third piece, and again over another corpus: nothing is encoded twice, nothing is in the index twice."""
    monkeypatch.setattr(building, "NEW_AT_ONCE", 50)
    interrupt_at(monkeypatch, 3)
    flags = {"query_file": queries, "engine": engine}
    with pytest.raises(KeyboardInterrupt):
        search(**flags)
    assert len(encoded) == len(set(encoded)) >= 150 and not list((tmp_path / "index").glob("generation-*"))
    lines = (tmp_path / "corpus.txt").read_text(encoding="utf-8").splitlines()
    write_lines(tmp_path / "corpus.txt", ["two small birds", *lines])
    encoded.clear()
    interrupt_at(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        search(**flags)
    assert encoded[0] != "two small birds" or len(encoded) <= 200
    interrupt_at(monkeypatch, 1_000)
    rows = search(**flags)
    expected = search(**flags | {"engine": "exact"}, index=tmp_path / "fresh")
    assert recall(rows, expected) >= 0.99
    assert [path.name for path in (tmp_path / "index").iterdir() if path.name.startswith(("building", "generation"))] == [
        "generation-2"
    ]


KILLED = """
import sys, time
import bertSearchWithConnectionData as script
from connection.use.search import building
building.NEW_AT_ONCE = 20
note = building.Builder._note
def slowly(self, *arguments):
    note(self, *arguments)
    print("noted", flush=True)
    time.sleep(0.2)
building.Builder._note = slowly
script.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_process_that_is_killed_loses_nothing_that_was_noted(
    engine: str, search: Search, queries: Path, tmp_path: Path, tiny_encoder: Path, encoded: list[str]
) -> None:
    """`kill -9` after the second and after the fifth piece, and once more while the corpus has changed."""
    flags = {"query_file": queries, "engine": engine}
    files = {"encoder": tiny_encoder, "corpus_file": tmp_path / "corpus.txt", "index": tmp_path / "index", "device": "cpu"}
    lines = (tmp_path / "corpus.txt").read_text(encoding="utf-8").splitlines()
    command = [sys.executable, "-c", KILLED, *runs.flags(**flags, **files, output_file=tmp_path / "killed.csv")]
    for pieces in (2, 3, 2):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        noted = 0
        for line in process.stdout:
            noted += line == "noted\n"
            if noted == pieces:
                break
        process.kill()
        process.communicate()
        assert noted == pieces and process.returncode != 0
        if pieces == 3:
            write_lines(tmp_path / "corpus.txt", ["two small birds", *lines[:-40]])
    rows = search(**flags)
    asked = queries.read_text(encoding="utf-8").splitlines()
    assert len([text for text in encoded if text not in asked]) <= len({*lines[:-40]}) + 1 - 20 * (2 + 3)
    expected = search(**flags | {"engine": "exact"}, index=tmp_path / "fresh")
    assert recall(rows, expected) >= 0.99


def interrupt_at(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """The writing of this piece's progress is interrupted, as by Ctrl-C."""
    note: Callable[..., None] = building.Builder._note
    calls: list[int] = []

    def noted(self: building.Builder, *arguments: object) -> None:
        calls.append(1)
        if len(calls) == piece:
            raise KeyboardInterrupt
        note(self, *arguments)

    monkeypatch.setattr(building.Builder, "_note", noted)


def test_a_missing_package_is_one_sentence(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine, package in (("hnsw", "voyager"), ("milvus", "pymilvus")):
        module = importlib.import_module(ENGINES[engine].module)
        monkeypatch.setattr(module, "is_installed", lambda name: False)
        with pytest.raises(UserMistake, match=rf'^ENGINE = "{engine}" needs the package {package}\. Install it with: '):
            search(engine=engine, query="a cat")
