"""Collects the data of a run's report as JSON values: curves, points, worst pairs, times.

Reads `settings.json` and, if present, `metrics.jsonl`, `summary.json`, the predictions and the tokenizer in `best/`. So any
run, finished or stopped, can have a report. The page itself is made by `connection/run/report.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from connection.reading.formats import open_table
from connection.reading.formats.table import Reading
from connection.reading.layout import Layout
from connection.reading.pairs import Pairs, read_pairs
from connection.training.calibration import Calibration
from connection.training.correlations import average_precision, best_threshold

MOST_POINTS = 2_000  # of a scatter plot; more would overlap and make the page megabytes large
MOST_STEPS = 1_000  # of a curve: about its width in pixels
LISTED_PAIRS = 50
SHOWN_CHARACTERS = {"point": 200, "row": 1_000}  # of a sentence
HELD_OUT = ("dev", "test")
WHEN = ("before", "after")
BIN = 0.05  # width of a histogram's bars, in similarity
_LAYOUT = {"sentence1": "SENTENCE1_COLUMN", "sentence2": "SENTENCE2_COLUMN", "score": "SCORE_COLUMN"}


def report_data(folder: Path, summary: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The data of the report on the run in `folder`.

    summary: the future contents of summary.json, if it is not written yet. None reads the file, if there is one.
    Raises OSError or ValueError (UserMistake is one) if the folder is not a run's or one of its files is damaged.
    """
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    if summary is None and (folder / "summary.json").is_file():
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    records = read_metrics(folder / "metrics.jsonl")
    constants = settings["constants"]
    tables = {
        name: read_predictions(folder / f"predictions-{name}.csv", constants)
        for name in HELD_OUT
        if (folder / f"predictions-{name}.csv").is_file()
    }
    sets = {name: held_out_data(pairs, folder / "best", constants) for name, pairs in tables.items()}
    for name, figures in binary_data(tables).items():
        sets[name]["binary"] = figures
    return {
        "folder": str(folder),
        "constants": constants,
        "versions": settings["versions"],
        "sha256": settings["sha256"],
        "summary": summary,
        "curve": curve([record for record in records if "split" not in record]),
        "evaluations": [record for record in records if record.get("split") == "dev"],
        "sets": sets,
    }


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl; none if there is no such file. An incomplete last line is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def curve(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Loss and learning rate over the steps. Each point is the mean of `steps_per_point` successive steps.

    >>> curve([{"step": 1, "loss": 0.5, "learning_rate": 0.0}, {"step": 2, "loss": 0.25, "learning_rate": 1.0}])["loss"]
    [0.5, 0.25]
    """
    size = max(1, math.ceil(len(steps) / MOST_STEPS))
    groups = [steps[start : start + size] for start in range(0, len(steps), size)]
    return {
        "steps_per_point": size,
        "step": [group[-1]["step"] for group in groups],
        "loss": [float(np.mean([record["loss"] for record in group])) for group in groups],
        "learning_rate": [float(np.mean([record["learning_rate"] for record in group])) for group in groups],
    }


def read_predictions(path: Path, constants: Mapping[str, Any]) -> Pairs:
    """Read a predictions file of a run with these constants; the table also has the similarities `before` and `after`."""
    # If the file had no header, its columns are named sentence1, sentence2 and score here.
    header = open_table(path, Reading(("predicted_after",), encoding="utf-8")).header or []
    columns = {ours: str(constants[name]) for ours, name in _LAYOUT.items()}
    columns = {ours: name if name in header else ours for ours, name in columns.items()}
    low, high = constants["SCORE_RANGE"]
    layout = Layout(
        columns["sentence1"],
        columns["sentence2"],
        columns["score"],
        score_range=(low, high),
        encoding="utf-8",
        decimal=constants.get("DECIMAL", "."),
    )
    pairs = read_pairs(path, layout, keep_cells=True)
    for name in WHEN:
        column = pairs.columns.index(f"predicted_{name}")
        pairs.table[name] = [float(cells[column].replace(",", ".")) for cells in pairs.cells]
    return pairs


def held_out_data(pairs: Pairs, best: Path, constants: Mapping[str, Any]) -> dict[str, Any]:
    """The data of dev or test: points, the LISTED_PAIRS most wrong and most improved pairs, and the error of predicted scores.

    `predicted_error` is the mean error of the calibration in best/, on the user's scale; None without one.
    """
    table = pairs.table
    low, high = constants["SCORE_RANGE"]
    table["gold"] = low + table["score"] * (high - low)
    table["tokens"] = count_tokens(best, table["sentence1"], table["sentence2"])
    error = {name: (table[name] - table["score"]).abs() for name in WHEN}
    improved = error["before"] - error["after"]
    worst = error["after"].sort_values(ascending=False, kind="stable").index[:LISTED_PAIRS]
    best_improved = improved[improved > 0].sort_values(ascending=False, kind="stable").index[:LISTED_PAIRS]
    plotted = np.unique(np.linspace(0, len(table) - 1, min(MOST_POINTS, len(table))).round().astype(int))
    calibration = Calibration.load(best)
    return {
        "pairs": len(table),
        "predicted_error": _plain((calibration(table["after"].to_numpy()) - table["gold"]).abs().mean())
        if calibration
        else None,
        "points": _columns(table.iloc[plotted], "point"),
        "wrong": _columns(table.loc[worst], "row"),
        "improved": _columns(table.loc[best_improved], "row"),
        "binary": None,
    }


def binary_data(tables: Mapping[str, Pairs]) -> dict[str, dict[str, Any]]:
    """Histograms and metrics of a yes/no decision by similarity, for dev and test, before and after training.

    Empty unless every score of all sets is one of the two ends of SCORE_RANGE. Otherwise each set has, for before and after,
    the counts of both classes in bars between the common `edges`, and the metrics. The threshold is chosen on dev and applied
    to test.
    """
    if not tables or not all(pairs.table["score"].isin((0.0, 1.0)).all() for pairs in tables.values()):
        return {}
    similarities = {(name, when): pairs.table[when].to_numpy() for name, pairs in tables.items() for when in WHEN}
    edges = _edges(np.concatenate(list(similarities.values())))
    binary: dict[str, dict[str, Any]] = {name: {"edges": edges, "counts": {}, "metrics": {}} for name in tables}
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
            binary[name]["metrics"][when] = _decisions(values, matches, threshold)
            if name == "dev" and binary[name]["metrics"][when]:
                threshold = binary[name]["metrics"][when]["threshold"]
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


def _columns(table: Any, kind: str) -> dict[str, list[Any]]:
    """The rows as one list per column, half the size of a list of objects. Sentences are shortened for the page."""
    columns = {name: [_plain(value) for value in table[name]] for name in ("gold", "score", *WHEN, "tokens")}
    return columns | {side: [_cut(text, SHOWN_CHARACTERS[kind]) for text in table[side]] for side in ("sentence1", "sentence2")}


def _plain(value: float | None) -> float | None:
    """The value rounded to six digits, more than a plot can show; None if not finite, since JSON has no such number."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
