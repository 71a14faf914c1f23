"""What rules pairs out never rules out one that is near: bounds of every kind of scores, and searches that use them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from connection.use import nearest, products
from connection.use.nearest import NONE_SKIPPED, unit
from connection.use.products import CHUNK, Integers, Rows, Scores, has_fast_integers


@pytest.fixture(params=["float32", "integers"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Integers are used wherever they can be, also where they rule little out or are slow."""
    monkeypatch.setattr(products, "has_fast_integers", lambda: request.param == "integers")
    monkeypatch.setattr(products, "FEW_ROWS", 1)
    monkeypatch.setattr(nearest, "MOST_LEFT", 1.0)
    return str(request.param)


def shapes_of(size: int) -> Iterator[np.ndarray]:
    """Vectors of length 1 in float32 of which rounding loses little, much, and all but one number."""
    random = np.random.default_rng(size)
    yield unit(random.normal(size=(150, size))).astype(np.float32)
    yield unit(random.normal(size=(150, size)) ** 9).astype(np.float32)
    peaks = np.full((150, size), 1e-4)
    peaks[np.arange(150), random.integers(size, size=150)] = random.choice([-1, 1], size=150)
    yield unit(peaks).astype(np.float32)
    yield np.repeat(unit(random.normal(size=(1, size))), 150, axis=0).astype(np.float32)


def scores_of(kind: str, rows: np.ndarray, columns: np.ndarray) -> Scores:
    return Rows(rows).exact(columns) if kind == "float32" else Rows(rows).rough(Integers(columns, each=False))


@pytest.mark.parametrize("size", [2, 32, 385])
def test_no_score_is_farther_from_its_similarity_than_told(kind: str, size: int) -> None:
    for vectors in shapes_of(size):
        rows, columns = vectors[:70], vectors[50:]
        scores = scores_of(kind, rows, columns)
        similarities = unit(rows) @ unit(columns).T
        values = scores.values.numpy()
        assert values.shape == (70, 128) and scores.columns == 100 and (values[:, 100:] == scores.lowest).all()
        far = np.abs(scores.scales[:, None] * values[:, :100] - similarities)
        assert (far <= scores.margins[:, None]).all()
        assert scores.margins.max() < (1e-4 if kind == "float32" else 0.2)


def test_all_that_reach_a_limit_are_found_and_nothing_that_was_skipped(kind: str) -> None:
    for vectors in shapes_of(33):
        scores, similarities = scores_of(kind, vectors, vectors), unit(vectors) @ unit(vectors).T
        skipped = np.array([[0, 3], [5, 5], [149, 0]])
        scores.skip(skipped[:, 0], skipped[:, 1])
        for limits in (np.full(150, -np.inf), np.full(150, 0.5), np.linspace(-1, 1, 150), similarities[:, 7]):
            rows, columns = scores.reaching(limits, scores.highest())
            found = set(zip(rows.tolist(), columns.tolist(), strict=True))
            wanted = {(row, column) for row, column in np.argwhere(similarities >= limits[:, None]).tolist()}
            assert wanted - found == set(map(tuple, skipped.tolist())) & wanted
            assert not found & set(map(tuple, skipped.tolist())) and (columns < 150).all()
            assert len(found) == len(rows) and np.array_equal(np.lexsort((columns, rows)), np.arange(len(rows)))
            near = similarities >= (limits - 2 * scores.margins)[:, None] - 1e-6
            assert all(near[place] for place in found)


def test_what_is_behind_a_diagonal_is_left(kind: str) -> None:
    vectors = next(shapes_of(20))
    scores = scores_of(kind, vectors[:70], vectors)
    scores.skip_up_to(3)
    rows, columns = scores.reaching(np.full(70, -np.inf), scores.highest())
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(i, j) for i in range(70) for j in range(i + 4, 150)}


@pytest.mark.parametrize(("most", "block"), [(1, CHUNK), (10, 31), (10, 300), (400, 100)])
def test_the_nearest_are_those_of_brute_force(kind: str, most: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With equal vectors, whose lower number comes first, and some that are skipped."""
    monkeypatch.setattr(nearest, "ROWS_AT_ONCE", 25)
    for given in shapes_of(24):
        vectors = np.concatenate([given, given[:100][::-1], given[:50]])
        queries = given[:40]
        random = np.random.default_rng(most)
        skipped = np.unique(np.stack([random.integers(40, size=60), random.integers(300, size=60)], axis=1), axis=0)
        similarities = np.round(unit(queries) @ unit(vectors).T, nearest.DECIMALS)
        similarities[skipped[:, 0], skipped[:, 1]] = -np.inf
        order = np.lexsort((np.broadcast_to(np.arange(300), similarities.shape), -similarities), axis=1)
        blocks = (vectors[start : start + block] for start in range(0, 300, block))
        numbers, found = nearest.nearest(queries, blocks, skipped, most)
        best = np.take_along_axis(similarities, order, axis=1)[:, :most]
        best = np.pad(best, ((0, 0), (0, most - best.shape[1])), constant_values=-np.inf)
        assert np.allclose(found, best, atol=1.1 * 10.0**-nearest.DECIMALS)
        exists = np.isfinite(best)
        given_numbers = np.pad(order[:, :most], ((0, 0), (0, max(0, most - 300))))
        swapped = exists & (numbers != given_numbers)
        assert (numbers[~exists] == -1).all()
        # A product of matrices may round two equal similarities apart in the last decimal kept.
        assert np.allclose(similarities[np.nonzero(swapped)[0], numbers[swapped]], best[swapped], atol=2e-12)


@pytest.mark.parametrize(("spread", "blocks"), [(1e-3, 3), (1.0, 1)])
def test_where_integers_leave_too_much_float32_decides(spread: float, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all vectors are nearly alike, as those of an untrained encoder. The first block is always float32's."""
    monkeypatch.setattr(products, "has_fast_integers", lambda: True)
    exact: list[int] = []
    product = Rows.exact

    def noted(self: Rows, vectors: np.ndarray) -> Scores:
        exact.append(len(vectors))
        return product(self, vectors)

    monkeypatch.setattr(Rows, "exact", noted)
    noise = np.random.default_rng(3).normal(size=(1500, 384))
    vectors = unit(noise if spread == 1.0 else 1 + spread * noise).astype(np.float32)
    numbers, _ = nearest.nearest(vectors[:40], (vectors[start : start + 500] for start in range(0, 1500, 500)), NONE_SKIPPED, 1)
    assert exact == [500] * blocks and numbers[:, 0].tolist() == list(range(40))


def test_integers_that_overflow_or_are_slow_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(product: object) -> bool:
        monkeypatch.setattr(torch, "_int_mm", product, raising=False)
        has_fast_integers.cache_clear()
        return has_fast_integers()

    def missing(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not here")

    def product(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return (first.float() @ second.float()).int()

    assert not answer(lambda first, second: product(first, second).clamp(min=-32_768))  # sums in 16 bits
    assert not answer(missing)

    def slow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return product(first, second)

    assert not answer(slow)
    monkeypatch.undo()
    has_fast_integers.cache_clear()
    assert has_fast_integers() in (True, False)
