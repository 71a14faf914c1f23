"""Prints a table of runs: the constants in which they differ, their figures and training times.

python -m connection.run.compare                      every run in output/
python -m connection.run.compare output/grid/*        the runs in these folders
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk.json_file import parse_json
from connection.run.description import read_description
from connection.script.running import run_script
from connection.text import format_time

# Constants that do not change the result of a run.
LEFT_OUT = {"OUTPUT", "START_OVER", "TENSORBOARD", "KEEP_CHECKPOINTS", "CHECKPOINTS_PER_EPOCH", "THREADS"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table. Raises UserMistake if there is no run."""
    names = sys.argv[1:] if arguments is None else list(arguments)
    if {"-h", "--help"} & set(names):
        print(__doc__)
        return 0
    folders = [Path(name) for name in names] or sorted(Path("output").glob("*")) if Path("output").is_dir() or names else []
    runs = {folder: description for folder in folders if (description := read_description(folder))}
    if not runs:
        raise UserMistake(f"No run in {', '.join(map(str, folders)) or 'output/'}: name the folders of runs (OUTPUT).")
    print(comparison(runs))
    return 0


def comparison(runs: Mapping[Path, Mapping[str, Any]]) -> str:
    """The table of runs, highest dev Spearman first. runs: the contents of settings.json by folder."""
    varied = varied_constants(runs)
    rows = []
    for folder, description in runs.items():
        summary = parse_json(folder / "summary.json") or {}
        values = [_shown(description["constants"].get(name)) for name in varied]
        rows.append((_figure(summary, "dev", default=-2.0), [folder.name, *values, *_figures(summary)]))
    rows.sort(key=lambda row: -row[0])
    header = ["Run", *varied, "Dev before", "Dev after", "Test before", "Test after", "Best step", "Training time"]
    return aligned([header, ["-" * len(title) for title in header], *(cells for _, cells in rows)])


def varied_constants(runs: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    """The constants in which the runs differ, in the order of the script."""
    all_constants = [description["constants"] for description in runs.values()]
    names = dict.fromkeys(name for constants in all_constants for name in constants if name not in LEFT_OUT)
    return [name for name in names if len({_shown(constants.get(name)) for constants in all_constants}) > 1]


def aligned(table: Sequence[Sequence[str]]) -> str:
    """The rows as lines of text; each column is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)


def _figures(summary: Mapping[str, Any]) -> list[str]:
    if not summary:
        return ["unfinished", *[""] * 5]
    metrics = [
        ((summary.get(when) or {}).get(name) or {}).get(summary.get("metric", "spearman"))
        for name in ("dev", "test")
        for when in ("before", "after")
    ]
    figures = ["-" if value is None else f"{value:.4f}" for value in metrics]
    return [*figures, str(summary.get("best_step")), format_time(summary.get("train_seconds", 0))]


def _figure(summary: Mapping[str, Any], name: str, default: float) -> float:
    value = ((summary.get("after") or {}).get(name) or {}).get(summary.get("metric", "spearman"))
    return default if value is None else float(value)


def _shown(value: Any) -> str:
    """A constant's value as text; a path is shortened to its last two parts."""
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return "/".join(Path(value).parts[-2:])
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.exit(run_script(main))
