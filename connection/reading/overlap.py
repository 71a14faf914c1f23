"""Repeats and contradictions within a file, pairs that train shares with dev or test, and the dev split.

Two sentences are alike if they differ only in case, spacing or Unicode form (NFKC). Two pairs are alike if their sentences
are, in either order.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class DevSplit:
    """A dev split: the row numbers of train and of dev, both ascending.

    rule: what is never on both sides, in words. reason: why no stricter rule was taken; empty for the strictest one.
    """

    train: np.ndarray
    dev: np.ndarray
    rule: str
    reason: str


def split_dev(table: pd.DataFrame, share: float, seed: int, *, has_scores: bool = True) -> DevSplit:
    """Split `share` of the rows off as dev, by the first possible of three rules. Sentences that are alike count as one.

    The rules: no sentence on both sides; no sentence1 and no pair; no pair, otherwise rows at random. A rule joins rows into
    groups, directly or through other rows, and groups are never divided: in an order derived from the seed, each goes to dev
    if it still fits into `share` of the rows, and to train otherwise.
    A rule is possible if train and dev have two different scores each and dev has at least half of the wanted rows. Half of
    the rows make the interval of dev's Spearman 1.4 times as wide, which is cheaper than the bias of shared sentences; a dev
    of a few rows would choose the best weights by chance. If no rule gives half, the one that gives most rows is taken.
    has_scores: whether the rows have scores or classes. Without, one row each is enough for train and dev.
    Raises UserMistake if train or dev has no two different scores (no row) by any rule.
    """
    wanted = max(1, round(share * len(table)))
    reasons: list[str] = []
    usable: list[DevSplit] = []
    for rule, groups in _groups_by_rule(table):
        split = DevSplit(*_whole_groups(groups, wanted, seed), rule, "; ".join(reasons))
        least = 2 if has_scores else 1
        is_usable = all(table["score"].iloc[rows].nunique() >= least for rows in (split.train, split.dev))
        is_large = 2 * len(split.dev) >= wanted
        if is_usable and is_large:
            return split
        usable += [split] * is_usable
        reasons.append(_why_not(split, is_large, max(groups.values(), key=len), table))
    if usable:
        return max(usable, key=lambda split: len(split.dev))  # the strictest of those with most rows
    what = "different scores" if has_scores else "rows"
    raise UserMistake(
        f"DEV_SHARE: {wanted:,} of the {len(table):,} training rows (a share of {share:g}) cannot be split off with {what} in "
        "both train and dev, not even at random. Set DEV_FILE, add pairs, or change DEV_SHARE."
    )


def _groups_by_rule(table: pd.DataFrame) -> Iterator[tuple[str, dict[int, list[int]]]]:
    """Each rule in words, the strictest first, and the rows that it keeps together, as `_connected_groups` gives them."""
    keys = pair_keys(table)
    yield "no sentence on both sides", _connected_groups(keys)
    first_sentences = map(normal_form, table["sentence1"])
    yield "no sentence1 on both sides", _connected_groups(list(zip(first_sentences, keys, strict=True)))
    yield "rows at random, no pair on both sides", _connected_groups([(key, key) for key in keys])


def _whole_groups(groups: dict[int, list[int]], wanted: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of train and of dev: whole groups in an order derived from the seed, as many as fit into `wanted` rows."""
    first_rows = np.array(sorted(groups))
    dev: list[int] = []
    for first_row in first_rows[np.argsort(derive(seed, DEV_SPLIT, first_rows), kind="stable")]:
        if len(dev) + len(groups[first_row]) <= wanted:
            dev += groups[first_row]
    in_dev = np.zeros(sum(map(len, groups.values())), dtype=bool)
    in_dev[dev] = True
    return np.flatnonzero(~in_dev), np.flatnonzero(in_dev)


def _why_not(split: DevSplit, is_large: bool, largest: list[int], table: pd.DataFrame) -> str:
    """Why a split is not taken: too few rows for dev, or equal scores on one side. largest: the rows of its largest group."""
    if is_large:
        return f'"{split.rule}" leaves train or dev with equal scores'
    shared = {side: len(set(map(normal_form, table[side].iloc[largest]))) for side in ("sentence1", "sentence2")}
    side = min(shared, key=lambda name: shared[name])
    return f'"{split.rule}" leaves {len(split.dev):,} for dev, since {len(largest):,} rows share {shared[side]:,} {side}'


def _connected_groups(keys: Sequence[tuple[Hashable, Hashable]]) -> dict[int, list[int]]:
    """The rows of each connected component, keyed by its first row. Rows are connected that have a key in common."""
    parent: dict[Hashable, Hashable] = {}

    def root(key: Hashable) -> Hashable:  # union-find
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    for first, second in keys:
        parent[root(first)] = root(second)
    by_root: dict[Hashable, list[int]] = {}
    for row, (first, _) in enumerate(keys):
        by_root.setdefault(root(first), []).append(row)
    return {rows[0]: rows for rows in by_root.values()}
