"""What a person wants to see of their data before a long run starts: scores, rows, tokens, and how long it will take."""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from connection import printable

if TYPE_CHECKING:
    from torch import Tensor

    from ConnectionBert import ConnectionBert
    from ConnectionDataset import PackedBatch

SHOWN_ROWS = 3
HIGH_UNKNOWN, HIGH_TOKENS_PER_WORD = 0.05, 3.0
# A word is what stands between blanks; Chinese and Japanese, written without blanks, count by the character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")


def score_histogram(scores: Sequence[float], score_range: tuple[float, float], width: int = 40) -> str:
    """Scores (n,) from 0 to 1 as bars, labelled on the scale of the file: a bar a value, or ten bars where they are many.

    >>> print(score_histogram([0.0, 0.0, 0.5, 1.0], (0, 5), width=4))
        0   2  ####
      2.5   1  ##
        5   1  ##
    """
    low, high = score_range
    scores = np.asarray(scores, dtype=np.float64)
    values, counts = np.unique(scores, return_counts=True)
    if len(values) <= 11:
        labels = [f"{low + value * (high - low):g}" for value in values]
    else:
        counts, edges = np.histogram(scores, bins=10, range=(0.0, 1.0))
        ends = [f"{low + edge * (high - low):g}" for edge in edges]
        labels = [f"{start} to {end}" for start, end in itertools.pairwise(ends)]
    label_width, count_width = max(5, *map(len, labels)), max(3, len(f"{counts.max():,}"))
    bars = ["#" * round(width * count / counts.max()) for count in counts]
    return "\n".join(
        f"{label:>{label_width}} {count:>{count_width},}  {bar}".rstrip()
        for label, count, bar in zip(labels, counts, bars, strict=True)
    )


def first_rows(table: pd.DataFrame, score_range: tuple[float, float], width: int = 45) -> str:
    """The first rows of a table of pairs, a line each: score, sentence1, sentence2, cut to `width` characters."""
    low, high = score_range
    lines = []
    for row in table.head(SHOWN_ROWS).itertuples():
        sides = [printable(side.replace("\n", " ")) for side in (row.sentence1, row.sentence2)]
        shown = [side if len(side) <= width else side[: width - 1] + "…" for side in sides]
        lines.append(f"{low + row.score * (high - low):5g}  {shown[0]}  |  {shown[1]}")
    return "\n".join(lines)


def token_text(lengths: np.ndarray, unknown: int, sentences: Sequence[str], cut: int, max_tokens: int) -> str:
    """How the tokenizer sees distinct sentences: lengths, what is cut, [UNK], tokens a word; with a warning where due.

    lengths: (S,) tokens of each, [CLS] and [SEP] included. unknown: how many tokens are [UNK]. cut: sentences cut.
    """
    tokens = int(lengths.sum()) - 2 * len(lengths)
    words = sum(len(_WORD.findall(sentence)) for sentence in sentences)
    share, per_word = unknown / max(tokens, 1), tokens / max(words, 1)
    middle, high = np.percentile(lengths, [50, 95])
    text = (
        f"Tokens a sentence: median {middle:.0f}, 95 % have at most {high:.0f}, the longest {lengths.max()}; "
        f"{cut:,} of {len(lengths):,} sentences are cut (MAX_TOKENS {max_tokens}). "
        f"{per_word:.1f} tokens a word; [UNK]: {100 * share:.1f} % of them."
    )
    return text + _warning(share, per_word)


def _warning(share: float, per_word: float) -> str:
    if share <= HIGH_UNKNOWN and per_word <= HIGH_TOKENS_PER_WORD:
        return ""
    found = f"{share:.0%} of the tokens are [UNK]" if share > HIGH_UNKNOWN else f"a word takes {per_word:.1f} tokens"
    return (
        f"\nWarning: {found}: this encoder's vocabulary does not know the language or the words of these sentences. "
        "An encoder of the language will learn far more (ENCODER)."
    )


def encoder_text(encoder: ConnectionBert) -> str:
    """What an encoder is, in words: "6 layers, hidden size 384, 22.7 M parameters, mean pooling"."""
    bert = encoder.bert.config
    return (
        f"{bert.num_hidden_layers} layers, hidden size {bert.hidden_size}, "
        f"{encoder.bert.num_parameters() / 1e6:.1f} M parameters, {encoder.pooling} pooling"
    )


def tried_seconds_per_token(
    encoder: ConnectionBert, loader: Iterable[PackedBatch], loss: Callable[[PackedBatch], Tensor], tries: int = 2
) -> float:
    """The least time that the forward and backward of a training batch took, per token. Changes nothing in the encoder."""
    least = math.inf
    encoder.train()
    for batch in itertools.islice(loader, tries):  # the first one also pays for what is set up once
        clock = time.perf_counter()
        loss(batch.to(encoder.device)).backward()
        float(next(encoder.parameters()).grad.sum())  # a card has done its work once a number is read
        encoder.zero_grad()
        least = min(least, (time.perf_counter() - clock) / len(batch.input_ids))
    encoder.eval()
    return least


def format_time(seconds: float) -> str:
    """Elapsed time, rounded to seconds.

    >>> format_time(3725.4)
    '1:02:05'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def time_text(steps: int, step_seconds: float, evaluations: int, evaluation_seconds: float) -> str:
    """About how long a run will take, from what one step and one evaluation took."""
    total = steps * step_seconds + evaluations * evaluation_seconds
    return (
        f"This will take about {format_time(total)}: {steps:,} steps of {step_seconds:.2g} s, and {evaluations:,} evaluations."
    )


def padding_text(step_tokens: np.ndarray, step_rows: np.ndarray) -> str:
    """What share of the rows that are computed is no token. step_tokens, step_rows: each step's tokens, and its rows.

    >>> padding_text(np.array([30, 64]), np.array([32, 64]))
    'Padding: 2.1 % of the rows of a step, to fill them up to a round number; attention pads near lengths besides.'
    """
    share = 1 - step_tokens.sum() / step_rows.sum()
    if not share:
        return "Padding: none."
    besides = "to fill them up to a round number; attention pads near lengths besides."
    return f"Padding: {100 * share:.1f} % of the rows of a step, {besides}"
