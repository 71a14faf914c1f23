"""Rows of the predictions files: the user's columns, and what the encoder said before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from connection.reading.pairs import Pairs

if TYPE_CHECKING:
    from connection.training.evaluation import Evaluation


def prediction_rows(
    pairs: Pairs, before: Evaluation, after: Evaluation, texts: Sequence[str] = (), classes: Sequence[str] = ()
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a predictions file: the user's columns, then predicted_before and predicted_after.

    These are similarities, written with the decimal sign of the file. Pairs that belong together also have rank_before,
    rank_after and found_after, the sentence that was found instead (empty if a right one was); pairs with a class have
    class_before and class_after. Columns of the file that already have these names are replaced.
    texts: the set's distinct sentences, by number. classes: by number.
    """
    evaluations = {"before": before, "after": after}
    number = pairs.style.number
    added = {f"predicted_{when}": [number(x) for x in found.similarities.tolist()] for when, found in evaluations.items()}
    for when, found in evaluations.items():
        if "rank" in found.by_row:
            added[f"rank_{when}"] = [str(rank) for rank in found.by_row["rank"].tolist()]
        if "class" in found.by_row:
            added[f"class_{when}"] = [classes[number] for number in found.by_row["class"].tolist()]
    if "found" in after.by_row:
        added["found_after"] = ["" if number < 0 else texts[number] for number in after.by_row["found"].tolist()]
    kept = [column for column, name in enumerate(pairs.columns) if name not in added]
    header = [pairs.columns[column] for column in kept] + list(added)
    rows = [
        [cells[column] for column in kept] + predicted for cells, *predicted in zip(pairs.cells, *added.values(), strict=True)
    ]
    return header, rows
