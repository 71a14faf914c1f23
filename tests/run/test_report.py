"""report.html: its content for finished and stopped runs; no sentence can break out of its element."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tokenizers
from reports import HOSTILE, data_of, read_page

import bertFineTuningWithConnectionData as script
from connection.page.document import CHART_LIBRARY, as_inline_json
from connection.reading.pairs import Pairs
from connection.run import report as report_page
from connection.run import report_data, report_sets
from connection.run.report import write_report
from connection.run.report_data import curve
from connection.run.report_sets import binary_data, count_tokens
from connection.training.calibration import Calibration


def test_it_shows_what_the_run_left(run_folder: Path) -> None:
    data = data_of(read_page(run_folder))
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    assert data["summary"] == summary
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert data["curve"]["loss"] == [line["loss"] for line in lines if "split" not in line]
    assert data["curve"]["learning_rate"] == [line["learning_rate"] for line in lines if "split" not in line]
    assert data["evaluations"] == [line for line in lines if "split" in line]
    with (run_folder / "predictions-test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shown = data["sets"]["test"]
    assert shown["pairs"] == len(rows) and shown["points"]["sentence2"] == [row["sentence2"] for row in rows]
    assert shown["points"]["gold"] == [float(row["score"]) for row in rows]
    assert np.allclose(shown["points"]["after"], [float(row["predicted_after"]) for row in rows], atol=1e-5)
    errors = {
        name: [abs(float(row[f"predicted_{name}"]) - float(row["score"]) / 5) for row in rows] for name in ("before", "after")
    }
    worst = np.argsort(errors["after"])[::-1]
    assert shown["wrong"]["sentence2"] == [rows[i]["sentence2"] for i in worst[:50]]
    gained = np.subtract(errors["before"], errors["after"])
    order = [i for i in np.argsort(-gained, kind="stable") if gained[i] > 0]
    assert shown["improved"]["sentence2"] == [rows[i]["sentence2"] for i in order[:50]]


def test_tokens_are_counted_as_the_encoder_sees_them(run_folder: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(run_folder / "best" / "tokenizer.json"))
    points = data_of(read_page(run_folder))["sets"]["dev"]["points"]
    sides = zip(points["sentence1"], points["sentence2"], strict=True)
    assert points["tokens"] == [max(len(tokenizer.encode(side).ids) for side in pair) for pair in sides]
    assert count_tokens(run_folder / "best", ["a " * 500], ["cat"]) == [64]  # as many as the encoder reads


@pytest.mark.parametrize(
    ("lost", "sets"),
    [
        (["summary.json", "predictions-dev.csv", "predictions-test.csv"], set()),  # stopped while it trained
        (["summary.json", "predictions-dev.csv", "predictions-test.csv", "best", "metrics.jsonl"], set()),  # before a step
        (["predictions-test.csv"], {"dev"}),
        (["best"], {"dev", "test"}),
    ],
)
def test_a_report_can_be_made_of_what_a_stopped_run_left(copied: Path, lost: list[str], sets: set[str]) -> None:
    for name in [*lost, "report.html"]:
        shutil.rmtree(copied / name) if (copied / name).is_dir() else (copied / name).unlink()
    write_report(copied)
    data = data_of(read_page(copied))
    assert set(data["sets"]) == sets and (data["summary"] is None) == ("summary.json" in lost)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("broken")])
def test_a_run_that_ends_early_leaves_its_curves(
    tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    real = script.backward

    def end_at_the_fifth(*arguments: Any, **named: Any) -> Any:
        metrics = tmp_path / "run" / "metrics.jsonl"
        if metrics.exists() and len(report_data.read_metrics(metrics)) == 5:  # dev before training, and four steps
            raise error
        return real(*arguments, **named)

    monkeypatch.setattr(script, "backward", end_at_the_fifth)
    flags = [f"--{name}-file={path}" for name, path in pairs_files.items()]
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        script.main([f"--encoder={tiny_encoder}", *flags, f"--output={tmp_path / 'run'}", "--batch-size=8"])
    data = data_of(read_page(tmp_path / "run"))
    assert data["summary"] is None and data["curve"]["step"] == [1, 2, 3, 4] and len(data["evaluations"]) == 1


def test_files_without_a_header_and_with_another_separator_and_scale(
    tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path]
) -> None:
    with pairs_files["train"].open(encoding="utf-8", newline="") as file:
        rows = [[row["score"], row["sentence2"], "", row["sentence1"]] for row in csv.DictReader(file)]
    with (tmp_path / "train.txt").open("w", encoding="utf-16", newline="") as file:
        csv.writer(file, delimiter=";").writerows([[float(score) - 3, *others] for score, *others in rows])
    flags = "--dev-file= --test-file= --encoding=utf-16 --separator=; --score-column=1 --score-range -3 2".split()
    flags += (
        f"--sentence2-column=2 --sentence1-column=4 --epochs=0 --dev-share=0.3 --train-file={tmp_path / 'train.txt'}".split()
    )
    assert script.main([f"--encoder={tiny_encoder}", f"--output={tmp_path / 'run'}", *flags]) == 0
    data = data_of(read_page(tmp_path / "run"))
    assert set(data["sets"]) == {"dev"}
    points = data["sets"]["dev"]["points"]
    given = {(sentence1, sentence2): float(score) for score, sentence2, _, sentence1 in rows}
    shown = zip(points["sentence1"], points["sentence2"], points["gold"], points["score"], strict=True)
    for sentence1, sentence2, gold, score in shown:
        assert gold == pytest.approx(given[sentence1, sentence2] - 3, abs=1e-5) and score == pytest.approx((gold + 3) / 5)


def test_a_metrics_file_cut_in_a_line_loses_that_line_only(copied: Path) -> None:
    metrics = (copied / "metrics.jsonl").read_bytes()
    (copied / "metrics.jsonl").write_bytes(metrics[:-7])
    records = report_data.read_metrics(copied / "metrics.jsonl")
    assert len(records) == len(metrics.splitlines()) - 1


def test_its_failure_is_one_line_and_leaves_nothing(copied: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    before = read_page(copied)
    (copied / "predictions-dev.csv").write_text("sentence1\nonly\n", encoding="utf-8")
    write_report(copied)
    told = capsys.readouterr().out
    assert told.startswith("report.html could not be made: ") and told.count("\n") == 1
    monkeypatch.setattr(report_page, "report_data", lambda *_: 1 / 0)
    write_report(copied)
    assert capsys.readouterr().out == "report.html could not be made: division by zero\n"
    assert read_page(copied) == before and not list(copied.glob(".*"))


def test_its_failure_does_not_fail_the_run(
    tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(report_page, "report_data", lambda *_: 1 / 0)
    flags = [f"--{name}-file={path}" for name, path in pairs_files.items()]
    flags += [f"--encoder={tiny_encoder}", f"--output={tmp_path / 'run'}", "--epochs=0"]
    assert script.main(flags) == 0
    assert "report.html could not be made" in capsys.readouterr().out and (tmp_path / "run" / "summary.json").is_file()
    monkeypatch.undo()
    assert script.main(flags) == 0  # nothing to do but the report
    assert data_of(read_page(tmp_path / "run"))["summary"]["steps"] == 0


def test_no_text_can_leave_its_place(run_folder: Path) -> None:
    page = read_page(run_folder)
    assert page.count("<script") == page.count("</script>") == 3  # the data, the library, the page's own
    assert "taken over" in page and HOSTILE not in page
    assert data_of(page)["sets"]["test"]["points"]["sentence1"][0] == HOSTILE
    damaged = as_inline_json(["\ud800 {{script}}"])
    assert damaged.encode() and json.loads(damaged) == ["\ud800 {{script}}"]
    assert "innerHTML" not in page.split('id="data"')[1].split("</script>")[2]


def test_the_policy_names_the_scripts_of_the_page_and_no_address(run_folder: Path) -> None:
    page = read_page(run_folder)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)[1]
    parts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL) + re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    sums = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
    assert len(sums) == 3 and re.findall(r"sha256-([^']+)'", policy) == sums
    assert policy.startswith("default-src 'none';") and "http" not in policy and "unsafe" not in policy


def test_the_library_is_the_published_file() -> None:
    """chart.js 4.6.1: `npm pack chart.js@4.6.1`, dist/chart.umd.min.js and LICENSE.md."""
    published = "87364cc2b2a76a6684929e7d6b80b18a897794db38400caff1fcf1791c6925d2"
    assert hashlib.sha256(CHART_LIBRARY.read_bytes()).hexdigest() == published
    assert "The MIT License" in (CHART_LIBRARY.parent / "LICENSE-chart.js.md").read_text(encoding="utf-8")


def test_the_error_of_the_predicted_score_is_on_the_users_scale(copied: Path) -> None:
    with (copied / "predictions-test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    similarities, scores = (np.array([float(row[name]) for row in rows]) for name in ("predicted_after", "score"))
    error = np.abs(Calibration.load(copied / "best")(similarities) - scores).mean()
    assert data_of(read_page(copied))["sets"]["test"]["predicted_error"] == pytest.approx(error, abs=1e-5)
    (copied / "best" / "calibration.json").unlink()
    write_report(copied)
    assert data_of(read_page(copied))["sets"]["test"]["predicted_error"] is None


def test_yes_and_no_are_judged_by_the_threshold_of_dev() -> None:
    def pairs(scores: list[float], before: list[float], after: list[float]) -> Pairs:
        return Pairs(Path("x.csv"), pd.DataFrame({"score": scores, "before": before, "after": after}))

    dev = pairs([0, 0, 1, 1], [0.2, 0.6, 0.4, 1.0], [0.1, 0.2, 0.8, 1.0])
    test = pairs([1, 0, 1], [-0.07, 0.1, 0.5], [0.4, 0.6, 0.9])
    found = binary_data({"dev": dev, "test": test})
    assert found["dev"]["edges"][0] == -0.1 and found["dev"]["edges"][-1] == 1 and len(found["dev"]["edges"]) == 23
    others, matches = found["test"]["counts"]["before"]
    assert sum(others) == 1 and sum(matches) == 2 and matches[0] == 1  # the bar from -0.1 to -0.05
    chosen, applied = found["dev"]["metrics"]["after"], found["test"]["metrics"]["after"]
    assert chosen == {
        "average_precision": 1.0,
        "threshold": 0.5,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "chosen_here": True,
        "matches": 2,
        "no_matches": 2,
    }
    assert (applied["threshold"], applied["precision"], applied["recall"], applied["f1"]) == (0.5, 0.5, 0.5, 0.5)
    assert applied["average_precision"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3, abs=1e-5) and not applied["chosen_here"]


def test_only_scores_at_both_ends_are_yes_and_no() -> None:
    between = Pairs(Path("x.csv"), pd.DataFrame({"score": [0, 0.5, 1], "before": [0.1] * 3, "after": [0.1] * 3}))
    yes = Pairs(Path("x.csv"), pd.DataFrame({"score": [1.0, 1.0], "before": [0.1, math.nan], "after": [0.1, 1.0]}))
    assert binary_data({}) == binary_data({"dev": between}) == binary_data({"dev": yes, "test": between}) == {}
    one_class = binary_data({"dev": yes})["dev"]  # shown, but a threshold has nothing to tell apart
    assert one_class["metrics"] == {"before": None, "after": None} and sum(one_class["counts"]["before"][1]) == 1


def test_long_curves_and_large_sets_are_thinned_out(monkeypatch: pytest.MonkeyPatch, copied: Path) -> None:
    monkeypatch.setattr(report_data, "MOST_STEPS", 4)
    steps = [{"step": i + 1, "loss": float(i), "learning_rate": 1.0} for i in range(10)]
    thinned = curve(steps)
    assert (thinned["steps_per_point"], thinned["step"], thinned["loss"]) == (3, [3, 6, 9, 10], [1.0, 4.0, 7.0, 9.0])
    whole = data_of(read_page(copied))["sets"]["dev"]
    monkeypatch.setattr(report_sets, "MOST_POINTS", 10)
    write_report(copied)
    dev = data_of(read_page(copied))["sets"]["dev"]
    assert len(dev["points"]["gold"]) == 10 and (dev["pairs"], dev["wrong"]) == (whole["pairs"], whole["wrong"])
    kept = iter(whole["points"]["sentence1"])
    assert all(sentence in kept for sentence in dev["points"]["sentence1"])  # in order, first and last among them
