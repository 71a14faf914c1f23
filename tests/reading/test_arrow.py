"""Arrow files, streams and Feather: the cells of Parquet for the same data; nested columns; damaged files refused, no crash."""

from __future__ import annotations

import datetime
import decimal
import faulthandler
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connection import UserMistake
from connection.reading.formats import arrow_table, parquet_table
from connection.reading.formats.table import BadRow, NotText, Reading

pa = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")

READING = Reading(("a", "b"))
NO_ARROW = "FILE cannot be read as Arrow: it is no Arrow file, or it is cut off: the mark of its end is missing."
TEXTS = ["A cat.", "한국어\n🙂", "", None, "E"]
TABLE = pa.table(
    {
        "a": pa.array(TEXTS),
        "large": pa.array(TEXTS, pa.large_string()),
        "view": pa.array(TEXTS, pa.string_view()),
        "kind": pa.array(TEXTS).dictionary_encode(),
        "b": pa.array([1, 2, None, 4, 2**62]),
        "half": pa.array([0.5, 1, 2, 3, 4], pa.float16()),
        "exact": pa.array([decimal.Decimal("1.50"), None, *[decimal.Decimal("-0.25")] * 3]),
        "flag": pa.array([True, False, None, True, True]),
        "nothing": pa.nulls(5),
        "list": pa.array([[1.5], [], None, [None], [2.0, 3.0]]),
        "day": pa.array([datetime.date(2026, 3, 1)] * 5),
        "s": pa.array([{"x": 1, "y.z": {"w": "deep"}}, None, {"x": None, "y.z": None}, {"x": 4}, {"x": 5}]),
    }
)


def write_stream(table: Any, path: Path, **options: Any) -> None:
    """As the package `datasets` writes its files."""
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer,
    ):
        writer.write_table(table, max_chunksize=2)


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "stream": write_stream,
    "stream zstd": lambda table, path: write_stream(table, path, compression="zstd"),
    "file": lambda table, path: feather.write_feather(table, str(path), compression="uncompressed"),
    "feather lz4": lambda table, path: feather.write_feather(table, str(path), compression="lz4", chunksize=3),
    "feather zstd": lambda table, path: feather.write_feather(table, str(path), compression="zstd"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pairs.arrow"


def rows(path: Path, reading: Reading = READING, **needed: Any) -> list[tuple[int, list[str] | BadRow]]:
    table = arrow_table.open_file(path, reading)
    if needed:
        table.need(needed["texts"], needed["numbers"], others=False)
    return list(table)


def refused(path: Path) -> str:
    with pytest.raises(UserMistake) as caught:
        rows(path)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("writer", WRITERS)
def test_the_cells_are_those_of_parquet(path: Path, writer: str) -> None:
    reading = Reading(("a", "s.y.z.w"), "s.x")
    WRITERS[writer](TABLE, path)
    parquet.write_table(TABLE, path.with_suffix(".parquet"))
    ours, other = arrow_table.open_file(path, reading), parquet_table.open_file(path.with_suffix(".parquet"), reading)
    assert ours.header == other.header == [*TABLE.column_names, "s.y.z.w", "s.x"]
    assert ours.nested == other.nested == ["s.x", "s.y.z.w"]
    found = list(ours)
    assert found == list(other) and [line for line, _ in found] == [1, 2, 3, 4, 5]
    first = dict(zip(ours.header, found[0][1], strict=True))
    assert first["a"] == first["large"] == first["view"] == first["kind"] == "A cat." and first["half"] == "0.5"
    assert [first[name] for name in ("b", "exact", "flag", "nothing")] == ["1", "1.50", "true", "null"]
    assert [first[name] for name in ("list", "day", "s.y.z.w", "s.x")] == ["[1.5]", '"2026-03-01"', "deep", "1"]
    assert found[1][1][-2:] == found[2][1][-2:] == ["null", "null"] and isinstance(found[1][1][-1], NotText)
    for table in (arrow_table.open_file(path, reading), parquet_table.open_file(path.with_suffix(".parquet"), reading)):
        table.need([0, 12], [13], others=False)
        few = [cells for _, cells in table]
        assert [[cells[0], *cells[12:]] for cells in few] == [[cells[0], *cells[12:]] for _, cells in found]
        assert all(cells[1:12] == [""] * 11 for cells in few)
        with pytest.raises(UserMistake, match='the column "s" holds struct'):
            table.need([11], [], others=False)


def test_dotted_names_and_numbers_as_names(path: Path) -> None:
    struct = pa.array([{"b.c": 1, "b": {"c": 2}}])
    write_stream(pa.table({"a": struct, "a.b": pa.array([{"c": 3}]), "1": ["x"], "2": ["y"]}), path)
    assert rows(path, Reading(("a.b.c", "1")))[0][1][-1] == "3"
    assert rows(path, Reading(("a.b", "1")))[0][1][1] == '{"c": 3}'
    assert arrow_table.open_file(path, Reading((1, 2))).header_notes == ["its columns have numbers as names"]
    assert arrow_table.open_file(path, Reading((1, 3))).header_notes == []
    assert arrow_table.open_file(path, Reading(("a.x", "2.y", "." * 9000))).header == ["a", "a.b", "1", "2"]
    write_stream(pa.table({"a": struct, "x": ["y"]}), path)
    assert rows(path, Reading(("a.b.c", "x")))[0][1][-1] == "1"


def test_text_that_is_no_unicode_and_an_enormous_cell(path: Path) -> None:
    write_stream(pa.table({"a": pa.array([b"A\xff", b"B"]).view(pa.string()), "b": ["x", "y"]}), path)
    assert refused(path).startswith("FILE cannot be read as Arrow: ")
    write_stream(pa.table({"a": ["a" * 10_000_000, "B"], "b": ["x", "y"]}), path, compression="zstd")
    assert path.stat().st_size < 100_000 and [type(cells) for _, cells in rows(path)] == [BadRow, list]
    write_stream(pa.table({"a": pa.array([], pa.string())}), path)
    assert rows(path) == []


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_is_cut_off_anywhere_is_refused(path: Path, writer: str) -> None:
    WRITERS[writer](TABLE, path)
    content = path.read_bytes()
    for kept in [0, 1, 4, 7, 8, 9, 12, *range(16, len(content), 24), len(content) - 4, len(content) - 1]:
        path.write_bytes(content[:kept])
        assert "\n" not in refused(path)


def test_sizes_that_are_absurd_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stream(pa.table({"a": ["a" * 5_000_000], "b": ["b"]}), path, compression="zstd")
    content = path.read_bytes()
    claimed = (5_000_000).to_bytes(8, "little", signed=True)
    assert content.count(claimed) >= 1
    for absurd in (20 * 10**9, 10**14):
        path.write_bytes(content.replace(claimed, absurd.to_bytes(8, "little")))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert refused(path).startswith("FILE cannot be read as Arrow: ")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # kilobytes
    write_stream(pa.table({"a": ["x"] * 10, "b": ["y"] * 10}), path)
    monkeypatch.setattr(arrow_table, "MOST_ROWS", 9)
    assert "it has more than 9 rows" in refused(path)


def test_other_formats_are_named(path: Path) -> None:
    for content, answer in {
        b"FEA1\0\0\0\0": "FILE is a Feather file of the first version: ",
        b"PAR1\x15\x04": "FILE is a Parquet file: ",
        b"\x80\x04\x95": "FILE is a Python pickle",
        b"sentence1,sentence2\n": NO_ARROW,
        b"": NO_ARROW,
    }.items():
        path.write_bytes(content)
        assert refused(path).startswith(answer)
    path.unlink()
    assert refused(path).startswith("FILE cannot be read as Arrow: ")


def mutated(source: random.Random, content: bytes) -> bytes:
    for _ in range(source.choice([1, 1, 1, 2, 4])):
        at = source.randrange(len(content) + 1) if source.random() < 0.5 else min(len(content), source.randrange(1000))
        end = min(len(content), at + source.choice([1, 2, 4, 8, 40]))
        new = source.choice(
            [
                bytes([source.randrange(256)]),
                source.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * (end - at),
                source.randrange(-(2**31), 2**31).to_bytes(4, "little", signed=True),
                (2 ** source.randrange(63) - 1).to_bytes(8, "little"),
                content[at:end] * 2,
                b"",
            ]
        )
        keeps_length = source.random() < 0.8
        content = content[:at] + new + content[at + len(new) if keeps_length else end :]
    return content if source.random() < 0.95 else content[: source.randrange(len(content) + 1)]


def outcome(path: Path) -> str:
    """What became of the file. A file that is read has the rows that it claims."""
    started = time.monotonic()
    module = parquet_table if path.suffix == ".parquet" else arrow_table
    try:
        count = len(list(module.open_file(path, Reading(("a", "s.x"), "b"))))
    except UserMistake as error:
        assert "\n" not in str(error)
        return "refused"
    else:
        if module is parquet_table:
            assert count == parquet.ParquetFile(path).metadata.num_rows
        return "read"
    finally:
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
@pytest.mark.parametrize(("count", "seed"), [(300, 1), pytest.param(20_000, 2, marks=pytest.mark.slow)])
def test_damaged_files(tmp_path: Path, ending: str, count: int, seed: int) -> None:
    source = random.Random(seed)
    path = tmp_path / f"pairs.{ending}"
    originals = []
    for table in (TABLE, TABLE.select(["a", "kind", "b", "s"])):
        for write in WRITERS.values() if ending == "arrow" else [parquet.write_table]:
            write(table, path)
            originals.append(path.read_bytes())
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        path.write_bytes(mutated(source, source.choice(originals)))
        faulthandler.dump_traceback_later(60, exit=True)  # a hang ends the tests, with the place where it hangs
        outcomes[outcome(path)] += 1
        faulthandler.cancel_dump_traceback_later()
    print(f"{count:,} damaged {ending} files: {dict(outcomes)}")
    assert min(outcomes["read"], outcomes["refused"]) > count / 20
