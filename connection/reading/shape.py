"""The kinds of pairs that a file can hold. Imports the standard library only."""

from __future__ import annotations

import enum


class Shape(enum.Enum):
    """What a row of a file says of its sentences; the value is what messages call such rows."""

    SCORED = "scored pairs"
    TOGETHER = "pairs that belong together"
    NEGATIVES = "pairs with hard negatives"
    CLASSES = "pairs with a class"

    @property
    def has_candidates(self) -> bool:
        """Whether sentence2 is what belongs to sentence1, among all others."""
        return self in (Shape.TOGETHER, Shape.NEGATIVES)
