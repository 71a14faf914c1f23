"""Every setting that data/README.md documents, on a file as it describes it, with the script itself: all pairs arrive."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import bertFineTuningWithConnectionData as script

ROOT = Path(script.__file__).resolve().parent
ROWS = re.findall(r"^\| (.+?) \| (.+?) \|$", (ROOT / "data" / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[2:]
Writer = Callable[[Path, list[tuple[str, str, float]]], None]

# Invented pairs with what the formats differ in: commas, quotes, semicolons, letters beyond ASCII; scores from 0 to 5.
WESTERN = [
    (f"Mr. {name} said “café”, not tea; {i} times.", f'{name} asked for "coffee" {i} times, and got it.', i % 11 / 2)
    for i, name in enumerate(["Müller", "Durand", "García", "Sørensen", "Rossi", "Novak", "Byrne", "Costa"] * 5)
]
KOREAN = [(f"고양이 {i}마리가 잔다, 조용히.", f"강아지 {i}마리가 논다; 뒷마당에서.", i % 11 / 2) for i in range(40)]
BARE = [(f'A 5" pipe, {i} feet of it', f'"No" is what he said {i} times, then "yes', i % 11 / 2) for i in range(40)]


def as_csv(header: list[str], *, scale: float = 1, **options: object) -> Writer:
    """options: encoding, delimiter."""

    def write(path: Path, pairs: list[tuple[str, str, float]]) -> None:
        with path.open("w", encoding=options.get("encoding", "utf-8"), newline="") as file:
            writer = csv.writer(file, delimiter=options.get("delimiter", ","))
            writer.writerows([header] if header else [])
            writer.writerows([one, two, score / scale] for one, two, score in pairs)

    return write


def unquoted(path: Path, pairs: list[tuple[str, str, float]]) -> None:
    lines = ["sentence1\tsentence2\tscore", *("\t".join(map(str, pair)) for pair in pairs)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sts_original(path: Path, pairs: list[tuple[str, str, float]]) -> None:
    """As the benchmark's own file: genre, file, year, number, score, sentences; on some rows a source and a licence too."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for i, (one, two, score) in enumerate(pairs):
            extra = ["http://example.org/a", "invented, free to use"][: i % 3]
            file.write("\t".join(["main-news", "MSRpar", "2012train", f"{i:04}", f"{score:.3f}", one, two, *extra]) + "\n")


def json_lines(path: Path, pairs: list[tuple[str, str, float]]) -> None:
    lines = [json.dumps({"sentence1": one, "sentence2": two, "score": score}) for one, two, score in pairs]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def hub_parquet(path: Path, pairs: list[tuple[str, str, float]]) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    ones, twos, scores = map(list, zip(*pairs, strict=True))
    parquet.write_table(pa.table({"sentence1": ones, "sentence2": twos, "score": [score / 5 for score in scores]}), path)


NAMES = ["sentence1", "sentence2", "score"]
FILES: dict[str, tuple[str, Writer, list]] = {
    "other column names": ("pairs.csv", as_csv(["question", "answer", "label"]), WESTERN),
    "no header": ("pairs.csv", as_csv([]), WESTERN),
    "scores from 0 to 1, or yes/no as 1/0": ("pairs.csv", as_csv(NAMES, scale=5), WESTERN),
    "tabs between cells, the name ends in `.tsv`": ("pairs.tsv", as_csv(NAMES, delimiter="\t"), WESTERN),
    "tabs between cells, another name": ("pairs.txt", as_csv(NAMES, delimiter="\t"), WESTERN),
    "saved by an Excel that separates with semicolons": (
        "pairs.csv",
        as_csv(NAMES, delimiter=";", encoding="utf-8-sig"),
        WESTERN,
    ),
    "saved as plain CSV by a Western Excel": ("pairs.csv", as_csv(NAMES, delimiter=";", encoding="cp1252"), WESTERN),
    "saved as plain CSV by a Korean Excel": ("pairs.csv", as_csv(NAMES, encoding="cp949"), KOREAN),
    'saved by Excel as "Unicode text"': ("pairs.txt", as_csv(NAMES, delimiter="\t", encoding="utf-16"), KOREAN),
    "double quotes are ordinary characters": ("pairs.tsv", unquoted, BARE),
    "JSON Lines: an object a line, the name ends in `.jsonl`": ("pairs.jsonl", json_lines, KOREAN),
    "Parquet, as the model hub's STS benchmark: scores from 0 to 1": ("train-00000-of-00001.parquet", hub_parquet, KOREAN),
    "the original STS benchmark, `sts-train.csv`": ("sts-train.csv", sts_original, BARE),
    "no dev file": ("pairs.csv", as_csv(NAMES), WESTERN),
}


def test_every_documented_setting_is_tried() -> None:
    assert [described for described, _ in ROWS] == list(FILES)


@pytest.mark.parametrize(("described", "constants"), ROWS, ids=[described for described, _ in ROWS])
def test_a_documented_setting(
    tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture, described: str, constants: str
) -> None:
    name, write, pairs = FILES[described]
    path = tmp_path / name
    write(path, pairs)
    set_to = {name: ast.literal_eval(value) for name, value in re.findall(r"`([A-Z0-9_]+) = (.+?)`", constants)}
    flags = {"TRAIN_FILE": path, "DEV_FILE": path, "TEST_FILE": ""} | set_to
    flags |= {"ENCODER": tiny_encoder, "OUTPUT": tmp_path / "run", "EPOCHS": 0, "DEVICE": "cpu"}
    arguments = []
    for constant, value in flags.items():
        flag = "--" + constant.lower().replace("_", "-")
        if isinstance(value, bool):
            arguments.append(flag if value else flag.replace("--", "--no-"))
        else:
            arguments += [flag, *map(str, value)] if isinstance(value, tuple) else [f"{flag}={value}"]
    assert script.main(arguments) == 0
    assert f"Train {len(pairs)} pairs from {path}" in capsys.readouterr().out
    with (tmp_path / "run" / "predictions-dev.csv").open(encoding="utf-8", newline="") as file:
        found = [list(row.values())[:-2] for row in csv.DictReader(file)]
    texts = {(one, two) for one, two, _ in pairs}
    assert {tuple(cell for cell in cells if cell in {x for pair in texts for x in pair}) for cells in found} <= texts
    assert len(found) == (round(0.1 * len(pairs)) if flags["DEV_FILE"] == "" else len(pairs))
