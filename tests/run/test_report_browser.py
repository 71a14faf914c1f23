"""report.html in a real browser: what it shows and hides, words and numbers, phone, dark and paper; nothing is fetched."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import runs
from reports import HOSTILE, data_of, read_page

import bertFineTuningWithConnectionData as script
from connection.run.report import write_report

BROWSER_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --window-size=1400,900""".split()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not program or not driver:
        pytest.skip("there is no chromium with its chromedriver here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in [*BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def opened(browser: Any, run_folder: Path) -> Any:
    browser.get_log("browser"), browser.get_log("performance")
    browser.get((run_folder / "report.html").as_uri())
    return browser


def table_column(browser: Any, place: int) -> list[str]:
    return browser.execute_script(
        f"return [...document.querySelectorAll('#table tbody td:nth-child({place})')].map((x) => x.textContent)"
    )


def test_nothing_is_fetched_and_nothing_goes_wrong(opened: Any, run_folder: Path) -> None:
    assert opened.execute_script("return Object.keys(Chart.instances).length") == 10
    page = (run_folder / "report.html").as_uri()
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    asked = [params["request"]["url"] for params in sent if params["documentURL"] == page]  # not the browser's own pages
    assert [url for url in asked if not url.startswith("data:")] == [page]
    assert opened.get_log("browser") == []
    assert opened.title.startswith("tiny on train.csv")
    assert "0." in opened.find_element("id", "result").text and "pairs/s" in opened.find_element("id", "result").text


def test_a_sentence_that_would_be_a_script_is_shown(opened: Any) -> None:
    assert HOSTILE in table_column(opened, 5)
    assert opened.execute_script("return document.scripts.length") == 3
    assert opened.execute_script("return document.querySelectorAll('b').length") == 0
    fetched = "return fetch('https://example.org/').then(() => 'fetched', () => 'refused')"
    assert opened.execute_script(fetched) == "refused"  # by the policy, whatever a script would try


def test_hover_shows_the_two_sentences(opened: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    place = opened.execute_script(
        "const chart = charts.filter((one) => one.partOf === 'test')[1]; chart.canvas.scrollIntoView({block: 'center'});"
        "const {x, y} = chart.getDatasetMeta(0).data[0], box = chart.canvas.getBoundingClientRect();"
        "return {canvas: chart.canvas, x: Math.round(x - box.width / 2), y: Math.round(y - box.height / 2)}"
    )
    ActionChains(opened).move_to_element_with_offset(place["canvas"], place["x"], place["y"]).perform()
    shown = opened.execute_script("return [...document.querySelectorAll('#hover p')].map((x) => x.textContent)")
    assert shown[:2] == [HOSTILE, "the dog is red."] and re.match(r"score 5 · similarity .+ → .+ · 31 tokens", shown[2])
    lit = opened.execute_script(
        "return charts.filter((one) => one.partOf === 'test')[0].getActiveElements().map((x) => x.index)"
    )
    assert lit == [0]  # the same pair, before training
    ActionChains(opened).move_to_element(opened.find_element("id", "title")).perform()
    assert opened.execute_script("return document.getElementById('hover').hidden")


def test_the_table_is_sorted_and_filtered_by_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    buttons = opened.find_elements("css selector", "#table th button")
    errors = [abs(float(text.replace("−", "-"))) for text in table_column(opened, 4)]
    assert len(errors) == 40 and errors == sorted(errors, reverse=True)
    for keys, wanted in ((Keys.ENTER, "descending"), (Keys.SPACE, "ascending")):
        buttons[0].send_keys(keys)
        scores = [float(text) for text in table_column(opened, 1)]
        assert scores == sorted(scores, reverse=wanted == "descending")
        assert opened.find_element("css selector", "#table th").get_attribute("aria-sort") == wanted
    buttons[4].send_keys(Keys.ENTER)
    assert not opened.find_element("css selector", "#table th").get_attribute("aria-sort")
    opened.find_element("css selector", "input[type=search]").send_keys("DOG IS RED")
    assert table_column(opened, 6) == ["the dog is red."]
    opened.find_element("css selector", "input[type=search]").send_keys(" nowhere")
    assert (
        table_column(opened, 6) == []
        and "0 contain “DOG IS RED nowhere”" in opened.find_element("css selector", "caption").text
    )


def test_the_switches_show_other_pairs(opened: Any, run_folder: Path) -> None:
    sets = data_of(read_page(run_folder))["sets"]
    opened.find_element("css selector", "input[value=improved]").send_keys(" ")
    assert table_column(opened, 6) == sets["test"]["improved"]["sentence2"]
    opened.find_element("css selector", "input[value=dev]").send_keys(" ")
    assert table_column(opened, 6) == sets["dev"]["improved"]["sentence2"]


def emulate(browser: Any, scheme: str) -> None:
    """Turn the page dark or light, and wait until it was told."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_async_script("const [done] = arguments; requestAnimationFrame(() => requestAnimationFrame(done))")


def test_phone_dark_and_paper(opened: Any) -> None:
    """Nothing is wider than a phone; dark and light have other colours, curves among them; paper is light."""
    colour = "return charts[0].options.scales.x.title.color"
    seen = {}
    for scheme in ("dark", "light"):
        emulate(opened, scheme)
        seen[scheme] = (
            opened.execute_script(colour),
            opened.execute_script("return getComputedStyle(document.body).backgroundColor"),
        )
    assert len({*seen["dark"], *seen["light"]}) == 4
    emulate(opened, "dark")
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script(colour) == seen["light"][0]
    opened.execute_script("dispatchEvent(new Event('afterprint'))")
    assert opened.execute_script(colour) == seen["dark"][0]
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert opened.execute_script("return document.documentElement.scrollWidth") == 390
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_stopped_run_opens_too(browser: Any, copied: Path) -> None:
    for name in ("summary.json", "predictions-dev.csv", "predictions-test.csv"):
        (copied / name).unlink()
    write_report(copied)
    browser.get_log("browser")
    browser.get((copied / "report.html").as_uri())
    assert "has not finished" in browser.find_element("id", "notice").text
    assert browser.execute_script("return Object.keys(Chart.instances).length") == 3
    hidden = "return [...document.querySelectorAll('section')].filter((one) => one.hidden).map((one) => one.id)"
    assert browser.execute_script(hidden) == ["agreement", "classes", "residuals", "pairs", "input", "time"]
    assert browser.get_log("browser") == []


@pytest.fixture
def show(browser: Any) -> Callable[..., Any]:
    """Opens the report of a run's folder, made again with what `change` makes of its summary; nothing may go wrong on it."""

    def opened(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Any:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        change(summary)
        write_report(folder, summary)
        browser.get_log("browser")
        browser.get((folder / "report.html").as_uri())
        assert browser.get_log("browser") == []
        return browser

    return opened


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
    assert "1 = same order" in opened.find_element("id", "meaning").text


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
    assert opened.execute_script(bars) == [1, 59]


@pytest.mark.parametrize("data", [None, {}, {"scores": None}, {"scores": {"labels": ["0"], "counts": []}, "tokens": 0}])
def test_a_run_that_says_nothing_of_its_data(copied: Path, show: Callable, data: Any) -> None:
    opened = show(copied, lambda summary: summary.update(data=data, overlap={}))
    assert opened.execute_script("return document.getElementById('input').hidden")


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
