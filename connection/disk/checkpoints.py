"""The checkpoints of a run: written whole, read back, and chosen by what they hold rather than by their names.

    checkpoints/step-00000120/  model.safetensors  optimizer.safetensors  state.json  MANIFEST.json
                                [before.safetensors]  [best.safetensors]

The manifest has the SHA-256 and size of each file, and fingerprints of the run's constants, data and encoder. Knows
nothing of what the files mean (`connection/training/resume.py`).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from connection import UserMistake
from connection.disk import durable
from connection.disk.durable import Chunk, Content

FORMAT = 1
MANIFEST = "MANIFEST.json"
NEEDED, OPTIONAL = ("model.safetensors", "optimizer.safetensors", "state.json"), ("before.safetensors", "best.safetensors")
_NEW, _OLD = ".new-", ".old-"  # before a folder's name: not whole yet, about to be deleted


class Checkpoints:
    """The folder checkpoints/ of one run.

    fingerprints: what makes it this run and no other, in hexadecimal, by name. newest: the step of the newest
    checkpoint known to be whole, None if there is none.
    """

    def __init__(self, folder: Path, fingerprints: Mapping[str, str]):
        self.folder, self.fingerprints = folder, dict(fingerprints)
        self.newest: int | None = None

    def of_step(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """The steps that a checkpoint is named after, whole or not, in order. Other names are none of ours."""
        if self.folder.is_symlink():
            raise UserMistake(
                f"{self.folder} is a link; a run's checkpoints lie in its own folder. Put the folder itself there."
            )
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        steps = {name: int(name[5:]) for name in names if re.fullmatch("step-[0-9]{8,18}", name)}
        return sorted(step for name, step in steps.items() if self.of_step(step).name == name)

    def find_newest(self) -> int | None:
        """Set `newest` to the newest checkpoint that is whole, and return it; None where there never was any.

        Says which ones are passed over. Raises UserMistake where there are some and none is whole: a run of many hours
        is not begun again unasked.
        """
        problems: list[str] = []
        for step in reversed(self.steps()):
            problem = self.problem(step)
            if problem is None:
                for passed_over in problems:
                    print(f"Passed over: {passed_over}.")
                self.newest = step
                return step
            problems.append(f"{self.of_step(step)}: {problem}")
        if problems:
            raise UserMistake(
                "OUTPUT: this unfinished run cannot go on, since none of its checkpoints is whole:\n"
                + "".join(f"  {problem}\n" for problem in problems)
                + "Put back a copy of one of them, name another OUTPUT, or set START_OVER = True (--start-over), which keeps "
                "the old folder under another name."
            )
        return None

    def problem(self, step: int) -> str | None:
        """What keeps a checkpoint from being used, in words; None if it is this run's and every byte is as it was written."""
        folder = self.of_step(step)
        if folder.is_symlink() or not folder.is_dir():
            return "it is no folder"
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8")
            listed = json.loads(text)["files"]
            names = [name for name in (*NEEDED, *OPTIONAL) if name in NEEDED or name in listed]
            sizes = {name: listed[name]["size"] for name in names}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return f"{MANIFEST} is missing or damaged"
        contents = {}
        for name in names:
            path = folder / name
            if path.is_symlink() or not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != sizes[name]:
                return f"{name} has {path.stat().st_size:,} bytes, not {sizes[name]} as {MANIFEST} says"
            try:
                contents[name] = durable.content_of(path)
            except OSError as error:
                return f"{name} cannot be read ({error.strerror})"
            if contents[name].sha256 != listed[name].get("sha256"):
                return f"{name} is not what {MANIFEST} says: one of the two is damaged"
        return None if text == self._manifest(step, contents) else f"{MANIFEST} is damaged, or is another run's"

    def write(self, step: int, files: Mapping[str, Iterable[Chunk]], size: int) -> None:
        """Write the checkpoint of a step, read it back, and only then delete older ones but the last.

        files: the chunks of each file, by its name. size: about how many bytes they are, for the person whose disk is full.
        """
        folder = self.of_step(step)
        hint = f"A checkpoint needs about {size / 1e6:,.1f} MB."
        if self.newest is not None:
            hint += f" The one of step {self.newest:,} is whole: the same command goes on from there."
        with durable.writing(folder, hint):
            self._write(folder, step, files)
            problem = self.problem(step)
        if problem is not None:
            raise UserMistake(f"{folder} was written but reads back differently ({problem}): the disk may be failing.")
        with durable.writing(self.folder):
            self._retire(step)
        self.newest = step

    def _write(self, folder: Path, step: int, files: Mapping[str, Iterable[Chunk]]) -> None:
        new, old = (folder.with_name(prefix + folder.name) for prefix in (_NEW, _OLD))
        durable.make_folder(self.folder)
        try:
            durable.remove(new)
            durable.make_folder(new)
            contents = {name: durable.write_file(new / name, chunks) for name, chunks in files.items()}
            durable.write_file(new / MANIFEST, [self._manifest(step, contents).encode()])
            durable.sync_folder(new)
            if folder.is_symlink() or folder.exists():  # a broken one, which was passed over
                durable.remove(old)
                durable.move(folder, old)
            durable.move(new, folder)
        except BaseException:
            with contextlib.suppress(OSError):
                durable.remove(new)
            raise
        durable.remove(old)

    def _retire(self, step: int) -> None:
        """Delete what is older than `step`, but for the whole one before it: the one of `step` may become unreadable.

        What bears a later step's name is left to the person.
        """
        older = [other for other in self.steps() if other < step]
        kept = self.newest if self.newest in older else max(older, default=None)
        for other in older:
            if other != kept:
                old = self.folder / (_OLD + self.of_step(other).name)
                durable.move(self.of_step(other), old)  # half deleted, it would look like a broken one
                durable.remove(old)

    def sweep(self) -> None:
        """Delete what a kill left half written, half deleted or not deleted yet."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name.startswith((_NEW, _OLD)):
                durable.remove(path)
        if self.newest is not None:
            self._retire(self.newest)

    def delete_all(self) -> None:
        """Delete every checkpoint, and the folder if nothing of anybody else is in it. Each disappears whole."""
        for step in self.steps():
            old = self.folder / (_OLD + self.of_step(step).name)
            durable.remove(old)
            durable.move(self.of_step(step), old)
        self.newest = None
        self.sweep()
        if not any(self.folder.iterdir()):
            durable.remove(self.folder)

    def _manifest(self, step: int, contents: Mapping[str, Content]) -> str:
        files = {name: asdict(content) for name, content in contents.items()}
        manifest = {"format": FORMAT, "step": step, "run": self.fingerprints, "files": files}
        return json.dumps(manifest, indent=2, sort_keys=True) + "\n"
