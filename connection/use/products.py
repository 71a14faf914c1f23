"""The similarities of many vectors with many others, as exact as it takes to rule most of them out.

In float32 on every processor; with 8-bit integers where the processor multiplies these faster. Either comes with a bound on its
error, so that whoever computes what is left in float64 has the result of float64 throughout.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CHUNK = 64  # values of which the highest is looked at first
FEW_ROWS = 32  # with fewer, reading the vectors takes longer than the products
ROUNDED_AT_ONCE = 512  # vectors, so that they stay in a cache
MOST_LEFT = 1 / 512  # share of a block that integers may leave over: with more, float32 is faster than computing each again


def error_bound(size: int) -> float:
    """How far a similarity of two vectors of this size, of length 1 in float32, can be from that in float64.

    A sum of H products of float32 differs from the exact one by at most H u / (1 − H u) Σ |x_i y_i|, where u = 2⁻²⁴ and the sum
    is at most 1 (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), in whatever order it is added up.
    The rest is for the lengths.
    """
    return (size + 16) * 2.0**-24


@dataclass(frozen=True)
class Scores:
    """Similarities of rows with columns: scales[i] · values[i, j] differs from that of i and j by at most margins[i].

    values: (b, T), float32 or int32; T is a multiple of CHUNK, and what is behind the last column has the lowest value.
    """

    values: Tensor
    scales: np.ndarray
    margins: np.ndarray
    columns: int

    @property
    def lowest(self) -> float | int:
        return -torch.inf if self.values.is_floating_point() else -(2**31)

    def skip(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Give these places the lowest value."""
        self.values[torch.from_numpy(rows), torch.from_numpy(columns)] = self.lowest

    def skip_up_to(self, diagonal: int) -> None:
        """Give the lowest value to each place whose column is at most its row + diagonal."""
        self.values.masked_fill_(torch.ones_like(self.values, dtype=torch.bool).tril(diagonal), self.lowest)

    def at_least(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The similarities that these values of rows stand for at least."""
        return self.scales[rows] * values - self.margins[rows]

    def highest(self) -> Tensor:
        """The highest value of each chunk, (b, T / CHUNK)."""
        return self.values.view(len(self.values), -1, CHUNK).amax(dim=2)

    def reaching(self, limits: np.ndarray, highest: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The rows and columns of all similarities of at least `limits` (b,), and of some below; in the order of rows."""
        chunks = highest.shape[1]
        least = self._thresholds(limits)
        places = np.flatnonzero((highest >= least[:, None]).numpy().view(np.bool_))
        rows = places // chunks
        within = self.values.view(-1, CHUNK)[torch.from_numpy(places)] >= least[torch.from_numpy(rows), None]
        found = np.flatnonzero(within.numpy())
        chunk = found // CHUNK
        return rows[chunk], places[chunk] % chunks * CHUNK + found % CHUNK

    def _thresholds(self, limits: np.ndarray) -> Tensor:
        """The values (b,) below which no similarity of at least `limits` can be, and what is skipped always is."""
        least = (np.maximum(limits, -2.0) - self.margins) / self.scales
        if self.values.is_floating_point():
            return torch.from_numpy(np.nextafter(least.astype(np.float32), np.float32(-np.inf)))
        return torch.from_numpy(np.floor(np.maximum(least, 1 - 2.0**31)).astype(np.int32))


class Rows:
    """Rows of vectors, (b, H) float32 of length 1, to be multiplied with blocks of columns.

    >>> rows = Rows(np.array([[0.6, 0.8], [1.0, 0.0]], dtype=np.float32))
    >>> scores = rows.exact(np.array([[0.8, 0.6]], dtype=np.float32))
    >>> scores.values[:, :2].tolist(), scores.columns
    ([[0.9600000381469727, -inf], [0.800000011920929, -inf]], 1)
    """

    def __init__(self, vectors: np.ndarray):
        self.vectors = vectors
        self.wants_integers = len(vectors) >= FEW_ROWS and has_fast_integers()

    def exact(self, vectors: np.ndarray) -> Scores:
        """Scores in float32 with columns (T, H)."""
        count, columns = len(self.vectors), len(vectors)
        values = torch.empty(count, -(-columns // CHUNK) * CHUNK)
        values[:, columns:] = -torch.inf
        torch.mm(torch.from_numpy(self.vectors), torch.from_numpy(vectors).T, out=values[:, :columns])
        ones = np.ones(count)
        return Scores(values, ones, error_bound(vectors.shape[1]) * ones, columns)

    def rough(self, columns: Integers) -> Scores:
        """Scores from integers; see `Integers` for their error.

        |x·y − x̂·ŷ| ≤ |(x − x̂)·y| + |x̂·(y − ŷ)| ≤ ‖x − x̂‖ + (1 + ‖x − x̂‖) ‖y − ŷ‖ for x and y of length 1.
        """
        values = torch._int_mm(self.integers.values, columns.values.T)
        values[:, columns.count :] = -(2**31)
        errors = self.integers.errors
        margins = errors + (1 + errors) * columns.errors.max() + error_bound(self.vectors.shape[1])
        return Scores(values, self.integers.scales * columns.scales.max(), margins, columns.count)

    @functools.cached_property
    def integers(self) -> Integers:
        return Integers(self.vectors, each=True)


class Integers:
    """Vectors (T, H) rounded to 8-bit integers times a scale. errors: how far each is from its vector, at most.

    each: a scale for each vector rather than one for all; else filled up with zeros to a multiple of CHUNK vectors.
    """

    def __init__(self, vectors: np.ndarray, *, each: bool):
        self.count, given = len(vectors), torch.from_numpy(vectors)
        lowest, highest = torch.aminmax(given, dim=1, keepdim=True) if each else torch.aminmax(given)
        scales = torch.maximum(highest, -lowest).reshape(-1, 1).clamp(min=1e-6) / 127
        self.values = torch.zeros(self.count + (0 if each else -self.count % CHUNK), given.shape[1], dtype=torch.int8)
        errors = torch.empty(self.count)
        for start in range(0, self.count, ROUNDED_AT_ONCE):
            part = slice(start, min(start + ROUNDED_AT_ONCE, self.count))
            scaled = given[part] / (scales[part] if each else scales)
            rounded = scaled.round()
            self.values[part] = rounded
            errors[part] = scaled.sub_(rounded).square_().sum(dim=1).sqrt_()
        self.scales = scales[:, 0].numpy().astype(np.float64)
        self.errors = errors.numpy() * self.scales * (1 + 2.0**-12) + 2.0**-20  # computed in float32


@functools.cache
def has_fast_integers() -> bool:
    """Whether torch multiplies 8-bit integers without overflow here, and faster than float32. Takes some milliseconds.

    Without the instructions for it (VNNI on x86), sums overflow in 16 bits or are slow. The result of a search is the same.
    """
    extreme = torch.full((64, 384), 127, dtype=torch.int8)
    try:
        product = torch._int_mm(-extreme, extreme.T)
    except (AttributeError, RuntimeError):  # another version of torch, another processor
        return False
    if product.dtype != torch.int32 or bool((product != -127 * 127 * 384).any()):
        return False
    integers, numbers = torch.ones(2048, 384, dtype=torch.int8), torch.ones(2048, 384)
    rough, exact = [], []
    for _ in range(10):  # in turn, so that other work on the machine meets both
        rough.append(_seconds(lambda: torch._int_mm(integers[:256], integers.T)))
        exact.append(_seconds(lambda: torch.mm(numbers[:256], numbers.T)))
    return 1.5 * min(rough) < min(exact)


def _seconds(work: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
