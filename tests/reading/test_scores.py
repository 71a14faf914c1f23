"""Scores: their decimal sign, yes/no, a range that does not fit, hidden labels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from connection.reading.formats.table import Misfit
from connection.reading.formats.text.csv_output import Style
from connection.reading.layout import Layout
from connection.reading.pairs import Pairs, read_pairs
from connection.reading.scores import range_warning, suggested_range
from connection.reading.splits import read_files


def read(folder: Path, scores: list[str], separator: str = ";", **layout: object) -> Pairs:
    path = folder / "pairs.csv"
    rows = [f'A{i}{separator}B{i}{separator}"{score}"' for i, score in enumerate(scores)]
    path.write_text("\n".join([separator.join(("sentence1", "sentence2", "score")), *rows, ""]), encoding="utf-8")
    return read_pairs(path, Layout(**layout))


def refusal(folder: Path, scores: list[str], separator: str = ";", **layout: object) -> Misfit:
    with pytest.raises(Misfit) as caught:
        read(folder, scores, separator, **layout)
    return caught.value


def test_a_decimal_comma_where_it_does_not_separate(tmp_path: Path) -> None:
    for separator in (";", "\t", "|"):
        pairs = read(tmp_path, ["4,5", "0", ",5", "+1,0"], separator)
        assert pairs.table["score"].tolist() == [0.9, 0, 0.1, 0.2]
        assert "decimal comma" in pairs.notes and pairs.detected["DECIMAL"] == ","
        assert pairs.style == Style(separator, ",")
    assert "decimal comma" not in read(tmp_path, ["4.5", "0"]).notes


def test_a_decimal_comma_in_a_file_separated_by_commas_must_be_asked_for(tmp_path: Path) -> None:
    assert 'set DECIMAL = ","' in str(refusal(tmp_path, ["4,5", "1"], ","))
    assert read(tmp_path, ["4,5", "1"], ",", decimal=",").table["score"].tolist() == [0.9, 0.2]


def test_both_signs_in_one_column_are_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, ["1,5", "2", "3.5"])
    assert '"1,5" on line 2' in str(error) and '"3.5" on line 4' in str(error)
    assert str(error).endswith('\nPaste: --decimal="," or --decimal=.')
    assert '"3.5" is not a finite number' in str(refusal(tmp_path, ["1,5", "2", "3.5"], decimal=","))
    assert '"1,5" is not a finite number' in str(refusal(tmp_path, ["1,5", "2", "3.5"], decimal="."))
    assert "decimal comma" in str(refusal(tmp_path, ["1,5", "2", "3.5", "x"])) and "1 bad row of 4." in str(
        refusal(tmp_path, ["1,5", "2", "3.5", "x"])
    )
    assert '"1.234,5" is not a finite number' in str(refusal(tmp_path, ["1.234,5", "2"]))


def test_true_and_false_are_one_and_zero(tmp_path: Path) -> None:
    pairs = read(tmp_path, ["True", "false", "TRUE", "1"], score_range=(0, 1))
    assert pairs.table["score"].tolist() == [1, 0, 1, 1]


def test_scores_that_fill_a_small_part_of_the_range_are_warned_of() -> None:
    warning = range_warning(np.array([0, 0.2, 0.2]), (0, 5), ", so the encoder")
    assert warning.startswith("Warning: the scores are 0 to 1, a small part of SCORE_RANGE (0 to 5)")
    assert "set SCORE_RANGE = (0, 1)." in warning and warning.endswith("\nPaste: --score-range 0 1")
    assert range_warning(np.array([0.0, 1, 1]), (0, 1)) == range_warning(np.array([0.1, 0.8]), (0, 5)) == ""


@pytest.mark.parametrize(
    ("scores", "score_range", "suggested"),
    [
        ([0, 0.4, 1], (0, 5), (0, 1)),
        ([0.2, 0.9], (0, 100), (0, 1)),
        ([-0.8, 0.9], (0, 5), (-1, 1)),
        ([0, 100], (0, 5), (0, 100)),
        ([1, 2, 5], (0, 100), (0, 5)),
        ([1, 7], (0, 5), (1, 7)),
        ([1, math.inf], (0, 5), None),
        ([4, 5], (0, 5), (4, 5)),
        ([0, 1.25], (0, 5), (0, 2)),
        ([0, 1.3], (0, 5), None),
        ([3], (0, 5), None),
        ([], (0, 5), None),
    ],
)
def test_the_range_that_is_suggested(
    scores: list[float], score_range: tuple[float, float], suggested: tuple[float, float] | None
) -> None:
    assert suggested_range(scores, score_range) == suggested


def test_another_scale_is_answered_with_its_range(tmp_path: Path) -> None:
    assert refusal(tmp_path, ["80", "30", "2"]).flags == {"SCORE_RANGE": (0, 100)}
    assert refusal(tmp_path, ["3", "30", "2", "1", "1"]).flags == {}  # one odd score is a mistake of that row


def test_hidden_labels_are_named_and_switched_off(tmp_path: Path) -> None:
    text = str(refusal(tmp_path, ["-1", "-1", "-1"]))
    assert "every score is -1, which marks labels that are not public" in text and "bad row" not in text
    read(tmp_path, ["1", "2"]).path.rename(tmp_path / "train.csv")
    with pytest.raises(Misfit):
        read(tmp_path, ["-1", "-1.0"])
    with pytest.raises(Misfit) as caught:
        read_files({"train": tmp_path / "train.csv", "dev": None, "test": tmp_path / "pairs.csv"}, Layout())
    assert caught.value.flags == {"TEST_FILE": ""} and 'set TEST_FILE = ""' in str(caught.value)
