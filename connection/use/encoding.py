"""Encodes the sentences of a file, in bounded pieces and with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from connection import UserMistake
from connection.encoder.packed.products import products_in
from connection.encoder.preview import TokenCounts, short

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert

SENTENCES_AT_ONCE = 4096  # that are tokenised and encoded between two updates of the progress bar
TRIAL_SENTENCES = 64  # timed for the estimate


class SentenceEncoder:
    """Encodes sentences. counts: of the tokens so far."""

    def __init__(self, encoder: ConnectionBert, batch_size: int, precision: str = "float32"):
        """batch_size: sentences encoded at once. precision: as PRECISION."""
        self.encoder, self.batch_size, self.precision = encoder, batch_size, precision
        self.counts = TokenCounts(encoder.max_tokens)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of sentences with their prompts, (S, H) float32. Raises UserMistake if one is not finite."""
        embeddings = np.empty((len(texts), self.encoder.embedding_size), dtype=np.float32)
        with tqdm(total=len(texts), unit="sentence", disable=None, dynamic_ncols=True, desc="Encoding") as bar:
            for start in range(0, len(texts), SENTENCES_AT_ONCE):
                part = texts[start : start + SENTENCES_AT_ONCE]
                embeddings[start : start + len(part)] = self.embed(part)
                bar.update(len(part))
        return embeddings

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """The same without a progress bar, for texts that fit into memory as tokens."""
        embeddings = self._encode(self.counts.tokenize(self.encoder, texts)[0])
        finite = np.isfinite(embeddings).all(axis=1)
        if not finite.all():
            raise UserMistake(
                f'ENCODER gives vectors that are not finite, first for the sentence "{short(texts[int(np.argmin(finite))])}". '
                "Its weights are damaged, or too large for PRECISION."
            )
        return embeddings

    def estimate(self, texts: Sequence[str]) -> float:
        """The seconds that encoding will take, by a trial of some sentences."""
        trial = texts[:: max(1, len(texts) // TRIAL_SENTENCES)][:TRIAL_SENTENCES]
        seconds = 0.0
        for _ in range(2):  # the first time is longer
            began = time.perf_counter()
            self._encode(self.encoder.tokenize(trial)[0])
            seconds = time.perf_counter() - began
        return seconds / len(trial) * len(texts)

    def _encode(self, tokens: list[np.ndarray]) -> np.ndarray:
        with products_in(self.precision, self.encoder.device):
            return self.encoder.encode_tokens(tokens, self.batch_size)
