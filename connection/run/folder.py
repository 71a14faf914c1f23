"""The folder of a run, and what is written into it.

    settings.json  metrics.jsonl  summary.json  best/  checkpoints/  predictions-dev.csv  predictions-test.csv  report.html

`settings.json` is written first and `summary.json` last: a folder with both is complete.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from connection.disk import durable
from connection.disk.checkpoints import Checkpoints
from connection.disk.durable import writing
from connection.disk.files import TRIAL
from connection.disk.json_file import parse_json
from connection.reading.csv_table import write_csv
from connection.run.tensorboard_events import EventFiles


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
        record = parse_json(line)
        if isinstance(record, dict) and line.endswith(b"\n") and type(record.get("step")) is int and record["step"] <= step:
            kept.append(line)
            steps += "split" not in record
    if steps != step:
        print(f"{path} holds {steps:,} of the {step:,} steps before: the others are lost, the weights are not.")
    return b"".join(kept)
