"""JSON Lines and arrays of objects: streamed, every row or its absence named; nested columns by dotted names."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connection import UserMistake
from connection.reading.formats import json_table
from connection.reading.formats.table import BadRow, NotText, Reading

READING = Reading(("a", "b"))
RECORDS = [{"a": f"A {i}.", "b": '두 줄\n[,]{}"\\🙂' * (i % 3), "n": [i, {"x": None}], "t": True} for i in range(7)]
PANDAS = 'pandas.DataFrame.to_json(…, orient="records", lines=True)'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pairs.json"


def opened(path: Path, text: str, reading: Reading = READING) -> json_table.JsonTable:
    path.write_text(text, encoding="utf-8", newline="")
    return json_table.open_file(path, reading)


def refused(path: Path, text: str, reading: Reading = READING) -> str:
    with pytest.raises(UserMistake) as caught:
        list(opened(path, text, reading))
    return str(caught.value).replace(str(path), "FILE")


def cells_of(record: dict[str, object]) -> list[str]:
    return [value if isinstance(value, str) else json.dumps(value) for value in record.values()]


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_array_has_the_rows_of_its_objects(path: Path, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(RECORDS, indent=indent, ensure_ascii=ascii_only)
    for start, end in [("", ""), ("\ufeff", "\n"), (" \r\n\t", " \n\n")]:
        table = opened(path, start + text + end)
        rows = list(table)
        assert [cells for _, cells in rows] == [cells_of(record) for record in RECORDS]
        lines = (start + text).split("\n")
        for line, cells in rows:
            assert "{" in lines[line - 1] and (indent is None or not isinstance(cells, BadRow))
        assert len({line for line, _ in rows}) == (1 if indent is None else len(RECORDS))
        assert (table.header, table.blank_lines, table.ignored_cells) == (["a", "b", "n", "t"], 0, 0)
    lines = "\n".join(json.dumps(record) for record in RECORDS)
    assert [cells for _, cells in opened(path, lines)] == [cells_of(record) for record in RECORDS]


def test_numbers_keep_their_digits_and_other_keys_are_counted(path: Path) -> None:
    table = opened(path, '[{"a": 1.50, "b": {"x": 1e5, "y": [2.0, "z"]}},\n {"c": 1, "b": NaN}, {"a": null, "b": ""}]')
    assert list(table) == [(1, ["1.50", '{"x": 1e5, "y": [2.0, "z"]}']), (2, ["", "NaN"]), (2, ["null", ""])]
    assert table.ignored_cells == 1 and all(isinstance(cell, NotText) for cell in next(iter(opened(path, '[{"a": 1}]')))[1])


def test_an_array_that_is_not_whole_is_refused_with_the_line(path: Path) -> None:
    row = '{"a": "x", "b": "y"}'
    for text, answer in {
        f"[\n{row},\n{row},\n]": "FILE:4  there is a comma before the end of the array: delete it.",
        f"[\n{row},\n{row}\n": "FILE:4  the array has no end: the file is cut off, or the ] is missing.",
        f"[\n{row},\n": "FILE:3  the array has no end: the file is cut off, or the ] is missing.",
        f"[\n{row},\n{row[:-4]}": "FILE:3  the array has no end: the file is cut off, or a quote is not closed.",
        f"[\n{row},\n{row[:-1]}": "FILE:3  the array has no end: the file is cut off, or a quote is not closed.",
        f"[\n{row}\n{row}]": "FILE:3  a comma is missing between two elements of the array.",
        f"[\n{row}]\n{row}": "FILE:3  there is text after the end of the array: delete it.",
        f"[\n{row}]\n]": "FILE:3  there is text after the end of the array: delete it.",
        f'[\n{row},\n{{"a": "x",\n"b" 5}}, {row}]': "FILE:4  the array is not JSON from here on (expecting ':' delimiter).",
        f"[\n{row},,{row}]": "FILE:2  the array is not JSON from here on (expecting value).",
        "[]": "FILE is empty: one JSON object per line, or an array of objects, is needed.",
        "[": "FILE:1  the array has no end: the file is cut off, or the ] is missing.",
        " \n": "FILE is empty: one JSON object per line, or an array of objects, is needed.",
        '["a", "b"]': 'FILE:1  the element is JSON, but not an object: write one object per element, such as {"sentence1": …}.',
        "[" * 100_000: "FILE:1  the element is nested too deeply.",
        f"[{row}, " + '{"a":' * 100_000: "FILE:1  the element is nested too deeply.",
    }.items():
        assert refused(path, text) == answer, text[:100]


def test_elements_that_are_no_objects_are_bad_rows(path: Path) -> None:
    rows = list(opened(path, '[{"a": "x", "b": "y"}, 12,\n null, ["x", "y"], "x", {"a": 1, "a": 2},\n{"a": "x", "b": "z"}]'))
    assert [line for line, _ in rows] == [1, 1, 2, 2, 2, 2, 3]
    assert [isinstance(cells, BadRow) for _, cells in rows] == [False, *[True] * 5, False]
    assert rows[5][1] == 'the element has the key "a" more than once'


def test_one_object_that_holds_the_table_is_named(path: Path) -> None:
    columns = f"FILE is one object that holds columns, not rows: write it with {PANDAS}."
    a_list = (
        'FILE is one object whose key "{}" holds a list: if its rows, write the list alone; if it is a column, write the file '
        f"with {PANDAS}."
    )
    for value, answer in [
        ({"a": {"0": "x", "1": "y"}, "b": {"0": "z", "1": "w"}}, columns),
        ({"0": {"a": "x", "b": "z"}, "1": {"a": "y", "b": "w"}}, columns),
        ({"a": ["x", "y"], "b": ["z", "w"]}, a_list.format("a")),
        ({"version": 1.5, "ok": True, "data": [{"a": "x", "b": "z"}]}, a_list.format("data")),
        ({"columns": ["a", "b"], "index": [0], "data": [["x", "z"]]}, a_list.format("columns")),
    ]:
        for indent in (None, 1):
            for end in ("", "\n\n"):
                assert refused(path, json.dumps(value, indent=indent) + end) == answer
    long = json.dumps({"a": {str(i): "x" * 1000 for i in range(10_100)}})  # one line of more than ten million characters
    assert refused(path, long) == columns
    assert "the line is not a JSON object" in refused(path, '{"a": "x",\n "b": "y"}')
    assert list(opened(path, '{"meta": {"x": 1}, "a": "x", "b": "y"}')) == [(1, ['{"x": 1}', "x", "y"])]


def test_nested_values_are_columns_where_they_are_wanted(path: Path) -> None:
    first = {"a": "x", "b": {"c": "y", "d.e": {"f": 1.5}}, "b.c": "top", "s": None}
    text = json.dumps([first, {"a": "z", "b": 7, "b.c": "w", "s": {"t": 3}}])
    reading = Reading(("a", "b.c"), "b.d.e.f")
    table = opened(path, text, reading)
    assert table.header == ["a", "b", "b.c", "s", "b.d.e.f"] and table.nested == ["b.c", "b.d.e.f"]
    rows = [cells for _, cells in table]
    assert rows[0][2:] == ["top", "null", "1.5"] and rows[1][2:] == ["w", '{"t": 3}', "null"]
    assert isinstance(rows[1][4], NotText)
    assert [cells[-1] for _, cells in opened(path, text, Reading(("a", "b"), "s.t"))] == ["null", "3"]
    assert opened(path, text, Reading(("a", "x.y"), "a.b")).header == ["a", "b", "b.c", "s"]
    assert (
        opened(path, json.dumps([{"a.b": {"c": "long"}, "a": {"b.c": "short"}}]), Reading(("a.b.c", "a"))).header[-1] == "a.b.c"
    )
    assert next(iter(opened(path, '[{"a.b": {"c": "long"}, "a": {"b.c": "short"}}]', Reading(("a.b.c", "a")))))[1][-1] == "long"
    assert (
        next(iter(opened(path, '[{"a.b": {"d": "long"}, "a": {"b.c": "short"}}]', Reading(("a.b.c", "a")))))[1][-1] == "short"
    )
    deep = "x." * 5000 + "y"
    assert opened(path, '[{"a": {"x": 1}}]', Reading((deep, "a"))).header == ["a"]


def test_numbers_may_be_names(path: Path) -> None:
    text = '{"1": "x", "0": "y", "2": 3}'
    assert opened(path, text, Reading((1, 0), 2)).header_notes == ["its columns have numbers as names"]
    for reading in (Reading((1, 3), 2), Reading(("1", "0"), "2")):
        assert opened(path, text, reading).header_notes == []


def test_text_in_other_encodings(path: Path) -> None:
    path.write_bytes('[{"a": "한국", "b": "y"}]'.encode("cp949"))
    assert list(json_table.open_file(path, Reading(("a", "b"), encoding="cp949"))) == [(1, ["한국", "y"])]
    with pytest.raises(UserMistake, match="byte 0xc7"):
        json_table.open_file(path, READING)
    path.write_bytes(b"[" + b'{"a": "x", "b": "y"},\n' * 10_000 + b'{"a": "\xff"}]')
    with pytest.raises(UserMistake, match=r":10001  byte 0xff"):
        list(json_table.open_file(path, READING))


def test_an_array_of_any_size_needs_the_memory_of_one_element(path: Path) -> None:
    element = json.dumps({"a": "x" * 200, "b": "y" * 200, "n": [[{}] * 10]})
    with path.open("w", encoding="utf-8") as file:
        file.write("[" + ",".join([element] * 10_000) + "]")
    started = time.monotonic()
    tracemalloc.start()
    count = sum(1 for _ in json_table.open_file(path, Reading(("a", "b"), encoding="utf-8")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000 and peak < 2_000_000 and time.monotonic() - started < 20
    long = json.dumps([{"a": "x" * 4_000_000, "b": "y"}, {"a": "z", "b": "\\" * 3_000_000}])
    assert [len(cells[0]) for _, cells in opened(path, long)] == [4_000_000, 1]
    assert "longer than 10,000,000 characters" in refused(path, '[{"a": "' + "x" * 21_000_000)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "c.d"]), VALUES, min_size=1), min_size=1, max_size=6),
    st.sampled_from([None, 1]),
    st.integers(1, 40),
)
def test_any_array_is_read_in_blocks_of_any_size(
    tmp_path: Path, records: list[dict[str, object]], indent: int | None, block: int
) -> None:
    path = tmp_path / "pairs.json"
    expected = [[cells_of({name: record.get(name, "")})[0] for name in records[0]] for record in records]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_table, "_BLOCK", block)
        rows = [cells for _, cells in opened(path, json.dumps(records, indent=indent), Reading(("x", "y")))]
    assert rows == expected


ORIGINALS = [json.dumps(RECORDS), json.dumps(RECORDS, indent=1), "\n".join(map(json.dumps, RECORDS[:3]))]
PIECES = ["[", "]", "{", "}", ",", ":", '"', "\\", "\n", "null", "1e999", "[1]", "{}", '{"a": "b"}', "\ufeff", "\0", "é"]


@pytest.mark.parametrize(("count", "seed"), [(600, 1), pytest.param(30_000, 2, marks=pytest.mark.slow)])
def test_damaged_arrays(path: Path, count: int, seed: int) -> None:
    """The rows of an array are those that Python's own reader finds in the whole text; no other file is accepted."""
    source = random.Random(seed)
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        text = source.choice(ORIGINALS)
        for _ in range(source.choice([1, 1, 2, 3])):
            at = source.randint(0, len(text))
            end = min(len(text), at + source.choice([1, 1, 2, 20]))
            piece = source.choice([*PIECES, text[at:end] * 2])
            text = source.choice([text[:at] + piece + text[at:], text[:at] + text[end:], text[:at] + piece + text[end:]])
        started = time.monotonic()
        try:
            rows = [cells for _, cells in opened(path, text)]
        except UserMistake as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
        else:
            if text.lstrip(" \n\ufeff").startswith("["):
                assert len(rows) == len(json.loads(text.removeprefix("\ufeff")))
            else:
                assert len(rows) == sum(bool(line.strip()) for line in text.split("\n"))
            outcomes["read"] += 1
        assert time.monotonic() - started < 5
    print(f"{count:,} damaged arrays: {dict(outcomes)}")
    assert min(outcomes["read"], outcomes["refused"]) > count / 10
