"""Every setting that data/README.md documents, on a file as it describes it, with the script itself: all pairs arrive."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertFineTuningWithConnectionData as script

ROOT = Path(script.__file__).resolve().parent


def documented(page: str) -> list[tuple[str, str]]:
    """The rows of the tables of settings: what they describe, and the constants."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", (ROOT / "data" / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    heads = [i for i, (described, _) in enumerate(rows) if described == "---"]
    return [row for i, row in enumerate(rows) if i not in heads and i + 1 not in heads]


def constants_in(text: str) -> dict[str, Any]:
    return {name: ast.literal_eval(value) for name, value in re.findall(r"`([A-Z0-9_]+) = (.+?)`", text)}


ROWS = documented("README.md")
Pairs = list[tuple[str, str, float]]
Writer = Callable[[Path, Pairs], None]

# Invented pairs with what the formats differ in: commas, quotes, semicolons, letters beyond ASCII; scores from 0 to 5.
WESTERN = [
    (f"Mr. {name} said “café”, not tea; {i} times.", f'{name} asked for "coffee" {i} times, and got it.', i % 11 / 2)
    for i, name in enumerate(["Müller", "Durand", "García", "Sørensen", "Rossi", "Novak", "Byrne", "Costa"] * 5)
]
KOREAN = [
    (f"{animal}가 {i}마리 {place}에서 잔다, 조용히.", f"{place}에는 {animal}가 없다; {i}시에 나갔다.", i % 11 / 2)
    for i, (animal, place) in enumerate(
        zip("고양이 강아지 토끼 거위 송아지 다람쥐 참새".split() * 6, "마당 부엌 학교 공원 시장 숲".split() * 7, strict=True)
    )
]
JAPANESE = [(f"猫が{i}匹、静かに寝ている。", f"犬が{i}匹、庭で遊んでいる。", i % 11 / 2) for i in range(40)]
CHINESE = [(f"{i}只猫在睡觉。", f"{i}只狗在院子里玩。", i % 6) for i in range(40)]
BARE = [(f'A 5" pipe, {i} feet of it', f'"No" is what he said {i} times, then "yes', i % 11 / 2) for i in range(40)]


def as_csv(
    header: list[str], *, scale: float = 1, encoding: str = "utf-8", delimiter: str = ",", before: str = "", after: str = ""
) -> Writer:
    """before, after: text above the header and below the rows."""

    def write(path: Path, pairs: Pairs) -> None:
        with path.open("w", encoding=encoding, newline="") as file:
            file.write(before)
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([header] if header else [])
            writer.writerows([one, two, score / scale] for one, two, score in pairs)
            file.write(after)

    return write


def as_csv_rows(path: Path, rows: list[list[object]], delimiter: str = "\t") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def as_lines(
    header: list[str],
    row: Callable[[int, str, str, float], list[object]],
    *,
    separator: str = "\t",
    encoding: str = "utf-8",
    quoted: bool = False,
) -> Writer:
    """Text without quotes or, with `quoted`, with quotes around every text. row: number, sentences and score → cells."""

    def line(cells: list[object]) -> str:
        return separator.join(f'"{cell}"' if quoted and isinstance(cell, str) else str(cell) for cell in cells) + "\n"

    def write(path: Path, pairs: Pairs) -> None:
        rows = [line(row(i, *pair)) for i, pair in enumerate(pairs)]
        path.write_text((line([*header]) if header else "") + "".join(rows), encoding=encoding)

    return write


def sts_original(number: int, one: str, two: str, score: float) -> list[object]:
    """Genre, file, year, number, score, sentences; on some rows a source and a licence too."""
    extra = ["http://example.org/a", "invented, free to use"][: number % 3]
    return ["main-news", "MSRpar", "2012train", f"{number:04}", f"{score:.3f}", one, two, *extra]


def klue(number: int, one: str, two: str, score: float) -> dict[str, Any]:
    labels = {"label": round(score, 1), "real-label": score, "binary-label": int(score >= 3)}
    annotators = {"agreement": "0:0:0:2:3:2", "annotators": ["01", "02"], "annotations": [3, 4]}
    return {"guid": f"v1_{number:05}", "source": "invented", "sentence1": one, "sentence2": two, "labels": labels, **annotators}


def jsts(number: int, one: str, two: str, score: float) -> dict[str, Any]:
    return {
        "sentence_pair_id": str(number),
        "yjcaptions_id": f"{number}_1-2",
        "sentence1": one,
        "sentence2": two,
        "label": score,
    }


def plain(number: int, one: str, two: str, score: float) -> dict[str, Any]:
    return {"sentence1": one, "sentence2": two, "score": score}


def json_lines(record: Callable[..., dict[str, Any]]) -> Writer:
    def write(path: Path, pairs: Pairs) -> None:
        lines = [json.dumps(record(i, *pair), ensure_ascii=False) for i, pair in enumerate(pairs)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write


def json_array(record: Callable[..., dict[str, Any]]) -> Writer:
    def write(path: Path, pairs: Pairs) -> None:
        records = [record(i, *pair) for i, pair in enumerate(pairs)]
        path.write_text(json.dumps(records, ensure_ascii=False, indent=2), encoding="utf-8")

    return write


def parquet(record: Callable[..., dict[str, Any]]) -> Writer:
    def write(path: Path, pairs: Pairs) -> None:
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet as module

        module.write_table(pa.Table.from_pylist([record(i, *pair) for i, pair in enumerate(pairs)]), path)

    return write


def workbook(path: Path, pairs: Pairs) -> None:
    """Pairs in two sheets, the second with the title of the documented example."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for sheet in (book.active, book.create_sheet("Tickets")):
        sheet.append(NAMES)
        for pair in pairs:
            sheet.append(pair)
    book.save(path)


def comma(score: float) -> str:
    return str(score).replace(".", ",")


def to_one(number: int, one: str, two: str, score: float) -> dict[str, Any]:
    return {"sentence1": one, "sentence2": two, "score": score / 5}


NAMES = ["sentence1", "sentence2", "score"]
YES_NO = [(one, two, float(i % 2)) for i, (one, two, _) in enumerate(BARE)]
QUORA = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
SICK = ["pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment"]
FROM_ONE = [(one, two, 1 + 0.8 * score) for one, two, score in WESTERN]
# In the order of the page: the file's name, what writes it, its pairs.
FILES: list[tuple[str, Writer, Pairs]] = [
    ("pairs.csv", as_csv(["question", "answer", "label"]), WESTERN),
    ("pairs.csv", as_csv([]), WESTERN),
    ("pairs.csv", as_csv(["0", "1", "2"]), WESTERN),
    ("pairs.csv", as_csv(NAMES, scale=5), WESTERN),
    ("pairs.txt", as_csv(NAMES, delimiter="\t"), WESTERN),
    ("pairs.txt", as_lines(NAMES, lambda i, one, two, score: [one, two, score], separator=" ## "), KOREAN),
    (
        "pairs.csv",
        as_lines(
            NAMES, lambda i, one, two, score: [one.replace(";", ":"), two, comma(score)], separator=";", encoding="cp1252"
        ),
        [(one.replace(";", ":"), two, score) for one, two, score in WESTERN],
    ),
    (
        "pairs.csv",
        lambda path, pairs: as_csv_rows(path, [NAMES, *([one, two, comma(score)] for one, two, score in pairs)], ","),
        WESTERN,
    ),
    ("pairs.csv", as_csv(NAMES, encoding="cp949"), KOREAN),
    ("pairs.csv", as_csv(NAMES, delimiter=";", before="Tickets of March;;\r\n;;\r\n", after=";;\r\n;;\r\n"), WESTERN),
    ("pairs.tsv", as_lines(NAMES, lambda i, one, two, score: [one, two, score]), BARE),
    (
        "pairs.txt",
        as_lines(NAMES, lambda i, one, two, score: [str(i + 1), one, two, score], separator=" ", quoted=True),
        [(one.replace('"', "'"), two.replace('"', "'"), score) for one, two, score in WESTERN],
    ),
    ("pairs.xlsx", workbook, WESTERN),
    ("pairs.json", json_array(plain), KOREAN),
    (
        "pairs.jsonl",
        json_lines(lambda i, one, two, score: {"sentence1": one, "sentence2": two, "labels": {"score": score}}),
        KOREAN,
    ),
    ("pairs.csv", as_csv(NAMES), WESTERN),
    # public data sets
    ("sts-train.csv", as_lines([], sts_original), BARE),
    ("train-00000-of-00001.parquet", parquet(to_one), WESTERN),
    (
        "train-00000-of-00001.parquet",
        parquet(lambda i, *pair: {**dict(zip(["sentence1", "sentence2", "label"], pair, strict=True)), "idx": i}),
        WESTERN,
    ),
    (
        "sts-train.tsv",
        as_lines(
            ["genre", "filename", "year", "id", "score", "sentence1", "sentence2"],
            lambda i, one, two, score: ["main-captions", "MSRvid", "2012test", f"{i:04}", f"{score:.3f}", one, two],
        ),
        [(f'"{one}', two, score) for one, two, score in KOREAN],
    ),
    ("klue-sts-v1.1_train.json", json_array(klue), KOREAN),
    ("train-00000-of-00001.parquet", parquet(klue), KOREAN),
    ("SICK_train.txt", as_lines(SICK, lambda i, one, two, score: [i + 1, one, two, f"{score:.1f}", "NEUTRAL"]), FROM_ONE),
    (
        "quora_duplicate_questions.tsv",
        lambda path, pairs: as_csv_rows(
            path, [QUORA, *([i, 2 * i + 1, 2 * i + 2, one, two, int(score)] for i, (one, two, score) in enumerate(pairs))]
        ),
        YES_NO,
    ),
    (
        "train.tsv",
        as_lines(["id", "sentence1", "sentence2", "label"], lambda i, one, two, score: [i + 1, one, two, int(score)]),
        YES_NO,
    ),
    (
        "msr_paraphrase_train.txt",
        as_lines(
            ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
            lambda i, one, two, score: [int(score), 702876 + i, 702977 + i, one, two],
            encoding="utf-8-sig",
        ),
        YES_NO,
    ),
    ("train-00000-of-00001.parquet", parquet(to_one), WESTERN),
    ("train-v1.1.json", json_lines(jsts), JAPANESE),
    ("cnsd-sts-train.txt", as_lines([], lambda i, one, two, score: [i, one, two, int(score)], separator="||"), CHINESE),
]


def test_every_documented_setting_is_tried_and_both_languages_have_the_same() -> None:
    assert len(ROWS) == len(FILES)
    assert [constants_in(text) for _, text in documented("README.ko.md")] == [constants_in(text) for _, text in ROWS]


@pytest.mark.parametrize("number", range(len(FILES)), ids=[described for described, _ in ROWS])
def test_a_documented_setting(tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture, number: int) -> None:
    name, write, pairs = FILES[number]
    path = tmp_path / name
    write(path, pairs)
    flags = {"TRAIN_FILE": path, "DEV_FILE": path, "TEST_FILE": ""} | constants_in(ROWS[number][1])
    flags |= {"ENCODER": tiny_encoder, "OUTPUT": tmp_path / "run", "EPOCHS": 0, "DEVICE": "cpu"}
    arguments = []
    for constant, value in flags.items():
        flag = "--" + constant.lower().replace("_", "-")
        if isinstance(value, bool):
            arguments.append(flag if value else flag.replace("--", "--no-"))
        else:
            arguments += [flag, *map(str, value)] if isinstance(value, tuple) else [f"{flag}={value}"]
    assert script.main(arguments) == 0
    printed = capsys.readouterr().out
    assert f"Train {len(pairs)} pairs from {path}" in printed and "Warning: the scores are" not in printed
    with (tmp_path / "run" / "predictions-dev.csv").open(encoding="utf-8-sig", newline="") as file:
        separator = file.readline().partition("predicted_before")[2][0]
        file.seek(0)
        found = [set(row.values()) for row in csv.DictReader(file, delimiter=separator)]
    texts = {(one, two) for one, two, _ in pairs}
    assert all(any({one, two} <= cells for one, two in texts) for cells in found)
    assert len(found) == (round(0.1 * len(pairs)) if flags["DEV_FILE"] == "" else len(pairs))
