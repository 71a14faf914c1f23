"""What a start does with OUTPUT: begin, go on, nothing, or refuse; by comparing this run with the one that is there."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk.checkpoints import Checkpoints
from connection.disk.durable import writing
from connection.disk.files import TRIAL, check_writable
from connection.disk.json_file import parse_json
from connection.run.description import differences, fingerprints, keep_recorded, read_description
from connection.script.settings import Settings

LEFTOVERS = {".lock", TRIAL, ".settings.json.tmp"}  # of a start that ended before it wrote anything


class Decision(enum.Enum):
    """What a start does with OUTPUT."""

    BEGIN = "begin"
    CONTINUE = "go on from the newest checkpoint"
    SET_ASIDE = "set the old folder aside, then begin"
    DONE = "nothing to do"


def adopt_unfinished(settings: Settings, defaults: Mapping[str, Any]) -> None:
    """Let an unfinished run in OUTPUT that an older version began go on as it was, though defaults have changed since.

    Changes `settings` and prints what it takes from that run. defaults: the constants as this version ships them.
    """
    before = read_description(settings.OUTPUT)
    if settings.START_OVER or before is None or is_complete(settings.OUTPUT, before):
        return
    for name, (default, value) in keep_recorded(settings, defaults, before).items():
        print(f"{name}: the unfinished run in OUTPUT keeps {value!r}, the default when it began (now {default!r}).")


def decide(
    output: Path, description: Mapping[str, Any], files: Mapping[str, Mapping[str, Path]], *, start_over: bool
) -> Decision:
    """What a start does with OUTPUT, which is only looked at. files: what is read, as for `describe_run`.

    Raises UserMistake for a folder that is no run of ours, or that holds a file to be read, and for an unfinished run
    with other constants or files.
    """
    if output.exists() and not output.is_dir():
        raise UserMistake(f"OUTPUT: {output} is a file; name a folder that is empty or not there yet.")
    if not output.exists() or not {path.name for path in output.iterdir()} - LEFTOVERS:
        check_writable(output)
        return Decision.BEGIN
    before = read_description(output)
    if before is None:
        raise UserMistake(
            f"OUTPUT: {output} holds files but no run of this project. Nothing in it was touched; name another folder."
        )
    changes = differences(before, description)
    complete = is_complete(output, before)
    if changes and not complete and not start_over:
        raise UserMistake(
            f"OUTPUT: {output} holds an unfinished run, and since it began these have changed:\n"
            + "".join(f"  {change}\n" for change in changes)
            + "Undo the changes to resume that run, name another OUTPUT, or set START_OVER = True (--start-over), "
            "which keeps the old folder under another name."
        )
    if complete and not changes and not start_over:
        return Decision.DONE
    if not complete and not start_over and not _was_finished(output):
        check_writable(output)
        return Decision.CONTINUE
    for constant, paths in files.items():
        if any(output in path.parents for path in paths.values()):
            raise UserMistake(f"OUTPUT: {output} holds what {constant} names, and would be renamed: name another OUTPUT.")
    check_writable(output.parent)
    return Decision.SET_ASIDE


def tidy_finished(settings: Settings) -> None:
    """Delete the checkpoints of the finished run in OUTPUT, unless KEEP_CHECKPOINTS says otherwise.

    Called once summary.json is on the disk, and again by each later start, so that a deletion which was cut short is finished.
    A run of a version that had no such constant keeps them.
    """
    begun = read_description(settings.OUTPUT)
    is_older = begun is None or "KEEP_CHECKPOINTS" not in begun["constants"]
    folder = settings.OUTPUT / "checkpoints"
    if settings.KEEP_CHECKPOINTS or is_older or not folder.is_dir() or folder.is_symlink():
        return
    with writing(folder):
        Checkpoints(folder, {}).delete_all()


def _was_finished(output: Path) -> bool:
    """Whether a run that lacks a part of its result had all of it once: its checkpoints are deleted, so it cannot resume, and
    starting again in its place would overwrite best/."""
    checkpoints = output / "checkpoints"
    has_any = checkpoints.is_dir() and any(checkpoints.iterdir())
    return not has_any and isinstance(parse_json(output / "summary.json"), dict)


def is_complete(output: Path, description: Mapping[str, Any]) -> bool:
    """Whether the run's result is there: summary.json is written last, but a copied folder may lack some of the rest."""
    held_out = ["dev"] + ["test"] * bool(description["constants"].get("TEST_FILE"))
    wanted = ["best/config.json", "best/model.safetensors", *(f"predictions-{name}.csv" for name in held_out)]
    there = all((output / name).is_file() and (output / name).stat().st_size for name in wanted)
    return there and isinstance(parse_json(output / "summary.json"), dict)


def find_checkpoints(output: Path, description: Mapping[str, Any], decision: Decision) -> Checkpoints:
    """The run's checkpoints, with the newest that is whole where the run goes on.

    They bear the fingerprints of the settings.json that the run was begun with: by an older version, maybe.
    Raises UserMistake where there are some and none is whole.
    """
    folder = output / "checkpoints"
    begun = read_description(output) if decision is Decision.CONTINUE else None
    if begun:
        checkpoints = Checkpoints(folder, fingerprints(begun))
        if checkpoints.find_newest() is not None:
            return checkpoints
        print(f"The unfinished run in {output} has no checkpoint yet; it starts again.")
    return Checkpoints(folder, fingerprints(description))
