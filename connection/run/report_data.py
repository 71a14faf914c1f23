"""A run's folder → what its report shows, as plain JSON values: curves, points, the worst pairs, where the time went.

Reads `settings.json` and, as far as they are there, `metrics.jsonl`, `summary.json`, the predictions and the tokenizer in
`best/`: so a report can be made of any run, finished or stopped, at any time. Knows nothing of how it looks
(`connection/run/report.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from connection.reading.layout import Layout
from connection.reading.pairs import Pairs, read_pairs

MOST_POINTS = 2_000  # of a scatter plot; beyond that points only cover each other, and the page grows to megabytes
MOST_STEPS = 1_000  # of a curve: about the pixels it has
LISTED_PAIRS = 50
SHOWN_CHARACTERS = {"point": 200, "row": 1_000}  # of a sentence
HELD_OUT = ("dev", "test")
_LAYOUT = {"sentence1": "SENTENCE1_COLUMN", "sentence2": "SENTENCE2_COLUMN", "score": "SCORE_COLUMN"}


def report_data(folder: Path, summary: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that the report of the run in `folder` shows.

    summary: what summary.json will hold, where it is not written yet; None takes the file, or none for a run that stopped.
    Raises OSError or ValueError (UserMistake is one) where the folder is no run's or a file of it is damaged.
    """
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    if summary is None and (folder / "summary.json").is_file():
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    records = read_metrics(folder / "metrics.jsonl")
    constants = settings["constants"]
    return {
        "folder": str(folder),
        "constants": constants,
        "versions": settings["versions"],
        "sha256": settings["sha256"],
        "summary": summary,
        "curve": curve([record for record in records if "split" not in record]),
        "evaluations": [record for record in records if record.get("split") == "dev"],
        "sets": {
            name: held_out_data(read_predictions(folder / f"predictions-{name}.csv", constants), folder / "best", constants)
            for name in HELD_OUT
            if (folder / f"predictions-{name}.csv").is_file()
        },
    }


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl; none where it is not there. A last line that was cut off is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def curve(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Loss and learning rate over the steps, each point the mean of `steps_per_point` steps in a row.

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
    """A predictions file of a run with these constants; the table also has `before` and `after`, the similarities."""
    # In a file without a header, the columns that a constant numbers bear the constant's name.
    columns = {ours: constants[name] if isinstance(constants[name], str) else ours for ours, name in _LAYOUT.items()}
    low, high = constants["SCORE_RANGE"]
    layout = Layout(columns["sentence1"], columns["sentence2"], columns["score"], score_range=(low, high))
    pairs = read_pairs(path, layout, keep_cells=True)
    for name in ("before", "after"):
        place = pairs.columns.index(f"predicted_{name}")
        pairs.table[name] = [float(cells[place]) for cells in pairs.cells]
    return pairs


def held_out_data(pairs: Pairs, best: Path, constants: Mapping[str, Any]) -> dict[str, Any]:
    """The points, the fifty most wrong and the fifty most improved pairs of dev or test."""
    table = pairs.table
    low, high = constants["SCORE_RANGE"]
    table["gold"] = low + table["score"] * (high - low)
    table["tokens"] = count_tokens(best, table["sentence1"], table["sentence2"])
    error = {name: (table[name] - table["score"]).abs() for name in ("before", "after")}
    improved = error["before"] - error["after"]
    worst = error["after"].sort_values(ascending=False, kind="stable").index[:LISTED_PAIRS]
    best_improved = improved[improved > 0].sort_values(ascending=False, kind="stable").index[:LISTED_PAIRS]
    shown = np.unique(np.linspace(0, len(table) - 1, min(MOST_POINTS, len(table))).round().astype(int))
    return {
        "pairs": len(table),
        "mean_error": {name: _plain(values.mean()) for name, values in error.items()},
        "points": _columns(table.iloc[shown], "point"),
        "wrong": _columns(table.loc[worst], "row"),
        "improved": _columns(table.loc[best_improved], "row"),
    }


def count_tokens(best: Path, *sides: Collection[str]) -> list[int | None]:
    """The tokens of each pair's longer sentence as the encoder sees it, cut and with [CLS] and [SEP]; None if not known."""
    if not (best / "tokenizer.json").is_file():
        return [None] * len(sides[0])
    tokenizer = tokenizers.Tokenizer.from_file(str(best / "tokenizer.json"))
    limit = json.loads((best / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    counts = [[len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(side))] for side in sides]
    return [max(pair) for pair in zip(*counts, strict=True)]


def _columns(table: Any, kind: str) -> dict[str, list[Any]]:
    """The rows as lists by column: half the size of a list of objects. Sentences are cut for the page."""
    columns = {name: [_plain(value) for value in table[name]] for name in ("gold", "score", "before", "after", "tokens")}
    return columns | {side: [_cut(text, SHOWN_CHARACTERS[kind]) for text in table[side]] for side in ("sentence1", "sentence2")}


def _plain(value: float | None) -> float | None:
    """Six digits are more than a pixel shows; what is not finite has no place in JSON."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
