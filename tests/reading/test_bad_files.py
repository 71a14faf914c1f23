"""Files that no run may pass over in silence: each is answered by exactly one text, at once and in little memory."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from connection import UserMistake
from connection.reading.formats.text.csv_output import Style, csv_pieces
from connection.reading.layout import Layout
from connection.reading.pairs import read_pairs

HEADER = "sentence1,sentence2,score\n"
GOOD = "A cat.,A dog.,1\nA bird.,A fish.,4\n"
GOOD_BYTES = (HEADER + GOOD).encode()
EMPTY = "is empty: write the sentence, or delete the row"
SWALLOWED = "seems to contain whole rows: a double quote is not closed; close it, or double it"
NO_NUMBER = "is not a finite number: write one from 0 to 5"
DAMAGED = "contains a character that is not text: the file is damaged, or ENCODING is wrong"
ENCODINGS = 'Save the file as UTF-8, or set ENCODING to its encoding, perhaps "cp1252" (Western Excel).'
UNDECODABLE = f'cannot be decoded as "utf-8" (ENCODING). {ENCODINGS}'
BY_WIDTH = "put a sentence with ',' in double quotes, or check SEPARATOR and QUOTING"


def answer(path: Path, **layout: object) -> str:
    """What the person is told, {path} for the file's path."""
    started = time.monotonic()
    with pytest.raises(UserMistake) as caught:
        read_pairs(path, Layout(**layout))
    assert time.monotonic() - started < 5
    return str(caught.value).replace(str(path.resolve()), "{path}")


def one_bad_row(line: int, problem: str, of: int) -> str:
    return f"{{path}} has rows that cannot be used:\n  {{path}}:{line}  {problem}\n1 bad row of {of}."


ROWS = {
    "short row": ("A cat.,A dog.", f"2 cells where 3 are expected: {BY_WIDTH}"),
    "one cell": ("A cat.", f"1 cell where 3 are expected: {BY_WIDTH}"),
    "long row": ("A cat.,A dog.,1,2", f"4 cells where 3 are expected: {BY_WIDTH}"),
    "empty sentence": (",A dog.,1", f'column "sentence1": "" {EMPTY}'),
    "blank sentence": ("A cat., \u3000 ,1", f'column "sentence2": " \\u3000 " {EMPTY}'),
    "nothing but zero width": ("\u200b\u2060\ufeff,A dog.,1", f'column "sentence1": "\\u200b\\u2060\\ufeff" {EMPTY}'),
    "nothing but control characters": ("\x01\x7f,A dog.,1", f'column "sentence1": "\\x01\\x7f" {EMPTY}'),
    "no score": ("A cat.,A dog.,", f'column "score": "" {NO_NUMBER}'),
    "text score": ("A cat.,A dog.,good", f'column "score": "good" {NO_NUMBER}'),
    "infinite score": ("A cat.,A dog.,inf", f'column "score": "inf" {NO_NUMBER}'),
    "score too large for a float": ("A cat.,A dog.,1e999", f'column "score": "1e999" {NO_NUMBER}'),
    "score with a comma": (
        'A cat.,A dog.,"3,5"',
        f'column "score": "3,5" {NO_NUMBER}, with a decimal point, or set DECIMAL = ","',
    ),
    "score out of range": (
        "A cat.,A dog.,7",
        'column "score": "7" is outside SCORE_RANGE (0 to 5): correct the score or SCORE_RANGE',
    ),
    "an open quote closed two rows later": (
        'A cat.,"A dog.,1\nA bird.,A fish.,4\nA cow.,A pig.",2',
        f'column "sentence2": "A dog.,1\\nA bird.,A fish.,4\\nA cow.,A pig." {SWALLOWED}',
    ),
    "an open quote closed in the next row": (
        'A cat.,"A dog.,1\nA bird.,A fish.",4',
        f'column "sentence2": "A dog.,1\\nA bird.,A fish." {SWALLOWED}',
    ),
    "an open quote over CR": (
        '"A cat.,A dog.,1\rA cow",A fish.,4',
        f'column "sentence1": "A cat.,A dog.,1\\rA cow" {SWALLOWED}',
    ),
    "a million characters and one": (
        "a" * 1_000_001 + ",A dog.,1",
        f'column "sentence1": "{"a" * 57}…" is longer than 1,000,000 characters: shorten it, or delete the row',
    ),
}


@pytest.mark.parametrize(("row", "problem"), ROWS.values(), ids=ROWS)
def test_a_bad_row(tmp_path: Path, row: str, problem: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(HEADER + GOOD + row + "\n" + GOOD, encoding="utf-8", newline="")
    assert answer(path) == one_bad_row(4, problem, of=5)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10's csv module stops at a NUL")
def test_a_nul_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes((HEADER + GOOD + "A c\0at.,A dog.,1\n").encode())
    assert answer(path) == one_bad_row(4, f'column "sentence1": "A c\\x00at." {DAMAGED}', of=3)


def missing(name: str, constant: str, columns: str) -> str:
    return f"{{path}} has no column \"{name}\" ({constant}); its columns: {columns}.\nRead as UTF-8, separated by ','.\n"


FILES = {
    "missing column": (
        b"sentence1,sentence2,id\nA,B,1\n",
        {},
        missing("score", "SCORE_COLUMN", '"sentence1", "sentence2", "id"')
        + "Without a score, the sentences of each row are learned as belonging together.\nPaste: --score-column=",
    ),
    "renamed column": (
        b"sentence_1,sentence2,score\nA,B,1\n",
        {},
        missing("sentence1", "SENTENCE1_COLUMN", '"sentence_1", "sentence2", "score"') + "Paste: --sentence1-column=sentence_1",
    ),
    "zero width in the header": (
        "sentence1\u200b,sentence2,score\nA,B,1\n".encode(),
        {},
        missing("sentence1", "SENTENCE1_COLUMN", '"sentence1\\u200b", "sentence2", "score"')
        + 'Did you mean "sentence1\\u200b"?',
    ),
    "duplicate column": (
        b"score,score,sentence1,sentence2\n1,1,A,B\n",
        {},
        (
            '{path} has the column "score" (SCORE_COLUMN) more than once: "score", "score", "sentence1", "sentence2". '
            "Rename all but one."
        ),
    ),
    "empty file": (b"", {}, "{path} is empty: a header and rows of pairs are needed."),
    "nothing but blank lines": (b"\n \n\r\n", {}, "{path} is empty: a header and rows of pairs are needed."),
    "header only": (HEADER.encode(), {}, "{path} has a header but no rows."),
    "no header": (
        (GOOD + GOOD).encode(),
        {},
        (
            '{path} has no column "sentence1" (SENTENCE1_COLUMN), "sentence2" (SENTENCE2_COLUMN) or "score" (SCORE_COLUMN); '
            'its columns: "A cat.", "A dog.", "1".\nRead as UTF-8, separated by \',\'.\n'
            "Its first row seems to be a pair, so the file has no header: give all columns by number, counting from 1.\n"
            "Paste: --sentence1-column=1 --sentence2-column=2 --score-column=3"
        ),
    ),
    "constant scores": (
        (HEADER + "A,B,2\nC,D,2\n").encode(),
        {},
        (
            '{path}: every score in column "score" is 2, so there is nothing to learn or to correlate. '
            "Check SCORE_COLUMN, or add pairs with other scores."
        ),
    ),
    "latin-1": (
        (HEADER + GOOD + "Caf\xe9,A,1\n").encode("latin-1"),
        {"encoding": "utf-8"},
        f"{{path}}:4  byte 0xe9 (number {len(GOOD_BYTES) + 4} of the file) {UNDECODABLE}",
    ),
    "latin-1 with lone CR": (
        (HEADER + GOOD + "Caf\xe9,A,1\n").replace("\n", "\r").encode("latin-1"),
        {"encoding": "utf-8"},
        f"{{path}}:4  byte 0xe9 (number {len(GOOD_BYTES) + 4} of the file) {UNDECODABLE}",
    ),
    "half a surrogate pair": (
        HEADER.encode() + b"A\xed\xa0\x80,B,1\n",
        {"encoding": "utf-8"},
        f"{{path}}:2  byte 0xed (number 28 of the file) {UNDECODABLE}",
    ),
    "cut off within a character": (
        HEADER.encode() + b"A,B,1\nC,\xed\x95",
        {"encoding": "utf-8"},
        f"{{path}}:3  byte 0xed (number 35 of the file) {UNDECODABLE}",
    ),
    "UTF-16": (
        (HEADER + GOOD).encode("utf-16"),
        {"encoding": "utf-8"},
        '{path} is encoded as UTF-16, but ENCODING is "utf-8". Set ENCODING = "utf-16", or save the file as UTF-8.',
    ),
    "UTF-16 without a mark": (
        (HEADER + GOOD).encode("utf-16-le"),
        {"encoding": "utf-8"},
        '{path} is encoded as UTF-16-LE, but ENCODING is "utf-8". Set ENCODING = "utf-16-le", or save the file as UTF-8.',
    ),
    "UTF-16, the other way round": (
        (HEADER + GOOD).encode("utf-16-be"),
        {"encoding": "cp1252"},
        '{path} is encoded as UTF-16-BE, but ENCODING is "cp1252". Set ENCODING = "utf-16-be", or save the file as UTF-8.',
    ),
    "UTF-32": (
        (HEADER + GOOD).encode("utf-32"),
        {"encoding": "utf-8"},
        '{path} is encoded as UTF-32, but ENCODING is "utf-8". Set ENCODING = "utf-32", or save the file as UTF-8.',
    ),
    "UTF-8 read as another": (
        b"\xef\xbb\xbf" + GOOD_BYTES,
        {"encoding": "cp1252"},
        '{path} is encoded as UTF-8, but ENCODING is "cp1252". Set ENCODING = "utf-8", or save the file as UTF-8.',
    ),
    "UTF-8 read as UTF-16": (
        GOOD_BYTES,
        {"encoding": "utf-16"},
        '{path}: UTF-16 stream does not start with BOM; the file cannot be decoded as "utf-16" (ENCODING). ' + ENCODINGS,
    ),
    "too many columns": (
        ",".join(f"c{i}" for i in range(10_001)).encode(),
        {},
        "{path} has 10,001 columns; at most 10,000 can be read.",
    ),
    "a quote that is never closed": (
        (HEADER + '"' + GOOD * 300_000).encode(),
        {},
        "{path}:2  the row that begins here is longer than 10,000,000 characters: probably a double quote is not closed.",
    ),
    "an open quote at the end": (
        (HEADER + GOOD + '"A cat,A dog,1\n').encode(),
        {},
        (
            "{path}:4  the double quotes of the row that begins here are not balanced (unexpected end of data). "
            "Close the quote, double a quote that belongs to the text, or set QUOTING = False if quotes have no special "
            "meaning in this file.\nPaste: --no-quoting"
        ),
    ),
    "a cell of 10 MB": (
        (HEADER + "a" * 10_000_000 + ",b,1\n").encode(),
        {},
        "{path}:2  the line is longer than 10,000,000 characters: it is not a row.",
    ),
    "web page": (
        b"<!DOCTYPE html><html>",
        {},
        "{path} is a web page: download the file itself, or open an exported table in a spreadsheet and save it as .xlsx.",
    ),
    "xz": (b"\xfd7zXZ\0..", {}, "{path} is compressed (xz): unpack it."),
}
if sys.version_info >= (3, 11):
    FILES["NUL in the header"] = (
        b"sen\0tence1,sentence2,score\nA,B,1\n",
        {},
        "{path}: its header contains a character that is not text: the file is damaged, or ENCODING is wrong.",
    )


@pytest.mark.parametrize(("content", "layout", "told"), FILES.values(), ids=FILES)
def test_a_bad_file(tmp_path: Path, content: bytes, layout: dict, told: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    assert answer(path, **layout) == told


JSON_GOOD = '{"sentence1": "A", "sentence2": "B", "score": 1}\n{"sentence1": "C", "sentence2": "D", "score": 2}\n'
JSON_FILES = {
    "many columns, one twice": (
        "{" + ", ".join(f'"k{i}": 1' for i in range(100_000)) + ', "k1": 2}\n',
        '{path}:1  the line has the key "k1" more than once.',
    ),
    "too many columns": (
        "{" + ", ".join(f'"k{i}": 1' for i in range(10_001)) + "}\n",
        "{path} has 10,001 columns; at most 10,000 can be read.",
    ),
    "a line of 10 MB": (
        JSON_GOOD + '{"sentence1": "' + "a" * 10_000_000 + '"}\n',
        "{path}:3  the line is longer than 10,000,000 characters: it is not a row.",
    ),
    "a number with 5,000 digits": (
        JSON_GOOD + '{"sentence1": "A", "sentence2": "B", "score": ' + "1" * 5000 + "}\n",
        one_bad_row(3, f'column "score": "{"1" * 57}…" {NO_NUMBER}', of=3),
    ),
}


@pytest.mark.parametrize(("content", "told"), JSON_FILES.values(), ids=JSON_FILES)
def test_a_bad_json_file(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(content, encoding="utf-8")
    assert answer(path) == told


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
def test_a_terabyte_of_zeros_is_answered_at_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    try:
        os.truncate(path, 1 << 40)  # it takes no room on the disk
    except OSError:
        pytest.skip("this file system has no sparse files of 1 TB")
    assert answer(path) == "{path}:1  the line is longer than 10,000,000 characters: it is not a row."


# ------------------------------------------------------------------------------------------------- what is no plain file

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these")


def test_a_folder(tmp_path: Path) -> None:
    assert answer(tmp_path) == "{path} is a folder; name a file of sentence pairs."


@posix
def test_a_pipe_and_a_device_are_refused_unopened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")  # opening it would wait for a writer for ever
    for path in (tmp_path / "pipe.csv", Path("/dev/zero"), Path("/dev/null")):
        assert answer(path) == "{path} is not a regular file; name a file of sentence pairs."


@posix
def test_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(GOOD_BYTES)
    for name, target in {"link": "pairs.csv", "dangling": "nowhere.csv", "loop": "loop", "device": "/dev/zero"}.items():
        (tmp_path / name).symlink_to(target)
    assert read_pairs(tmp_path / "link", Layout()).path == (tmp_path / "pairs.csv").resolve()
    assert answer(tmp_path / "dangling") == "There is no file {path}."
    assert answer(tmp_path / "device") == "{path} is not a regular file; name a file of sentence pairs."
    with pytest.raises(UserMistake, match=r"loop cannot be read: "):
        read_pairs(tmp_path / "loop", Layout())


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(UserMistake, match=r"cannot be read: |There is no file"):
            read_pairs(tmp_path / name, Layout())


# ---------------------------------------------------------------------------------------------------------- what is kept


def test_bom_line_ends_and_blanks_around_the_header_change_no_row(tmp_path: Path) -> None:
    clean, path = read_pairs(written(tmp_path / "clean.csv", GOOD_BYTES), Layout()).table, tmp_path / "odd.csv"
    for odd in (
        b"\xef\xbb\xbf" + GOOD_BYTES,
        GOOD_BYTES.replace(b"\n", b"\r\n"),
        GOOD_BYTES.replace(b"\n", b"\r"),
        (" sentence1\u00a0,sentence2 ,\u00a0score\n" + GOOD).encode(),
    ):
        assert read_pairs(written(path, odd), Layout()).table.equals(clean)
    marked = "\ufeff" + HEADER + GOOD
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"):
        found = read_pairs(written(path, marked.encode(encoding)), Layout(encoding=encoding)).table
        assert found.equals(clean), encoding


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_sentences_over_several_lines_are_kept(tmp_path: Path) -> None:
    """With commas and numbers in them, as long as no line of theirs looks like a row."""
    cells = ["yes, but\nno", "first\nsecond, third\n\nlast", "He said:\n1, 2, 3 or more.", "5\n4"]
    path = tmp_path / "pairs.csv"
    rows = [[a, b, str(i)] for i, a in enumerate(cells) for b in cells]
    path.write_bytes(b"".join(csv_pieces(HEADER.strip().split(","), rows, Style())))
    assert read_pairs(path, Layout()).table["sentence1"].tolist() == [cell for cell in cells for _ in cells]


def test_a_million_characters_are_a_sentence(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.csv", (HEADER + GOOD + "a" * 1_000_000 + ",A dog.,3\n").encode())
    assert read_pairs(path, Layout()).table["sentence1"].str.len().tolist() == [6, 7, 1_000_000]


@pytest.mark.parametrize("blank", ["\x1f", "\x1c", "\u00a0", "\u3000", "\x85"])
def test_every_blank_around_a_score_is_none_of_it(tmp_path: Path, blank: str) -> None:
    path = written(tmp_path / "pairs.csv", f"{HEADER}A,B,{blank}5{blank}\nC,D,0\n".encode())
    assert read_pairs(path, Layout()).table["score"].tolist() == [1, 0]
