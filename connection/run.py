"""The folder of a run: whether a start begins there, is done already or must refuse; and all that is written into it.

    settings.json  metrics.jsonl  summary.json  best/  predictions-dev.csv  predictions-test.csv

`settings.json` is written first and `summary.json` last: a folder with both is complete.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from connection import UserMistake
from connection.table_files import write_csv

MADE_BY = "bertFineTuningWithConnectionData"
FORMAT = 1
HARMLESS = {"OUTPUT", "DEVICE", "THREADS", "START_OVER"}  # may differ between two starts of one run
BY_CONTENT = {"ENCODER", "TRAIN_FILE", "DEV_FILE", "TEST_FILE"}  # compared by what the files hold, not where they lie


class Start(enum.Enum):
    """What a start does with OUTPUT."""

    BEGIN = "begin"
    SET_ASIDE = "set the old folder aside, then begin"
    DONE = "nothing to do"


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe_run(constants: Mapping[str, Any], files: Mapping[str, Mapping[str, Path]]) -> dict[str, Any]:
    """What makes this run what it is, as written to settings.json.

    files: for each constant that names files, those files by a name; none where the constant is "".
    """
    packages = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas")
    versions = {package: importlib.metadata.version(package) for package in packages}
    return {
        "made_by": MADE_BY,
        "format": FORMAT,
        "constants": dict(constants),
        "versions": {"python": platform.python_version()} | versions,
        "sha256": {name: {label: sha256(path) for label, path in paths.items()} for name, paths in files.items()},
    }


def decide(output: Path, description: Mapping[str, Any], *, start_over: bool) -> Start:
    """What a start does with OUTPUT, which is only looked at.

    Raises UserMistake for a folder that is no run of ours, and for an unfinished run with other constants or files.
    """
    if output.exists() and not output.is_dir():
        raise UserMistake(f"OUTPUT: {output} is a file; name a folder that is empty or not there yet.")
    if not output.exists() or not any(output.iterdir()):
        _check_writable(output)
        return Start.BEGIN
    before = _read_description(output / "settings.json")
    if before is None:
        raise UserMistake(
            f"OUTPUT: {output} holds files but no run of this project. Nothing in it was touched; name another folder."
        )
    _check_writable(output)
    changes = differences(before, description)
    complete = (output / "summary.json").is_file()
    if changes and not complete and not start_over:
        raise UserMistake(
            f"OUTPUT: {output} holds an unfinished run, and since it began these have changed:\n"
            + "".join(f"  {change}\n" for change in changes)
            + "Put them back to go on with that run, name another OUTPUT, or set START_OVER = True (--start-over), "
            "which keeps the old folder under another name."
        )
    return Start.DONE if complete and not changes and not start_over else Start.SET_ASIDE


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each constant or file that makes another run of it, in words; empty where the two are the same run."""
    changes = []
    for name in sorted(before["constants"].keys() | now["constants"].keys()):
        old, new = (record["constants"].get(name) for record in (before, now))
        if name in BY_CONTENT or name in HARMLESS:
            continue
        if old != new:
            changes.append(f"{name} was {old!r} and is {new!r}")
    for name in sorted(before["sha256"].keys() | now["sha256"].keys()):
        old, new = (record["sha256"].get(name, {}) for record in (before, now))
        if sorted(old.values()) != sorted(new.values()):
            files = [file for file in sorted({*old, *new}) if old.get(file) != new.get(file)]
            changes.append(f"{name} names other content than before: {', '.join(files) or 'files swapped'}")
    return changes


def _read_description(path: Path) -> dict[str, Any] | None:
    """settings.json of a run of ours, or None."""
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(description, dict) and description.get("made_by") == MADE_BY
    return description if ours and {"constants", "sha256"} <= description.keys() else None


def _check_writable(output: Path) -> None:
    """Raise UserMistake unless a folder can be made where OUTPUT will lie: tried, since permissions alone do not tell."""
    parent = next(folder for folder in output.parents if folder.exists())
    trial = parent / f".{output.name}.{os.getpid()}.trial"
    with writing(trial):
        trial.mkdir()
        trial.rmdir()


def set_aside(output: Path) -> Path:
    """Rename OUTPUT to the first free of OUTPUT-1, OUTPUT-2, …; nothing is deleted."""
    number = 1
    while (aside := output.with_name(f"{output.name}-{number}")).exists():
        number += 1
    with writing(aside):
        output.rename(aside)
    return aside


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against a write into one sentence that names the path."""
    try:
        yield
    except OSError as error:
        raise UserMistake(f"{path} cannot be written: {error.strerror or error}.") from error


class Run:
    """A run's folder, open for writing. Each file appears whole or not at all; metrics.jsonl grows line by line."""

    def __init__(self, folder: Path, description: Mapping[str, Any]):
        """Make the folder and write settings.json. folder: not there, or empty."""
        self.folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.write_json("settings.json", description)
        with writing(folder):
            self._metrics = (folder / "metrics.jsonl").open("w", encoding="utf-8", newline="\n")

    def log(self, record: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        with writing(self.folder / "metrics.jsonl"):
            self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
            self._metrics.flush()

    def close(self) -> None:
        self._metrics.close()

    def write_json(self, name: str, value: Any) -> None:
        self._write(name, lambda file: file.write(json.dumps(value, indent=2, allow_nan=False) + "\n"))

    def write_table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A CSV file that a spreadsheet can open without running anything."""
        self._write(name, lambda file: write_csv(file, header, rows))

    def _write(self, name: str, fill: Callable[[TextIO], Any]) -> None:
        temporary = self.folder / f".{name}.tmp"
        with writing(self.folder / name):
            with temporary.open("w", encoding="utf-8", newline="") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.folder / name)

    @property
    def best(self) -> Path:
        return self.folder / "best"

    def keep_best(self, save: Callable[[Path], None]) -> None:
        """Let `save` write a folder, and put it in the place of best/ once it is whole."""
        new, old = self.folder / ".best.new", self.folder / ".best.old"
        with writing(self.best):
            shutil.rmtree(new, ignore_errors=True)
            save(new)
            if self.best.exists():
                self.best.rename(old)
            new.rename(self.best)
            shutil.rmtree(old, ignore_errors=True)
