"""Rows of the predictions files: the user's columns, and the similarities before and after training."""

from __future__ import annotations

import numpy as np

from connection.reading.pairs import Pairs


def prediction_rows(pairs: Pairs, before: np.ndarray, after: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a predictions file: the user's columns, then predicted_before and predicted_after.

    before, after: similarities (n,), written with the decimal sign of the file. Columns of the file that already have these
    names are replaced.
    """
    added = {"predicted_before": before, "predicted_after": after}
    kept = [column for column, name in enumerate(pairs.columns) if name not in added]
    header = [pairs.columns[column] for column in kept] + list(added)
    rows = [
        [cells[column] for column in kept] + [pairs.style.number(value) for value in predicted]
        for cells, *predicted in zip(pairs.cells, before, after, strict=True)
    ]
    return header, rows
