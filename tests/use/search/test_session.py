"""What a person meets: queries, files of them, prompts, other files as corpus, and what is refused, with nothing lost."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import runs
from runs import write_lines, write_rows

import bertSearchWithConnectionData as script
from connection import UserMistake
from connection.use.nearest import unit
from connection.use.search import session
from ConnectionBert import ConnectionBert

Search = Callable[..., list[dict[str, str]]]
Said = pytest.CaptureFixture[str]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- queries ---


def test_one_query(search: Search, capsys: Said, sentences: list[str], tiny_encoder: Path) -> None:
    assert search(query="two small birds", top_k=4) == []
    said = capsys.readouterr().out
    hits = re.findall(r"^ +(\d+)  (-?\d\.\d{4})  row (\d+) +(.+)$", said, flags=re.MULTILINE)
    encoder = ConnectionBert.load(tiny_encoder)
    one, other = (unit(encoder.encode(texts)) for texts in (["two small birds"], sentences))
    similarities = (one @ other.T)[0]
    assert [int(rank) for rank, *_ in hits] == [1, 2, 3, 4] and len({row for _, _, row, _ in hits}) == 4
    for _, similarity, row, sentence in hits:
        assert sentences[int(row) - 1] == sentence and float(similarity) == pytest.approx(similarities[int(row) - 1], abs=1e-4)
    assert float(hits[-1][1]) >= np.sort(similarities)[-4] - 1e-4
    assert ("249 sentences from" in said and "(240 different): 240 new, 0 gone." in said) or "different" in said
    with pytest.raises(UserMistake, match=r"^QUERY is empty: "):
        search(query=" ")


def test_queries_one_after_the_other_until_an_empty_line_or_the_end(
    search: Search, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ending in ("\n", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"a cat\n  the dog \n{ending}"))
        search(prompt=True, top_k=2)
        said = capsys.readouterr().out
        assert "Type a query and press Enter; an empty line ends." in said
        assert len(re.findall(r"^ +[12]  -?\d\.\d{4}  row ", said, flags=re.MULTILINE)) == 4
    search(query="the dog", top_k=2)
    assert capsys.readouterr().out.rstrip().endswith("\n".join(said.rstrip().splitlines()[-2:]))


def test_a_file_of_queries_and_the_page_beside_its_answers(search: Search, tmp_path: Path, capsys: Said) -> None:
    pairs = write_rows(tmp_path / "tickets.csv", [["id", "text"], ["7", "a cat"], ["8", "two dogs"], ["9", "a cat"]])
    rows = search(query_file=pairs, query_column="text", top_k=3)
    assert list(rows[0]) == ["query_row", "query", "rank", "corpus_row", "sentence", "similarity"]
    assert [(row["query_row"], row["rank"]) for row in rows] == [(str(q), str(rank)) for q in (1, 2, 3) for rank in (1, 2, 3)]
    assert [row["query"] for row in rows[::3]] == ["a cat", "two dogs", "a cat"]
    assert [row["corpus_row"] for row in rows[:3]] == [row["corpus_row"] for row in rows[6:]]
    said = capsys.readouterr().out
    assert "3 queries from" in said and f"Found: {tmp_path / 'out' / 'found.csv'}" in said
    page = (tmp_path / "out" / "search.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["total"] == 3 and [card["title"] for card in data["cards"]] == ["a cat", "two dogs", "a cat"]
    assert [line[2] for line in data["cards"][0]["lines"]] == [row["sentence"] for row in rows[:3]]
    numbered = search(query_file=pairs, query_column=2, top_k=3)  # the column by its number: the header is a row like others
    assert [row["query"] for row in numbered[::3]] == ["text", "a cat", "two dogs", "a cat"]
    assert [row["corpus_row"] for row in numbered[3:]] == [row["corpus_row"] for row in rows]
    search(query_file=pairs, query_column="text", output_file=tmp_path / "out" / "found.xlsx")
    assert (tmp_path / "out" / "found.xlsx").read_bytes()[:2] == b"PK"


# --- the corpus ---


@pytest.mark.slow
def test_a_corpus_is_any_file_or_a_sentence_a_line(search: Search, tmp_path: Path, sentences: list[str], capsys: Said) -> None:
    """All give the same index but for its rows; a text file may have a header with columns, and empty lines."""
    flags = {"query_file": write_lines(tmp_path / "asked.txt", ["a cat"]), "top_k": 5}
    expected = [row["sentence"] for row in search(**flags)]
    rows = [["n", "sentence"], *([str(number), text] for number, text in enumerate(sentences))]
    table = write_rows(tmp_path / "table.csv", rows)
    lines = tmp_path / "gaps.txt"
    lines.write_text("\r\n\r\n".join(sentences) + "\n", encoding="utf-8-sig")
    header = write_rows(tmp_path / "table.txt", rows, "\t")
    for path in (table, lines, header):
        capsys.readouterr()
        assert [row["sentence"] for row in search(**flags, corpus_file=path)] == expected
        assert f"{len(sentences)} sentences from {path}" in capsys.readouterr().out
    assert [row["sentence"] for row in search(**flags, corpus_file="")] == expected  # the index as it is


def test_a_wrong_file_or_column_is_one_sentence(search: Search, tmp_path: Path, corpus: Path, tiny_encoder: Path) -> None:
    with pytest.raises(UserMistake, match=r"There is no file .*corpsu\.txt\. Did you mean corpus\.txt\?"):
        search(corpus_file=corpus.with_name("corpsu.txt"), query="a cat")
    table = write_rows(tmp_path / "table.csv", [["n", "sentences"], ["1", "a cat"]])
    with pytest.raises(UserMistake, match=r'no column "sentence" \(SENTENCE_COLUMN\).*\n(.*\n)*.*--sentence-column=sentences'):
        search(corpus_file=table, query="a cat")
    with pytest.raises(UserMistake, match=r'no column "text" \(QUERY_COLUMN\)'):
        search(query_file=table, query_column="text")
    with pytest.raises(UserMistake, match="has no sentences"):
        search(corpus_file=write_lines(tmp_path / "none.txt", ["", " "]), query="a cat")
    flags = {"corpus_file": corpus, "query_file": table, "query_column": "sentences", "output_file": table}
    with pytest.raises(UserMistake, match=r"OUTPUT_FILE"):
        runs.run_script(script, **flags, encoder=tiny_encoder, index=tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_corpus_that_changes_while_it_is_read_changes_nothing(
    search: Search, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"query_file": write_lines(tmp_path / "asked.txt", ["a cat"])}
    rows = search(**flags)
    lines = corpus.read_text(encoding="utf-8").splitlines()
    surveyed = [*lines[:5], "a blue cat", *lines[5:]]
    for changed in (["a red cat", *lines], surveyed[:-1], [*surveyed, "a red cat"]):
        write_lines(corpus, surveyed)
        build = session.Session._build

        def altered(self: session.Session, *arguments: object, changed: list[str] = changed, build: Callable = build) -> None:
            write_lines(corpus, changed)
            build(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(session.Session, "_build", altered)
            with pytest.raises(UserMistake, match=r"^CORPUS_FILE has changed while it was read; the index is as it was\. "):
                search(**flags)
        assert search(**flags, corpus_file="") == rows
    write_lines(corpus, lines)
    assert search(**flags) == rows


# --- the index ---


def test_what_is_no_index_is_never_touched(search: Search, tmp_path: Path) -> None:
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "index.json").write_text('{"what": "photos"}', encoding="utf-8")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    for index in (foreign, tmp_path / "notes.txt", run):
        before = contents(index) if index.is_dir() else index.read_bytes()
        with pytest.raises(UserMistake, match=r"is no index of this project, and is left alone\. Name another folder\."):
            search(index=index, query="a cat")
        assert (contents(index) if index.is_dir() else index.read_bytes()) == before
    empty = tmp_path / "empty"
    empty.mkdir()
    search(index=empty, query="a cat")
    assert (empty / "index.json").is_file()


@pytest.mark.parametrize(
    "name",
    ["vectors", *(pytest.param(name, marks=pytest.mark.slow) for name in ("keys", "rows", "texts", "ends", "contents.json"))],
)
def test_a_damaged_file_is_found_out_and_named(search: Search, tmp_path: Path, name: str) -> None:
    search(query="a cat", top_k=1)
    path = tmp_path / "index" / "generation-1" / name
    data = bytearray(path.read_bytes())
    for damaged in (bytes(data[:-9]), bytes(data[:9]) + bytes([data[9] ^ 1]) + bytes(data[10:]), None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        with pytest.raises(UserMistake, match=r"is damaged or missing\. Delete the folder .*index; the next start builds it"):
            search(query="a cat", top_k=1)
    shutil.rmtree(tmp_path / "index")
    search(query="a cat", top_k=1)


def test_an_index_of_another_version_or_with_a_damaged_header(search: Search, tmp_path: Path) -> None:
    search(query="a cat", top_k=1)
    header = tmp_path / "index" / "index.json"
    found = json.loads(header.read_text(encoding="utf-8"))
    header.write_text(json.dumps(found | {"format": 7}), encoding="utf-8")
    with pytest.raises(UserMistake, match=r"was written by another version of this project \(format 7, here 1\)"):
        search(query="a cat")
    header.write_text(json.dumps(found | {"generation": "x"}), encoding="utf-8")
    with pytest.raises(UserMistake, match=r"index\.json is damaged\. Delete the folder"):
        search(query="a cat")


def test_without_a_corpus_there_must_be_an_index(search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserMistake, match=r"holds no index yet\. Set CORPUS_FILE to build it\."):
        search(corpus_file="", query="a cat")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "_build", stop)
        with pytest.raises(KeyboardInterrupt):
            search(query="a cat")
    with pytest.raises(UserMistake, match=r"the building of .*index was interrupted\. Set CORPUS_FILE to complete it\."):
        search(corpus_file="", query="a cat")
    search(query="a cat")


def test_one_process_at_a_time_writes_to_an_index(search: Search, tmp_path: Path, corpus: Path) -> None:
    search(query="a cat", top_k=1)
    code = f"""
import pathlib, sys
from connection.disk.claim import claimed
with claimed(pathlib.Path({str(tmp_path / "index")!r}), "INDEX"):
    print("claimed", flush=True)
    sys.stdin.read()
"""
    root = Path(script.__file__).resolve().parent
    other = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "claimed\n"
        search(query="a cat", top_k=1)  # nothing is to be written
        write_lines(corpus, [*corpus.read_text(encoding="utf-8").splitlines(), "a new cat"])
        with pytest.raises(UserMistake, match=rf"^INDEX: another process \(id {other.pid}\) is writing to .*index\. Wait"):
            search(query="a cat")
    finally:
        other.communicate("")
    search(query="a cat")


def test_an_index_that_another_process_has_just_written_is_not_built_over(
    search: Search, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(query="a cat")
    write_lines(corpus, [*corpus.read_text(encoding="utf-8").splitlines(), "a new cat"])
    check = session.Session._check_unchanged

    def late(self: session.Session) -> None:
        path = self.settings.INDEX / "index.json"
        header = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(header | {"generation": 2}), encoding="utf-8")
        check(self)

    monkeypatch.setattr(session.Session, "_check_unchanged", late)
    with pytest.raises(UserMistake, match="another process has just written to"):
        search(query="a cat")


def test_a_generation_that_another_process_replaces_meanwhile_is_passed_over(
    search: Search, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of index.json and of the generation that it names; and while a person is asked for queries."""
    flags = {"query_file": write_lines(tmp_path / "asked.txt", ["a new cat"]), "top_k": 1}
    search(**flags)
    lines = corpus.read_text(encoding="utf-8").splitlines()
    find = script.find_index

    def late(*arguments: object) -> object:
        header = find(*arguments)
        monkeypatch.setattr(script, "find_index", find)
        search(query="a cat", corpus_file=write_lines(corpus, [*lines, "a new cat"]))
        return header

    monkeypatch.setattr(script, "find_index", late)
    assert search(**flags, corpus_file="")[0]["sentence"] == "a new cat"
    opened = session.Session.open

    def replaced(self: session.Session) -> None:
        opened(self)
        monkeypatch.setattr(session.Session, "open", opened)
        search(query="a cat", corpus_file=write_lines(corpus, lines), output_file=tmp_path / "other.csv")

    monkeypatch.setattr(session.Session, "open", replaced)
    assert search(**flags, corpus_file="")[0]["sentence"] == "a new cat"  # of the generation that it has opened
    assert search(**flags, corpus_file="")[0]["sentence"] != "a new cat"


def test_the_room_is_told_and_a_full_disk_refused_before_anything_is_written(
    search: Search, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_020_000))
        with pytest.raises(UserMistake, match=r"MB free, and the index needs 10 MB\. Free some space, or name an INDEX"):
            search(query="a cat")
    assert not (tmp_path / "index").exists()
    capsys.readouterr()
    search(query="a cat")
    size = sum(map(len, contents(tmp_path / "index").values()))
    told = float(re.search(r"It takes ([\d.]+) MB on the disk\. Encoding takes about 0:00:", capsys.readouterr().out)[1]) * 1e6
    assert abs(told - size) < 5e4


@pytest.mark.slow
def test_an_index_on_a_disk_that_may_only_be_read_is_searched(
    search: Search, tmp_path: Path, corpus: Path, tiny_encoder: Path
) -> None:
    """A mount, since permissions do not bind the administrator."""
    asked, index = write_lines(tmp_path / "asked.txt", ["a cat"]), tmp_path / "disk" / "index"
    index.parent.mkdir()
    search(query_file=asked, index=index)
    mount = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"'
    flags = {"encoder": tiny_encoder, "index": index, "query": "a cat", "top_k": 1, "device": "cpu"}
    for wanted, path in ((0, corpus), (0, ""), (2, asked)):  # the index as it is; one that would have to be written
        command = [sys.executable, script.__file__, *runs.flags(**flags, corpus_file=path)]
        done = runs.in_namespace(mount, index.parent, *command)
        assert done.returncode == wanted and ("row 181  a." in done.stdout) == (wanted == 0), done.stderr
    assert "Read-only file system" in done.stderr and "Traceback" not in done.stderr


# --- prompts, numbers ---


def test_prompts_stand_before_queries_and_sentences(
    search: Search, tmp_path: Path, tiny_encoder: Path, sentences: list[str], capsys: Said
) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    encoder.save(tmp_path / "prompted")
    path = tmp_path / "prompted" / "config_sentence_transformers.json"
    given = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(given | {"prompts": {"query": "two. ", "passage": "red. "}}), encoding="utf-8")
    asked = write_lines(tmp_path / "asked.txt", ["a cat"])
    rows = search(encoder=path.parent, query_file=asked, top_k=3)
    assert 'Prompts: "two. " before every query, "red. " before every sentence of the corpus.' in capsys.readouterr().out

    def similarity(query: str, prompt: str, row: dict[str, str]) -> float:
        one, other = encoder.encode([query + "a cat", prompt + row["sentence"]])
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    assert all(float(row["similarity"]) == pytest.approx(similarity("two. ", "red. ", row), abs=1e-5) for row in rows)
    with pytest.raises(UserMistake, match=r"CORPUS_PROMPT was 'red\. ' and is ''"):
        search(encoder=path.parent, query="a cat", corpus_prompt="none")
    rows = search(encoder=path.parent, query_file=asked, query_prompt="none", top_k=3)  # the index is the same
    assert all(float(row["similarity"]) == pytest.approx(similarity("", "red. ", row), abs=1e-5) for row in rows)
    with pytest.raises(UserMistake, match=r'QUERY_PROMPT: the encoder has no prompt named "question"'):
        search(encoder=path.parent, query="a cat", query_prompt="question")


@pytest.mark.slow
def test_half_the_numbers_and_a_part_of_the_embedding(search: Search, tmp_path: Path, tiny_encoder: Path) -> None:
    asked = write_lines(tmp_path / "asked.txt", ["two small birds"])
    exact = search(query_file=asked, top_k=10)
    half = search(query_file=asked, top_k=10, numbers="float16", index=tmp_path / "half")
    assert (tmp_path / "half" / "generation-1" / "vectors").stat().st_size * 2 == (
        tmp_path / "index" / "generation-1" / "vectors"
    ).stat().st_size
    assert len({row["corpus_row"] for row in half} & {row["corpus_row"] for row in exact}) >= 9
    assert float(half[0]["similarity"]) == pytest.approx(float(exact[0]["similarity"]), abs=1e-3)
    short = search(query_file=asked, top_k=1, dimension=8, index=tmp_path / "short")
    one, other = ConnectionBert.load(tiny_encoder).encode(["two small birds", short[0]["sentence"]])[:, :8]
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert float(short[0]["similarity"]) == pytest.approx(float(cosine), abs=1e-5)
    with pytest.raises(UserMistake, match=r"DIMENSION is 64, but the embeddings of .* have 32 numbers\."):
        search(query="a cat", dimension=64, index=tmp_path / "long")
