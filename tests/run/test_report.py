"""report.html: what it holds, of finished and stopped runs; that no sentence can leave its place; in a real browser."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

import bertFineTuningWithConnectionData as script
from connection.page.document import CHART_LIBRARY, as_inline_json
from connection.run import report as report_page
from connection.run import report_data
from connection.run.report import write_report
from connection.run.report_data import curve

HOSTILE = '</script><script>document.title = "taken over"</script><b>a cat</b> & \u2028'
BROWSER_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --window-size=1400,900""".split()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Path:
    """A finished run whose test set's first sentence tries to be a script."""
    folder = tmp_path_factory.mktemp("report")
    with pairs_files["test"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[1] = [HOSTILE, "the dog is red.", "5"]
    with (folder / "test.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    files = {**pairs_files, "test": folder / "test.csv"}
    flags = [f"--{name}-file={path}" for name, path in files.items()]
    flags += [f"--encoder={tiny_encoder}", f"--output={folder / 'run'}", "--epochs=2", "--batch-size=8", "--learning-rate=1e-3"]
    assert script.main(flags) == 0
    return folder / "run"


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def data_of(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def read_page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


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
        name: [abs(float(row[f"predicted_{name}"]) - float(row["score"]) / 5) for row in rows] for name in shown["mean_error"]
    }
    for name, values in errors.items():
        assert shown["mean_error"][name] == pytest.approx(np.mean(values), abs=1e-5)
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
    assert report_data.count_tokens(run_folder / "best", ["a " * 500], ["cat"]) == [64]  # as many as the encoder reads


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
    real = script.batch_loss

    def end_at_the_fifth(*arguments: Any, **named: Any) -> Any:
        metrics = tmp_path / "run" / "metrics.jsonl"
        if metrics.exists() and len(report_data.read_metrics(metrics)) == 5:  # dev before training, and four steps
            raise error
        return real(*arguments, **named)

    monkeypatch.setattr(script, "batch_loss", end_at_the_fifth)
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


def test_long_curves_and_large_sets_are_thinned_out(monkeypatch: pytest.MonkeyPatch, copied: Path) -> None:
    monkeypatch.setattr(report_data, "MOST_STEPS", 4)
    steps = [{"step": i + 1, "loss": float(i), "learning_rate": 1.0} for i in range(10)]
    thinned = curve(steps)
    assert (thinned["steps_per_point"], thinned["step"], thinned["loss"]) == (3, [3, 6, 9, 10], [1.0, 4.0, 7.0, 9.0])
    whole = data_of(read_page(copied))["sets"]["dev"]
    monkeypatch.setattr(report_data, "MOST_POINTS", 10)
    write_report(copied)
    dev = data_of(read_page(copied))["sets"]["dev"]
    assert len(dev["points"]["gold"]) == 10 and (dev["pairs"], dev["wrong"]) == (whole["pairs"], whole["wrong"])
    kept = iter(whole["points"]["sentence1"])
    assert all(sentence in kept for sentence in dev["points"]["sentence1"])  # in order, first and last among them


# --- in a browser ---


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
    assert "0." in opened.find_element("id", "result").text and "pairs a second" in opened.find_element("id", "result").text


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
    assert table_column(opened, 6) == [] and "0 of the 40" in opened.find_element("css selector", "caption").text


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
    hidden = "return ['agreement', 'residuals', 'pairs', 'time'].every((id) => document.getElementById(id).hidden)"
    assert browser.execute_script(hidden) and browser.get_log("browser") == []
