"""A file of pairs → the similarity of each, in bounded memory: twice through the file, a chunk of rows at a time.

The first time, every row is checked and every sentence's hash counted; the second time, each chunk is encoded and written. A
sentence that recurs is encoded once: its embedding is kept while later rows need it, in `CACHE_BYTES` at most. Beside
that, 16 bytes a pair stay in memory for the sentences' hashes, and 16 for scores and similarities: Spearman ranks them all.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from connection import UserMistake
from connection.reading.csv_table import write_csv
from connection.reading.layout import Layout
from connection.reading.rows import PairRow, PairRows
from connection.training.bootstrap import spearman_interval, with_interval
from connection.training.calibration import Calibration
from connection.training.correlations import average_precision, best_threshold, pearson, settle_ties, spearman
from connection.use.survey import Survey, survey

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert

CHUNK = 4096  # pairs that are read, encoded and written at a time
CACHE_BYTES = 512 * 2**20


class PairScorer:
    """Similarities of pairs, chunk by chunk; what recurs is encoded once."""

    def __init__(self, encoder: ConnectionBert, found: Survey, batch_size: int, precision: str = "float32"):
        """found: of the same pairs. batch_size: sentences encoded at a time. precision: of the matrix products."""
        self.encoder, self.batch_size, self.precision = encoder, batch_size, precision
        self.recurring, self.left = found.recurring, found.uses.copy()  # left: places yet to come
        self.kept: dict[str, np.ndarray] = {}
        self.most_kept = CACHE_BYTES // (4 * encoder.dimension)
        self.encoded = 0

    def __call__(self, rows: Sequence[PairRow]) -> np.ndarray:
        """The cosine similarity of each pair (n,), float64. Raises UserMistake where a vector is not finite."""
        places = [sentence for row in rows for sentence in (row.sentence1, row.sentence2)]
        number = {sentence: i for i, sentence in enumerate(dict.fromkeys(places))}
        embeddings = self._embed(list(number))  # (S, H)
        sides = embeddings[[number[sentence] for sentence in places]].reshape(len(rows), 2, -1).astype(np.float64)
        self._keep(places, number, embeddings)
        lengths = np.linalg.norm(sides, axis=2)  # (n, 2)
        similarities = np.einsum("nh,nh->n", sides[:, 0], sides[:, 1]) / np.maximum(lengths.prod(axis=1), 1e-12)
        similarities = settle_ties(similarities, np.array([row.sentence1 == row.sentence2 for row in rows]))
        if not np.isfinite(similarities).all():
            line = rows[int(np.argmin(np.isfinite(similarities)))].line
            raise UserMistake(
                f"ENCODER gives vectors that are not finite, first for the pair on line {line}. Its weights are damaged, or "
                "too large for PRECISION."
            )
        return similarities

    def _embed(self, sentences: list[str]) -> np.ndarray:
        """Embeddings of distinct sentences, (S, H) float32: those kept, and the others encoded."""
        embeddings = np.empty((len(sentences), self.encoder.dimension), dtype=np.float32)
        new = [i for i, sentence in enumerate(sentences) if sentence not in self.kept]
        for i, sentence in enumerate(sentences):
            if sentence in self.kept:
                embeddings[i] = self.kept[sentence]
        if new:
            with torch.autocast(self.encoder.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                embeddings[new] = self.encoder.encode([sentences[i] for i in new], self.batch_size)
        self.encoded += len(new)
        return embeddings

    def _keep(self, places: list[str], number: dict[str, int], embeddings: np.ndarray) -> None:
        """Keep what later chunks need, let go what none does."""
        if not len(self.recurring):
            return
        hashes = np.fromiter(map(hash, places), dtype=np.int64, count=len(places))
        found = np.searchsorted(self.recurring, hashes).clip(max=len(self.recurring) - 1)
        np.subtract.at(self.left, found[self.recurring[found] == hashes], 1)
        for sentence, i in number.items():
            at = np.searchsorted(self.recurring, hash(sentence))
            if at < len(self.recurring) and self.recurring[at] == hash(sentence) and self.left[at] > 0:
                if sentence not in self.kept and len(self.kept) < self.most_kept:
                    self.kept[sentence] = embeddings[i].copy()
            else:
                self.kept.pop(sentence, None)


def scored_csv(
    rows: PairRows, scorer: PairScorer, found: Survey, calibration: Calibration | None, similarities: list[np.ndarray]
) -> Iterator[str]:
    """The output file, a piece a chunk: the input's columns, then similarity and, with a calibration, score_predicted.

    similarities: receives those of each chunk. A column of these names that the file had already is replaced.
    Raises UserMistake if the file is no longer what the survey found.
    """
    added = ["similarity"] + ["score_predicted"] * (calibration is not None)
    kept = [place for place, name in enumerate(rows.columns) if name not in added]
    left_out = 0
    yield _csv([[rows.columns[place] for place in kept] + added])
    with tqdm(total=found.pairs, unit="pair", disable=None, dynamic_ncols=True) as bar:
        stream = iter(rows)
        while chunk := list(itertools.islice(stream, CHUNK)):
            scored = scorer(chunk)
            similarities.append(scored)
            columns = [scored] + ([calibration(scored)] if calibration else [])
            cells = [[str(row.cells[place]) for place in kept] for row in chunk]
            yield _csv([row + [f"{x:.9g}" for x in more] for row, *more in zip(cells, *columns, strict=True)])
            left_out += sum(len(row.cells) - rows.check.width for row in chunk)
            bar.update(len(chunk))
    left_out += rows.table.ignored_cells
    if left_out:
        print(f"Cells that stand under no column and are left out: {left_out:,}.")
    if sum(map(len, similarities)) != found.pairs:
        raise UserMistake(f"{rows.path} has changed while it was read. Nothing was written; start again.")


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    write_csv(text, rows[0], rows[1:])
    return text.getvalue()


def metrics_text(similarities: np.ndarray, scores: np.ndarray, layout: Layout, calibration: Calibration | None) -> str:
    """How far similarities (n,) agree with scores (n,), from 0 to 1; and where there are two scores, as labels."""
    values = np.unique(scores)
    if len(values) < 2:
        return "All scores are equal: there is nothing to correlate with."
    if np.ptp(similarities) == 0:
        return "All similarities are equal: there is nothing to correlate."
    figure = with_interval(spearman(similarities, scores), spearman_interval(similarities, scores))
    lines = [f"Spearman {figure}, Pearson {pearson(similarities, scores):.4f}"]
    low, high = layout.score_range
    if calibration and calibration.score_range == (low, high):
        error = np.abs(calibration(similarities) - (low + scores * (high - low))).mean()
        lines.append(f"Mean error of score_predicted: {error:.3f} (scale {low:g} to {high:g}).")
    if values.tolist() == [0.0, 1.0]:  # yes and no: the two ends of the scale
        shown = [f"{low + value * (high - low):g}" for value in values]
        matches = scores == values[1]
        best = best_threshold(similarities, matches)
        lines.append(
            f"Two scores: {shown[1]} is a match, {shown[0]} is none ({matches.sum():,} of {len(scores):,} match). "
            f"Average precision {average_precision(similarities, matches):.4f}.\n"
            f"Best threshold {best.threshold:.4f}: precision {best.precision:.4f}, recall {best.recall:.4f}, F1 {best.f1:.4f}; "
            "chosen on these very pairs, so expect less on others."
        )
    return "\n".join(lines)


def pair_text(
    encoder: ConnectionBert, sentence1: str, sentence2: str, calibration: Calibration | None, precision: str = "float32"
) -> str:
    """The similarity of one pair, and its score on the user's scale where there is a calibration."""
    similarity = float(
        PairScorer(encoder, survey([], has_scores=False), 2, precision)([PairRow(1, [], sentence1, sentence2, math.nan)])[0]
    )
    text = f"similarity {similarity:.4f}"
    if calibration is None:
        return text
    low, high = calibration.score_range
    return f"{text}, score_predicted {calibration(np.array([similarity]))[0]:.2f} (from {low:g} to {high:g})"
