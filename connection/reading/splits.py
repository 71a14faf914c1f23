"""Reads the train, dev and test pairs of a run, compares them, and prints what they contain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.reading.classes import number_classes
from connection.reading.formats.table import Misfit
from connection.reading.layout import Layout
from connection.reading.overlap import count_repeats, count_shared, split_dev, without_shared
from connection.reading.pairs import Pairs, read_pairs
from connection.reading.preview import class_histogram, first_rows, negatives_text, score_histogram
from connection.reading.rows import PairRows
from connection.reading.scores import range_warning
from connection.reading.shape import Shape


@dataclass
class Splits:
    """The pairs of a run.

    overlap: for "train", the counts of `count_repeats`; for "dev" and "test", those of `count_shared` before any row is
    left out. detected: what the constants that are "" came to, as `effective` gives it. positives: the pairs of POSITIVES_FILE.
    classes: of pairs with a class, in the order of their numbers.
    """

    train: Pairs
    dev: Pairs
    test: Pairs | None
    overlap: dict[str, dict[str, int]]
    detected: dict[str, Any]
    shape: Shape = Shape.SCORED
    positives: Pairs | None = None
    classes: tuple[str, ...] = field(default=())

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
    train, dev, test = read_files(files, layout)
    positives_file = files.get("positives")
    positives = _read_positives(positives_file, layout) if positives_file else None
    shape, low, high = layout.shape, *layout.score_range
    classes = number_classes(train, [pairs for pairs in (dev, test) if pairs]) if shape is Shape.CLASSES else ()
    if shape is Shape.SCORED:
        print(f"Scores: {low:g} to {high:g} in the files become 0 to 1.")
    repeats = _print_counts("train", train, shape)
    print(f"Read as {', '.join(train.notes)}.")
    _print_contents(train, layout, classes)
    detected = effective({"TRAIN_FILE": train, "DEV_FILE": dev, "TEST_FILE": test, "POSITIVES_FILE": positives})
    for name, pairs in {"dev": dev, "test": test, "positives": positives}.items():
        if pairs is not None:
            _print_counts(name, pairs, Shape.TOGETHER if name == "positives" else shape)
            if pairs.notes != train.notes:
                print(f"Read as {', '.join(pairs.notes)}.")
            if layout.negatives and name != "positives":
                print(negatives_text(pairs.table))
    if dev is None:
        train, dev = _split(train, dev_share, seed, shape)
    splits = Splits(train, dev, test, {"train": repeats}, detected, shape, positives, classes)
    _apply_overlap(splits, overlap)
    return splits


def _read_positives(path: Path, layout: Layout) -> Pairs:
    """The pairs of POSITIVES_FILE, which has the columns of sentences only. Raises UserMistake."""
    if layout.shape.has_candidates:
        raise UserMistake(
            "POSITIVES_FILE goes with scored pairs or classes, and TRAIN_FILE has neither (SCORE_COLUMN is empty): put all "
            'pairs into TRAIN_FILE, or set POSITIVES_FILE = "".'
        )
    try:
        return read_pairs(path, replace(layout, score=None, label=None))
    except UserMistake as mistake:
        raise UserMistake(f"{mistake}\nThis file is POSITIVES_FILE, whose columns have the names of TRAIN_FILE's.") from None


def _print_contents(train: Pairs, layout: Layout, classes: Sequence[str]) -> None:
    """Print what is learned from the training pairs: their scores or classes, their negatives, their first rows."""
    table, shape = train.table, layout.shape
    if shape is Shape.SCORED:
        effect = ", so the encoder learns that hardly any pair is alike"
        if warning := range_warning(table["score"].to_numpy(), layout.score_range, effect):
            print(warning)
        print(f"Its scores:\n{score_histogram(table['score'], layout.score_range)}")
    elif shape is Shape.CLASSES:
        print(f"Its classes:\n{class_histogram(table['score'], classes)}")
    else:
        distinct = [f"{table[side].nunique():,} different {side}" for side in ("sentence1", "sentence2")]
        print(f"No scores (SCORE_COLUMN is empty): each row's sentences belong together; {', '.join(distinct)}.")
        if layout.negatives:
            print(negatives_text(table))
    print(f"Its first rows:\n{first_rows(table, layout.score_range)}")


def read_files(files: Mapping[str, Path | None], layout: Layout) -> tuple[Pairs, Pairs | None, Pairs | None]:
    """Train, dev and test. Raises UserMistake; one that has flags to paste has those of all three files.

    If only TRAIN_FILE was changed, dev and test are still the sample's; the error says how to switch them off.
    """
    train_file = files["train"]
    assert train_file is not None
    others = {f"{name.upper()}_FILE": path for name in ("dev", "test") if (path := files[name]) is not None}
    try:
        train = read_pairs(train_file, layout, keep_cells=files["dev"] is None)
    except Misfit as misfit:
        fitting = with_columns(layout, misfit.flags)
        off = {constant: "" for constant, path in others.items() if fitting != layout and not _has_columns(path, fitting)}
        raise Misfit(misfit.text, misfit.flags | off) from None
    found: dict[str, Pairs] = {}
    for constant, path in others.items():
        try:
            found[constant] = _read_held_out(path, layout)
        except UserMistake as mistake:
            without = {"DEV_FILE": "split dev off the training pairs", "TEST_FILE": "train without a test set"}[constant]
            off = {name: "" for name, other in others.items() if name == constant or not _has_columns(other, layout)}
            text, flags = (mistake.text, mistake.flags) if isinstance(mistake, Misfit) else (str(mistake), {})
            flags = {} if set(flags) & set(layout.columns) else flags  # they would not fit the training file, which is read
            raise Misfit(f'{text}\nThis file is {constant}; set {constant} = "" to {without}.', off | flags) from None
    return train, found.get("DEV_FILE"), found.get("TEST_FILE")


def _read_held_out(path: Path, layout: Layout) -> Pairs:
    """The pairs of dev or test, which may lack the columns of the negatives: then each row has none."""
    if not layout.negatives:
        return read_pairs(path, layout, keep_cells=True)
    without = replace(layout, negatives=())
    header = PairRows(path, without).header
    if header is None or set(map(str, layout.negatives)) & set(header):
        return read_pairs(path, layout, keep_cells=True)
    pairs = read_pairs(path, without, keep_cells=True)
    for number in range(1, len(layout.negatives) + 1):
        pairs.table[f"negative{number}"] = ""
    return pairs


def with_columns(layout: Layout, flags: Mapping[str, object]) -> Layout:
    """The layout with the columns that the flags of a Misfit name."""
    named = {name: value for name, value in flags.items() if name in layout.columns and isinstance(value, str)}
    columns = layout.columns | named
    return replace(
        layout,
        sentence1=columns["SENTENCE1_COLUMN"],
        sentence2=columns["SENTENCE2_COLUMN"],
        score=columns.get("SCORE_COLUMN") or None,
    )


def _has_columns(path: Path, layout: Layout) -> bool:
    """Whether a file has the columns and its first row is a pair."""
    try:
        rows = PairRows(path, layout)
        _, problems = rows.check(*next(iter(rows.table)))
    except (UserMistake, StopIteration):
        return False
    return not problems


def effective(files: Mapping[str, Pairs | None]) -> dict[str, Any]:
    """What the constants that are "" came to: a value each or, where the files differ, a value by the file's constant."""
    read = {constant: pairs.detected for constant, pairs in files.items() if pairs is not None}
    found: dict[str, Any] = {}
    for name in ("ENCODING", "SEPARATOR", "DECIMAL", "SHEET"):
        values = {constant: detected[name] for constant, detected in read.items()}
        found[name] = values if len(set(values.values())) > 1 else next(iter(values.values()))
    return found


def _print_counts(name: str, pairs: Pairs, shape: Shape) -> dict[str, int]:
    """Print the number of pairs and what is unusual about them. Returns the counts of `count_repeats`."""
    counts = count_repeats(pairs.table)
    notes = {
        "exact repeats": counts["exact_duplicates"],
        "repeats except for case, spacing or order": counts["duplicates"] - counts["exact_duplicates"],
        f"pairs with several {'classes' if shape is Shape.CLASSES else 'scores'}": counts["pairs_with_several_scores"],
        "cells ignored": pairs.ignored_cells,
        "rows with control characters, which BERT's tokenizer drops": pairs.control_rows,
    }
    listed = "; ".join(f"{label}: {count:,}" for label, count in notes.items() if count)
    print(f"{name.capitalize():5} {len(pairs):,} pairs from {pairs.path}" + (f" ({listed})" if listed else ""))
    return counts


def _split(train: Pairs, share: float, seed: int, shape: Shape) -> tuple[Pairs, Pairs]:
    split = split_dev(train.table, share, seed, has_scores=not shape.has_candidates)
    parts = [
        Pairs(
            train.path,
            train.table.iloc[rows].reset_index(drop=True),
            train.columns,
            [train.cells[row] for row in rows],
            style=train.style,
        )
        for rows in (split.train, split.dev)
    ]
    rule = f"{split.rule} ({split.reason})" if split.reason else split.rule
    print(f"Dev   {len(split.dev):,} of these are split off, {rule}; {len(split.train):,} are left.")
    return parts[0], parts[1]


def _apply_overlap(splits: Splits, overlap: str) -> None:
    others = {name: pairs for name, pairs in splits.named().items() if name != "train"}
    learned = {"train": splits.train} | ({"positives": splits.positives} if splits.positives else {})
    shares: set[str] = set()  # those of `learned` that share pairs
    for source, trained in learned.items():
        for name, pairs in others.items():
            shared = count_shared(trained.table, pairs.table)
            splits.overlap[name if source == "train" else f"{source} and {name}"] = shared
            if shared["pairs"] or shared["sentences"]:
                print(
                    f"{source.capitalize()} and {name} share: identical pairs {shared['exact_pairs']:,}, pairs ignoring case, "
                    f"spacing and order {shared['pairs']:,}, identical sentences {shared['sentences']:,}."
                )
            shares |= {source} if shared["pairs"] else set()
    if not shares:
        return
    if overlap == "refuse":
        raise UserMistake(
            f"{learned[min(shares, key=list(learned).index)].path} contains pairs that are also in dev or test, and OVERLAP is "
            '"refuse". Remove them, or set OVERLAP = "drop".'
        )
    if overlap == "drop":
        for source in sorted(shares, key=list(learned).index):
            _drop_shared(splits, source, learned[source], others.values())
    else:
        print('These pairs stay in train: set OVERLAP to "drop" to leave them out, or to "refuse" to stop.')


def _drop_shared(splits: Splits, source: str, pairs: Pairs, others: Iterable[Pairs]) -> None:
    """Leave out of `train` or `positives` the rows whose pair is also in one of `others`."""
    kept = without_shared(pairs.table, [other.table for other in others])
    has_scores = source == "train" and not splits.shape.has_candidates
    if not len(kept) or (has_scores and kept["score"].nunique() < 2):
        raise UserMistake(
            f'OVERLAP = "drop" leaves {"no different scores" if has_scores else "no pair"} to train on in {pairs.path}. Add '
            'pairs, or set OVERLAP = "report".'
        )
    print(f'OVERLAP = "drop": {len(pairs) - len(kept):,} rows left out of {source}.')
    if source == "train":
        splits.train = Pairs(pairs.path, kept)
    else:
        splits.positives = Pairs(pairs.path, kept)
