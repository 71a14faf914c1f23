"""Parquet files that no run may pass over in silence, each answered by exactly one text; and column types that are read."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from pathlib import Path

import pytest

from connection import UserMistake
from connection.reading.layout import Layout
from connection.reading.pairs import read_pairs

SCORES = [0.25, 0.75]


def answer(path: Path, **layout: object) -> str:
    """What the person is told, {path} for the file's path."""
    with pytest.raises(UserMistake) as caught:
        read_pairs(path, Layout(**layout))
    return str(caught.value).replace(str(path.resolve()), "{path}")


def one_bad_row(line: int, problem: str, of: int) -> str:
    return f"{{path}} has rows that cannot be used:\n  {{path}}:{line}  {problem}\n1 bad row of {of}."


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Write a Parquet file of two good pairs, some columns replaced."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def write(**columns: object) -> Path:
        parquet.write_table(pa.table({"sentence1": ["A", "B"], "sentence2": ["C", "D"], "score": SCORES} | columns), path)
        return path

    path = tmp_path / "pairs.parquet"
    return write


def test_parquet_columns_of_other_types_that_hold_the_same(parquet: Callable[..., Path]) -> None:
    pa = pytest.importorskip("pyarrow")
    numbers = [decimal.Decimal("0.25"), decimal.Decimal("0.75")]
    for columns in (
        {"sentence1": pa.array(["A", "B"]).dictionary_encode()},
        {"sentence1": pa.array(["A", "B"], pa.large_string())},
        {"score": pa.array(numbers)},
        {"score": pa.array(SCORES, pa.float16())},
        {"score": pa.array(SCORES, pa.float32())},
        {"score": ["0.25", "0.75"]},
        {"vector": [[1.0] * 8] * 2, "bytes": [b"\xff"] * 2, "nothing": pa.nulls(2)},  # not needed, so not read
    ):
        pairs = read_pairs(parquet(**columns), Layout(score_range=(0, 1)))
        assert pairs.table["sentence1"].tolist() == ["A", "B"] and pairs.table["score"].tolist() == SCORES, columns
    whole = read_pairs(parquet(vector=[[1.0], [2.0]]), Layout(score_range=(0, 1)), keep_cells=True)
    assert whole.columns == ["sentence1", "sentence2", "score", "vector"] and whole.cells[1] == ["B", "D", "0.75", "[2.0]"]
    assert read_pairs(parquet(score=[1, 0]), Layout(score_range=(0, 1))).table["score"].tolist() == [1.0, 0.0]


def test_parquet_columns_that_hold_no_text_or_numbers(parquet: Callable[..., Path]) -> None:
    pa = pytest.importorskip("pyarrow")
    text = {
        "list<element: string>": [["A"], ["B"]],
        "binary": [b"A", b"B"],
        "struct<a: int64>": [{"a": 1}, {"a": 2}],
    }
    for kind, values in text.items():
        assert answer(parquet(sentence1=values)) == f'{{path}}: the column "sentence1" holds {kind}, not text.'
        assert answer(parquet(score=values)) == f'{{path}}: the column "score" holds {kind}, not numbers.'
    assert answer(parquet(sentence1=[None, "B"]), score_range=(0, 1)) == one_bad_row(
        1, 'column "sentence1": "null" is not text: write the sentence, or delete the row', of=2
    )
    assert answer(parquet(score=[2**62, 1]), score_range=(0, 1)) == one_bad_row(
        1,
        'column "score": "4611686018427387904" is outside SCORE_RANGE (0 to 1): correct the score or SCORE_RANGE',
        of=2,
    )
    table = pa.Table.from_arrays([pa.array(["A"])] * 4, names=["sentence1", "sentence1", "sentence2", "score"])
    path = parquet()
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    assert answer(path) == (
        '{path} has the column "sentence1" (SENTENCE1_COLUMN) more than once: "sentence1", "sentence1", "sentence2", "score". '
        "Rename all but one."
    )


def varint(number: int) -> bytes:
    """A number as Thrift's compact protocol has it: zigzag, seven bits a byte."""
    number, found = 2 * number, b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def with_rows_in_footer(content: bytes, true: int, claimed: int) -> bytes:
    """A Parquet file whose footer claims other rows than the file has."""
    length = int.from_bytes(content[-8:-4], "little")
    data, footer = content[: -8 - length], content[-8 - length : -8]
    old = b"\x16" + varint(true) + b"\x19\x1c"  # FileMetaData: num_rows, then the list of row groups
    assert footer.count(old) == 1
    footer = footer.replace(old, b"\x16" + varint(claimed) + b"\x19\x1c")
    return data + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_a_parquet_footer_that_lies(parquet: Callable[..., Path]) -> None:
    path = parquet()
    content = path.read_bytes()
    path.write_bytes(with_rows_in_footer(content, 2, 1_000_000_000))
    assert answer(path) == "{path} has 1,000,000,000 rows; at most 50,000,000 can be read. Take a sample of them."
    path.write_bytes(with_rows_in_footer(content, 2, 3))
    assert answer(path, score_range=(0, 1)) == "{path} is damaged: it has 2 rows, but its footer says 3."


@pytest.mark.parametrize("kept", [0, 4, 11, -1, -8, -20, -200])
def test_a_truncated_parquet_file(parquet: Callable[..., Path], kept: int) -> None:
    path = parquet()
    path.write_bytes(path.read_bytes()[:kept])
    told = answer(path)
    assert told.startswith("{path} cannot be read as Parquet: ") and "\n" not in told


def test_text_in_parquet_that_is_no_unicode(parquet: Callable[..., Path]) -> None:
    pa = pytest.importorskip("pyarrow")
    told = answer(parquet(sentence1=pa.array([b"A\xff", b"B"]).view(pa.string())))
    assert told == ("{path} cannot be read as Parquet: 'utf-8' codec can't decode byte 0xff in position 1: invalid start byte.")


def test_a_parquet_cell_and_a_page_of_high_ratio(parquet: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes that unpack to far more."""
    from connection.reading.formats import parquet_table

    path = parquet(sentence1=["a" * 10_000_000, "B"])
    assert path.stat().st_size < 1_000_000
    assert answer(path, score_range=(0, 1)) == one_bad_row(1, "the row is longer than 10,000,000 characters: delete it", of=2)
    monkeypatch.setattr(parquet_table, "MOST_BYTES", 1_000_000)
    assert answer(path) == "{path} has a row group of more than 0.001 GB. Write smaller row groups."
