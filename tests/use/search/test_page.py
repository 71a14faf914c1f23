"""search.html in a real browser: what was found, filtered and shown piece by piece; sentences never become part of the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from reports import HOSTILE, asked_for, width_on_a_phone

from connection.use.search import questions

Search = Callable[..., list[dict[str, str]]]

CARDS = """return [...document.querySelectorAll('#found .card')].map((card) => [card.querySelector('h2').textContent,
  ...[...card.querySelectorAll('tr')].map((row) => [...row.cells].map((cell) => cell.textContent))])"""


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Callable[[], Any]:
    """Opens the page that the script has written; nothing may go wrong on it, nothing may be asked for."""

    def opened() -> Any:
        browser.get_log("browser"), browser.get_log("performance")
        page = (tmp_path / "out" / "search.html").as_uri()
        browser.get(page)
        assert browser.get_log("browser") == []
        assert [url for url in asked_for(browser, page) if not url.startswith("data:")] == [page]
        return browser

    return opened


def filter_by(opened: Any, words: str) -> None:
    field = opened.find_element("css selector", "input[type=search]")
    field.clear()
    field.send_keys(words)


def test_queries_to_browse_and_filter(search: Search, show: Callable[[], Any], tmp_path: Path, sentences: list[str]) -> None:
    corpus = runs.write_rows(tmp_path / "corpus.csv", [["sentence"], *([text] for text in [HOSTILE, *sentences])])
    asked = [*runs.make_sentences(118, seed=9), HOSTILE, "never a three"]
    queries = runs.write_rows(tmp_path / "asked.csv", [["sentence"], *([text] for text in asked)])
    rows = search(corpus_file=corpus, query_file=queries, top_k=3)
    opened = show()
    assert opened.title == "Queries of asked.csv" and opened.find_elements("css selector", "#found b") == []
    assert f"{len(sentences) + 1} sentences of corpus.csv, by " in opened.find_element("id", "subtitle").text
    found = opened.execute_script(CARDS)
    assert [card[0] for card in found] == [f"{text} row {number}" for number, text in enumerate(asked[:50], 1)]
    wanted = [[f"row {row['corpus_row']}", f"{float(row['similarity']):.4f}", row["sentence"]] for row in rows]
    assert [line for card in found for line in card[1:]] == wanted[:150]
    for count in (100, 120):
        opened.find_element("id", "more").click()
        assert len(opened.execute_script(CARDS)) == count
    assert not opened.find_element("id", "more").is_displayed()
    found = opened.execute_script(CARDS)
    assert found[118][0] == f"{HOSTILE} row 119" and found[118][1][2] == HOSTILE
    filter_by(opened, "NEVER a three")
    matching = [
        card for card in found if any("never a three" in text.lower() for text in [card[0], *(line[2] for line in card[1:])])
    ]
    assert 0 < len(matching) < 120 and opened.execute_script(CARDS) == matching[:50]
    assert opened.find_element("id", "count").text.endswith("of 120 with “NEVER a three”.")
    filter_by(opened, "<b>")
    assert opened.execute_script(CARDS)[0][0].startswith(HOSTILE) or HOSTILE in str(opened.execute_script(CARDS))
    assert width_on_a_phone(opened) == 390


@pytest.mark.slow
def test_groups_to_browse(
    search: Search, show: Callable[[], Any], sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "MOST_LINES", 2)
    search(closest_pairs=300, group_similarity=0.999999)
    opened = show()
    assert opened.title == "Groups of like sentences"
    found = opened.execute_script(CARDS)
    assert len(found[1]) == 3 and found[1][0] == "Group 1 3 rows; keep row 4, 1 more are not shown"
    numbers = [int(line[0].removeprefix("row ")) for line in found[1][1:]]
    assert numbers == [4, 241] and all(
        sentences[number - 1] == line[2] for number, line in zip(numbers, found[1][1:], strict=True)
    )
    sizes = [int(card[0].split(" rows;")[0].rpartition(" ")[2]) for card in found]
    assert sizes == sorted(sizes, reverse=True)
