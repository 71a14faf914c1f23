"""Repeats and contradictions within a file, pairs that train shares with dev or test, and the dev split.

Two sentences are alike if they differ only in case, spacing or Unicode form (NFKC). Two pairs are alike if their sentences
are, in either order.
"""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd

from connection import UserMistake
from connection.randomness import DEV_SPLIT, derive

LONGEST_AT_ONCE = 1_000  # characters: the time of Python's NFKC is quadratic in the length of a run of combining marks


def normal_form(sentence: str) -> str:
    """The sentence with case, spacing and Unicode form normalised, for comparison.

    >>> normal_form(" A  ﬁne Day")
    'a fine day'
    """
    if len(sentence) <= LONGEST_AT_ONCE:
        normalised = unicodedata.normalize("NFKC", sentence)
    else:  # word by word: the same result, unless a word is longer than LONGEST_AT_ONCE
        normalised = " ".join(map(_normalised_in_pieces, sentence.split()))
    return " ".join(normalised.casefold().split())


def _normalised_in_pieces(word: str) -> str:
    starts = range(0, len(word), LONGEST_AT_ONCE)
    return "".join(unicodedata.normalize("NFKC", word[start : start + LONGEST_AT_ONCE]) for start in starts)


def pair_keys(table: pd.DataFrame) -> list[tuple[str, str]]:
    """One key per pair. Keys are equal for pairs that are alike."""
    forms = {sentence: normal_form(sentence) for side in ("sentence1", "sentence2") for sentence in table[side].unique()}
    keys = []
    for sentence1, sentence2 in zip(table["sentence1"], table["sentence2"], strict=True):
        first, second = sorted((forms[sentence1], forms[sentence2]))
        keys.append((first, second))
    return keys


def count_repeats(table: pd.DataFrame) -> dict[str, int]:
    """Count exact duplicates, duplicates (rows alike to an earlier one), and pairs with more than one score."""
    keyed = pd.DataFrame({"key": pair_keys(table), "score": table["score"]})
    return {
        "exact_duplicates": int(table.duplicated(["sentence1", "sentence2"]).sum()),
        "duplicates": int(keyed.duplicated("key").sum()),
        "pairs_with_several_scores": int(keyed.drop_duplicates().duplicated("key").sum()),
    }


def count_shared(train: pd.DataFrame, other: pd.DataFrame) -> dict[str, int]:
    """Count what `other` (dev or test) shares with `train`.

    exact_pairs: identical pairs. pairs: pairs that are alike. sentences: identical sentences. train_rows: the rows of train
    that are alike to a pair of `other`.
    """
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
    """The training rows whose pair is not alike to any pair of `others`."""
    other_keys = {key for other in others for key in pair_keys(other)}
    return train[[key not in other_keys for key in pair_keys(train)]].reset_index(drop=True)


def split_dev(table: pd.DataFrame, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of train and of dev, such that no sentence, nor one alike, is in both.

    Rows that share a sentence, directly or through other rows, form a group. Groups are never divided: in an order derived
    from the seed, each goes to dev if it still fits into `share` of the rows, and to train otherwise.
    Raises UserMistake if train or dev has no two different scores.
    """
    groups = _connected_groups(pair_keys(table))
    first_rows = np.array(sorted(groups))
    dev_size = max(1, round(share * len(table)))
    dev: list[int] = []
    for first_row in first_rows[np.argsort(derive(seed, DEV_SPLIT, first_rows), kind="stable")]:
        if len(dev) + len(groups[first_row]) <= dev_size:
            dev += groups[first_row]
    in_dev = np.zeros(len(table), dtype=bool)
    in_dev[dev] = True
    train_rows, dev_rows = np.flatnonzero(~in_dev), np.flatnonzero(in_dev)
    if any(table["score"].iloc[rows].nunique() < 2 for rows in (train_rows, dev_rows)):
        largest = max(map(len, groups.values()))
        raise UserMistake(
            f"DEV_SHARE: the largest group of rows that share sentences has {largest:,} of the {len(table):,} training rows, "
            f"and groups stay whole, so {share:g} of the rows cannot be split off with different scores in both train and "
            "dev. Set DEV_FILE, add pairs, or change DEV_SHARE."
        )
    return train_rows, dev_rows


def _connected_groups(keys: list[tuple[str, str]]) -> dict[int, list[int]]:
    """The rows of each connected component, keyed by its first row (union-find over sentences)."""
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
