"""The data of dev and test in a run's report, by the shape of their pairs: points, ranks, confusions, pairs to look at."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tokenizers

from connection.reading.pairs import Pairs
from connection.reading.shape import Shape
from connection.training.calibration import Calibration
from connection.training.correlations import average_precision, best_threshold

MOST_POINTS = 2_000  # of a scatter plot; more would overlap and make the page megabytes large
LISTED_PAIRS = 50
SHOWN_CHARACTERS = {"point": 200, "row": 1_000}  # of a sentence
WHEN = ("before", "after")
BIN = 0.05  # width of a histogram's bars, in similarity
MOST_THRESHOLDS = 200  # of a curve of precision and recall
MOST_CLASSES = 20  # of a confusion matrix
RANK_BINS = {"1": 1, "2": 2, "3": 3, "4–5": 5, "6–10": 10, "11–20": 20, "> 20": math.inf}  # the highest rank of each bar


def sets_data(tables: Mapping[str, Pairs], shape: Shape, best: Path, constants: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The data of dev and test. tables: their pairs, as `read_predictions` gives them. best: the folder of the best encoder."""
    if shape.has_candidates:
        return {name: rank_data(pairs) for name, pairs in tables.items()}
    if shape is Shape.CLASSES:
        return class_data(tables)
    sets = {name: held_out_data(pairs, best, constants) for name, pairs in tables.items()}
    for name, figures in binary_data(tables).items():
        sets[name]["binary"] = figures
    return sets


def held_out_data(pairs: Pairs, best: Path, constants: Mapping[str, Any]) -> dict[str, Any]:
    """The data of scored pairs of dev or test: points, the most wrong and the most improved pairs, the predicted scores' error.

    LISTED_PAIRS of each list. `predicted_error` is the mean error of the calibration in best/, on the user's scale; None
    without one.
    """
    table = pairs.table
    low, high = constants["SCORE_RANGE"]
    table["gold"] = low + table["score"] * (high - low)
    table["tokens"] = count_tokens(best, table["sentence1"], table["sentence2"])
    error = {name: (table[name] - table["score"]).abs() for name in WHEN}
    improved = error["before"] - error["after"]
    worst = error["after"].sort_values(ascending=False, kind="stable").index[:LISTED_PAIRS]
    best_improved = improved[improved > 0].sort_values(ascending=False, kind="stable").index[:LISTED_PAIRS]
    calibration = Calibration.load(best)
    return {
        "pairs": len(table),
        "predicted_error": _plain((calibration(table["after"].to_numpy()) - table["gold"]).abs().mean())
        if calibration
        else None,
        "points": _columns(table.iloc[_evenly(len(table), MOST_POINTS)], "point", _SCORED),
        "wrong": _columns(table.loc[worst], "row", _SCORED),
        "improved": _columns(table.loc[best_improved], "row", _SCORED),
        "binary": None,
    }


def rank_data(pairs: Pairs) -> dict[str, Any]:
    """The data of pairs that belong together, of dev or test: histograms of the ranks of sentence2, and pairs to look at.

    candidates: among how many different sentences sentence2 is found. ranks: the counts in RANK_BINS, None where ranks are
    undefined. worst: rows not found first, the highest rank first. improved, worsened: rows whose rank changed, by the ratio
    of both ranks, the largest first. totals: how many there are of each; LISTED_PAIRS of them are listed.
    """
    table = pairs.table
    texts = table[[name for name in table.columns if name.startswith(("sentence2", "negative"))]].to_numpy().ravel()
    before, after = (table[f"rank_{when}"] for when in WHEN)
    lists = {
        "worst": after[after > 1],
        "improved": (before / after)[after < before],
        "worsened": (after / before)[after > before],
    }
    edges = [0.5, *(highest + 0.5 for highest in RANK_BINS.values())]
    return {
        "pairs": len(table),
        "candidates": len(set(texts) - {""}),
        "ranks": {"labels": list(RANK_BINS)}
        | {
            when: np.histogram(ranks, edges)[0].tolist() if ranks.notna().all() else None
            for when, ranks in zip(WHEN, (before, after), strict=True)
        },
        "totals": {name: len(values) for name, values in lists.items()},
    } | {
        name: _columns(table.loc[values.sort_values(ascending=False, kind="stable").index[:LISTED_PAIRS]], "row", _RANKED)
        for name, values in lists.items()
    }


def class_data(tables: Mapping[str, Pairs]) -> dict[str, dict[str, Any]]:
    """The data of pairs with a class, of dev and test: confusion matrices, and LISTED_PAIRS of the wrong pairs, evenly spread.

    totals: how many wrong pairs there are. macro_f1: before and after training. most_frequent: the share of the pairs that have
    the set's most frequent class. Of more than MOST_CLASSES classes, the matrices have the most frequent ones of both sets.
    """
    given = Counter(label for pairs in tables.values() for label in pairs.table["label"])
    columns = ("label", *(f"class_{when}" for when in WHEN))
    classes = sorted({name for pairs in tables.values() for column in columns for name in pairs.table[column].dropna()})
    shown = classes
    if len(classes) > MOST_CLASSES:
        shown = sorted(classes, key=lambda name: (-given[name], name))[:MOST_CLASSES]
    sets = {}
    for name, pairs in tables.items():
        table = pairs.table
        wrong = table[table["class_after"].notna() & (table["class_after"] != table["label"])]
        sets[name] = {
            "pairs": len(table),
            "macro_f1": {when: _plain(macro_f1(table["label"], table[f"class_{when}"])) for when in WHEN},
            "most_frequent": _plain(table["label"].value_counts(normalize=True).max()),
            "confusion": {"classes": [_cut(text, SHOWN_CHARACTERS["point"]) for text in shown], "of": len(classes)}
            | confusion(table, shown),
            "totals": {"wrong": len(wrong)},
            "wrong": _columns(wrong.iloc[_evenly(len(wrong), LISTED_PAIRS)], "row", _CLASSED),
        }
    return sets


def confusion(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """How often pairs of each given class were found to be of each class.

    counts: a list for each given class with the number of its pairs that were found as each of `classes` after training.
    others: the same for all other classes together. pairs: all of each given class. right: how many of these were found right,
    before and after training; None if the class of a pair is undefined.

    >>> table = pd.DataFrame({"label": ["a", "a", "b"], "class_before": ["b", "b", "b"], "class_after": ["a", "b", "c"]})
    >>> found = confusion(table, ["a", "b"])
    >>> found["counts"], found["others"], found["right"]
    ([[1, 1], [0, 0]], [0, 1], {'before': [0, 1], 'after': [1, 0]})
    """
    cells = {when: Counter(zip(table["label"], table[f"class_{when}"], strict=True)) for when in WHEN}
    pairs, found = Counter(table["label"]), Counter(table["label"][table["class_after"].notna()])
    counts = [[cells["after"][given, name] for name in classes] for given in classes]
    return {
        "counts": counts,
        "others": [found[given] - sum(row) for given, row in zip(classes, counts, strict=True)],
        "pairs": [pairs[given] for given in classes],
        "right": {
            when: [cells[when][given, given] for given in classes] if table[f"class_{when}"].notna().all() else None
            for when in WHEN
        },
    }


def macro_f1(given: pd.Series, found: pd.Series) -> float | None:
    """The mean F1 of the classes that are given or found, each with the same weight; None if a class is undefined.

    >>> macro_f1(pd.Series(["a", "a", "b", "b"]), pd.Series(["a", "b", "b", "b"]))  # (2/3 + 4/5) / 2
    0.7333333333333334
    """
    if found.isna().any():
        return None
    pairs, right = Counter(given) + Counter(found), Counter(given[given == found])
    return math.fsum(2 * right[name] / count for name, count in pairs.items()) / len(pairs)


def binary_data(tables: Mapping[str, Pairs]) -> dict[str, dict[str, Any]]:
    """Histograms and metrics of a yes/no decision by similarity, for dev and test, before and after training.

    Empty unless every score of all sets is one of the two ends of SCORE_RANGE. Otherwise each set has, for before and after,
    the counts of both classes in bars between the common `edges`, the metrics, and the `precision_recall` over all thresholds.
    The threshold is chosen on dev and applied to test.
    """
    if not tables or not all(pairs.table["score"].isin((0.0, 1.0)).all() for pairs in tables.values()):
        return {}
    similarities = {(name, when): pairs.table[when].to_numpy() for name, pairs in tables.items() for when in WHEN}
    edges = _edges(np.concatenate(list(similarities.values())))
    binary: dict[str, dict[str, Any]] = {
        name: {"edges": edges, "counts": {}, "metrics": {}, "precision_recall": {}} for name in tables
    }
    for when in WHEN:
        threshold = None
        for name in tables:  # dev first
            matches = tables[name].table["score"].to_numpy() == 1.0
            values = similarities[name, when]
            classes = [
                np.histogram(np.clip(values[side & np.isfinite(values)], -1, 1), edges)[0].tolist()
                for side in (~matches, matches)
            ]
            binary[name]["counts"][when] = classes
            metrics = binary[name]["metrics"][when] = _decisions(values, matches, threshold)
            binary[name]["precision_recall"][when] = precision_recall(values, matches) if metrics else None
            if name == "dev" and metrics:
                threshold = metrics["threshold"]
    return binary


def _decisions(similarities: np.ndarray, matches: np.ndarray, threshold: float | None) -> dict[str, Any] | None:
    """Metrics of the decision "similarity ≥ threshold means a match"; None unless both classes occur and all is finite.

    threshold: None chooses the best one for these pairs.
    """
    if matches.all() or not matches.any() or not np.isfinite(similarities).all():
        return None
    cut = best_threshold(similarities, matches).threshold if threshold is None else threshold
    true_positives, positives = int((matches & (similarities >= cut)).sum()), int((similarities >= cut).sum())
    metrics = {
        "average_precision": average_precision(similarities, matches),
        "threshold": cut,
        "precision": true_positives / positives if positives else None,
        "recall": true_positives / int(matches.sum()),
        "f1": 2 * true_positives / (positives + int(matches.sum())),
    }
    return {name: _plain(value) for name, value in metrics.items()} | {
        "chosen_here": threshold is None,
        "matches": int(matches.sum()),
        "no_matches": int((~matches).sum()),
    }


def precision_recall(similarities: np.ndarray, matches: np.ndarray) -> dict[str, list[float | None]]:
    """Precision and recall (n,) of the decision "similarity ≥ threshold means a match", with rising thresholds.

    The thresholds are the distinct similarities: between two of them, both metrics are those of the upper one. Of more than
    MOST_THRESHOLDS, those at even places in their order are kept, the lowest and the highest among them; what is kept is exact.
    matches: (n,) bool, with at least one True.

    >>> points = precision_recall(np.array([0.9, 0.8, 0.6, 0.6]), np.array([True, False, True, False]))
    >>> points["threshold"], points["precision"], points["recall"]
    ([0.6, 0.8, 0.9], [0.5, 0.5, 1.0], [1.0, 0.5, 0.5])
    """
    thresholds = np.unique(similarities)
    thresholds = thresholds[_evenly(len(thresholds), MOST_THRESHOLDS)]
    called, right = (
        len(values) - np.searchsorted(np.sort(values), thresholds) for values in (similarities, similarities[matches])
    )
    columns = {"threshold": thresholds, "precision": right / called, "recall": right / matches.sum()}
    return {name: [_plain(value) for value in values] for name, values in columns.items()}


def _evenly(count: int, most: int) -> np.ndarray:
    """At most `most` of the indices of `count` items, evenly spread, the first and the last among them.

    >>> _evenly(7, 4).tolist(), _evenly(3, 4).tolist(), _evenly(0, 4).tolist()
    ([0, 2, 4, 6], [0, 1, 2], [])
    """
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def _edges(similarities: np.ndarray) -> list[float]:
    """The edges of a histogram's bars, from the lowest similarity (or 0, if that is lower) to 1.

    >>> _edges(np.array([-0.07, 0.5]))[:4]
    [-0.1, -0.05, 0.0, 0.05]
    """
    lowest = max(-1.0, float(np.min(similarities[np.isfinite(similarities)], initial=0.0)))
    return [round(step * BIN, 2) for step in range(math.floor(lowest / BIN), round(1 / BIN) + 1)]


def count_tokens(best: Path, *sides: Collection[str]) -> list[int | None]:
    """The number of tokens of each pair's longer sentence, after cutting, with [CLS] and [SEP]; None if unknown."""
    if not (best / "tokenizer.json").is_file():
        return [None] * len(sides[0])
    tokenizer = tokenizers.Tokenizer.from_file(str(best / "tokenizer.json"))
    limit = json.loads((best / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    counts = [[len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(side))] for side in sides]
    return [max(pair) for pair in zip(*counts, strict=True)]


_SENTENCES = ("sentence1", "sentence2")
_SCORED = ("gold", "score", *WHEN, "tokens", *_SENTENCES)
_RANKED = ("rank_before", "rank_after", *_SENTENCES, "found")
_CLASSED = ("label", "class_before", "class_after", *_SENTENCES)


def _columns(table: pd.DataFrame, kind: str, names: Sequence[str]) -> dict[str, list[Any]]:
    """The rows as one list per column, half the size of a list of objects. Texts are shortened for the page."""
    most = SHOWN_CHARACTERS[kind]
    return {name: [_cut(x, most) if isinstance(x, str) else _plain(x) for x in table[name]] for name in names}


def _plain(value: float | None) -> float | None:
    """The value rounded to six digits, more than a plot can show; None if not finite, since JSON has no such number."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
