"""What is printed of an encoder before a run: its size, and how its tokenizer splits the sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert


HIGH_UNKNOWN, HIGH_TOKENS_PER_WORD = 0.05, 3.0
# A word is text between blanks. Chinese and Japanese are written without blanks, so each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")


def token_text(lengths: np.ndarray, unknown: int, sentences: Sequence[str], cut: int, max_tokens: int) -> str:
    """Statistics of the tokens of S distinct sentences, with a warning if the vocabulary does not fit them.

    lengths: (S,) the tokens of each sentence before it is cut, with [CLS] and [SEP]. unknown: the number of [UNK] tokens among
    those that are kept. cut: the number of sentences longer than max_tokens. [UNK] stands for a word outside the vocabulary.
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
    symptom = f"{share:.0%} of the tokens are [UNK]" if share > HIGH_UNKNOWN else f"a word takes {per_word:.1f} tokens"
    return (
        f"\nWarning: {symptom}: this encoder's vocabulary does not fit the language or the words of these sentences. "
        "Set ENCODER to an encoder of this language for a better result."
    )


def encoder_name(folder: Path) -> str:
    """What people call an encoder: its folder's name; of best/ of a run, that with the run's name before it.

    >>> encoder_name(Path("transformers/bert/klue/bert-base")), encoder_name(Path("output/tickets/best"))
    ('bert-base', 'tickets/best')
    """
    return f"{folder.parent.name}/best" if folder.name == "best" and folder.parent.name else folder.name


def encoder_text(encoder: ConnectionBert) -> str:
    """The size of an encoder: "6 layers, hidden size 384, 22.7 M parameters, mean pooling"."""
    bert = encoder.bert.config
    return (
        f"{bert.num_hidden_layers} layers, hidden size {bert.hidden_size}, "
        f"{encoder.bert.num_parameters() / 1e6:.1f} M parameters, {encoder.pooling} pooling"
    )
