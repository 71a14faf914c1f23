"""An encoder in words, and how its tokenizer sees a person's sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert


HIGH_UNKNOWN, HIGH_TOKENS_PER_WORD = 0.05, 3.0
# A word is what stands between blanks; Chinese and Japanese, written without blanks, count by the character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")


def token_text(lengths: np.ndarray, unknown: int, sentences: Sequence[str], cut: int, max_tokens: int) -> str:
    """How the tokenizer sees distinct sentences: lengths, what is cut, [UNK], tokens a word; with a warning where due.

    lengths: (S,) tokens of each before any is cut, [CLS] and [SEP] included. unknown: how many of the tokens that are kept are
    [UNK]. cut: sentences cut.
    """
    tokens = int(lengths.sum()) - 2 * len(lengths)
    kept = int(np.minimum(lengths, max_tokens).sum()) - 2 * len(lengths)
    words = sum(len(_WORD.findall(sentence)) for sentence in sentences)
    share, per_word = unknown / max(kept, 1), tokens / max(words, 1)
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


def encoder_name(folder: Path) -> str:
    """What people call an encoder: its folder's name; of best/ of a run, that with the run's name before it.

    >>> encoder_name(Path("transformers/bert/klue/bert-base")), encoder_name(Path("output/tickets/best"))
    ('bert-base', 'tickets/best')
    """
    return f"{folder.parent.name}/best" if folder.name == "best" and folder.parent.name else folder.name


def encoder_text(encoder: ConnectionBert) -> str:
    """What an encoder is, in words: "6 layers, hidden size 384, 22.7 M parameters, mean pooling"."""
    bert = encoder.bert.config
    return (
        f"{bert.num_hidden_layers} layers, hidden size {bert.hidden_size}, "
        f"{encoder.bert.num_parameters() / 1e6:.1f} M parameters, {encoder.pooling} pooling"
    )
