"""report.html in a real browser: how it behaves, by pointer and keyboard, on a phone, dark and on paper; nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from reports import HOSTILE, asked_for, data_of, read_page, width_on_a_phone

from connection.run.report import write_report


def table_column(browser: Any, place: int) -> list[str]:
    return browser.execute_script(
        f"return [...document.querySelectorAll('#table tbody td:nth-child({place})')].map((x) => x.textContent)"
    )


def test_nothing_is_fetched_and_nothing_goes_wrong(opened: Any, run_folder: Path) -> None:
    assert opened.execute_script("return Object.keys(Chart.instances).length") == 11
    page = (run_folder / "report.html").as_uri()
    assert [url for url in asked_for(opened, page) if not url.startswith("data:")] == [page]
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
    assert " 1 contains “DOG IS RED”." in opened.find_element("css selector", "caption").text
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
    assert width_on_a_phone(opened) == 390


def test_a_stopped_run_opens_too(browser: Any, copied: Path) -> None:
    for name in ("summary.json", "predictions-dev.csv", "predictions-test.csv"):
        (copied / name).unlink()
    write_report(copied)
    browser.get_log("browser")
    browser.get((copied / "report.html").as_uri())
    assert "has not finished" in browser.find_element("id", "notice").text
    assert browser.execute_script("return Object.keys(Chart.instances).length") == 3
    hidden = "return [...document.querySelectorAll('section')].filter((one) => one.hidden).map((one) => one.id)"
    assert browser.execute_script(hidden) == [
        "agreement",
        "ranks",
        "confusions",
        "matches",
        "residuals",
        "pairs",
        "input",
        "time",
    ]
    assert browser.get_log("browser") == []
