"""The data of dev and test in a report: ranks, classes, thresholds; ties, undefined values, many classes, nothing to list."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from connection.page.document import as_inline_json
from connection.reading.pairs import Pairs
from connection.reading.shape import Shape
from connection.run import report_sets
from connection.run.report_data import choosing_metric
from connection.run.report_sets import binary_data, class_data, confusion, macro_f1, precision_recall, rank_data


def ranked(before: list[float], after: list[float], **columns: list[str]) -> Pairs:
    rows = range(len(before))
    table = pd.DataFrame(
        {
            "sentence1": [f"question {row}" for row in rows],
            "sentence2": [f"answer {row}" for row in rows],
            "rank_before": before,
            "rank_after": after,
            "found": ["" if rank == 1 else "other" for rank in after],
        }
    )
    return Pairs(Path("x.csv"), table.assign(**columns))


def classed(label: list[str], before: list[str | None], after: list[str | None]) -> Pairs:
    table = pd.DataFrame({"label": label, "class_before": before, "class_after": after}, dtype=object)
    table["sentence1"], table["sentence2"] = [f"first {row}" for row in range(len(label))], "second"
    return Pairs(Path("x.csv"), table)


def scored(scores: list[float], before: list[float], after: list[float]) -> Pairs:
    return Pairs(Path("x.csv"), pd.DataFrame({"score": scores, "before": before, "after": after}))


def rows_of(listed: dict[str, list[Any]]) -> list[int]:
    """The numbers of the listed rows, as `ranked` and `classed` put them into sentence1."""
    return [int(text.split()[1]) for text in listed["sentence1"]]


def test_ranks_are_counted_and_listed_by_their_ratio() -> None:
    found = rank_data(ranked([1, 2, 30, 4, 6, 21, 5], [1, 4, 3, 2, 6, 20, 10]))
    labels = found["ranks"]["labels"]
    assert dict(zip(labels, found["ranks"]["before"], strict=True)) == {
        "1": 1,
        "2": 1,
        "3": 0,
        "4–5": 2,
        "6–10": 1,
        "11–20": 0,
        "> 20": 2,
    }
    assert found["ranks"]["after"] == [1, 1, 1, 1, 2, 1, 0]
    assert rows_of(found["worst"]) == [5, 6, 4, 1, 2, 3]
    assert rows_of(found["improved"]) == [2, 3, 5]  # by 10, 2, 1.05
    assert rows_of(found["worsened"]) == [1, 6]  # both by 2: in the order of the file
    assert found["totals"] == {"worst": 6, "improved": 3, "worsened": 2}


def test_candidates_are_the_different_sentence2_and_negatives() -> None:
    pairs = ranked(
        [1, 1, 1], [1, 1, 1], sentence2=["a", "b", "a"], negative1=["c", "", "b"], negative2=["", "", "d"], label=["e"] * 3
    )
    found = rank_data(pairs)
    assert found["candidates"] == 4  # a, b, c, d: neither the empty cells nor another column
    assert found["totals"] == {"worst": 0, "improved": 0, "worsened": 0} and found["worst"]["found"] == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_undefined_ranks_are_none_and_list_nothing(when: str) -> None:
    ranks = {"before": [3.0, 1.0], "after": [2.0, 1.0]} | {when: [math.nan, math.nan]}
    found = json.loads(as_inline_json(rank_data(ranked(ranks["before"], ranks["after"]))))
    other = "after" if when == "before" else "before"
    assert found["ranks"][when] is None and sum(found["ranks"][other]) == 2
    assert found["totals"] == {"worst": int(when == "before"), "improved": 0, "worsened": 0}


def test_long_lists_are_cut_and_say_how_long_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_sets, "LISTED_PAIRS", 2)
    found = rank_data(ranked([1, 1, 1], [4, 3, 5]))
    assert rows_of(found["worst"]) == [2, 0] == rows_of(found["worsened"]) and found["totals"]["worst"] == 3
    wrong = class_data({"dev": classed(["a"] * 5, ["a"] * 5, ["b"] * 5)})["dev"]
    assert rows_of(wrong["wrong"]) == [0, 4] and wrong["totals"] == {"wrong": 5}  # evenly spread, both ends among them


def test_classes_are_counted_by_given_and_found() -> None:
    dev = classed(["a", "a", "b", "c"], ["a", "b", "a", "a"], ["a", "a", "a", "c"])
    found = class_data({"dev": dev, "test": classed(["d"], ["a"], ["d"])})
    assert found["dev"]["confusion"] == {
        "classes": ["a", "b", "c", "d"],  # of both sets
        "of": 4,
        "counts": [[2, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
        "others": [0, 0, 0, 0],
        "pairs": [2, 1, 1, 0],
        "right": {"before": [1, 0, 0, 0], "after": [2, 0, 1, 0]},
    }
    assert rows_of(found["dev"]["wrong"]) == [2] and found["dev"]["most_frequent"] == 0.5
    assert found["dev"]["macro_f1"]["after"] == pytest.approx((4 / 5 + 0 + 1) / 3, abs=1e-6)
    assert found["test"]["totals"] == {"wrong": 0} and found["test"]["wrong"]["sentence1"] == []


def test_of_many_classes_the_most_frequent_are_shown() -> None:
    labels = [f"{number:02}" for number in range(25)]
    given = labels + labels[5:] + ["24"]  # 00 to 04 once; 24 thrice
    found = class_data({"test": classed(given, given, ["00"] * len(given))})["test"]["confusion"]
    assert found["of"] == 25 and found["classes"] == ["24", *labels[5:24]]
    assert found["others"] == [3] + [2] * 19 and sum(map(sum, found["counts"])) == 0  # all were found as 00
    assert found["pairs"] == [3] + [2] * 19 and found["right"]["after"] == [0] * 20


def test_one_class_only() -> None:
    found = class_data({"dev": classed(["a", "a"], ["a", "a"], ["a", "a"])})["dev"]
    assert found["confusion"]["counts"] == [[2]] and found["macro_f1"] == {"before": 1, "after": 1}
    assert found["most_frequent"] == 1 and class_data({}) == {}


def test_classes_that_are_undefined_are_neither_right_nor_wrong() -> None:
    before_only = class_data({"dev": classed(["a", "b"], [None, None], ["a", "a"])})["dev"]
    assert before_only["confusion"]["right"] == {"before": None, "after": [1, 0]}
    assert before_only["macro_f1"]["before"] is None and rows_of(before_only["wrong"]) == [1]
    after = class_data({"dev": classed(["a", "b"], ["a", "b"], ["a", None])})["dev"]
    assert after["confusion"]["counts"] == [[1, 0], [0, 0]] and after["confusion"]["others"] == [0, 0]
    assert after["confusion"]["right"]["after"] is None and after["totals"] == {"wrong": 0}
    assert json.loads(as_inline_json(after))["macro_f1"] == {"before": 1, "after": None}


def test_confusion_counts_each_pair_once() -> None:
    random = np.random.default_rng(0)
    given, before, after = (random.choice(list("abcde"), 300) for _ in range(3))
    table = classed(given.tolist(), before.tolist(), after.tolist()).table
    found = confusion(table, ["a", "b", "c"])
    assert [sum(row) + other for row, other in zip(found["counts"], found["others"], strict=True)] == found["pairs"]
    by_hand = [[int(((given == row) & (after == column)).sum()) for column in "abc"] for row in "abc"]
    assert found["counts"] == by_hand and found["right"]["after"] == [by_hand[i][i] for i in range(3)]


def test_macro_f1_is_the_mean_of_each_class() -> None:
    random = np.random.default_rng(1)
    given, found = pd.Series(random.choice(list("abc"), 100)), pd.Series(random.choice(list("abcd"), 100))
    scores = []
    for name in "abcd":
        right = ((given == name) & (found == name)).sum()
        precision = right / (found == name).sum()
        recall = right / (given == name).sum() if (given == name).any() else 0
        scores.append(2 * precision * recall / (precision + recall) if right else 0)
    assert macro_f1(given, found) == pytest.approx(np.mean(scores))


def test_precision_and_recall_of_every_threshold() -> None:
    random = np.random.default_rng(2)
    similarities = random.choice(np.linspace(-0.2, 1, 40), 150)  # with ties
    matches = random.random(150) < 0.3
    points = precision_recall(similarities, matches)
    assert points["threshold"] == sorted(set(points["threshold"])) and len(points["threshold"]) == len(np.unique(similarities))
    for threshold, precision, recall in zip(*points.values(), strict=True):
        called = similarities >= threshold - 1e-6
        assert precision == pytest.approx((called & matches).sum() / called.sum(), abs=1e-5)
        assert recall == pytest.approx((called & matches).sum() / matches.sum(), abs=1e-5)
    assert points["recall"][0] == 1 and points["precision"][0] == pytest.approx(matches.mean(), abs=1e-5)


def test_precision_and_recall_without_a_choice() -> None:
    tied = precision_recall(np.full(4, 0.5), np.array([True, False, False, False]))
    assert tied == {"threshold": [0.5], "precision": [0.25], "recall": [1.0]}
    assert precision_recall(np.array([0.1, 0.9]), np.array([True, True]))["precision"] == [1, 1]


def test_many_thresholds_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_sets, "MOST_THRESHOLDS", 5)
    similarities = np.linspace(0, 1, 101)
    points = precision_recall(similarities, similarities > 0.5)
    assert points["threshold"] == [0, 0.25, 0.5, 0.75, 1] and points["recall"] == [1, 1, 1, 0.52, 0.02]


def test_a_similarity_that_is_not_finite_leaves_the_other_time_defined() -> None:
    dev = scored([0, 1, 1], [math.nan, 0.5, 0.6], [0.1, 0.5, 0.6])
    found = json.loads(as_inline_json(binary_data({"dev": dev})))["dev"]
    assert found["metrics"]["before"] is None and found["precision_recall"]["before"] is None
    assert found["metrics"]["after"]["f1"] == 1 and found["precision_recall"]["after"]["threshold"] == [0.1, 0.5, 0.6]


@pytest.mark.parametrize(
    ("summary", "evaluations", "shape", "metric"),
    [
        ({"metric": "accuracy"}, [{"spearman": 1.0}], Shape.SCORED, "accuracy"),
        ({"steps": 3}, [{"step": 0, "spearman": None, "loss": 1.0}], Shape.SCORED, "spearman"),  # an old summary.json
        (None, [{"step": 0, "mrr_at_10": 0.5, "recall_at_1": 0.5}], Shape.NEGATIVES, "mrr_at_10"),
        (None, [], Shape.CLASSES, "accuracy"),
        (None, [], Shape.TOGETHER, "mrr_at_10"),
    ],
)
def test_the_metric_that_chooses(summary: Any, evaluations: list, shape: Shape, metric: str) -> None:
    assert choosing_metric(summary, evaluations, shape) == metric
