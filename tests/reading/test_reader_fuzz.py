"""The reader against random and damaged files: an answer at once, no error but UserMistake, and no row lost in silence.

Rows read, or rows refused and accepted, are the rows that another count finds in the file.
"""

from __future__ import annotations

import csv
import faulthandler
import io
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connection import UserMistake
from connection.reading.formats import open_table
from connection.reading.formats.table import Reading
from connection.reading.formats.text.csv_look import look
from connection.reading.formats.text.csv_output import Style, csv_pieces
from connection.reading.formats.text.encodings import find_encoding
from connection.reading.layout import Layout
from connection.reading.pairs import read_pairs

HERE = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LAYOUTS = [
    Layout(),
    Layout(quoting=False, separator="\t"),
    Layout(6, 7, 5, separator="\t", quoting=False),
    Layout(1, 2, 3, separator=";"),
    Layout(1, 2, None),
    Layout(encoding="cp949"),
    Layout(encoding="utf-16"),
    Layout(encoding="utf-16-le", separator=" "),
    Layout("A", "B", None, separator="'", encoding="utf-7"),
]
STS = "captions\tMSRvid\ttrain\t0001\t5.000\tA plane.\tAn air plane.\nx\ty\tz\t2\t1.2\tA\tB\textra\tcells\n"
PLAIN = "A cat.,A dog.,1\nA bird.,A fish.,4\n"
QUOTED = '7,"Yes, a cat","He said ""no"".",0\n8,"two\nlines",=1+1,2.5\n9,\'=1,한국어,3\n\n'
GERMAN = '"Ein Mann läuft; er fällt.";Über die Brücke;0,5\r\nDie Tür;schön müde;3\r\n'
CSV_FILES = [
    (("sentence1,sentence2,score\n" + PLAIN * 3).encode(), LAYOUTS[0]),
    (("id,sentence1,sentence2,score\n" + QUOTED * 2).encode(), LAYOUTS[0]),
    ((STS * 3).encode(), LAYOUTS[2]),
    (("A;B;1\r\nC;D;2\r\n" * 3).encode(), LAYOUTS[3]),
    ((PLAIN * 3).encode(), LAYOUTS[4]),
    (("id,sentence1,sentence2,score\n" + QUOTED).encode("cp949"), LAYOUTS[5]),
    (("sentence1,sentence2,score\n" + PLAIN).encode("utf-16"), LAYOUTS[6]),
    (("Titel, März;;\r\n;;\r\nsentence1;sentence2;score\r\n" + GERMAN * 2 + ";;\r\n").encode("cp1252"), LAYOUTS[0]),
    (("sentence1;sentence2;score\n" + GERMAN).encode("utf-8-sig"), LAYOUTS[0]),
    (b'sentence1,sentence2,score\n"He said \\"no\\".","A \\\\ B",2\n"x, y",z,1\n', LAYOUTS[0]),
    (b'sentence1, sentence2, score\n"A, b", "C ""d""", 1\nE, "f\ng", 2.5\n', LAYOUTS[0]),
    (b'"sentence1" "sentence2" "score"\n"1" "A cat" "A dog" 1\n"2" "B ""c""" "D" 4.5\n', LAYOUTS[0]),
    (("0||两只猫||一只狗||1\n1||A | b||C||4\n" * 3).encode(), Layout(2, 3, 4)),
    (b"0,1,2\nA,B,1\nC,D,true\n", Layout(0, 1, 2, score_range=(0, 1))),
]
JSON_FILES = [
    b'{"sentence1": "A", "sentence2": "B", "score": 1}\n\n{"score": "2.5", "sentence1": "\\u00e9", "sentence2": "D"}\n',
    b'{"sentence1": "A", "sentence2": "B", "score": 1}\r\n{"sentence1": "C", "sentence2": "", "score": 5, "x": [NaN]}\n',
]
PIECES = [
    *["sentence1", "sentence2", "score", "A cat.", "5", "-1", "1e999", "nan", "é", "한", "🙂", "\u200b", "\ufeff", "\x12"],
    *[",", ",", ";", "\t", '"', '"', '""', "'", "=", "\n", "\n", "\r", "\r\n", "\0", " ", "\u2028", "\x85", "\\", "{", "}"],
    *[":", "[", "]", "null", "\\ud800", "sentence1,sentence2,score\n", "A,B,1\n", '{"sentence1": "A", "sentence2": "B"}\n'],
]
BYTES = [piece.encode() for piece in PIECES] + [b"\xff", b"\xfe", b"\xed\xa0\x80", b"\xff\xfe", b"PAR1", b"PK\x03\x04"]


def mutated(source: random.Random, content: bytes) -> bytes:
    """The content with up to six damages: bytes changed, cut out, doubled, moved, put in, or the end lost."""
    for _ in range(source.choice([0, 1, 1, 1, 2, 3, 6])):
        start = source.randint(0, len(content))
        end = min(len(content), start + source.choice([1, 1, 2, 8, 60]))
        damage = source.randrange(6)
        if damage == 0 and start < len(content):
            content = content[:start] + bytes([source.randrange(256)]) + content[start + 1 :]
        elif damage == 1:
            content = content[:start] + content[end:]
        elif damage == 2:
            content = content[:end] + content[start:end] * source.randint(1, 3) + content[end:]
        elif damage == 3:
            content = content[end:] + content[start:end] + content[:start]
        elif damage == 4:
            content = content[:start] + source.choice(BYTES) + content[start:]
        elif source.random() < 0.3:
            content = content[:start]
    return content


def expected_rows(path: Path, layout: Layout) -> int:
    """Rows of the file below its header, empty ones included, counted without the reader. For a CSV file, the dialect and the
    header are those that the reader tells."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.ParquetFile(path).metadata.num_rows
    encoding = find_encoding(path, layout.encoding).name
    text = path.read_bytes().decode(encoding).removeprefix("\ufeff")
    if path.suffix == ".jsonl":
        return len(text.removesuffix("\n").split("\n")) if text else 0
    told = look(path, encoding, layout.reading)
    dialect = told.dialect
    if dialect.escapes:
        text = re.sub(r'\\(["\\])', lambda match: '""' if match[1] == '"' else "\\", text)
    if len(dialect.separator) > 1:
        text = text.replace(dialect.separator, "\ufdd0")
    delimiter = "\ufdd0" if len(dialect.separator) > 1 else dialect.separator
    quoting = csv.QUOTE_MINIMAL if layout.quoting else csv.QUOTE_NONE
    lines = io.StringIO(text, newline="")
    for _ in range(told.skipped):
        lines.readline()
    found = list(csv.reader(lines, delimiter=delimiter, quoting=quoting, skipinitialspace=dialect.skips_blanks, strict=True))
    above = 0 if told.header.names is None else told.header.above + 1
    return len(found) - above


def empty_rows(notes: list[str]) -> int:
    """The empty rows that the reader tells."""
    counts = [re.fullmatch(r"([\d,]+) empty rows? skipped", note) for note in notes]
    return sum(int(match[1].replace(",", "")) for match in counts if match)


def outcome(path: Path, layout: Layout) -> str:
    """What became of the file; fails where it took long, where rows are missing, and for any error but UserMistake."""
    started = time.monotonic()
    try:
        pairs = read_pairs(path, layout, keep_cells=len(path.name) % 2 == 0)
    except UserMistake as refused:
        counted = re.search(r"^([\d,]+) bad rows? of ([\d,]+)\.$", str(refused), flags=re.MULTILINE)
        if not counted:
            assert len(str(refused).splitlines()) <= 6
            return "file refused"
        bad, total = (int(number.replace(",", "")) for number in counted.groups())
        assert 0 < bad <= total <= expected_rows(path, layout)
        return "rows refused"
    else:
        assert len(pairs) <= expected_rows(path, layout) <= len(pairs) + empty_rows(pairs.notes)
        return "read"
    finally:
        assert time.monotonic() - started < 10


@HERE
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from(LAYOUTS), st.sampled_from(["pairs.csv", "pairs.jsonl"]))
def test_random_text(tmp_path: Path, pieces: list[str], layout: Layout, name: str) -> None:
    (tmp_path / name).write_bytes("".join(pieces).encode(layout.encoding or "utf-8", errors="replace"))
    outcome(tmp_path / name, layout)


@HERE
@given(st.binary(max_size=200), st.sampled_from(LAYOUTS), st.sampled_from(["p.csv", "p.tsv", "p.jsonl", "p.parquet"]))
def test_random_bytes(tmp_path: Path, content: bytes, layout: Layout, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    outcome(tmp_path / name, layout if not name.endswith("tsv") else Layout(separator="\t"))


def parquet_files(folder: Path) -> list[bytes]:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    text = ["A cat.", "A dog.", "A bird.", "A fish."] * 3
    columns = {"sentence1": text, "sentence2": text[::-1], "score": [0.5, 1.0, 4.0, 2.0] * 3}
    tables = [pa.table(columns), pa.table(columns | {"list": [[1.0]] * 12, "kind": pa.array(text).dictionary_encode()})]
    found = []
    for i, table in enumerate(tables):
        for compression in ("none", "snappy", "zstd"):
            parquet.write_table(table, folder / "source", compression=compression, row_group_size=5, use_dictionary=bool(i))
            found.append((folder / "source").read_bytes())
    return found


def damaged_files(folder: Path, ending: str, seed: int) -> Iterator[tuple[Path, Layout]]:
    """Without end: a damaged file, written into the folder, and how to read it."""
    source = random.Random(seed)
    path = folder / f"pairs.{ending}"
    originals = {
        "csv": lambda: CSV_FILES,
        "jsonl": lambda: [(content, LAYOUTS[0]) for content in JSON_FILES],
        "parquet": lambda: [(content, LAYOUTS[0]) for content in parquet_files(folder)],
    }[ending]()
    while True:
        content, layout = source.choice(originals)
        path.write_bytes(mutated(source, content))
        yield path, layout if source.random() < 0.9 else source.choice(LAYOUTS)


@pytest.mark.parametrize(
    ("ending", "count", "seed"),
    [
        ("csv", 700, 1),
        ("jsonl", 300, 2),
        ("parquet", 300, 3),
        pytest.param("csv", 60_000, 4, marks=pytest.mark.slow),
        pytest.param("jsonl", 20_000, 5, marks=pytest.mark.slow),
        pytest.param("parquet", 20_000, 6, marks=pytest.mark.slow),
    ],
)
def test_damaged_files(tmp_path: Path, ending: str, count: int, seed: int) -> None:
    outcomes: Counter[str] = Counter()
    files = damaged_files(tmp_path, ending, seed)
    for _ in range(count):
        path, layout = next(files)
        faulthandler.dump_traceback_later(60, exit=True)  # a hang ends the tests, with the place where it hangs
        outcomes[outcome(path, layout)] += 1
        faulthandler.cancel_dump_traceback_later()
    print(f"{count:,} damaged {ending} files: {dict(outcomes)}")
    assert outcomes["read"] > count / 10 and outcomes["file refused"] > count / 10  # neither all broken nor all whole
    assert outcomes["rows refused"] > count / 10 or ending == "parquet"


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20) | st.lists(
    st.sampled_from([",", ";", '"', "'", "\n", "\r", "\r\n", "=", "-", "@", "\t", " ", "\u200b", "\x1c", "\u2028", "1", "a"]),
    max_size=8,
).map("".join)


@HERE
@given(st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=6)))
def test_any_text_that_we_write_comes_back_exactly(tmp_path: Path, rows: list[list[str]]) -> None:
    """Cells of any text; NUL and halves of surrogate pairs are no text and are refused when they are read."""
    path = tmp_path / "written.csv"
    header = ["similarity", "column2", "column3", "column4"][: len(rows[0]) if rows else 2]
    path.write_bytes(b"".join(csv_pieces(header, rows, Style())))
    table = open_table(path, Reading((header[0],), encoding="utf-8"))
    assert table.header == header and [cells for _, cells in table] == [row for row in rows if any(row)]
    assert table.blank_lines == sum(not any(row) for row in rows)
