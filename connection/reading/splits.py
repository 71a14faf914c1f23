"""Reads the train, dev and test pairs of a run, compares them, and prints what they contain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from connection import UserMistake
from connection.reading.layout import Layout
from connection.reading.overlap import count_repeats, count_shared, split_dev, without_shared
from connection.reading.pairs import Pairs, read_pairs
from connection.reading.preview import first_rows, score_histogram


@dataclass
class Splits:
    """The pairs of a run.

    overlap: for "train", the counts of `count_repeats`; for "dev" and "test", those of `count_shared` before any row is
    left out.
    """

    train: Pairs
    dev: Pairs
    test: Pairs | None
    overlap: dict[str, dict[str, int]]

    def named(self) -> dict[str, Pairs]:
        """The sets that the run has, by name."""
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: pairs for name, pairs in splits.items() if pairs is not None}


def read_splits(files: Mapping[str, Path | None], layout: Layout, *, overlap: str, dev_share: float, seed: int) -> Splits:
    """Read the files, split dev off train if there is no dev file, and apply OVERLAP. Prints what the files contain.

    files: the paths of "train", "dev" and "test"; the last two may be None. overlap: "report" counts the pairs that train
    shares with dev or test, "drop" leaves them out of train, "refuse" raises.
    Raises UserMistake for files and rows that cannot be used.
    """
    train_file = files["train"]
    assert train_file is not None
    train = read_pairs(train_file, layout, keep_cells=files["dev"] is None)
    dev, test = (_read_held_out(f"{name.upper()}_FILE", files[name], layout) for name in ("dev", "test"))
    low, high = layout.score_range
    print(f"Scores: {low:g} to {high:g} in the files become 0 to 1.")
    repeats = _print_counts("train", train)
    print(f"Its scores:\n{score_histogram(train.table['score'], layout.score_range)}")
    print(f"Its first rows:\n{first_rows(train.table, layout.score_range)}")
    if dev is None:
        train, dev = _split(train, dev_share, seed)
    else:
        _print_counts("dev", dev)
    if test is not None:
        _print_counts("test", test)
    splits = Splits(train, dev, test, {"train": repeats})
    _apply_overlap(splits, overlap)
    return splits


def _read_held_out(constant: str, path: Path | None, layout: Layout) -> Pairs | None:
    """Read dev or test. If only TRAIN_FILE was changed, they are still the sample's; the error says how to switch them off."""
    try:
        return read_pairs(path, layout, keep_cells=True) if path else None
    except UserMistake as mistake:
        without = {"DEV_FILE": "split dev off the training pairs", "TEST_FILE": "train without a test set"}[constant]
        raise UserMistake(f'{mistake}\nThis file is {constant}; set {constant} = "" to {without}.') from None


def _print_counts(name: str, pairs: Pairs) -> dict[str, int]:
    """Print the number of pairs and what is unusual about them. Returns the counts of `count_repeats`."""
    counts = count_repeats(pairs.table)
    notes = {
        "exact repeats": counts["exact_duplicates"],
        "repeats except for case, spacing or order": counts["duplicates"] - counts["exact_duplicates"],
        "pairs with several scores": counts["pairs_with_several_scores"],
        "cells ignored": pairs.ignored_cells,
        "blank lines": pairs.blank_lines,
        "rows with control characters, which BERT's tokenizer drops": pairs.control_rows,
    }
    listed = "; ".join(f"{label}: {count:,}" for label, count in notes.items() if count)
    print(f"{name.capitalize():5} {len(pairs):,} pairs from {pairs.path}" + (f" ({listed})" if listed else ""))
    return counts


def _split(train: Pairs, share: float, seed: int) -> tuple[Pairs, Pairs]:
    split = split_dev(train.table, share, seed)
    parts = [
        Pairs(
            train.path,
            train.table.iloc[rows].reset_index(drop=True),
            train.columns,
            [train.cells[row] for row in rows],
        )
        for rows in (split.train, split.dev)
    ]
    rule = f"{split.rule} ({split.reason})" if split.reason else split.rule
    print(f"Dev   {len(split.dev):,} of these are split off, {rule}; {len(split.train):,} are left.")
    return parts[0], parts[1]


def _apply_overlap(splits: Splits, overlap: str) -> None:
    others = {name: pairs for name, pairs in splits.named().items() if name != "train"}
    for name, pairs in others.items():
        shared = count_shared(splits.train.table, pairs.table)
        splits.overlap[name] = shared
        if shared["pairs"] or shared["sentences"]:
            print(
                f"Train and {name} share: identical pairs {shared['exact_pairs']:,}, pairs ignoring case, spacing and order "
                f"{shared['pairs']:,}, identical sentences {shared['sentences']:,}."
            )
    if not any(splits.overlap[name]["pairs"] for name in others):
        return
    if overlap == "refuse":
        raise UserMistake(
            f"{splits.train.path} contains pairs that are also in dev or test, and OVERLAP is "
            '"refuse". Remove them, or set OVERLAP = "drop".'
        )
    if overlap == "drop":
        kept = without_shared(splits.train.table, [pairs.table for pairs in others.values()])
        if kept["score"].nunique() < 2:
            raise UserMistake(
                f'OVERLAP = "drop" leaves no different scores to train on in {splits.train.path}. Add pairs, or set '
                'OVERLAP = "report".'
            )
        print(f'OVERLAP = "drop": {len(splits.train) - len(kept):,} rows left out of train.')
        splits.train = Pairs(splits.train.path, kept)
    else:
        print('These pairs stay in train: set OVERLAP to "drop" to leave them out, or to "refuse" to stop.')
