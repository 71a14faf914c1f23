"""What is printed of an encoder before a run: its size, and how its tokenizer splits the sentences."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from connection.encoder import alternatives
from connection.encoder.prompts import without_prompt
from connection.text import printable

if TYPE_CHECKING:
    from typing_extensions import Self

    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset


SAMPLE = 10_000  # characters
HIGH_UNKNOWN, HIGH_TOKENS_PER_WORD = 0.05, 3.0
SHOWN_UNKNOWN = 5  # pairs
UNKNOWN_MEANS = (
    "no word of it is in this encoder's vocabulary, so the similarity says nothing. Leave such pairs out, or set ENCODER to an "
    "encoder of their language or signs."
)
# A word is text between blanks. Chinese and Japanese are written without blanks, so each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")


class TokenCounts:
    """How a tokenizer splits sentences, added up while they are tokenised; memory does not grow with their number.

    lengths: how many sentences have each number of tokens before they are cut, with [CLS] and [SEP]. unknown: the number of
    [UNK] tokens among those that are kept; [UNK] stands for a word outside the vocabulary. cut: the number of sentences longer
    than max_tokens. composed: the number of sentences with decomposed characters (`connection/encoder/composition.py`).
    """

    def __init__(self, max_tokens: int):
        self.max_tokens = max_tokens
        self.lengths: Counter[int] = Counter()
        self.unknown = self.words = self.cut = self.composed = 0
        self.sample = ""  # the first text, by which the language is judged

    def tokenize(self, encoder: ConnectionBert, sentences: Sequence[str]) -> tuple[list[np.ndarray], int]:
        """The result of `encoder.tokenize`, counted."""
        composed = encoder.compose(sentences)
        if composed is not sentences:
            self.composed += sum(old != new for old, new in zip(sentences, composed, strict=True))
        tokens, whole_lengths = encoder.tokenize_whole(composed)
        cut = int((whole_lengths > self.max_tokens).sum())
        if tokens:
            unknown = int((np.concatenate(tokens) == encoder.tokenizer.unk_token_id).sum())
            self.add(composed, whole_lengths, unknown, cut)
        return tokens, cut

    def add(self, sentences: Sequence[str], lengths: np.ndarray, unknown: int, cut: int) -> None:
        """Add S sentences. lengths: (S,) the tokens of each before it is cut. unknown, cut: as the attributes, of these S."""
        if len(self.sample) < SAMPLE:
            self.sample += "\n".join(sentences)[:SAMPLE]
        values, counts = np.unique(lengths, return_counts=True)
        self.lengths.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.words += sum(map(count_words, sentences))
        self.unknown += unknown
        self.cut += cut

    def text(self) -> str:
        """Statistics of the tokens, with a warning if the vocabulary does not fit the sentences. Empty without sentences."""
        if not self.lengths:
            return ""
        lengths, counts = np.array(sorted(self.lengths.items())).T
        total = int(counts.sum())
        tokens, kept = (int((sizes * counts).sum()) - 2 * total for sizes in (lengths, np.minimum(lengths, self.max_tokens)))
        share, per_word = self.unknown / max(kept, 1), tokens / max(self.words, 1)
        middle, high = (percentile(lengths, counts, percent) for percent in (50, 95))
        text = (
            f"Tokens a sentence: median {middle:.0f}, 95 % have at most {high:.0f}, the longest {lengths.max()}; "
            f"{self.cut:,} of {total:,} sentences are cut (MAX_TOKENS {self.max_tokens}). "
            f"{per_word:.1f} tokens a word; [UNK]: {100 * share:.1f} % of them."
        )
        return text + _warning(share, per_word, self.sample)


def count_words(sentence: str) -> int:
    """The number of words: text between blanks; each Chinese or Japanese character is a word.

    >>> count_words("two words"), count_words("猫 and 犬")
    (2, 3)
    """
    return len(sentence.split()) if sentence.isascii() else len(_WORD.findall(sentence))


def percentile(values: np.ndarray, counts: np.ndarray, percent: float) -> float:
    """The percentile of values (n,), ascending, of which each occurs `counts` (n,) times; as numpy, linear in between."""
    ends = np.cumsum(counts)
    position = percent / 100 * (int(ends[-1]) - 1)
    low, high = values[np.searchsorted(ends, [math.floor(position), math.ceil(position)], side="right")].tolist()
    return low + (high - low) * (position - math.floor(position))


def only_unknown(encoder: ConnectionBert, sentences: Sequence[str], ids: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Whether each of S sentences is nothing but [UNK] tokens, or has no token at all beside [CLS] and [SEP]; (S,) bool.

    sentences: their texts; prompts do not count. ids: (all tokens,). offsets: (S + 1,); sentence s is
    `ids[offsets[s]:offsets[s + 1]]`, of at least one token.
    """
    tokenizer = encoder.tokenizer
    known = ~np.isin(ids, [tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id])
    prompts = [prompt for prompt in encoder.pair_prompts if prompt]
    if prompts:
        lengths = {prompt: len(encoder.tokenize([prompt])[0][0]) - 1 for prompt in prompts}  # with [CLS]
        for sentence, start, end in zip(sentences, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            leading = max((length for prompt, length in lengths.items() if sentence.startswith(prompt)), default=0)
            known[start : min(start + leading, end)] = False
    return ~np.logical_or.reduceat(known, offsets[:-1])


@dataclass
class UnknownPairs:
    """Pairs in which a sentence is nothing but [UNK]: how many, and of the first ones the line and those sentences, as text."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def of(cls, encoder: ConnectionBert, dataset: ConnectionDataset, lines: Sequence[int]) -> Self:
        """Those of a tokenised set. lines: (n,) the line of each pair."""
        pairs, unknown = cls(), only_unknown(encoder, dataset.texts, dataset.ids, dataset.offsets)
        for row in np.flatnonzero(unknown[dataset.sides].any(axis=1)).tolist():
            texts = [dataset.texts[number] for number in dataset.sides[row] if unknown[number]]
            pairs.add(lines[row], [without_prompt(text, encoder.pair_prompts) for text in texts])
        return pairs

    def add(self, line: int, sentences: Sequence[str]) -> None:
        """Add a pair, if it has such sentences: its line, and the one or two of them."""
        self.count += bool(sentences)
        if sentences and len(self.first) < SHOWN_UNKNOWN:
            self.first.append((line, "  |  ".join(map(short, dict.fromkeys(sentences)))))

    def text(self, pairs: str, path: Path | None = None) -> str:
        """A warning that names the first ones, or "" if there are none. pairs: of which they are, such as "520 train pairs"."""
        if not self.count:
            return ""
        subject = f"in {self.count:,} of {pairs}" if path else f"in {pairs}"
        lines = [f"Warning: {subject}, a sentence is nothing but [UNK]: {UNKNOWN_MEANS}"]
        lines += [f"  {path}:{line}  {sentences}" if path else f"  {sentences}" for line, sentences in self.first]
        if self.count > len(self.first):
            lines.append(f"  … and {self.count - len(self.first):,} more")
        return "\n".join(lines)


def short(sentence: str, width: int = 45) -> str:
    """The beginning of a sentence, on one line.

    >>> short("The cat\\nsleeps.", width=12)
    'The cat sle…'
    """
    text = printable(sentence[: width + 1]).replace("\n", " ")
    return text if len(text) <= width else text[: width - 1] + "…"


def _warning(share: float, per_word: float, sample: str) -> str:
    if share <= HIGH_UNKNOWN and per_word <= HIGH_TOKENS_PER_WORD:
        return ""
    symptom = f"{share:.0%} of the tokens are [UNK]" if share > HIGH_UNKNOWN else f"a word takes {per_word:.1f} tokens"
    return (
        f"\nWarning: {symptom}: this encoder's vocabulary does not fit the language or the words of these sentences. "
        f"Set ENCODER to an encoder of this language for a better result{_such_as(sample)}."
    )


def _such_as(sample: str) -> str:
    """An encoder for the language of a text, unless it may be English."""
    encoder = alternatives.suited_to(sample)
    return "" if encoder == alternatives.ENGLISH else f", such as {encoder} ({alternatives.download(encoder)})"


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
