"""report.html of runs on pairs without scores, in a real browser: ranks, confusion matrices, what the table lists."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from reports import HOSTILE, data_of, read_page, width_on_a_phone

import bertFineTuningWithConnectionData as script

HIDDEN = "return [...document.querySelectorAll('section')].filter((one) => one.hidden).map((one) => one.id)"
CELLS = "return [...document.querySelectorAll('{} tbody tr')].map((row) => [...row.cells].map((x) => x.textContent))"
SHAPES = {
    "negatives": {"score_column": "", "negative_columns": ("negative",)},
    "classes": {"label_column": "label"},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> dict[str, Path]:
    """A run of each shape. The first test pair tries to be a script; test has no negatives."""
    folder = tmp_path_factory.mktemp("shapes")
    files = {
        name: runs.write_shapes(folder / f"{name}.csv", count, seed)
        for seed, (name, count) in enumerate([("train", 60), ("dev", 30), ("test", 30)])
    }
    with files["test"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[1][0] = HOSTILE
    runs.write_rows(files["test"], [[row[0], row[1], row[3]] for row in rows])
    return {name: runs.trained(script, tiny_encoder, files, folder / name, **changes) for name, changes in SHAPES.items()}


def test_ranks_stand_in_bars_and_what_was_found_instead_in_the_table(folders: dict[str, Path], show: Callable) -> None:
    opened = show(folders["negatives"])
    data = data_of(read_page(folders["negatives"]))
    assert opened.execute_script(HIDDEN) == ["agreement", "confusions", "matches", "residuals"]
    assert "MRR@10 on test (30 pairs, never trained on or chosen by)" in opened.find_element("id", "result").text
    assert "Triplet accuracy" in opened.find_elements("css selector", ".card")[0].text  # dev's: test has no negatives
    assert "Triplet accuracy" not in opened.find_elements("css selector", ".card")[1].text
    bars = "return charts.filter((one) => one.canvas.closest('#ranks-bars')).map((one) => one.data.datasets.map((x) => x.data))"
    wanted = [[data["sets"][name]["ranks"][when] for when in ("before", "after")] for name in ("dev", "test")]
    assert opened.execute_script(bars) == wanted
    with (folders["negatives"] / "predictions-test.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(
            (row for row in csv.DictReader(file) if row["rank_after"] != "1"), key=lambda row: -int(row["rank_after"])
        )
    listed = opened.execute_script(CELLS.format("#table"))
    assert [[row[0], row[1], row[2], row[4]] for row in listed] == [
        [row["rank_before"], row["rank_after"], row["sentence1"], row["found_after"]] for row in rows
    ]
    opened.find_element("css selector", "input[value=worsened]").send_keys(" ")
    assert all(int(row[0]) < int(row[1]) for row in opened.execute_script(CELLS.format("#table")))
    assert opened.title.startswith("tiny on train.csv") and width_on_a_phone(opened) == 390


def test_a_confusion_matrix_is_a_table_with_headers(folders: dict[str, Path], show: Callable) -> None:
    opened = show(folders["classes"])
    assert opened.execute_script(HIDDEN) == ["agreement", "ranks", "matches", "residuals"]
    assert opened.find_elements("css selector", "#matrices td:not(.sum):not(.right):not(.wrong)") == []
    with (folders["classes"] / "predictions-test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = opened.execute_script(CELLS.format("#matrices .card:last-child"))
    for cells, name in zip(found, ("long", "short"), strict=True):
        of = [row for row in rows if row["label"] == name]
        counts = [str(sum(row["class_after"] == other for row in of)) for other in ("long", "short")]
        right = [sum(row[f"class_{when}"] == name for row in of) for when in ("before", "after")]
        assert cells == [name, *counts, str(len(of)), *(f"{one} ({one / len(of):.2f})" for one in right)]
    scopes = "return [...document.querySelectorAll('#matrices th')].every((one) => one.scope)"
    assert opened.execute_script(scopes) and width_on_a_phone(opened) == 390
    wrong = [[row["label"], row["class_before"], row["class_after"]] for row in rows if row["label"] != row["class_after"]]
    assert [row[:3] for row in opened.execute_script(CELLS.format("#table"))] == wrong


def test_a_run_from_before_there_were_shapes(copied: Path, show: Callable) -> None:
    """Its settings have none of the later constants, its summary none of the later figures."""
    settings = json.loads((copied / "settings.json").read_text(encoding="utf-8"))
    for constant in ("NEGATIVE_COLUMNS", "LABEL_COLUMN", "POSITIVES_FILE", "POSITIVES_WEIGHT", "LOSS", "DECIMAL"):
        settings["constants"].pop(constant)
    (copied / "settings.json").write_text(json.dumps(settings), encoding="utf-8")

    def change(summary: dict[str, Any]) -> None:
        for key in ("metric", "data", "loss", "overlap"):
            summary.pop(key)
        for figures in (summary[when][name] for when in ("before", "after") for name in ("dev", "test")):
            figures.pop("random_similarity")

    opened = show(copied, change)
    assert "Spearman on dev" in opened.find_element("id", "result").text
    assert opened.execute_script(HIDDEN) == ["ranks", "confusions", "matches", "input"]
