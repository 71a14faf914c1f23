"""Reading pairs: every row is returned or refused by name; what we write comes back exactly."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connection import UserMistake
from connection.reading.formats.text.csv_output import Style, csv_pieces, with_guard
from connection.reading.layout import Layout
from connection.reading.pairs import Pairs, read_pairs

HEADER = "sentence1,sentence2,score\n"
GOOD = "A cat.,A dog.,1\nA bird.,A fish.,4\n"
SAME_FOLDER = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, text: str | bytes, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def mistake(path: Path, **layout: object) -> str:
    with pytest.raises(UserMistake) as caught:
        read_pairs(path, Layout(**layout))
    return str(caught.value)


def rows(pairs: Pairs) -> list[tuple]:
    return list(pairs.table[["sentence1", "sentence2", "score"]].itertuples(index=False, name=None))


CATS = [("A cat.", "A dog.", 0.2), ("A bird.", "A fish.", 0.8)]


@pytest.mark.parametrize(
    ("text", "name", "layout"),
    [
        (HEADER + GOOD, "pairs.csv", {}),
        (HEADER + GOOD, "pairs.txt", {}),
        ((HEADER + GOOD).replace(",", "\t"), "pairs.tsv", {}),
        ((HEADER + GOOD).replace(",", ";"), "pairs.csv", {"separator": ";"}),
        ((HEADER + GOOD).replace("\n", "\r\n"), "pairs.csv", {}),
        ((HEADER + GOOD).replace("\n", "\r"), "pairs.csv", {}),
        (b"\xef\xbb\xbf" + (HEADER + GOOD).encode(), "pairs.csv", {}),
        (b"\xef\xbb\xbf" + (HEADER + GOOD).encode(), "pairs.csv", {"encoding": "UTF_8"}),
        ((HEADER + GOOD).encode("utf-16"), "pairs.csv", {"encoding": "utf-16"}),
        (HEADER + GOOD + "\n\n  \n", "pairs.csv", {}),
        ((HEADER + GOOD).replace(",", ";"), "pairs.csv", {}),
        ((HEADER + GOOD).replace(",", "\t"), "pairs.csv", {}),
        ((HEADER + GOOD).replace(",", "||"), "pairs.txt", {}),
        ((HEADER + GOOD).replace(",", " ||| "), "pairs.txt", {"separator": " ||| "}),
        ("sep=;\n" + (HEADER + GOOD).replace(",", ";"), "pairs.csv", {}),
        ("sep=;\n" + GOOD.replace(",", ";"), "pairs.csv", {"sentence1": 1, "sentence2": 2, "score": 3}),
        (GOOD.replace(",", "\t"), "pairs.csv", {"sentence1": 1, "sentence2": 2, "score": 3}),
        ((HEADER + GOOD).encode("utf-16"), "pairs.csv", {}),
        ("score, sentence2 ,id,sentence1\n1,A dog.,7,A cat.\n4,A fish.,8,A bird.\n", "pairs.csv", {}),
        (GOOD, "pairs.csv", {"sentence1": 1, "sentence2": 2, "score": 3}),
        ("x,1,A cat.,A dog.\ny,4,A bird.,A fish.\n", "pairs.csv", {"sentence1": 3, "sentence2": 4, "score": 2}),
        (HEADER + GOOD.replace("1\n", "-0.6\n").replace("4\n", "+.6\n"), "pairs.csv", {"score_range": (-1, 1)}),
        (HEADER + GOOD.replace("4\n", "4e0 \n"), "pairs.csv", {}),
    ],
)
def test_the_same_pairs_from_many_kinds_of_file(tmp_path: Path, text: str | bytes, name: str, layout: dict) -> None:
    found = rows(read_pairs(write(tmp_path, text, name), Layout(**layout)))
    assert [row[:2] for row in found] == [row[:2] for row in CATS]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in CATS])


def test_text_stays_text(tmp_path: Path) -> None:
    text = HEADER + 'NA,null,0\nNone,nan,1\n"He said ""no"", twice","two\nlines",2\n 5 ,+,3\n'
    pairs = read_pairs(write(tmp_path, text), Layout())
    sentences = [("NA", "null"), ("None", "nan"), ('He said "no", twice', "two\nlines"), (" 5 ", "+")]
    assert [row[:2] for row in rows(pairs)] == sentences
    assert pairs.table["line"].tolist() == [2, 3, 4, 6]


def test_quotes_mean_nothing_without_quoting(tmp_path: Path) -> None:
    path = write(tmp_path, (HEADER + '"A cat,"A" dog,1\nA bird",""A fish,4\n').replace(",", "\t"), "pairs.tsv")
    assert [row[:2] for row in rows(read_pairs(path, Layout(quoting=False)))] == [
        ('"A cat', '"A" dog'),
        ('A bird"', '""A fish'),
    ]


def test_encodings(tmp_path: Path) -> None:
    for encoding, word, program in (("cp949", "고양이", "Korean Excel"), ("cp1252", "Café", "Western Excel")):
        path = write(tmp_path, (HEADER + f"{word},A,1\nB,C,2\n").encode(encoding))
        assert rows(read_pairs(path, Layout(encoding=encoding)))[0][0] == word
        place = len(HEADER) + (1 if encoding == "cp949" else 4)
        text = mistake(path, encoding="utf-8")
        assert text.startswith(f"{path}:2  byte 0x{path.read_bytes()[place - 1]:02x} (number {place} of the file)")
        assert 'cannot be decoded as "utf-8" (ENCODING)' in text and f'perhaps "{encoding}" ({program}).' in text


def test_cells_to_the_right_of_the_highest_number_are_ignored_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "1,A cat.,A dog.,x,y\n4,A bird.,A fish.\n")
    layout = {"sentence1": 2, "sentence2": 3, "score": 1}
    pairs = read_pairs(path, Layout(**layout), keep_cells=True)
    assert (pairs.ignored_cells, pairs.columns, pairs.cells[0]) == (
        2,
        ["score", "sentence1", "sentence2"],
        ["1", "A cat.", "A dog."],
    )
    path.write_text("1,A cat.,A dog.\n4,A bird.\n", encoding="utf-8")
    assert f"{path}:2  2 cells where at least 3 are expected" in mistake(path, **layout)


def test_control_characters_are_counted_as_the_benchmark_itself_has_one(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, HEADER + GOOD.replace("cat", "c\x12at")), Layout())
    assert (pairs.control_rows, rows(pairs)[0][0]) == (1, "A c\x12at.")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("A cat.,A dog.", "2 cells where 3 are expected: put a sentence with ',' in double quotes, or check SEPARATOR"),
        ("A cat.,A dog.,1,2", "4 cells where 3 are expected"),
        (",A dog.,1", 'column "sentence1": "" is empty: write the sentence, or delete the row'),
        ("A cat., \u00a0\t,1", 'column "sentence2": " \\xa0\\t" is empty'),
        ("A cat.,A dog.,", 'column "score": "" is not a finite number: write one from 0 to 5'),
        ("A cat.,A dog.,good", '"good" is not a finite number'),
        ("A cat.,A dog.,nan", '"nan" is not a finite number'),
        ("A cat.,A dog.,inf", '"inf" is not a finite number'),
        ("A cat.,A dog.,1e999", '"1e999" is not a finite number'),
        ("A cat.,A dog.,1_0", '"1_0" is not a finite number'),
        ("A cat.,A dog.,３", '"３" is not a finite number'),
        (
            'A cat.,A dog.,"3,5"',
            '"3,5" is not a finite number: write one from 0 to 5, with a decimal point, or set DECIMAL = ","',
        ),
        ("A cat.,A dog.,5.01", '"5.01" is outside SCORE_RANGE (0 to 5): correct the score or SCORE_RANGE'),
        ("A cat.,A dog.,-1", '"-1" is outside SCORE_RANGE'),
        (
            "A c\0at.,A dog.,1",
            "NUL character" if sys.version_info < (3, 11) else '"A c\\x00at." contains a character that is not text',
        ),
        ('"A cat.,A dog.,1\nA bird.,A fish.,4\nlong",A dog.,2', "a double quote is not closed; close it, or double it"),
        (",A dog.,six", 'is empty: write the sentence, or delete the row; column "score": "six" is not a finite number'),
    ],
)
def test_a_bad_row_is_named_with_what_to_do(tmp_path: Path, row: str, message: str) -> None:
    path = write(tmp_path, HEADER + GOOD + row + "\n" + GOOD)
    text = mistake(path)
    assert f"{path}:4  " in text and message in text
    if "NUL" not in message:  # Python 3.10 stops at a NUL
        assert text.splitlines()[2] == "1 bad row of 5."


def test_a_header_that_is_not_expected_and_a_score_column_that_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + GOOD)
    text = mistake(path, sentence1=1, sentence2=2, score=3)
    assert text.splitlines()[1].endswith("write one from 0 to 5; if this line is a header, give all columns by name")
    lines = mistake(path, sentence1="sentence2", sentence2="score", score="sentence1").splitlines()
    assert lines[-2:] == ["No row has a number for its score: is SCORE_COLUMN the right column?", "2 bad rows of 2."]


def test_columns_that_are_not_used_are_checked_too_since_they_are_written_again(tmp_path: Path) -> None:
    header = "id," + HEADER
    row = '"1,A cat.,A dog.,1\n2,A bird.,A fish.,4\n3",A cat.,A dog.,2\n'
    assert f'{tmp_path / "pairs.csv"}:2  column "id": ' in mistake(write(tmp_path, header + row + "5," + GOOD))
    path = write(tmp_path, header.encode() + b"+2AA-,A cat.,A dog.,1\n5,A bird.,A fish.,2\n")  # a lone surrogate in UTF-7
    assert 'column "id": "\\ud800" contains a character that is not text' in mistake(path, encoding="utf-7")


def test_a_long_cell_of_digits_is_answered_at_once(tmp_path: Path) -> None:
    """A pattern that backtracks would take hours for it."""
    assert "is not a finite number" in mistake(write(tmp_path, HEADER + GOOD + "A,B," + "1" * 300_000 + "x\n"))


JSON_ROWS = [
    '{"sentence1": "A cat.", "sentence2": "A dog.", "score": 1, "id": 7}',
    '{"score": "4.0", "sentence2": "A fish.", "sentence1": "A bird.", "id": "x", "more": [1, {"a": null}]}',
]


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "json"])
def test_json_lines(tmp_path: Path, ending: str) -> None:
    text = "\ufeff" + "\r\n\n".join(JSON_ROWS) + "\n"
    pairs = read_pairs(write(tmp_path, text, f"pairs.{ending}"), Layout(), keep_cells=True)
    assert rows(pairs) == CATS and pairs.table["line"].tolist() == [1, 3]
    assert (pairs.columns, pairs.cells[1]) == (["sentence1", "sentence2", "score", "id"], ["A bird.", "A fish.", "4.0", "x"])
    assert pairs.ignored_cells == 1 and "1 empty row skipped" in pairs.notes
    assert all(type(cell) is str for cells in pairs.cells for cell in cells)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "the line is not a JSON object (Expecting property name"),
        ("[1]", 'the line is JSON, but not an object: write one object per line, such as {"sentence1": …}'),
        ("[" * 100_000, "the line is not a JSON object ("),
        (JSON_ROWS[0].replace('"id"', '"score"'), 'the line has the key "score" more than once'),
        (JSON_ROWS[0].replace('"A cat."', "5"), 'column "sentence1": "5" is not text: write the sentence, or delete the row'),
        (JSON_ROWS[0].replace('"A cat."', "null"), '"null" is not text'),
        (JSON_ROWS[0].replace('"sentence1"', '"Sentence1"'), 'column "sentence1": "" is not text'),
        (JSON_ROWS[0].replace("A cat", "A \\ud800"), 'column "sentence1": "A \\ud800." contains a character that is not text'),
        (JSON_ROWS[0].replace(" 1,", " NaN,"), 'column "score": "NaN" is not a finite number'),
        (JSON_ROWS[0].replace(" 1,", " 1e999,"), 'column "score": "1e999" is not a finite number: write one from 0 to 5'),
    ],
)
def test_a_bad_json_line_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = write(tmp_path, "\n".join([*JSON_ROWS, row]), "pairs.jsonl")
    text = mistake(path).splitlines()
    assert text[1].startswith(f"  {path}:3  ") and message in text[1] and text[-1] == "1 bad row of 3."


def test_a_json_file_that_cannot_be_used(tmp_path: Path) -> None:
    array = write(tmp_path, f"[\n{JSON_ROWS[0]}\n{JSON_ROWS[1]}\n]", "pairs.json")
    assert mistake(array).startswith(f"{array}:3  a comma is missing between two elements of the array.")
    assert "is empty: one JSON object per line, or an array of objects, is needed" in mistake(
        write(tmp_path, "\n", "pairs.jsonl")
    )
    path = write(tmp_path, "\n".join(JSON_ROWS), "pairs.jsonl")
    assert 'has no column "sentence_1" (SENTENCE1_COLUMN); its columns: "sentence1", ' in mistake(path, sentence1="sentence_1")
    assert "is read by column names" in mistake(path, sentence1=1, sentence2=2, score=3)
    path.write_bytes("\n".join(JSON_ROWS).replace("fish", "café").encode("cp1252"))
    number = path.read_bytes().index(0xE9) + 1
    assert f'{path}:2  byte 0xe9 (number {number} of the file) cannot be decoded as "utf-8"' in mistake(path, encoding="utf-8")
    path.write_text("{}\n", encoding="utf-8")
    assert 'has no column "sentence1" (SENTENCE1_COLUMN), "sentence2" (SENTENCE2_COLUMN) or "score"' in mistake(path)
    assert "; its columns: none." in mistake(path)


def test_parquet(tmp_path: Path) -> None:
    """The hub's files hold scores from 0 to 1 as numbers."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = {"sentence1": ["A cat.", "A bird."], "sentence2": ["A dog.", "A fish."], "score": [0.2, 0.8], "id": [7, None]}
    path = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table(table), path)
    pairs = read_pairs(path, Layout(score_range=(0, 1)), keep_cells=True)
    assert rows(pairs) == CATS and pairs.cells[1] == ["A bird.", "A fish.", "0.8", "null"]
    bad = {"sentence1": ["A", None, "C", "D"], "sentence2": ["E", "F", " ", "G"], "score": [1.0, 1.0, 1.0, float("nan")]}
    parquet.write_table(pa.table(bad), path)
    assert [line.split("  ")[1:] for line in mistake(path).splitlines()[1:4]] == [
        [f"{path}:2", 'column "sentence1": "null" is not text: write the sentence, or delete the row'],
        [f"{path}:3", 'column "sentence2": " " is empty: write the sentence, or delete the row'],
        [f"{path}:4", 'column "score": "NaN" is not a finite number: write one from 0 to 5'],
    ]
    path.write_bytes(path.read_bytes()[:-20])
    assert "pairs.parquet cannot be read as Parquet: " in mistake(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    text = mistake(write(tmp_path, b"PAR1", "pairs.parquet"))
    assert text.startswith(f"{tmp_path / 'pairs.parquet'} is Parquet, which needs pyarrow. Install it with: ")
    assert text.endswith('requirements-extra.txt"') and Path(text.split('"')[-2]).is_file()


def test_twenty_bad_rows_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    lines = ['"two\nlines",B,1', "", *(f"A{i},B,{6 if i % 2 else 3}" for i in range(60))]
    path = write(tmp_path, HEADER + "\n".join(lines) + "\n")
    text = mistake(path).splitlines()
    assert text[0] == f"{path} has rows that cannot be used:"
    assert [line.split()[0] for line in text[1:21]] == [f"{path}:{6 + i}" for i in range(0, 40, 2)]
    assert text[21:] == ["  … and 10 more", "30 bad rows of 61.", "Paste: --score-range 0 6"]


@pytest.mark.parametrize(
    ("text", "layout", "message"),
    [
        ("", {}, "is empty: a header and rows of pairs are needed"),
        (HEADER, {}, "has a header but no rows"),
        ("", {"sentence1": 1, "sentence2": 2, "score": 3}, "has no rows"),
        (HEADER + "A,B,2\nC,D,2\n", {}, 'every score in column "score" is 2'),
        (
            HEADER + GOOD,
            {"score": "label"},
            'has no column "label" (SCORE_COLUMN); its columns: "sentence1", "sentence2"',
        ),
        (HEADER + GOOD, {"sentence2": "sentence1"}, 'SENTENCE1_COLUMN and SENTENCE2_COLUMN name the same column, "sentence1"'),
        (GOOD, {"sentence1": 1, "sentence2": 1, "score": 3}, 'SENTENCE1_COLUMN and SENTENCE2_COLUMN name the same column, "1"'),
        (b"PK\x03\x04....", {}, "is a zip archive or a workbook, and damaged or cut off: copy or download it again."),
        (b"\x1f\x8b\x08..", {}, "is compressed (gzip): unpack it."),
        (b"PAR1\x15...", {}, 'is a Parquet file: give it a name that ends in ".parquet".'),
        (HEADER + GOOD, {"sentence1": "sentence_1"}, "Paste: --sentence1-column=sentence1"),
        ((HEADER + GOOD).replace(",", ";"), {"separator": ","}, 'Paste: --separator=";"'),
        ((HEADER + GOOD).replace(",", "\t"), {"separator": ";"}, 'Paste: --separator="\\t"'),
        ("score,score,sentence1,sentence2\n1,1,A,B\n", {}, 'has the column "score" (SCORE_COLUMN) more than once'),
        (
            HEADER + GOOD,
            {"score": 3},
            "pairs.csv is read by column names. Give all columns by name, or all by number",
        ),
        (HEADER + GOOD + '"A cat,A dog,1\n', {}, ":4  the double quotes of the row that begins here are not balanced"),
        (HEADER + GOOD + '"A" cat,A dog,1\n', {}, ":4  the double quotes of the row that begins here are not balanced"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, layout: dict, message: str) -> None:
    text = mistake(write(tmp_path, text), **layout)
    assert message in text and len(text.splitlines()) <= 3


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    write(tmp_path, HEADER + GOOD)
    assert "is a folder" in mistake(tmp_path)
    assert mistake(tmp_path / "pair.csv") == f"There is no file {tmp_path / 'pair.csv'}. Did you mean pairs.csv?"
    assert mistake(tmp_path / "nowhere" / "x.csv").startswith("There is no file")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
CELL = TEXT | st.tuples(
    st.sampled_from(["=", "+", "-", "@", "'", "''", "\t", "\r", " =", "\u00a0@", "\u200b＝", "'=", "-1"]), TEXT
).map("".join)


@SAME_FOLDER
@given(table=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6))
def test_what_we_write_comes_back_exactly(tmp_path: Path, table: list[tuple[str, str, str]]) -> None:
    path = tmp_path / "written.csv"
    cells = [[f"a{a}", f"b{b}", c, str(i % 6), "0.5"] for i, (a, b, c) in enumerate(table * 2)]
    path.write_bytes(b"".join(csv_pieces(["sentence1", "sentence2", "=x", "score", "similarity"], cells, Style())))
    try:
        pairs = read_pairs(path, Layout(), keep_cells=True)
    except UserMistake as refused:
        assert "a double quote is not closed" in str(refused)  # cells whose lines look like rows
        return
    assert pairs.columns == ["sentence1", "sentence2", "=x", "score", "similarity"]
    assert pairs.cells == cells


@pytest.mark.parametrize("text", ["'-ly' is an ending.", "'@'", "'+'", "''=1"])
def test_a_persons_own_apostrophe_stays(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, f'sentence1,sentence2,score\n"{text}",b,1\na,"{text}",2\n')
    assert read_pairs(path, Layout()).table["sentence1"].tolist() == [text, "a"]
    unnamed = write(tmp_path, f'"{text}",b,1\na,"{text}",2\n')
    assert read_pairs(unnamed, Layout(1, 2, 3)).table["sentence2"].tolist() == ["b", text]


@given(CELL)
def test_no_cell_that_we_write_runs_in_a_spreadsheet(cell: str) -> None:
    written = with_guard(cell)
    runs = (
        written.lstrip(" \u00a0\t\r\n\u200b\ufeff")[:1] in tuple("=+-@＝＋－＠")
        and not written.strip().lstrip("+-").replace(".", "").isdigit()
    )
    assert not runs or written.strip().lstrip("+-")[:1].isdigit()


@pytest.mark.parametrize("number", ["-0.5", "+3", "-1e5", "7", ".5"])
def test_numbers_are_not_guarded(number: str) -> None:
    assert with_guard(number) == number


GOOD_ROW = st.tuples(TEXT.map(lambda text: "a" + text), TEXT.map(lambda text: "b" + text), st.sampled_from(["0", "2.5", "5"]))
BAD_ROW = st.sampled_from([["a", "b"], ["a", "b", "1", "2"], ["", "b", "1"], ["a", " ", "1"], ["a", "b", "x"], ["a", "b", "9"]])


@SAME_FOLDER
@given(st.lists(GOOD_ROW.map(list) | BAD_ROW, min_size=1, max_size=40))
def test_rows_read_and_rows_refused_are_all_rows(tmp_path: Path, table: list[list[str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["sentence1", "sentence2", "score"], *table])
    path = write(tmp_path, buffer.getvalue())
    bad = sum(len(row) != 3 or not row[0].strip() or not row[1].strip() or row[2] not in ("0", "2.5", "5") for row in table)
    try:
        pairs = read_pairs(path, Layout())
    except UserMistake as refused:
        if bad:
            last = next(line for line in str(refused).splitlines() if " bad row" in line)
            counted, total = (int(word.strip(".")) for word in last.split() if word.strip(".").isdigit())
            assert counted >= bad and total == len(table)  # a cell with line breaks may look like swallowed rows
        else:
            assert "nothing to learn or to correlate" in str(refused) or "a double quote is not closed" in str(refused)
    else:
        assert bad == 0 and len(pairs) == len(table)
