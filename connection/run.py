"""The folder of a run: whether a start begins there, is done already or must refuse; and all that is written into it.

    settings.json  metrics.jsonl  summary.json  best/  predictions-dev.csv  predictions-test.csv  report.html

`settings.json` is written first and `summary.json` last: a folder with both is complete.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from connection import UserMistake
from connection.table_files import write_csv
from connection.tensorboard_events import EventFiles

MADE_BY = "bertFineTuningWithConnectionData"
FORMAT = 1
LEFTOVERS = {".lock", ".settings.json.tmp"}  # of a start that ended before it wrote anything
HARMLESS = {"OUTPUT", "DEVICE", "THREADS", "START_OVER", "TENSORBOARD"}  # may differ between two starts of one run
BY_CONTENT = {"ENCODER", "TRAIN_FILE", "DEV_FILE", "TEST_FILE"}  # compared by what the files hold, not where they lie


class Start(enum.Enum):
    """What a start does with OUTPUT."""

    BEGIN = "begin"
    SET_ASIDE = "set the old folder aside, then begin"
    DONE = "nothing to do"


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal. Raises UserMistake for a file that cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror or error}.") from None
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


@contextlib.contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Keep other starts away from OUTPUT as long as the `with` lasts; the claim dies with its process.

    Raises UserMistake, with the other process's number, where one is at work there. The claim is a lock on a file beside
    OUTPUT, or inside of it where its parent may not be written to.
    """
    beside, inside = output.with_name(f".{output.name}.lock"), output / ".lock"
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = _lock(output, beside)
        except OSError:
            if not output.is_dir():
                raise
            lock = _lock(output, inside)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # before the release: who waits for this file must not get it
            Path(lock.lock_file).unlink()
        lock.release()


def _lock(output: Path, path: Path) -> filelock.BaseFileLock:
    try:
        owner = path.read_bytes()[1:].strip().decode(errors="replace")
    except OSError:
        owner = ""
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserMistake(
            f"OUTPUT: another process{f' (number {owner})' * bool(owner)} is writing into {output}. Wait until it has ended, "
            "or name another OUTPUT."
        ) from None
    with contextlib.suppress(OSError), path.open("r+b") as file:
        file.seek(1)  # Windows locks the first byte
        file.write(f"{os.getpid()}\n".encode())
    return lock


def decide(output: Path, description: Mapping[str, Any], files: Mapping[str, Mapping[str, Path]], *, start_over: bool) -> Start:
    """What a start does with OUTPUT, which is only looked at. files: what is read, as for `describe_run`.

    Raises UserMistake for a folder that is no run of ours, or that holds a file to be read, and for an unfinished run
    with other constants or files.
    """
    if output.exists() and not output.is_dir():
        raise UserMistake(f"OUTPUT: {output} is a file; name a folder that is empty or not there yet.")
    if not output.exists() or not {path.name for path in output.iterdir()} - LEFTOVERS:
        check_writable(next(folder for folder in (output, *output.parents) if folder.exists()))
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
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
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
    """Raise UserMistake unless a folder can be made in `folder`: tried, since permissions alone do not tell."""
    trial = folder / f".{os.getpid()}.trial"
    with writing(folder):
        trial.mkdir()
        trial.rmdir()


def check_space(output: Path, weights: Path) -> None:
    """Raise UserMistake unless the disk of OUTPUT has room for what a run writes: best/ twice while it is replaced."""
    needed = 2 * weights.stat().st_size + 10_000_000
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
        output.rename(aside)
    return aside


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against a write into one sentence that names the path."""
    try:
        yield
    except Exception as error:
        # safetensors and tokenizers, which are written in Rust, have errors of their own that end in "(os error 28)"
        if not isinstance(error, OSError) and "(os error " not in str(error):
            raise
        raise UserMistake(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}.") from error


def write_whole(path: Path, chunks: Iterable[str]) -> None:
    """Write a text file (UTF-8, line ends as given) that appears under its name whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with writing(path):
            with temporary.open("w", encoding="utf-8", newline="") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


class Run:
    """A run's folder, open for writing. Each file appears whole or not at all; metrics.jsonl grows line by line."""

    def __init__(self, folder: Path, description: Mapping[str, Any], *, tensorboard: bool = False):
        """Make the folder and write settings.json. folder: not there, or empty. tensorboard: whether to write events too."""
        self.folder, self.description = folder, description
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.write_json("settings.json", description)
        with writing(folder):
            self._metrics = (folder / "metrics.jsonl").open("w", encoding="utf-8", newline="\n")
            self._events = EventFiles(folder) if tensorboard else None

    def log(self, record: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        with writing(self.folder / "metrics.jsonl"):
            self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
            self._metrics.flush()
            if self._events:
                self._events.add(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # each line was flushed when it was written
            self._metrics.close()
            if self._events:
                self._events.close()

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        write_whole(self.folder / name, [text])

    def write_table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A CSV file that a spreadsheet can open without running anything."""
        text = io.StringIO(newline="")
        write_csv(text, header, rows)
        write_whole(self.folder / name, [text.getvalue()])

    @property
    def best(self) -> Path:
        return self.folder / "best"

    def keep_best(self, save: Callable[[Path], None]) -> None:
        """Let `save` write a folder, and put it in the place of best/ once it is whole."""
        new, old = self.folder / ".best.new", self.folder / ".best.old"
        with writing(self.best):
            shutil.rmtree(new, ignore_errors=True)
            try:
                save(new)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            if self.best.exists():
                self.best.rename(old)
            new.rename(self.best)
            shutil.rmtree(old, ignore_errors=True)
