"""report.html in a real browser: its words and figures for all kinds of runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from reports import data_of, read_page, width_on_a_phone

import bertFineTuningWithConnectionData as script
from connection.run.report import report_page


def cards(browser: Any) -> list[str]:
    return [card.text for card in browser.find_elements("css selector", "#cards .card")]


def coloured(browser: Any) -> list[str]:
    """What stands green or red."""
    return [f"{x.get_attribute('class')} {x.text}" for x in browser.find_elements("css selector", ".better, .worse")]


@pytest.mark.parametrize(
    ("gain", "colour", "words"),
    [
        ([0.001, 0.2], "better", "(95 %: +0.001 to +0.200)"),
        ([-0.2, -0.001], "worse", "(95 %: −0.200 to −0.001)"),
        ([-0.1, 0.2], "", "(95 %: −0.100 to +0.200), within chance"),
        (None, "", ""),
        ("absent", "", ""),
    ],
)
def test_a_change_has_a_colour_only_beyond_chance(copied: Path, show: Callable, gain: Any, colour: str, words: str) -> None:
    def change(summary: dict[str, Any]) -> None:
        for when, value in (("before", 0.5), ("after", 0.6)):
            summary[when]["test"] = {"spearman": value, "pearson": value, "interval": [value - 0.2, value + 0.15]}
        if gain != "absent":
            summary["after"]["test"]["gain"] = gain
        summary["before"]["dev"].pop("interval", None)
        summary["after"]["dev"]["interval"] = summary["after"]["dev"]["gain"] = None

    opened = show(copied, change)
    lines = cards(opened)[1].splitlines()
    assert lines[:3] == [
        "Spearman on test (40 pairs, never trained on or chosen by)",
        "0.5000 → 0.6000",
        "95 % interval 0.30 to 0.65 → 0.40 to 0.75",
    ]
    assert lines[3] == f"change +0.1000 {words}".strip() and lines[4] == "Pearson 0.5000 → 0.6000"
    assert coloured(opened) == ([f"{colour} +0.1000"] if colour else [])
    assert "95 % interval" not in cards(opened)[0] and "(40 pairs, choose the best weights)" in cards(opened)[0]
    assert "1 is the same order" in opened.find_element("id", "meaning").text


def test_the_best_step_has_one_mark_in_plot_and_legend(opened: Any) -> None:
    marks = opened.execute_script(
        "const chart = charts.find((one) => one.data.datasets.some((set) => set.label === 'best'));"
        "const {legend, data} = chart;"
        "return legend.legendItems.map((item) => [item.text, item.pointStyle, data.datasets[item.datasetIndex].pointStyle])"
    )
    assert sorted(marks) == [["best", "rectRot", "rectRot"], ["dev Spearman", "line", None]]


def test_errors_have_an_even_axis_about_nought(opened: Any) -> None:
    axes = opened.execute_script(
        "return charts.filter((one) => one.canvas.closest('#lengths')).map(({scales: {x, y}, data}) =>"
        "[y.ticks.map((tick) => tick.value), x.min, Math.min(...data.datasets[0].data.map((point) => point.x))])"
    )
    assert len(axes) == 2 and axes[0][0] == axes[1][0]
    ticks = axes[0][0]
    steps = {round(b - a, 6) for a, b in itertools.pairwise(ticks)}
    assert len(steps) == 1 and ticks[0] == -ticks[-1] and 4 <= len(ticks) <= 11
    assert min(lowest for _, _, lowest in axes) - axes[0][1] == 1


def test_what_the_run_says_of_its_data(copied: Path, show: Callable) -> None:
    def change(summary: dict[str, Any]) -> None:
        summary["data"] = {"scores": {"labels": ["0", "5"], "counts": [1, 59]}, "cut_sentences": 3, "sentences": 120}
        summary["data"] |= {"unknown_tokens": 0, "tokens": 900}
        summary["overlap"] = {"train": {"exact_duplicates": 0}, "dev": {"pairs": 1, "sentences": 0}, "test": {"pairs": 0}}
        summary["device"] = "CPU, x86_64 with 1 cores, 1 threads"

    opened = show(copied, change)
    told = opened.find_element("id", "input").text
    assert "3 of 120 (2.5 %)" in told and "0 of 900 (0.0 %)" in told and "60 pairs" in told
    assert re.search(r"Alike pairs in both train and dev\s+1$", told) and "Sentences in both" not in told
    assert "Train shares 1 pair with dev: the figures" in opened.find_element("id", "notice").text
    assert "with 1 core, 1 thread" in opened.find_element("id", "subtitle").text
    bars = "return charts.find((one) => one.canvas.closest('#scores')).data.datasets[0].data"
    assert opened.execute_script(bars) == [1, 59] and width_on_a_phone(opened) == 390


@pytest.mark.parametrize("data", [None, {}, {"scores": None}, {"scores": {"labels": ["0"], "counts": []}, "tokens": 0}])
def test_a_run_that_says_nothing_of_its_data(copied: Path, show: Callable, data: Any) -> None:
    opened = show(copied, lambda summary: summary.update(data=data, overlap={}))
    assert opened.execute_script("return document.getElementById('input').hidden")


def test_one_pair_is_singular(copied: Path, browser: Any) -> None:
    data = data_of(read_page(copied))
    shown = data["sets"]["test"]
    shown["pairs"] = data["summary"]["pairs"]["test"] = data["summary"]["steps"] = 1
    data["summary"]["pairs_per_second"] = 12.1
    for kind in ("points", "wrong", "improved"):
        shown[kind] = {name: values[:1] for name, values in shown[kind].items()}
    (copied / "report.html").write_text(report_page(data), encoding="utf-8")
    browser.get((copied / "report.html").as_uri())
    caption = "1 test pair. The error is the similarity minus your score, scaled to 0–1: above 0 is too similar, "
    assert browser.find_element("css selector", "caption").text == caption + "below 0 not similar enough."
    assert cards(browser)[1].startswith("Spearman on test (1 pair, never trained on or chosen by)")
    assert not re.search(r"(?<![\d.,])1 (pairs|steps|epochs|tokens)\b", browser.find_element("tag name", "main").text)


def test_training_that_did_not_help_shows_one_figure(copied: Path, show: Callable) -> None:
    def change(summary: dict[str, Any]) -> None:
        summary["best_step"], summary["after"] = 0, summary["before"]

    opened = show(copied, change)
    assert "did not improve" in opened.find_element("id", "notice").text and not any("→" in card for card in cards(opened))
    assert opened.find_element("id", "training").is_displayed() and "best weights before training" in cards(opened)[2]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Path:
    """A run of EPOCHS 0."""
    output = tmp_path_factory.mktemp("evaluated") / "run"
    runs.run_script(script, *runs.file_flags(pairs_files), encoder=tiny_encoder, output=output, epochs=0)
    return output


def test_without_training_every_figure_stands_once(evaluated: Path, show: Callable) -> None:
    opened = show(evaluated)
    assert "→" not in opened.find_element("tag name", "main").text
    assert "evaluation only" in opened.find_element("id", "subtitle").text and "Evaluation time" in cards(opened)[2]
    assert cards(opened)[0].startswith("Spearman on dev (40 pairs)")
    assert opened.execute_script("return document.getElementById('training').hidden")
    titles = "return [...document.querySelectorAll('#scatters h3')].map((x) => x.textContent)"
    assert opened.execute_script(titles) == ["Dev", "Test"]
    headers = [button.text for button in opened.find_elements("css selector", "#table th button")]
    assert headers == ["Score", "Similarity", "Error", "Sentence 1", "Sentence 2"]
    assert opened.find_elements("css selector", "input[name=kind]") == []


def test_yes_and_no_stand_in_histograms(
    tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path], show: Callable
) -> None:
    files = {}
    for name, path in pairs_files.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        cells = [line.rsplit(",", 1) for line in lines[1:]]
        rows = [f"{text},{5 * (float(score) >= 2)}" for text, score in cells]
        (tmp_path / path.name).write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
        files[name] = tmp_path / path.name
    runs.run_script(script, *runs.file_flags(files), encoder=tiny_encoder, output=tmp_path / "run", **runs.FINISHED)
    opened = show(tmp_path / "run")
    assert opened.execute_script("return document.getElementById('agreement').hidden")
    drawn = opened.execute_script(
        "return charts.filter((one) => one.canvas.closest('#histograms')).map((one) => one.data.datasets.slice(0, 2).map("
        "(set) => [set.label, set.data.reduce((sum, bar) => sum + bar.y, 0)]))"
    )
    sets = data_of(read_page(tmp_path / "run"))["sets"]
    for name, found in zip(("dev", "dev", "test", "test"), drawn, strict=True):
        metrics = sets[name]["binary"]["metrics"]["after"]
        assert found == [["score 0", metrics["no_matches"]], ["score 5", metrics["matches"]]]
    for name, chart in (("dev", 1), ("test", 3)):
        points = sets[name]["binary"]["precision_recall"]["after"]
        curves = opened.execute_script(
            "return charts.filter((one) => one.canvas.closest('#thresholds'))[arguments[0]].data.datasets.slice(0, 2).map("
            "(set) => set.data.map((point) => [point.x, point.y]))",
            chart,
        )
        assert curves == [
            [list(point) for point in zip(points["threshold"], points[key], strict=True)] for key in ("precision", "recall")
        ]
    assert width_on_a_phone(opened) == 390
    told = opened.find_element("id", "decisions").text
    for words in (
        "Average precision",
        "Threshold, best F1 on dev",
        "Precision",
        "Recall",
        "F1",
        "Mean error of the predicted score",
    ):
        assert words in told
