"""The folder of a run: whether a start begins there, goes on, is done already or must refuse; and what is written into it.

    settings.json  metrics.jsonl  summary.json  best/  checkpoints/  predictions-dev.csv  predictions-test.csv  report.html

`settings.json` is written first and `summary.json` last: a folder with both is complete.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import importlib.metadata
import io
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk import durable
from connection.disk.checkpoints import Checkpoints
from connection.disk.durable import writing
from connection.reading.csv_table import write_csv
from connection.run.tensorboard_events import EventFiles

MADE_BY = "bertFineTuningWithConnectionData"
FORMAT = 1
TRIAL = ".connection-trial"
LEFTOVERS = {".lock", TRIAL, ".settings.json.tmp"}  # of a start that ended before it wrote anything
HARMLESS = {  # may differ between two starts of one run
    "OUTPUT",
    "DEVICE",
    "THREADS",
    "CHECKPOINTS_PER_EPOCH",
    "TENSORBOARD",
    "START_OVER",
}
BY_CONTENT = {"ENCODER", "TRAIN_FILE", "DEV_FILE", "TEST_FILE"}  # compared by what the files hold, not where they lie


class Start(enum.Enum):
    """What a start does with OUTPUT."""

    BEGIN = "begin"
    CONTINUE = "go on from the newest checkpoint"
    SET_ASIDE = "set the old folder aside, then begin"
    DONE = "nothing to do"


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal. Raises UserMistake for a file that cannot be read."""
    try:
        return durable.content_of(path).sha256
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror or error}.") from None


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


def decide(output: Path, description: Mapping[str, Any], files: Mapping[str, Mapping[str, Path]], *, start_over: bool) -> Start:
    """What a start does with OUTPUT, which is only looked at. files: what is read, as for `describe_run`.

    Raises UserMistake for a folder that is no run of ours, or that holds a file to be read, and for an unfinished run
    with other constants or files.
    """
    if output.exists() and not output.is_dir():
        raise UserMistake(f"OUTPUT: {output} is a file; name a folder that is empty or not there yet.")
    if not output.exists() or not {path.name for path in output.iterdir()} - LEFTOVERS:
        check_writable(output)
        return Start.BEGIN
    before = _read_description(output / "settings.json")
    if before is None:
        raise UserMistake(
            f"OUTPUT: {output} holds files but no run of this project. Nothing in it was touched; name another folder."
        )
    changes = differences(before, description)
    complete = _is_complete(output, before)
    if changes and not complete and not start_over:
        raise UserMistake(
            f"OUTPUT: {output} holds an unfinished run, and since it began these have changed:\n"
            + "".join(f"  {change}\n" for change in changes)
            + "Put them back to go on with that run, name another OUTPUT, or set START_OVER = True (--start-over), "
            "which keeps the old folder under another name."
        )
    if complete and not changes and not start_over:
        return Start.DONE
    if not complete and not start_over:
        check_writable(output)
        return Start.CONTINUE
    for constant, paths in files.items():
        if any(output in path.parents for path in paths.values()):
            raise UserMistake(f"OUTPUT: {output} holds what {constant} names, and would be renamed: name another OUTPUT.")
    check_writable(output.parent)
    return Start.SET_ASIDE


def _is_complete(output: Path, description: Mapping[str, Any]) -> bool:
    """Whether the run's result is there: summary.json is written last, but a copied folder may lack some of the rest."""
    held_out = ["dev"] + ["test"] * bool(description["constants"].get("TEST_FILE"))
    wanted = ["best/config.json", "best/model.safetensors", *(f"predictions-{name}.csv" for name in held_out)]
    there = all((output / name).is_file() and (output / name).stat().st_size for name in wanted)
    return there and isinstance(_read_object(output / "summary.json"), dict)


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


def _read_object(path: Path) -> Any:
    """What a JSON file holds; None if that cannot be told."""
    try:
        return _parse(path.read_bytes()) if path.is_file() else None
    except OSError:
        return None


def _parse(text: bytes) -> Any:
    """What a piece of JSON says; None if that cannot be told."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read_description(path: Path) -> dict[str, Any] | None:
    """settings.json of a run of ours, or None."""
    description = _read_object(path)
    if not isinstance(description, dict) or description.get("made_by") != MADE_BY:
        return None
    constants, sums = description.get("constants"), description.get("sha256")
    well_formed = isinstance(constants, dict) and isinstance(sums, dict) and all(isinstance(x, dict) for x in sums.values())
    return description if well_formed else None


def check_writable(folder: Path) -> None:
    """Raise UserMistake unless a folder can be made in `folder`, or where it would lie: tried, as permissions do not tell."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    with writing(there):
        durable.make_folder(there / TRIAL)
        with contextlib.suppress(FileNotFoundError):  # two runs may try the same folder
            (there / TRIAL).rmdir()


def check_space(output: Path, weights: Path, *, trains: bool = True, going_on: bool = False) -> None:
    """Raise UserMistake unless the disk of OUTPUT has room for what a run writes.

    That is best/ twice while it is replaced, and three checkpoints, each of the weights, two moments and the best weights,
    if the run `trains`. going_on: what lies in OUTPUT is part of it.
    """
    needed = (2 + 3 * 4 * trains) * weights.stat().st_size + 10_000_000
    if going_on:
        needed -= sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    folder = next(folder for folder in (output, *output.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserMistake(
            f"OUTPUT: the disk of {folder} has {free / 1e6:,.0f} MB free, and the run will write about {needed / 1e6:,.0f} MB. "
            "Make room, or name an OUTPUT on another disk."
        )


def set_aside(output: Path) -> Path:
    """Rename OUTPUT to the first free of OUTPUT-1, OUTPUT-2, … (scores.csv to scores-1.csv, …); nothing is deleted."""
    number, ending = 1, output.suffix if output.is_file() else ""
    while (aside := output.with_name(f"{output.name.removesuffix(ending)}-{number}{ending}")).exists():
        number += 1
    with writing(aside):
        durable.move(output, aside)
    return aside


def fingerprints(description: Mapping[str, Any]) -> dict[str, str]:
    """What a checkpoint must have in common with the run that goes on from it: hexadecimal, of constants, data and encoder."""
    compared = {name: value for name, value in description["constants"].items() if name not in HARMLESS | BY_CONTENT}
    sums = {name: sorted(files.values()) for name, files in description["sha256"].items()}
    parts = {"constants": compared, "encoder": sums.pop("ENCODER", []), "data": sums}
    return {name: hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest() for name, part in parts.items()}


class Run:
    """A run's folder, open for writing. Each file appears whole or not at all; metrics.jsonl grows line by line."""

    def __init__(self, folder: Path, description: Mapping[str, Any], checkpoints: Checkpoints, *, tensorboard: bool = False):
        """Make the folder and write settings.json, or tidy up what a run before this one left.

        folder: not there, empty, or of an unfinished run. checkpoints: their `newest` is where the run goes on, with
        metrics.jsonl cut back to its step; where it is None the run begins. tensorboard: whether to write events too.
        """
        self.folder, self.description, self.checkpoints = folder, description, checkpoints
        with writing(folder):
            durable.make_folder(folder)
            self._tidy()
            if checkpoints.newest is None:
                self.write_json("settings.json", description)
            self._metrics = durable.Log(folder / "metrics.jsonl", _metrics_until(folder / "metrics.jsonl", checkpoints.newest))
            self._events = EventFiles(folder, checkpoints.newest) if tensorboard else None

    def log(self, record: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        line = json.dumps(record, allow_nan=False)
        with writing(self._metrics.path):
            self._metrics.add(line)
            if self._events:
                self._events.add(record)

    def sync_log(self) -> None:
        """Have every line so far on the disk: before a checkpoint that comes after them."""
        with writing(self._metrics.path):
            self._metrics.sync()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # each line was written when it was logged
            self._metrics.close()
            if self._events:
                self._events.close()

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A CSV file that a spreadsheet can open without running anything."""
        text = io.StringIO(newline="")
        write_csv(text, header, rows)
        self.write_text(name, text.getvalue())

    def write_text(self, name: str, text: str) -> None:
        with writing(self.folder / name):
            durable.replace_file(self.folder / name, [text.encode()])

    @property
    def best(self) -> Path:
        return self.folder / "best"

    def keep_best(self, save: Callable[[Path], None]) -> None:
        """Let `save` write a folder, and put it in the place of best/ once it is whole."""
        new, old = self.folder / ".best.new", self.folder / ".best.old"
        with writing(self.best):
            durable.remove(new)
            try:
                save(new)
                durable.sync_tree(new)
                if self.best.exists():
                    durable.remove(old)
                    durable.move(self.best, old)
                durable.move(new, self.best)
            except BaseException:
                with contextlib.suppress(OSError):
                    durable.remove(new)
                raise
            durable.remove(old)

    def _tidy(self) -> None:
        """Mend what a kill left between the two renames of best/, and delete what it left half written."""
        durable.remove(self.folder / "summary.json")  # of a run that lost another part: it would tell that all is there
        new, old = self.folder / ".best.new", self.folder / ".best.old"
        if old.exists() and not self.best.exists():
            durable.move(old, self.best)
        for litter in (new, old, *self.folder.glob(".*.tmp"), self.folder / TRIAL):
            durable.remove(litter)
        self.checkpoints.sweep()


def _metrics_until(path: Path, step: int | None) -> bytes:
    """The lines of metrics.jsonl up to a step, as they are; none for None. The last line of a killed run may be cut."""
    if step is None:
        return b""
    kept, steps = [], 0
    for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else ():
        record = _parse(line)
        if isinstance(record, dict) and line.endswith(b"\n") and type(record.get("step")) is int and record["step"] <= step:
            kept.append(line)
            steps += "split" not in record
    if steps != step:
        print(f"{path} holds {steps:,} of the {step:,} steps before: the others are lost, the weights are not.")
    return b"".join(kept)
