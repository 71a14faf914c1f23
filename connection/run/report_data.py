"""Collects the data of a run's report as JSON values: curves, points or ranks or confusions, worst pairs, times.

Reads `settings.json` and, if present, `metrics.jsonl`, `summary.json`, the predictions and the tokenizer in `best/`. So any
run, finished or stopped, can have a report. The page itself is made by `connection/run/report.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connection.reading.formats import open_table
from connection.reading.formats.table import Reading
from connection.reading.layout import Layout
from connection.reading.pairs import Pairs, read_pairs
from connection.reading.shape import Shape
from connection.run.report_sets import WHEN, sets_data
from connection.training.metrics import CHOOSING, MEANINGS, NAMES

MOST_STEPS = 1_000  # of a curve: about its width in pixels
HELD_OUT = ("dev", "test")


def report_data(folder: Path, summary: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The data of the report on the run in `folder`.

    summary: the future contents of summary.json, if it is not written yet. None reads the file, if there is one.
    Raises OSError or ValueError (UserMistake is one) if the folder is not a run's or one of its files is damaged.
    """
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    if summary is None and (folder / "summary.json").is_file():
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    records = read_metrics(folder / "metrics.jsonl")
    evaluations = [record for record in records if record.get("split") == "dev"]
    constants = settings["constants"]
    shape = _layout(constants).shape
    metric = choosing_metric(summary, evaluations, shape)
    tables = {
        name: read_predictions(folder / f"predictions-{name}.csv", constants)
        for name in HELD_OUT
        if (folder / f"predictions-{name}.csv").is_file()
    }
    return {
        "folder": str(folder),
        "constants": constants,
        "versions": settings["versions"],
        "sha256": settings["sha256"],
        "shape": shape.value,
        "metric": metric,
        "meaning": MEANINGS.get(metric, ""),
        "names": NAMES,
        "summary": summary,
        "curve": curve([record for record in records if "split" not in record]),
        "evaluations": evaluations,
        "sets": sets_data(tables, shape, folder / "best", constants),
    }


def choosing_metric(summary: Mapping[str, Any] | None, evaluations: Sequence[Mapping[str, Any]], shape: Shape) -> str:
    """The metric by which dev chooses: the one that summary.json names, else the first one of the evaluations.

    >>> choosing_metric(None, [{"step": 0, "accuracy": 0.5, "loss": 1.0}], Shape.CLASSES)
    'accuracy'
    """
    if summary and "metric" in summary:
        return str(summary["metric"])
    return next((name for record in evaluations for name in record if name in NAMES), CHOOSING[shape])


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
    """Read a predictions file of a run with these constants; the table also has what the encoder found in each row.

    Its columns, each for before and after: the similarities `before`, `after`; of pairs that belong together, `rank_before`,
    `rank_after` (nan if undefined) and `found`, what was found instead; of pairs with a class, `class_before`, `class_after`
    (None if undefined).
    """
    header = open_table(path, Reading(("predicted_after",), encoding="utf-8")).header or []
    layout = _layout(constants, header)
    pairs = read_pairs(path, layout, keep_cells=True)
    cells = dict(zip(pairs.columns, zip(*pairs.cells, strict=True), strict=True))
    table = pairs.table
    for when in WHEN:
        table[when] = [float(cell.replace(",", ".")) for cell in cells[f"predicted_{when}"]]
        if layout.shape.has_candidates:
            ranks = cells.get(f"rank_{when}")
            table[f"rank_{when}"] = [float(cell) for cell in ranks] if ranks else math.nan
        if layout.shape is Shape.CLASSES:
            found = zip(cells[f"class_{when}"], np.isfinite(table[when]), strict=True)
            table[f"class_{when}"] = pd.Series([name if is_known else None for name, is_known in found], dtype=object)
    if layout.shape.has_candidates:
        table["found"] = pd.Series(cells.get("found_after", [""] * len(table)), dtype=object)
    return pairs


def _layout(constants: Mapping[str, Any], header: Sequence[str] | None = None) -> Layout:
    """The layout of a run's files or, with the header of a predictions file, that of this file.

    Constants of later versions may be missing. If the run's files had no header, the columns of a predictions file are named
    sentence1, sentence2, score, label, negative_columns.
    """
    label = constants.get("LABEL_COLUMN") or None
    low, high = constants["SCORE_RANGE"]
    layout = Layout(
        constants["SENTENCE1_COLUMN"],
        constants["SENTENCE2_COLUMN"],
        None if label is not None else constants["SCORE_COLUMN"] or None,
        score_range=(low, high),
        encoding="utf-8",
        decimal=constants.get("DECIMAL", "."),
        negatives=tuple(constants.get("NEGATIVE_COLUMNS", ())),
        label=label,
    )
    if header is None:
        return layout
    named = {
        constant: str(column) if str(column) in header else constant.removesuffix("_COLUMN").lower()
        for constant, column in layout.columns.items()
    }
    negatives = tuple(named[name] for name in layout.negative_names)
    return replace(
        layout,
        sentence1=named["SENTENCE1_COLUMN"],
        sentence2=named["SENTENCE2_COLUMN"],
        score=named.get("SCORE_COLUMN"),
        label=named.get("LABEL_COLUMN"),
        negatives=negatives if set(negatives) & set(header) else (),  # dev and test may come without
    )
