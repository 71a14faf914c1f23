"""The file of mined negatives, and what is told about it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from connection import UserMistake
from connection.encoder.preview import short
from connection.reading.formats.table import paste_text
from connection.reading.rows import PairRows
from connection.script.settings import flag_of
from connection.text import counted, format_time
from connection.use.mining import Mined, Rules, Sentences
from connection.use.output import typed_number

EXAMPLES = 10


class MinedRows:
    """The rows of OUTPUT_FILE: the columns of the pairs, `similarity` of the pair, `negative1`, `similarity1` and so on.

    Columns of the input that already have these names are replaced. Iteration raises UserMistake if a row is not the one that
    was read before. rows: the pairs, to be read again.
    """

    def __init__(self, rows: PairRows, sentences: Sentences, mined: Mined, rules: Rules):
        self.rows, self.sentences, self.mined = rows, sentences, mined
        added = ["similarity"]
        for number, name in enumerate(rules.columns, 1):
            added += [name, f"similarity{number}"]
        self._kept = [index for index, name in enumerate(rows.columns) if name not in added]
        self.header = [rows.columns[index] for index in self._kept] + added

    def __iter__(self) -> Iterator[list[str | float]]:
        written = left_out = 0
        changed = UserMistake(f"{self.rows.path} has changed while it was read. Nothing was written; run the script again.")
        for row in self.rows:
            if written == len(self.sentences) or self.sentences.row(written) != (row.sentence1, row.sentence2):
                raise changed
            cells: list[str | float] = [typed_number(row.cells[index]) for index in self._kept]
            cells.append(float(self.mined.own[written]))
            for candidate, similarity in zip(self.mined.negatives[written], self.mined.similarities[written], strict=True):
                cells += [self.sentences.candidate(int(candidate)), float(similarity) if candidate >= 0 else ""]
            yield cells
            written += 1
            left_out += len(row.cells) - self.rows.check.width
        left_out += self.rows.table.ignored_cells
        if left_out:
            print(f"Cells beyond the last column, which were left out: {left_out:,}.")
        if written != len(self.sentences):
            raise changed


def cost_text(sentences: Sentences, size: int, encoding: float, comparing: float) -> str:
    """What the work will take. size: of the embeddings; encoding, comparing: seconds."""
    count, first, candidates = len(sentences.texts), len(sentences.first), len(sentences.candidates)
    return (
        f"To encode: {counted(count, 'sentence')}, about {format_time(encoding)}; their embeddings take "
        f"{4e-6 * size * count:,.1f} MB.\nTo compare: {first:,} sentence1 × {candidates:,} candidates = "
        f"{first * candidates:,}, about {format_time(comparing)}."
    )


def mined_text(mined: Mined, sentences: Sentences, rules: Rules) -> str:
    """How many rows have their negatives, what each limit left out, and some of the rows with their similarities."""
    counts = (mined.negatives >= 0).sum(axis=1)  # (n,)
    full, none = int((counts == rules.negatives).sum()), int((counts == 0).sum())
    limits = ", ".join(f"{limit} {mined.left_out[limit]:,}" for limit in rules.limits) or "none, since no limit is set"
    lines = [
        f"Rows with {counted(rules.negatives, 'negative')}: {full:,}; fewer: {len(counts) - full - none:,}; none: {none:,}.",
        f"Left out as known (paired with the sentence1 by a row, or the sentence1 itself): {len(sentences.known):,}.",
        f"Left out of {mined.ranked:,} with ranks {rules.ranks[0]:,} to {rules.ranks[1]:,}: {limits}.",
    ]
    having = np.flatnonzero(counts)
    shown = having[np.linspace(0, len(having) - 1, min(EXAMPLES, len(having))).round().astype(int)].tolist()
    if shown:
        lines.append("Similarities of sentence1 to its sentence2 and to its first negative, and the three sentences:")
    for row in shown:
        texts = [*sentences.row(row), sentences.candidate(int(mined.negatives[row, 0]))]
        lines.append(f"  {mined.own[row]:.3f} {mined.similarities[row, 0]:.3f}  {'  |  '.join(map(short, texts))}")
    return "\n".join(lines)


def training_text(flags: dict[str, object], rules: Rules) -> str:
    """The command that trains with the file, or the constants if a shell would misread one. flags: constants of training."""
    pasted = paste_text(flags).removeprefix("\nPaste: ")
    if pasted:
        columns = " ".join([flag_of("NEGATIVE_COLUMNS"), *rules.columns])
        how = f"\n  python bertFineTuningWithConnectionData.py {pasted} {columns}"
    else:
        constants = flags | {"NEGATIVE_COLUMNS": tuple(rules.columns)}
        how = " by these constants:\n" + "\n".join(f"  {name} = {value!r}" for name, value in constants.items())
    return f"Train with them, and with your DEV_FILE and TEST_FILE if you have such files:{how}"
