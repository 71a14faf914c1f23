"""How the pairs of one file, or of two, relate: repeats, contradictions, what training and evaluation share, the split.

Two sentences are alike when they differ only in case, spacing or Unicode form (NFKC); two pairs are alike when their
sentences are, in either order.
"""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd

from connection import UserMistake
from connection.randomness import DEV_SPLIT, derive

LONGEST_AT_ONCE = 1_000  # characters: Python's NFKC takes time by the square of a run of combining marks


def normal_form(sentence: str) -> str:
    """The sentence with case, spacing and Unicode form evened out.

    >>> normal_form(" A  ﬁne Day")
    'a fine day'
    """
    if len(sentence) <= LONGEST_AT_ONCE:
        evened = unicodedata.normalize("NFKC", sentence)
    else:  # word by word gives the same, but for words that are longer than that themselves
        evened = " ".join(map(_evened_in_pieces, sentence.split()))
    return " ".join(evened.casefold().split())


def _evened_in_pieces(word: str) -> str:
    starts = range(0, len(word), LONGEST_AT_ONCE)
    return "".join(unicodedata.normalize("NFKC", word[start : start + LONGEST_AT_ONCE]) for start in starts)


def pair_keys(table: pd.DataFrame) -> list[tuple[str, str]]:
    """One key a pair: equal where the pairs are alike."""
    forms = {sentence: normal_form(sentence) for side in ("sentence1", "sentence2") for sentence in table[side].unique()}
    keys = []
    for sentence1, sentence2 in zip(table["sentence1"], table["sentence2"], strict=True):
        first, second = sorted((forms[sentence1], forms[sentence2]))
        keys.append((first, second))
    return keys


def count_repeats(table: pd.DataFrame) -> dict[str, int]:
    """Rows that repeat an earlier one to the letter, or are alike to one; and pairs that have more than one score."""
    keyed = pd.DataFrame({"key": pair_keys(table), "score": table["score"]})
    return {
        "exact_duplicates": int(table.duplicated(["sentence1", "sentence2"]).sum()),
        "duplicates": int(keyed.duplicated("key").sum()),
        "pairs_with_several_scores": int(keyed.drop_duplicates().duplicated("key").sum()),
    }


def count_shared(train: pd.DataFrame, other: pd.DataFrame) -> dict[str, int]:
    """What `other` (dev or test) shares with `train`: pairs to the letter, pairs that are alike, sentences, train rows."""
    train_keys, other_keys = pair_keys(train), set(pair_keys(other))
    exact = set(zip(train["sentence1"], train["sentence2"], strict=True))
    exact &= set(zip(other["sentence1"], other["sentence2"], strict=True))
    sentences = [set(table["sentence1"]) | set(table["sentence2"]) for table in (train, other)]
    return {
        "exact_pairs": len(exact),
        "pairs": len(other_keys & set(train_keys)),
        "sentences": len(sentences[0] & sentences[1]),
        "train_rows": sum(key in other_keys for key in train_keys),
    }


def without_shared(train: pd.DataFrame, others: list[pd.DataFrame]) -> pd.DataFrame:
    """The training rows whose pair is alike to none of the others' pairs."""
    held = {key for other in others for key in pair_keys(other)}
    return train[[key not in held for key in pair_keys(train)]].reset_index(drop=True)


def split_dev(table: pd.DataFrame, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of train and of dev, so that no sentence (nor one alike) is on both sides.

    Rows that share a sentence, directly or through other rows, form a group, and a group goes to one side whole.
    Groups are taken in an order drawn from the seed, as long as they fit into `share` of the rows.
    Raises UserMistake where no such split exists.
    """
    groups = _connected_groups(pair_keys(table))
    first_rows = np.array(sorted(groups))
    wanted = max(1, round(share * len(table)))
    dev: list[int] = []
    for first_row in first_rows[np.argsort(derive(seed, DEV_SPLIT, first_rows), kind="stable")]:
        if len(dev) + len(groups[first_row]) <= wanted:
            dev += groups[first_row]
    in_dev = np.zeros(len(table), dtype=bool)
    in_dev[dev] = True
    train_rows, dev_rows = np.flatnonzero(~in_dev), np.flatnonzero(in_dev)
    if any(table["score"].iloc[rows].nunique() < 2 for rows in (train_rows, dev_rows)):
        raise UserMistake(
            f"DEV_FILE is empty, and {share:g} (DEV_SHARE) of the {len(table):,} training rows cannot be split off so that "
            f"no sentence is on both sides and both sides have different scores: the rows form {len(groups):,} groups "
            f"that share sentences, the largest of {max(map(len, groups.values())):,} rows. "
            "Give a DEV_FILE, add pairs, or change DEV_SHARE."
        )
    return train_rows, dev_rows


def _connected_groups(keys: list[tuple[str, str]]) -> dict[int, list[int]]:
    """Rows by connected component, keyed by the component's first row (union-find over sentences)."""
    parent: dict[str, str] = {}

    def root(sentence: str) -> str:
        parent.setdefault(sentence, sentence)
        while parent[sentence] != sentence:
            parent[sentence] = sentence = parent[parent[sentence]]
        return sentence

    for sentence1, sentence2 in keys:
        parent[root(sentence1)] = root(sentence2)
    by_root: dict[str, list[int]] = {}
    for row, (sentence1, _) in enumerate(keys):
        by_root.setdefault(root(sentence1), []).append(row)
    return {rows[0]: rows for rows in by_root.values()}
