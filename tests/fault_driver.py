"""Runs the training script many times in forks of one process, each time with a fault at another disk operation.

    python tests/fault_driver.py FOLDER FLAGS --action kill --points 1 2 3     (no points: 1, 2, 3 … until none is left)

FLAGS: the script's, as a JSON list without --output. After each faulty run the script is started again without a fault, and
its result is compared with an undisturbed run. Prints a JSON line per case. Like SQLite: sqlite.org/testing.html.
POSIX only: a fork costs no second import of torch.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import runs
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bertFineTuningWithConnectionData as script
from connection.disk import durable
from connection.script.running import run_script

importlib.import_module("connection.training.resume")  # with all that the script imports later, so that no fork has to
torch.set_num_threads(1)
ACTIONS = ("kill", "power", "short", "full", "ENOSPC", "EIO", "EACCES", "EFBIG")


class Fault:
    """Replaces `durable.fault_point` in a faulty run: counts the operations, and fails the k-th.

    kill: SIGKILL. power: the same, and what was written but not synced is lost. short: of the k-th write half is written,
    then SIGKILL. full: ENOSPC from then on. Else the error of that name, once.
    """

    def __init__(self, action: str, point: int, told: Path):
        self.action, self.point, self.told = action, point, told
        self.count = 0
        self.unsynced: dict[Path, tuple[int, int]] = {}  # path → an open descriptor, the size that is on the disk
        self.syncing: Path | None = None

    def __call__(self, operation: str, path: Path) -> None:
        self._remember(operation, path)
        if self.action == "short" and operation != "write":
            return
        self.count += 1
        if self.count == self.point:
            self.told.write_text(f"{operation} {path.name}", encoding="utf-8")
            self._strike()
        elif self.count > self.point and self.action == "full" and operation != "delete":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _remember(self, operation: str, path: Path) -> None:
        if self.syncing in self.unsynced:
            os.close(self.unsynced.pop(self.syncing)[0])
        self.syncing = path if operation == "sync" else None
        if operation == "write" and path not in self.unsynced:
            descriptor = os.open(path, os.O_WRONLY)
            self.unsynced[path] = descriptor, os.fstat(descriptor).st_size

    def _strike(self) -> None:
        if self.action == "power":
            for descriptor, size in self.unsynced.values():
                os.ftruncate(descriptor, size)
        if self.action in ("kill", "power"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "short":
            write = os.write
            os.write = lambda file, data: (write(file, data[: len(data) // 2]), os.kill(os.getpid(), signal.SIGKILL))
            return
        number = errno.ENOSPC if self.action == "full" else getattr(errno, self.action)
        raise OSError(number, os.strerror(number))


def start(
    flags: list[str],
    log: Path,
    fault: Callable[[str, Path], None] | None = None,
    main: Callable[[list[str]], int] = script.main,
) -> int:
    """Run a script in a fork; returns its exit status, negative for a signal. log: gets what it prints."""
    child = os.fork()
    if not child:
        status = 70
        try:
            with log.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                if fault is not None:
                    durable.fault_point = fault
                try:
                    status = run_script(lambda: main(flags))
                except BaseException:
                    traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def cases(folder: Path, flags: list[str], action: str, points: Iterable[int], recoveries: int) -> Iterator[dict]:
    """Each point's case, until one comes at which nothing struck.

    recoveries: how many further starts are struck, early on, before one is left in peace.
    """
    log, told = folder / "log.txt", folder / "told.txt"
    if start([*flags, f"--output={folder / 'golden' / 'run'}"], log):
        raise SystemExit(log.read_text(encoding="utf-8"))
    wanted = runs.run_result(folder / "golden" / "run")
    output = folder / "case" / "run"
    for point in points:
        shutil.rmtree(output.parent, ignore_errors=True)
        told.write_text("", encoding="utf-8")
        status = start([*flags, f"--output={output}"], log, Fault(action, point, told))
        first, struck = log.read_text(encoding="utf-8"), told.read_text(encoding="utf-8")
        for number in range(recoveries):
            start([*flags, f"--output={output}"], log, Fault(action, 1 + (7 * point + 11 * number) % 60, told))
        again = start([*flags, f"--output={output}"], log)
        found = runs.run_result(output)
        yield {
            "action": action,
            "point": point,
            "struck": struck,
            "status": status,
            "said": first.rstrip().rpartition("\n")[2] if status == 2 else "",
            "traceback": "Traceback" in first,
            "again": again,
            "told_again": "" if again == 0 else log.read_text(encoding="utf-8")[-500:],
            "differs": sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name)),
            "litter": sorted(path.name for path in output.parent.iterdir() if path != output),
        }
        if not struck:
            return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("flags", type=json.loads)
    parser.add_argument("--action", choices=ACTIONS, required=True)
    parser.add_argument("--points", type=int, nargs="*")
    parser.add_argument("--recoveries", type=int, default=0)
    given = parser.parse_args()
    for case in cases(given.folder, given.flags, given.action, given.points or itertools.count(1), given.recoveries):
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    sys.exit(main())
