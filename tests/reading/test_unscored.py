"""Files of pairs without scores: what is read of negatives and classes, what is refused, how they are split and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from connection import UserMistake
from connection.reading.layout import Layout
from connection.reading.pairs import read_pairs
from connection.reading.preview import class_histogram, first_rows, negatives_text
from connection.reading.shape import Shape
from connection.reading.splits import Splits, read_splits
from connection.script.settings import Settings

TOGETHER = Layout(score=None)
NEGATIVES = Layout(score=None, negatives=("negative", "other"))
CLASSES = Layout(score=None, label="label")
ROWS = "sentence1,sentence2,negative,other,label\nq1,a1,n1,,yes\nq2,a1,\u200b,n2, no \nq3,a3,,,yes\n"


def write(path: Path, text: str = ROWS) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_table_of_each_shape(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.csv")
    together, negatives, classes = (read_pairs(path, layout).table for layout in (TOGETHER, NEGATIVES, CLASSES))
    assert together.columns.tolist() == ["sentence1", "sentence2", "score", "line"] and together["score"].tolist() == [1, 1, 1]
    assert negatives[["negative1", "negative2"]].to_numpy().tolist() == [["n1", ""], ["", "n2"], ["", ""]]
    assert classes["label"].tolist() == ["yes", "no", "yes"] and classes["line"].tolist() == [2, 3, 4]
    assert [layout.shape for layout in (Layout(), TOGETHER, NEGATIVES, CLASSES)] == [*Shape]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_null_is_no_negative_and_a_number_is_a_class(tmp_path: Path, ending: str) -> None:
    rows = [
        {"sentence1": "q1", "sentence2": "a1", "negative": None, "other": "n", "label": 2},
        {"sentence1": "q2", "sentence2": "a2", "negative": "m", "other": None, "label": 0},
    ]
    path = tmp_path / f"pairs.{ending}"
    frame = pd.DataFrame(rows)
    if ending == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    table = read_pairs(path, NEGATIVES).table
    assert table[["negative1", "negative2"]].to_numpy().tolist() == [["", "n"], ["m", ""]]
    assert read_pairs(path, CLASSES).table["label"].tolist() == ["2", "0"]


def test_columns_by_number(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.csv", "q1,a1,n1\nq2,a2,\n")
    table = read_pairs(path, Layout(sentence1=1, sentence2=2, score=None, negatives=(3,))).table
    assert table["negative1"].tolist() == ["n1", ""]


def test_a_missing_column_and_an_empty_class_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.csv")
    with pytest.raises(UserMistake, match=r'no column "wrong" \(NEGATIVE_COLUMNS\[1\]\)'):
        read_pairs(path, replace(NEGATIVES, negatives=("negative", "wrong")))
    with pytest.raises(UserMistake, match=r'no column "lable" \(LABEL_COLUMN\).*\n.*\nDid you mean "label"\?'):
        read_pairs(path, replace(CLASSES, label="lable"))
    write(path, "sentence1,sentence2,label\nq,a,yes\nq,b, \n")
    with pytest.raises(UserMistake, match=r':3  column "label": " " is empty: write the class, or delete the row'):
        read_pairs(path, CLASSES)


def settings(**changes: object) -> Settings:
    constants = {"SENTENCE1_COLUMN": "sentence1", "SENTENCE2_COLUMN": "sentence2", "SCORE_COLUMN": "score"}
    constants |= {"NEGATIVE_COLUMNS": (), "LABEL_COLUMN": "", "SCORE_RANGE": (0, 5), "SEPARATOR": "", "QUOTING": True}
    return Settings(**constants | {"ENCODING": "", "DECIMAL": "", "SHEET": ""} | changes)


def test_columns_that_exclude_each_other() -> None:
    assert Layout.of(settings(LABEL_COLUMN="label")).shape is Shape.CLASSES  # SCORE_COLUMN is as shipped: nobody means it
    for changes, message in (
        (
            {"LABEL_COLUMN": "label", "SCORE_COLUMN": "points"},
            r'LABEL_COLUMN \("label"\) and SCORE_COLUMN \("points"\) are both',
        ),
        ({"LABEL_COLUMN": "label", "SCORE_COLUMN": "", "NEGATIVE_COLUMNS": ("n",)}, "and NEGATIVE_COLUMNS are both set"),
        ({"NEGATIVE_COLUMNS": ("n",)}, r'SCORE_COLUMN is "score": .* Set SCORE_COLUMN = "" \(--score-column=\)'),
    ):
        with pytest.raises(UserMistake, match=message):
            Layout.of(settings(**changes))


def split(tmp_path: Path, layout: Layout, train: str, **files: str) -> Splits:
    paths = {name: write(tmp_path / f"{name}.csv", text) for name, text in ({"train": train} | files).items()}
    overlap = paths.pop("overlap", None)
    named = {"train": None, "dev": None, "test": None, "positives": None} | paths
    return read_splits(named, layout, overlap=overlap.read_text() if overlap else "report", dev_share=0.5, seed=1)


def test_classes_are_numbered_in_sorted_order_by_those_of_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, more = "sentence1,sentence2,label\n", "e,f,no\n"
    splits = split(tmp_path, CLASSES, head + "a,b,yes\nc,d,no\na,b,no\n", dev=head + more, test=head + "g,h,yes\n")
    assert splits.classes == ("no", "yes") and splits.train.table["score"].tolist() == [1, 0, 0]
    assert splits.dev.table["score"].tolist() == [0] and splits.test.table["score"].tolist() == [1]
    told = capsys.readouterr().out
    assert "Its classes:\n  no   2  ####" in told and "pairs with several classes: 1" in told and "Scores:" not in told
    with pytest.raises(UserMistake, match=r'dev.csv, line 2: no training pair has the class "maybe" \(1 rows.*: no, yes\.'):
        split(tmp_path, CLASSES, head + "a,b,yes\nc,d,no\n", dev=head + "e,f,maybe\n")
    with pytest.raises(UserMistake, match=r'every row has the class "no" \(LABEL_COLUMN\), so there is nothing to learn'):
        split(tmp_path, CLASSES, head + "a,b,no\nc,d,no\n", dev=head + "e,f,no\n")


def test_pairs_without_scores_are_split_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "sentence1,sentence2\n" + "".join(f"q{row},a{row % 3}\n" for row in range(12))
    splits = split(tmp_path, TOGETHER, rows)
    assert (len(splits.train), len(splits.dev), splits.shape) == (8, 4, Shape.TOGETHER)  # whole answers: 4 rows each
    assert not set(splits.train.table["sentence2"]) & set(splits.dev.table["sentence2"])
    assert "12 different sentence1, 3 different sentence2." in capsys.readouterr().out
    dropped = split(tmp_path, TOGETHER, rows, dev="sentence1,sentence2\nQ1,a1\nx,y\n", overlap="drop")
    assert len(dropped.train) == 11 and dropped.overlap["dev"]["pairs"] == 1
    with pytest.raises(UserMistake, match='OVERLAP = "drop" leaves no pair to train on'):
        split(tmp_path, TOGETHER, "sentence1,sentence2\nq,a\n", dev="sentence1,sentence2\nq,a\n", overlap="drop")


def test_positives_are_compared_with_dev_and_test_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = "sentence1,sentence2,score\na,b,1\nc,d,5\n"
    more = {"dev": "sentence1,sentence2,score\nq1,a1,1\nq2,a2,4\n", "positives": "score,sentence2,sentence1\nx,a1,q1\n,a9,q9\n"}
    splits = split(tmp_path, Layout(), scored, **more)
    assert len(splits.positives) == 2 and splits.overlap["positives and dev"]["exact_pairs"] == 1
    assert "Positives and dev share: identical pairs 1" in capsys.readouterr().out
    dropped = split(tmp_path, Layout(), scored, **more, overlap="drop")
    assert dropped.positives.table["sentence1"].tolist() == ["q9"] and len(dropped.train) == 2
    assert 'OVERLAP = "drop": 1 rows left out of positives.' in capsys.readouterr().out
    with pytest.raises(UserMistake, match=r"positives.csv contains pairs that are also in dev or test"):
        split(tmp_path, Layout(), scored, **more, overlap="refuse")


def test_dev_and_test_may_have_no_negatives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = replace(TOGETHER, negatives=("n1", "n2"))
    train = "sentence1,sentence2,n1,n2\nq1,a1,b1,\nq2,a2,,b2\n"
    splits = split(tmp_path, layout, train, dev="sentence1,sentence2,other\nq3,a3,x\n", test=train.replace("q", "r"))
    assert splits.dev.table[["negative1", "negative2"]].to_numpy().tolist() == [["", ""]] and splits.dev.columns[-1] == "other"
    assert splits.test.table["negative2"].tolist() == ["", "b2"]
    assert "It has no negatives: sentence2 is found among the other rows' sentence2." in capsys.readouterr().out
    with pytest.raises(UserMistake, match=r'dev.csv has no column "n2" \(NEGATIVE_COLUMNS\[1\]\)'):
        split(tmp_path, layout, train, dev="sentence1,sentence2,n1\nq3,a3,x\n")  # one of two: a slip
    with pytest.raises(UserMistake, match=r'train.csv has no column "n1"'):
        split(tmp_path, layout, "sentence1,sentence2\nq1,a1\n", dev=train)


def test_what_is_shown_of_them() -> None:
    table = pd.DataFrame({"sentence1": ["q"] * 2, "sentence2": ["a", "b"], "score": [1.0, 1.0], "negative1": ["n", ""]})
    assert first_rows(table, (0, 5)).splitlines() == ["  q  |  a  |  n", "  q  |  b  |  "]
    assert negatives_text(table) == "Its negatives: 1 sentence, up to 1 a row; 1 row without any."
    classed = pd.DataFrame(
        {"sentence1": ["q"] * 2, "sentence2": ["a", "b"], "score": [0.0, 1.0], "label": ["no", "entailment"]}
    )
    assert first_rows(classed, (0, 5)).splitlines() == ["   no  q  |  a", "entailment  q  |  b"]
    many = class_histogram([*range(30), 29], [f"class {number}" for number in range(30)])
    assert len(many.splitlines()) == 21 and many.splitlines()[0].split()[:3] == ["class", "29", "2"]
    assert many.endswith("… and 10 more")
