"""The folder of a run, and the files in it.

    settings.json  metrics.jsonl  summary.json  best/  checkpoints/  predictions-dev.csv  predictions-test.csv  report.html

`settings.json` is written first and `summary.json` last: a folder with both is complete.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from connection.disk import durable
from connection.disk.checkpoints import Checkpoints
from connection.disk.durable import writing
from connection.disk.files import TRIAL
from connection.disk.json_file import parse_json
from connection.reading.formats.text.csv_output import Style, csv_pieces
from connection.run.tensorboard_events import EventFiles


class Run:
    """A run's folder, open for writing. Files appear complete or not at all; only metrics.jsonl grows line by line."""

    def __init__(self, folder: Path, description: Mapping[str, Any], checkpoints: Checkpoints, *, tensorboard: bool = False):
        """Create the folder and settings.json, or clean up after an interrupted start.

        folder: absent, empty, or of an unfinished run. checkpoints: the run resumes from their `newest`, and metrics.jsonl
        is cut back to its step; None begins a new run. tensorboard: whether to write event files too.
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
        """Sync metrics.jsonl to the disk; call it before a checkpoint is written."""
        with writing(self._metrics.path):
            self._metrics.sync()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # every line is already written
            self._metrics.close()
            if self._events:
                self._events.close()

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[str]], style: Style) -> None:
        """Write a CSV file that is safe to open in a spreadsheet: no cell runs as a formula."""
        self._write(name, csv_pieces(header, rows, style))

    def write_text(self, name: str, text: str) -> None:
        self._write(name, [text.encode()])

    def _write(self, name: str, pieces: Iterable[bytes]) -> None:
        with writing(self.folder / name):
            durable.replace_file(self.folder / name, pieces)

    @property
    def best(self) -> Path:
        return self.folder / "best"

    def keep_best(self, save: Callable[[Path], None]) -> None:
        """Replace best/ by the folder that `save` writes, once it is complete."""
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

    def forget_best(self) -> None:
        """Delete best/."""
        with writing(self.best):
            durable.remove(self.best)

    def _tidy(self) -> None:
        """Restore best/ if a kill came between its two renames, and delete incomplete files and folders."""
        durable.remove(self.folder / "summary.json")  # an old one would mark this unfinished run as complete
        new, old = self.folder / ".best.new", self.folder / ".best.old"
        if old.exists() and not self.best.exists():
            durable.move(old, self.best)
        for path in (new, old, *self.folder.glob(".*.tmp"), self.folder / TRIAL):
            durable.remove(path)
        self.checkpoints.sweep()


def _metrics_until(path: Path, step: int | None) -> bytes:
    """The lines of metrics.jsonl up to a step, unchanged; none if it is None. A kill may have cut off the last line."""
    if step is None:
        return b""
    kept, steps = [], 0
    for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else ():
        record = parse_json(line)
        if isinstance(record, dict) and line.endswith(b"\n") and type(record.get("step")) is int and record["step"] <= step:
            kept.append(line)
            steps += "split" not in record
    if steps != step:
        print(f"{path} has {steps:,} of the {step:,} steps so far. The other lines are lost; the weights are not affected.")
    return b"".join(kept)
