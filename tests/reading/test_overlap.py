"""What pairs have in common: repeats, contradictions, overlap of files, the dev split; and how OVERLAP acts on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connection import UserMistake
from connection.reading.layout import Layout
from connection.reading.overlap import count_repeats, count_shared, normal_form, split_dev, without_shared
from connection.reading.pairs import read_pairs
from connection.reading.splits import read_splits
from connection.run.predictions import prediction_rows


def table(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sentence1", "sentence2", "score"])


def test_repeats_and_contradictions() -> None:
    """Rows 2 and 3 repeat row 1 to the letter, rows 4 and 5 but for order, case, spacing and width; two scores in all."""
    same = [
        ("A cat", "A dog", 1.0),
        ("A cat", "A dog", 1.0),
        ("A cat", "A dog", 0.5),
        ("a  DOG", "A cat", 1.0),
        ("Ａ cat", "a dog", 1.0),
    ]
    assert count_repeats(table(*same, ("A cat", "A bird", 0.0))) == {
        "exact_duplicates": 2,
        "duplicates": 4,
        "pairs_with_several_scores": 1,
    }


def test_what_two_files_share() -> None:
    train = table(("A", "B", 1.0), ("C", "D", 0.0), ("E", "F", 0.5))
    dev = table(("A", "B", 0.0), ("d", "C ", 1.0), ("E", "x", 0.2))
    assert count_shared(train, dev) == {"exact_pairs": 1, "pairs": 2, "sentences": 3, "train_rows": 2}
    assert without_shared(train, [dev])["sentence1"].tolist() == ["E"]


def test_the_benchmark_itself(stsb: Path) -> None:
    train, dev = (read_pairs(stsb / name, Layout()).table for name in ("train.csv", "dev.csv"))
    repeats, shared = count_repeats(train), count_shared(train, dev)
    assert (repeats["exact_duplicates"], repeats["pairs_with_several_scores"]) == (43, 15)
    assert (shared["exact_pairs"], shared["sentences"]) == (6, 249)
    train_rows, dev_rows = split_dev(train, 0.1, 42)
    assert len(train_rows) + len(dev_rows) == 5749 and len(dev_rows) == 575


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcdefghijklmnopqrst"), st.sampled_from("ABCDEFGHIJKLMNOPQRST"), st.sampled_from([0.0, 0.5, 1.0])
    ),
    min_size=4,
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(0, 2**40), st.floats(0.05, 0.9))
def test_no_sentence_is_on_both_sides_of_the_split(rows: list, seed: int, share: float) -> None:
    pairs = table(*rows)
    try:
        train, dev = split_dev(pairs, share, seed)
    except UserMistake as mistake:
        assert "DEV_SHARE" in str(mistake) and "group of rows that share sentences" in str(mistake)
        return
    assert sorted([*train, *dev]) == list(range(len(rows)))
    assert len(dev) <= max(1, round(share * len(rows)))
    sides = [{normal_form(s) for side in ("sentence1", "sentence2") for s in pairs[side].iloc[rows]} for rows in (train, dev)]
    assert not sides[0] & sides[1]
    again = split_dev(pairs, share, seed)
    assert np.array_equal(again[0], train) and np.array_equal(again[1], dev)


def test_another_seed_splits_otherwise() -> None:
    pairs = table(*((f"a{i}", f"b{i}", i / 99) for i in range(100)))
    first, second = (split_dev(pairs, 0.2, seed)[1].tolist() for seed in (1, 2))
    assert len(first) == len(second) == 20 and first != second


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {
        "train": "A,B,0\nC,D,5\nE,F,3\nG,H,2\na,b ,1\n",
        "dev": "A,B,0\nI,J,5\n",
        "test": "D,C,1\nK,L,4\n",
    }
    for name, text in contents.items():
        (tmp_path / f"{name}.csv").write_text("sentence1,sentence2,score\n" + text, encoding="utf-8")
    return {name: tmp_path / f"{name}.csv" for name in contents}


def split(files: dict[str, Path], overlap: str = "report", **changes: object):
    arguments = {"dev_file": files["dev"], "test_file": files["test"], "dev_share": 0.4, "seed": 1} | changes
    named = {"train": files["train"]} | {name: arguments.pop(f"{name}_file") for name in ("dev", "test")}
    return read_splits(named, Layout(), overlap=overlap, **arguments)


def test_overlap_is_reported_and_recorded(files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    splits = split(files)
    assert len(splits.train) == 5
    assert splits.overlap["train"] == {"exact_duplicates": 0, "duplicates": 1, "pairs_with_several_scores": 1}
    assert splits.overlap["dev"] == {"exact_pairs": 1, "pairs": 1, "sentences": 2, "train_rows": 2}
    assert splits.overlap["test"] == {"exact_pairs": 0, "pairs": 1, "sentences": 2, "train_rows": 1}
    told = capsys.readouterr().out
    for text in (
        "Scores: 0 to 5 in the files become 0 to 1.",
        f"Train 5 pairs from {files['train']} (repeats except for case, spacing or order: 1; pairs with several scores: 1)",
        "Train and dev share: identical pairs 1, pairs ignoring case, spacing and order 1, identical sentences 2.",
        'These pairs stay in train: set OVERLAP to "drop"',
    ):
        assert text in told


def test_overlap_is_dropped_or_refused(files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    dropped = split(files, "drop")
    assert dropped.train.table["sentence1"].tolist() == ["E", "G"]
    assert dropped.train.table["line"].tolist() == [4, 5]
    assert 'OVERLAP = "drop": 3 rows left out of train.' in capsys.readouterr().out
    with pytest.raises(UserMistake, match='OVERLAP is "refuse"'):
        split(files, "refuse")
    files["dev"].write_text("sentence1,sentence2,score\nA,B,1\nE,F,0\nG,H,5\n", encoding="utf-8")
    with pytest.raises(UserMistake, match='OVERLAP = "drop" leaves no different scores'):
        split(files, "drop")


def test_without_a_dev_file_a_share_is_split_off(files: dict[str, Path]) -> None:
    splits = split(files, dev_file=None, test_file=None)
    assert splits.test is None and len(splits.train) + len(splits.dev) == 5
    assert [row[0] for row in splits.dev.cells] == splits.dev.table["sentence1"].tolist()
    assert set(splits.train.table["line"]) | set(splits.dev.table["line"]) == {2, 3, 4, 5, 6}


def test_predictions_stand_beside_the_users_columns(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("id,sentence1,predicted_after,sentence2,score\n7,A,old,B,1\n8,C,old,D,2\n", encoding="utf-8")
    pairs = read_pairs(path, Layout(), keep_cells=True)
    header, rows = prediction_rows(pairs, np.array([0.1, 0.2]), np.array([1 / 3, -1.0]))
    assert header == ["id", "sentence1", "sentence2", "score", "predicted_before", "predicted_after"]
    assert rows == [["7", "A", "B", "1", "0.1", "0.333333333"], ["8", "C", "D", "2", "0.2", "-1"]]
