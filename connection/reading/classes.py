"""Pairs with a class: the classes of a run, and the number of each row's class."""

from __future__ import annotations

from collections.abc import Iterable

from connection import UserMistake
from connection.reading.pairs import Pairs
from connection.reading.row_check import shown

MOST_CLASSES = 1_000


def number_classes(train: Pairs, others: Iterable[Pairs]) -> tuple[str, ...]:
    """The classes of the training pairs, in sorted order; the score of each row becomes the number of its class.

    Raises UserMistake if there are too few or too many classes, and for a class that no training pair has.
    """
    classes = tuple(sorted(set(train.table["label"])))
    if len(classes) < 2:
        raise UserMistake(
            f'{train.path}: every row has the class "{shown(classes[0])}" (LABEL_COLUMN), so there is nothing to learn. '
            "Check LABEL_COLUMN, or add pairs of other classes."
        )
    if len(classes) > MOST_CLASSES:
        raise UserMistake(
            f"{train.path} has {len(classes):,} different classes (LABEL_COLUMN), and at most {MOST_CLASSES:,} can be learned. "
            "Is it a column of texts or of numbers? Numbers are scores: name them by SCORE_COLUMN."
        )
    number = {label: i for i, label in enumerate(classes)}
    for pairs in (train, *others):
        labels = pairs.table["label"]
        unknown = ~labels.isin(number)
        if unknown.any():
            row = int(unknown.to_numpy().argmax())
            line, label = pairs.table["line"].iloc[row], shown(labels.iloc[row])
            raise UserMistake(
                f'{pairs.path}, line {line}: no training pair has the class "{label}" '
                f"({int(unknown.sum()):,} rows of this file); the classes of {train.path.name}: "
                f"{', '.join(map(shown, classes[:20]))}{', …' if len(classes) > 20 else ''}."
            )
        pairs.table["score"] = labels.map(number).astype(float)
    return classes
