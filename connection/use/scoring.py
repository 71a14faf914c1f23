"""Computes the similarity of each pair of a file in bounded memory, in two passes over the file.

The first pass (`connection/use/survey.py`) checks every row and counts the hashes of the sentences. The second pass encodes and
writes one chunk of rows at a time. A repeated sentence is encoded once: its embedding is cached while later rows need it, up to
`CACHE_BYTES`. Besides that, memory holds 32 bytes per pair: two hashes, the score and the similarity.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from connection import UserMistake
from connection.encoder.composition import composition_text
from connection.encoder.packed.products import products_in
from connection.encoder.preview import TokenCounts, UnknownPairs, only_unknown
from connection.reading.formats.table import NUMBER, Number
from connection.reading.layout import Layout
from connection.reading.rows import PairRow, PairRows
from connection.training.bootstrap import spearman_interval, with_interval
from connection.training.calibration import Calibration
from connection.training.correlations import average_precision, best_threshold, pearson, settle_ties, spearman
from connection.use.output import is_workbook, typed_number
from connection.use.survey import Survey, survey

if TYPE_CHECKING:
    from connection.use.classifier import Classifier
    from ConnectionBert import ConnectionBert

CHUNK = 4096  # pairs that are read, encoded and written at once
CACHE_BYTES = 512 * 2**20


class PairScorer:
    """Computes similarities of pairs, chunk by chunk; repeated sentences are encoded once, while the cache has room.

    counts: of the tokens of what was encoded, where a sentence counts again if the cache had no room for it. unknown_pairs:
    the pairs in which a sentence is nothing but [UNK]; `unknown` holds such sentences of the cache and of this chunk.
    """

    def __init__(self, encoder: ConnectionBert, surveyed: Survey, batch_size: int, precision: str = "float32"):
        """surveyed: the survey of the same pairs. batch_size: sentences encoded at once. precision: as PRECISION."""
        self.encoder, self.batch_size, self.precision = encoder, batch_size, precision
        self.recurring, self.remaining = surveyed.recurring, surveyed.uses.copy()  # remaining: uses in later chunks
        self.cache: dict[str, np.ndarray] = {}
        self.most_cached = CACHE_BYTES // (4 * encoder.embedding_size)
        self.encoded = 0
        self.counts, self.unknown_pairs = TokenCounts(encoder.max_tokens), UnknownPairs()
        self.unknown: set[str] = set()

    def __call__(self, rows: Sequence[PairRow]) -> np.ndarray:
        """The cosine similarity of each pair, (n,) float64. Raises UserMistake if an embedding is not finite."""
        return self.similarities(rows, self.embed(rows))

    def embed(self, rows: Sequence[PairRow]) -> np.ndarray:
        """The embeddings of both sentences of each pair, (n, 2, H) float64."""
        first, second = self.encoder.pair_prompts
        sentences = [sentence for row in rows for sentence in (first + row.sentence1, second + row.sentence2)]  # 2n
        number = {sentence: i for i, sentence in enumerate(dict.fromkeys(sentences))}
        embeddings = self._embed(list(number))  # (S, H)
        sides = embeddings[[number[sentence] for sentence in sentences]].reshape(len(rows), 2, -1).astype(np.float64)
        self._update_cache(sentences, number, embeddings)
        for row in rows if self.unknown else ():
            sides_of_row = ((first, row.sentence1), (second, row.sentence2))
            self.unknown_pairs.add(row.line, [side for prompt, side in sides_of_row if prompt + side in self.unknown])
        return sides

    @staticmethod
    def similarities(rows: Sequence[PairRow], sides: np.ndarray) -> np.ndarray:
        """The cosine similarity of each pair, (n,), from its embeddings. Raises UserMistake if one is not finite."""
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
        """Embeddings of distinct sentences, (S, H) float32, from the cache where possible."""
        embeddings = np.empty((len(sentences), self.encoder.embedding_size), dtype=np.float32)
        new = [i for i, sentence in enumerate(sentences) if sentence not in self.cache]
        for i, sentence in enumerate(sentences):
            if sentence in self.cache:
                embeddings[i] = self.cache[sentence]
        if new:
            with products_in(self.precision, self.encoder.device):
                embeddings[new] = self._encode([sentences[i] for i in new])
        self.encoded += len(new)
        return embeddings

    def _encode(self, sentences: list[str]) -> np.ndarray:
        tokens, _ = self.counts.tokenize(self.encoder, sentences)
        are_unknown = only_unknown(self.encoder, sentences, np.concatenate(tokens), np.cumsum([0, *map(len, tokens)]))
        self.unknown = {sentence for sentence in self.unknown if sentence in self.cache}
        self.unknown.update(itertools.compress(sentences, are_unknown))
        return self.encoder.encode_tokens(tokens, self.batch_size)

    def _update_cache(self, sentences: list[str], number: dict[str, int], embeddings: np.ndarray) -> None:
        """Cache the embeddings that later chunks need; drop those that none needs."""
        if not len(self.recurring):
            return
        hashes = np.fromiter(map(hash, sentences), dtype=np.int64, count=len(sentences))
        indices = np.searchsorted(self.recurring, hashes).clip(max=len(self.recurring) - 1)
        np.subtract.at(self.remaining, indices[self.recurring[indices] == hashes], 1)
        for sentence, i in number.items():
            index = np.searchsorted(self.recurring, hash(sentence))
            recurs = index < len(self.recurring) and self.recurring[index] == hash(sentence)
            if recurs and self.remaining[index] > 0:
                if sentence not in self.cache and len(self.cache) < self.most_cached:
                    self.cache[sentence] = embeddings[i].copy()
            else:
                self.cache.pop(sentence, None)


class ScoredRows:
    """The rows of the output file: the columns of the input and similarity.

    With a calibration also score_predicted, with a classifier class_predicted and its probability. Columns of the input that
    already have these names are replaced. `similarities` has an array of each chunk of rows so far, `classes` the predicted
    class of each row. Iteration raises UserMistake at its end if the number of pairs is not the surveyed one.
    """

    def __init__(
        self,
        rows: PairRows,
        scorer: PairScorer,
        surveyed: Survey,
        calibration: Calibration | None,
        classifier: Classifier | None = None,
    ):
        self.rows, self.scorer, self.surveyed = rows, scorer, surveyed
        self.calibration, self.classifier = calibration, classifier
        self.classes: list[str] = []
        added = ["similarity"] + ["score_predicted"] * (calibration is not None)
        added += ["class_predicted", "class_probability"] * (classifier is not None)
        self._kept = [column for column, name in enumerate(rows.columns) if name not in added]
        self.header = [rows.columns[column] for column in self._kept] + added
        self.similarities: list[np.ndarray] = []

    def rows_for(self, output: Path) -> Iterator[list[str | float]]:
        """The rows as OUTPUT_FILE has them. In a workbook, the numbers of the input are numbers; else they stay as they are."""
        for cells, added in self:
            yield [*(self._with_numbers(cells) if is_workbook(output) else cells), *added]

    def _with_numbers(self, cells: list[str]) -> list[str]:
        """Cells that are kept, those that are numbers in the file as `Number`: scores, and numbers of typed files."""
        score = self.rows.indices.get("SCORE_COLUMN")
        return [
            _score_number(cell) if column == score else typed_number(cell)
            for column, cell in zip(self._kept, cells, strict=True)
        ]

    def __iter__(self) -> Iterator[tuple[list[str], list[str | float]]]:
        """Yield the cells of the input that are kept, and those that are added."""
        left_out = 0
        with tqdm(total=self.surveyed.pairs, unit="pair", disable=None, dynamic_ncols=True) as bar:
            stream = iter(self.rows)
            while chunk := list(itertools.islice(stream, CHUNK)):
                for row, *added in zip(chunk, *self._columns(chunk), strict=True):
                    yield [row.cells[column] for column in self._kept], added
                left_out += sum(len(row.cells) - self.rows.check.width for row in chunk)
                bar.update(len(chunk))
        left_out += self.rows.table.ignored_cells
        if left_out:
            print(f"Cells beyond the last column, which were left out: {left_out:,}.")
        if sum(map(len, self.similarities)) != self.surveyed.pairs:
            raise UserMistake(f"{self.rows.path} has changed while it was read. Nothing was written; run the script again.")

    def _columns(self, chunk: list[PairRow]) -> list[list[Any]]:
        """The columns that are added to a chunk of rows."""
        sides = self.scorer.embed(chunk)
        similarities = self.scorer.similarities(chunk, sides)
        self.similarities.append(similarities)
        columns: list[list[Any]] = [similarities.tolist()]
        if self.calibration:
            columns.append(self.calibration(similarities).tolist())
        if self.classifier:
            columns += self.classifier(sides)
            self.classes += columns[-2]
        return columns


def _score_number(cell: str) -> str:
    """A score; another spelling of it (true) as it is."""
    text = cell.strip().replace(",", ".")
    return Number(format(float(text), ".15g")) if NUMBER.fullmatch(text) else cell


def metrics_text(similarities: np.ndarray, scores: np.ndarray, layout: Layout, calibration: Calibration | None) -> str:
    """Metrics of similarities (n,) against scores (n,), from 0 to 1, as text; with yes/no scores, also those of a threshold."""
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
    if values.tolist() == [0.0, 1.0]:  # yes/no: only the two ends of the scale
        labels = [f"{low + value * (high - low):g}" for value in values]
        matches = scores == values[1]
        best = best_threshold(similarities, matches)
        lines.append(
            f"Two scores: {labels[1]} is a match, {labels[0]} is none ({matches.sum():,} of {len(scores):,} match). "
            f"Average precision {average_precision(similarities, matches):.4f}.\n"
            f"Best threshold {best.threshold:.4f}: precision {best.precision:.4f}, recall {best.recall:.4f}, F1 {best.f1:.4f}; "
            "chosen on these very pairs, so expect less on others."
        )
    return "\n".join(lines)


def pair_text(
    encoder: ConnectionBert,
    sentence1: str,
    sentence2: str,
    calibration: Calibration | None,
    classifier: Classifier | None = None,
    precision: str = "float32",
) -> str:
    """The similarity of one pair as text, with a calibration its score on the user's scale, with a classifier its class.

    A warning follows if the pair says nothing to the encoder.
    """
    scorer = PairScorer(encoder, survey([], has_scores=False), 2, precision)
    pair = [PairRow(1, [], sentence1, sentence2, math.nan)]
    sides = scorer.embed(pair)
    similarity = float(scorer.similarities(pair, sides)[0])
    text = f"similarity {similarity:.4f}"
    if calibration is not None:
        low, high = calibration.score_range
        text += f", score_predicted {calibration(np.array([similarity]))[0]:.2f} (from {low:g} to {high:g})"
    if classifier is not None:
        (label,), (probability,) = classifier(sides)
        text += f", class_predicted {label} (probability {probability:.4f})"
    return "\n".join(filter(None, [text, composition_text(scorer.counts.composed), scorer.unknown_pairs.text("this pair")]))
