"""The checkpoints of a run: written atomically, read back, and verified by checksum before use.

    checkpoints/step-00000120/  model.safetensors  optimizer.safetensors  state.json  MANIFEST.json
                                [before.safetensors]  [best.safetensors]  [loss.safetensors]  [best-loss.safetensors]

The manifest holds the SHA-256 and size of each file, and fingerprints of the run's constants, data and encoder. What the
files mean is known only to `connection/training/resume.py`.
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
from connection.disk.durable import Chunk, Digest

FORMAT = 1
MANIFEST = "MANIFEST.json"
NEEDED = ("model.safetensors", "optimizer.safetensors", "state.json")
OPTIONAL = ("before.safetensors", "best.safetensors", "loss.safetensors", "best-loss.safetensors")
_NEW, _OLD = ".new-", ".old-"  # prefixes of a folder's name: not complete yet; about to be deleted


class Checkpoints:
    """The folder checkpoints/ of one run.

    fingerprints: hexadecimal digests, by name, that identify this run. newest: the step of the newest checkpoint known to
    be valid, None if there is none.
    """

    def __init__(self, folder: Path, fingerprints: Mapping[str, str]):
        self.folder, self.fingerprints = folder, dict(fingerprints)
        self.newest: int | None = None

    def of_step(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """The steps for which a checkpoint folder exists, valid or not, in ascending order. Other folders are ignored."""
        if self.folder.is_symlink():
            raise UserMistake(f"{self.folder} is a link. Replace it by the folder of checkpoints itself.")
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        steps = {name: int(name[5:]) for name in names if re.fullmatch("step-[0-9]{8,18}", name)}
        return sorted(step for name, step in steps.items() if self.of_step(step).name == name)

    def find_newest(self) -> int | None:
        """Set `newest` to the newest valid checkpoint and return it; None if there are no checkpoints.

        Prints which damaged ones are skipped. Raises UserMistake if there are checkpoints and none is valid: a run of many
        hours is not restarted unasked.
        """
        problems: list[str] = []
        for step in reversed(self.steps()):
            problem = self.problem(step)
            if problem is None:
                for skipped in problems:
                    print(f"Skipped a damaged checkpoint: {skipped}.")
                self.newest = step
                return step
            problems.append(f"{self.of_step(step)}: {problem}")
        if problems:
            raise UserMistake(
                "OUTPUT: this run cannot be resumed, because none of its checkpoints is valid:\n"
                + "".join(f"  {problem}\n" for problem in problems)
                + "Restore one of them from a copy, name another OUTPUT, or set START_OVER = True (--start-over), which keeps "
                "the old folder under another name."
            )
        return None

    def problem(self, step: int) -> str | None:
        """Why a checkpoint cannot be used; None if it belongs to this run and its checksums are right."""
        folder = self.of_step(step)
        if folder.is_symlink() or not folder.is_dir():
            return "it is not a folder"
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8")
            listed = json.loads(text)["files"]
            names = [name for name in (*NEEDED, *OPTIONAL) if name in NEEDED or name in listed]
            sizes = {name: listed[name]["size"] for name in names}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return f"{MANIFEST} is missing or damaged"
        digests = {}
        for name in names:
            path = folder / name
            if path.is_symlink() or not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != sizes[name]:
                return f"{name} has {path.stat().st_size:,} bytes, not {sizes[name]} as {MANIFEST} says"
            try:
                digests[name] = durable.digest_of(path)
            except OSError as error:
                return f"{name} cannot be read ({error.strerror})"
            if digests[name].sha256 != listed[name].get("sha256"):
                return f"{name} does not match its checksum in {MANIFEST}: one of the two is damaged"
        return None if text == self._manifest(step, digests) else f"{MANIFEST} is damaged, or is another run's"

    def write(self, step: int, files: Mapping[str, Iterable[Chunk]], size: int) -> None:
        """Write the checkpoint of a step and read it back; only then delete older ones, except the last valid one.

        files: the chunks of each file, by its name. size: approximate number of bytes, for the message about a full disk.
        """
        folder = self.of_step(step)
        hint = f"A checkpoint needs about {size / 1e6:,.1f} MB."
        if self.newest is not None:
            hint += f" The checkpoint of step {self.newest:,} is valid: the same command resumes there."
        with durable.writing(folder, hint):
            self._write(folder, step, files)
            problem = self.problem(step)
        if problem is not None:
            raise UserMistake(f"{folder} reads back differently from what was written ({problem}). The disk may be failing.")
        with durable.writing(self.folder):
            self._retire(step)
        self.newest = step

    def _write(self, folder: Path, step: int, files: Mapping[str, Iterable[Chunk]]) -> None:
        new, old = (folder.with_name(prefix + folder.name) for prefix in (_NEW, _OLD))
        durable.make_folder(self.folder)
        try:
            durable.remove(new)
            durable.make_folder(new)
            digests = {name: durable.write_file(new / name, chunks) for name, chunks in files.items()}
            durable.write_file(new / MANIFEST, [self._manifest(step, digests).encode()])
            durable.sync_folder(new)
            if folder.is_symlink() or folder.exists():  # a damaged one, which was skipped
                durable.remove(old)
                durable.move(folder, old)
            durable.move(new, folder)
        except BaseException:
            with contextlib.suppress(OSError):
                durable.remove(new)
            raise
        durable.remove(old)

    def _retire(self, step: int) -> None:
        """Delete checkpoints older than `step`, except the last valid one, in case that of `step` becomes unreadable.

        Checkpoints of later steps are left to the user.
        """
        older = [other for other in self.steps() if other < step]
        kept = self.newest if self.newest in older else max(older, default=None)
        for other in older:
            if other != kept:
                old = self.folder / (_OLD + self.of_step(other).name)
                durable.move(self.of_step(other), old)  # otherwise a partly deleted one would look like a damaged one
                durable.remove(old)

    def sweep(self) -> None:
        """Delete what a kill left behind: folders partly written, partly deleted or due for deletion."""
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

    def _manifest(self, step: int, digests: Mapping[str, Digest]) -> str:
        files = {name: asdict(digest) for name, digest in digests.items()}
        manifest = {"format": FORMAT, "step": step, "run": self.fingerprints, "files": files}
        return json.dumps(manifest, indent=2, sort_keys=True) + "\n"
