"""Closest pairs and groups: equal to comparing every row with every other, with ties, repeated rows and any block size."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import runs

from connection.use.nearest import unit
from connection.use.search import closest
from connection.use.search.closest import Pairs, closest_neighbours, closest_sentences, group_rows, pairs_of_rows

Search = Callable[..., list[dict[str, str]]]


class Corpus:
    """As `Generation`, in memory. rows: the number of each row's vector."""

    def __init__(self, vectors: np.ndarray, rows: np.ndarray):
        self.vectors, self.rows = unit(vectors).astype(np.float32), rows
        self.count, self.size = vectors.shape
        self.counts = np.bincount(rows, minlength=self.count)

    def block(self, start: int, stop: int) -> np.ndarray:
        return self.vectors[start:stop]

    def rows_of(self, number: int, most: int) -> np.ndarray:
        return np.flatnonzero(self.rows == number)[:most]


def drawn(seed: int) -> Corpus:
    """Vectors of which many are equal, in rows of which many repeat one; numbered by their first rows."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(12, 5)).astype(np.float32)[random.integers(12, size=20)]
    rows = np.concatenate([np.arange(20), random.integers(20, size=9)])
    order = np.concatenate([[0], 1 + random.permutation(28)])
    shuffled = rows[order]
    _, first = np.unique(shuffled, return_index=True)
    number = np.empty(20, dtype=np.int64)
    number[shuffled[np.sort(first)]] = np.arange(20)
    return Corpus(vectors[shuffled[np.sort(first)]], number[shuffled])


def by_hand(corpus: Corpus, most: int, least: float) -> list[tuple[int, int, float]]:
    """Every pair of rows, sorted."""
    vectors = unit(corpus.vectors)
    pairs = []
    for first, second in itertools.combinations(range(len(corpus.rows)), 2):
        one, other = corpus.rows[first], corpus.rows[second]
        similarity = 1.0 if one == other else round(float(vectors[one] @ vectors[other]), 12)
        if similarity >= least:
            pairs.append((-similarity, first, second))
    return [(first, second, -negative) for negative, first, second in sorted(pairs)[:most]]


@pytest.mark.parametrize("most", [1, 7, 60, 1000])
@pytest.mark.parametrize("least", [-1.0, 0.2, 0.99])
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_pairs_are_those_of_comparing_everything(most: int, least: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closest, "ROWS_AT_ONCE", block)
    monkeypatch.setattr(closest, "COLUMNS_AT_ONCE", 2 * block)
    for seed in range(3):
        corpus = drawn(seed)
        found = pairs_of_rows(corpus, closest_sentences(corpus, most, least), most, least)
        expected = by_hand(corpus, most, least)
        assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [pair[:2] for pair in expected]
        assert np.allclose(found.similarities, [pair[2] for pair in expected], atol=1e-12)


def test_neighbours_give_the_same_where_they_reach_far_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def search(self, queries: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
            similarities = np.round(unit(queries) @ unit(corpus.vectors).T, 12)
            order = np.argsort(-similarities, axis=1, kind="stable")[:, :most]
            return order, np.take_along_axis(similarities, order, axis=1)

    corpus = drawn(0)
    blocks = [corpus.vectors[:7], corpus.vectors[7:]]
    for most in (5, 100):
        found = closest_neighbours(corpus, Engine(), blocks, most, 0.1)
        assert all(map(np.array_equal, found, closest_sentences(corpus, most, 0.1)))


def test_thousands_of_equal_rows_take_no_more_pairs_than_are_wanted() -> None:
    corpus = Corpus(np.eye(2, dtype=np.float32), np.array([0] * 3000 + [1]))
    found = pairs_of_rows(corpus, closest_sentences(corpus, 4000, 0.5), 4000, 0.5)
    assert found.first.tolist() == [0] * 2999 + [1] * 1001 and set(found.similarities.tolist()) == {1.0}


def test_groups_are_connected_components_by_their_first_row() -> None:
    random = np.random.default_rng(1)
    rows = np.sort(random.choice(60, size=(80, 2)), axis=1)
    rows = rows[rows[:, 0] < rows[:, 1]]
    similarities = random.random(len(rows))
    groups = group_rows(Pairs(rows[:, 0], rows[:, 1], similarities), least=0.6)
    joined = rows[similarities >= 0.6].tolist()
    components: list[set[int]] = []
    for pair in joined:
        touching = [component for component in components if component & set(pair)]
        components = [component for component in components if component not in touching] + [set(pair).union(*touching)]
    components.sort(key=min)
    expected = [next(i for i, component in enumerate(components, 1) if set(pair) <= component) for pair in joined]
    assert groups[similarities >= 0.6].tolist() == expected and not groups[similarities < 0.6].any()
    assert group_rows(Pairs(rows[:0, 0], rows[:0, 1], similarities[:0]), 0.5).tolist() == []


def test_pairs_are_those_of_sentence_transformers(tiny_encoder: Path) -> None:
    util = pytest.importorskip("sentence_transformers.util", reason="sentence-transformers is not installed")
    import torch

    from ConnectionBert import ConnectionBert

    sentences = list(dict.fromkeys(runs.make_sentences(150, seed=8)))
    vectors = ConnectionBert.load(tiny_encoder).encode(sentences)
    corpus = Corpus(vectors, np.arange(len(sentences)))
    theirs = util.paraphrase_mining_embeddings(torch.from_numpy(corpus.vectors), max_pairs=20_000, top_k=len(sentences))
    count = 300
    ours = closest_sentences(corpus, count, -1.0)
    assert {tuple(sorted(pair[1:])) for pair in theirs[:count]} == set(
        zip(ours.first.tolist(), ours.second.tolist(), strict=True)
    )


def test_the_script_writes_pairs_with_their_groups(
    search: Search, sentences: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = search(closest_pairs=40, group_similarity=0.99999)
    said = capsys.readouterr().out
    assert list(rows[0]) == ["row1", "row2", "sentence1", "sentence2", "similarity", "group"]
    equal = [row for row in rows if row["similarity"] == "1"]
    assert {(row["row1"], row["row2"]) for row in equal} >= {("4", "241"), ("4", "247"), ("241", "247"), ("9", "246")}
    assert all(sentences[int(row[f"row{n}"]) - 1] == row[f"sentence{n}"] for row in rows for n in (1, 2))
    assert rows[0]["group"] == "1" and rows[-1]["group"] == ""
    assert "Closest pairs: 40, with similarities from 1.0000 down to 0." in said and "raise CLOSEST_PAIRS" in said
    members: dict[str, set[int]] = {}
    for row in rows:
        if float(row["similarity"]) >= 0.99999:
            members.setdefault(row["group"], set()).update((int(row["row1"]), int(row["row2"])))
    assert sorted(members, key=lambda group: min(members[group])) == [str(number) for number in range(1, len(members) + 1)]
    count = sum(map(len, members.values()))
    assert f"0.99999: {len(members)}, of {count} rows; {count - len(members)} can be left out." in said
    largest = max(members, key=lambda group: (len(members[group]), -int(group)))
    first = min(members[largest])
    assert f"group {largest}: {len(members[largest])} rows; keep row {first}: {sentences[first - 1]}" in said
    assert (tmp_path / "out" / "search.html").is_file()
    two = runs.write_lines(tmp_path / "two.txt", ["a cat", "a dog"])
    assert search(least_similarity=1, corpus_file=two, index=tmp_path / "second") == []
    assert "No two rows have a similarity of at least 1 (LEAST_SIMILARITY)." in capsys.readouterr().out
