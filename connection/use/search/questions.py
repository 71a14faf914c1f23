"""What a person can ask of an index: a query, a file of queries, queries one by one, the closest pairs and groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from connection import UserMistake
from connection.page.document import make_page
from connection.reading.formats.text.csv_output import Style
from connection.script.settings import Settings
from connection.text import counted
from connection.use.output import replace_output, table_pieces

if TYPE_CHECKING:
    from connection.use.search.answers import Hit
    from connection.use.search.closest import Pairs
    from connection.use.search.session import Session

QUERY_COLUMNS = ("query_row", "query", "rank", "corpus_row", "sentence", "similarity")
PAIR_COLUMNS = ("row1", "row2", "sentence1", "sentence2", "similarity", "group")
PAGE = "search.html"
MOST_CARDS, MOST_LINES, LONGEST_TEXT = 2_000, 50, 500  # in the page
LARGEST_GROUPS = 5  # that are told
QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class Queries:
    """The queries of a file. name: the file's. style: how to write a file that belongs to it."""

    texts: list[str]
    name: str
    style: Style


def refuse_query(settings: Settings) -> None:
    """Raise UserMistake for a query that says nothing."""
    if "QUERY" in settings.flagged and not settings.QUERY.strip():
        raise UserMistake("QUERY is empty: write what is to be found, or leave the flag out.")


def writes_file(settings: Settings) -> bool:
    """Whether OUTPUT_FILE will be written."""
    return not settings.QUERY and bool(settings.QUERY_FILE or not settings.PROMPT)


def answer_query(session: Session, query: str) -> None:
    """Print the nearest sentences of a query."""
    from connection.use.search.answers import answers, hits_text

    hits = next(answers(session.engine, session.generation, session.vectors_of([query]), session.settings.TOP_K))
    print(hits_text(hits))


def answer_prompt(session: Session, lines: Iterable[str]) -> None:
    """Print the nearest sentences of each line, until an empty one or the end."""
    session.vectors_of(["ready"])  # loads the encoder before the first question, not after it
    print("Type a query and press Enter; an empty line ends.", flush=True)
    for line in lines:
        if not line.strip():
            break
        answer_query(session, line.strip())
        print(flush=True)


def answer_file(session: Session, queries: Queries) -> None:
    """Write the nearest sentences of each query of a file to OUTPUT_FILE, and a page to browse."""
    cards: list[dict[str, Any]] = []
    path = session.settings.OUTPUT_FILE
    rows = _query_rows(_answers_of(session, queries.texts), cards)
    replace_output(path, table_pieces(path, QUERY_COLUMNS, rows, queries.style))
    nearest = f"the nearest {session.settings.TOP_K}" if session.settings.TOP_K > 1 else "the nearest sentence"
    _write_page(
        session,
        title=f"Queries of {queries.name}",
        unit=("query", "queries"),
        meaning=f"Of each, {nearest} with the row of the corpus and the cosine similarity.",
        cards=cards,
        total=len(queries.texts),
    )
    print(f"Found: {path}")


def _answers_of(session: Session, texts: Sequence[str]) -> Iterator[tuple[str, list[Hit]]]:
    from connection.use.search.answers import answers

    for start in range(0, len(texts), QUERIES_AT_ONCE):
        part = texts[start : start + QUERIES_AT_ONCE]
        found = answers(session.engine, session.generation, session.vectors_of(part), session.settings.TOP_K)
        yield from zip(part, found, strict=True)


def _query_rows(found: Iterable[tuple[str, list[Hit]]], cards: list[dict[str, Any]]) -> Iterator[list[str | float]]:
    for row, (query, hits) in enumerate(found, 1):
        if len(cards) < MOST_CARDS:
            lines = [_line(hit.row, hit.similarity, hit.sentence) for hit in hits[:MOST_LINES]]
            cards.append({"title": _cut(query), "note": f"row {row:,}", "lines": lines})
        for rank, hit in enumerate(hits, 1):
            yield [str(row), query, str(rank), str(hit.row), hit.sentence, hit.similarity]


def find_closest(session: Session) -> None:
    """Write the closest pairs of the corpus to OUTPUT_FILE with their groups, and a page to browse the groups."""
    from connection.use.search.closest import group_rows, pairs_of_rows

    settings, generation = session.settings, session.generation
    pairs = pairs_of_rows(generation, _closest(session), settings.CLOSEST_PAIRS, settings.LEAST_SIMILARITY)
    groups = group_rows(pairs, settings.GROUP_SIMILARITY)
    path = settings.OUTPUT_FILE
    rows = _pair_rows(session, pairs, groups)
    replace_output(path, table_pieces(path, PAIR_COLUMNS, rows, session.style))
    print(closest_text(pairs, settings))
    members = group_members(pairs, groups)
    print(groups_text(members, session))
    if settings.ENGINE != "exact":
        print(f'The pairs are those among the nearest of each sentence, as ENGINE = "{settings.ENGINE}" finds them.')
    _write_page(
        session,
        title="Groups of like sentences",
        unit=("group", "groups"),
        meaning=f"Rows joined by a similarity of at least {settings.GROUP_SIMILARITY:g}; beside each row its highest one.",
        cards=[_group_card(session, number, rows) for number, rows in itertools.islice(members.items(), MOST_CARDS)],
        total=len(members),
    )
    print(f"Found: {path}")


def _closest(session: Session) -> Pairs:
    from connection.use.search.closest import closest_neighbours, closest_sentences

    settings, generation = session.settings, session.generation
    if settings.ENGINE == "exact":
        return closest_sentences(generation, settings.CLOSEST_PAIRS, settings.LEAST_SIMILARITY)
    vectors = session.engine.all_vectors(QUERIES_AT_ONCE)
    return closest_neighbours(generation, session.engine, vectors, settings.CLOSEST_PAIRS, settings.LEAST_SIMILARITY)


def _pair_rows(session: Session, pairs: Pairs, groups: np.ndarray) -> Iterator[list[str | float]]:
    texts, sentences = session.generation.texts, session.generation.rows
    for first, second, similarity, group in zip(*(column.tolist() for column in (*pairs, groups)), strict=True):
        both = [texts[sentences[first]], texts[sentences[second]]]
        yield [str(first + 1), str(second + 1), *both, similarity, str(group) if group else ""]


def closest_text(pairs: Pairs, settings: Settings) -> str:
    """How many pairs were found, and whether there may be more."""
    count = len(pairs.first)
    if not count:
        return f"No two rows have a similarity of at least {settings.LEAST_SIMILARITY:g} (LEAST_SIMILARITY)."
    lowest, highest = pairs.similarities[-1], pairs.similarities[0]
    text = f"Closest pairs: {count:,}, with similarities from {highest:.4f} down to {lowest:.4f}."
    if count == settings.CLOSEST_PAIRS:
        text += " There may be more: raise CLOSEST_PAIRS."
        if lowest >= settings.GROUP_SIMILARITY:
            text += f" Groups need those from {settings.GROUP_SIMILARITY:g} on, so they are not complete."
    return text


def group_members(pairs: Pairs, groups: np.ndarray) -> dict[int, dict[int, float]]:
    """The rows of each group, from 0, each with its highest similarity to another one; the largest groups first."""
    members: dict[int, dict[int, float]] = {}
    for first, second, similarity, group in zip(*(column.tolist() for column in (*pairs, groups)), strict=True):
        if group:
            rows = members.setdefault(group, {})
            for row in (first, second):  # the best pair of a row comes first
                rows.setdefault(row, similarity)
    return dict(sorted(members.items(), key=lambda item: (-len(item[1]), item[0])))


def groups_text(members: dict[int, dict[int, float]], session: Session) -> str:
    """How many groups there are, the largest, and which row to keep."""
    least = session.settings.GROUP_SIMILARITY
    if not members:
        return f"No groups: no listed pair has a similarity of at least {least:g} (GROUP_SIMILARITY)."
    rows = sum(map(len, members.values()))
    surplus = rows - len(members)
    lines = [f"Groups by a similarity of at least {least:g}: {len(members):,}, of {rows:,} rows; {surplus:,} can be left out."]
    lines.append("The largest:" if len(members) > LARGEST_GROUPS else "They are:")
    for number, group in itertools.islice(members.items(), LARGEST_GROUPS):
        first = min(group)
        text = " ".join(session.generation.texts[session.generation.rows[first]].split())
        lines.append(f"  group {number:,}: {len(group):,} rows; keep row {first + 1:,}: {_cut(text, 80)}")
    return "\n".join(lines)


def _group_card(session: Session, number: int, rows: dict[int, float]) -> dict[str, Any]:
    texts, sentences = session.generation.texts, session.generation.rows
    lines = [_line(row + 1, rows[row], texts[sentences[row]]) for row in sorted(rows)[:MOST_LINES]]
    more = f", {len(rows) - MOST_LINES:,} more are not shown" if len(rows) > MOST_LINES else ""
    return {"title": f"Group {number:,}", "note": f"{len(rows):,} rows; keep row {min(rows) + 1:,}{more}", "lines": lines}


def _line(row: int, similarity: float, sentence: str) -> list[Any]:
    return [f"row {row:,}", round(similarity, 4), _cut(sentence)]


def _cut(text: str, most: int = LONGEST_TEXT) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _write_page(session: Session, **data: Any) -> None:
    """Write the page beside OUTPUT_FILE; one that is already there is renamed."""
    path = session.settings.OUTPUT_FILE.parent / PAGE
    generation = session.generation
    corpus = session.settings.CORPUS_FILE.name if session.settings.CORPUS_FILE else session.settings.INDEX.name
    data["subtitle"] = f"{counted(generation.row_count, 'sentence')} of {corpus}, by {session.settings.ENCODER}"
    replace_output(path, [make_page(PAGE, ["report.css", "search.css"], ["search.js"], data).encode()])
    print(f"Page to browse: {path}")
