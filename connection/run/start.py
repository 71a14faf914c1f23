"""Decides what a start does with OUTPUT (begin, resume, nothing or refuse), by comparing this run with the one there."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk.checkpoints import Checkpoints
from connection.disk.durable import writing
from connection.disk.files import TRIAL, Digests, check_writable
from connection.disk.json_file import parse_json
from connection.run.description import BY_CONTENT, HARMLESS, differences, fingerprints, keep_recorded, read_description
from connection.script.settings import Settings

LEFTOVERS = {".lock", TRIAL, ".settings.json.tmp"}  # left by a start that ended before settings.json was written


REPORT = "report.html"  # the page that a run ends with


class Decision(enum.Enum):
    """What a start does with OUTPUT."""

    BEGIN = "begin"
    CONTINUE = "resume from the newest checkpoint"
    SET_ASIDE = "set the old folder aside, then begin"
    DONE = "nothing to do"


def adopt_unfinished(settings: Settings, defaults: Mapping[str, Any]) -> None:
    """Keep the old defaults for an unfinished run in OUTPUT that an older version began.

    Changes `settings`, and prints each value taken from that run. defaults: the constants as this version ships them.
    """
    before = read_description(settings.OUTPUT)
    if settings.START_OVER or before is None or is_complete(settings.OUTPUT, before):
        return
    for name, (default, value) in keep_recorded(settings, defaults, before).items():
        print(f"{name}: the unfinished run in OUTPUT keeps {value!r}, the default when it began (now {default!r}).")


def is_done(settings: Settings, digests: Digests) -> bool:
    """Whether OUTPUT holds this run, complete: the same constants, and the same bytes in every file.

    A look before the data are read. It compares constants as they are written; `decide` compares what they came to.
    """
    before = read_description(settings.OUTPUT)
    if settings.START_OVER or before is None or not is_complete(settings.OUTPUT, before):
        return False
    old, new = (
        {name: value for name, value in constants.items() if name not in HARMLESS | BY_CONTENT}
        for constants in (before["constants"], settings.as_json())
    )
    return old == new and before["sha256"] == digests.result()


def decide(
    output: Path, description: Mapping[str, Any], files: Mapping[str, Mapping[str, Path]], *, start_over: bool
) -> Decision:
    """Decide what a start does with OUTPUT; nothing in it is changed. files: the input files, as for `Digests`.

    Raises UserMistake if the folder holds other files than a run of this project, or an unfinished run with other constants
    or input files, or if it would be renamed and holds an input file.
    """
    if output.exists() and not output.is_dir():
        raise UserMistake(f"OUTPUT: {output} is a file; name a folder that is empty or does not exist.")
    if not output.exists() or not {path.name for path in output.iterdir()} - LEFTOVERS:
        check_writable(output)
        return Decision.BEGIN
    before = read_description(output)
    if before is None:
        raise UserMistake(f"OUTPUT: {output} holds files but no run of this project. Name another folder; nothing was changed.")
    changes = differences(before, description)
    complete = is_complete(output, before)
    if changes and not complete and not start_over:
        raise UserMistake(
            f"OUTPUT: {output} holds an unfinished run, and these have changed since it began:\n"
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
            raise UserMistake(f"OUTPUT: {output} holds the files of {constant} and would be renamed. Name another OUTPUT.")
    check_writable(output.parent)
    return Decision.SET_ASIDE


def tidy_finished(settings: Settings) -> None:
    """Delete the checkpoints of the finished run in OUTPUT, unless KEEP_CHECKPOINTS is set.

    Called once summary.json is on the disk, and again by every later start, which completes an interrupted deletion.
    Runs of versions without KEEP_CHECKPOINTS keep them.
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
    """Whether the run's result is complete. summary.json is written last, but a copied folder may lack other files."""
    held_out = ["dev"] + ["test"] * bool(description["constants"].get("TEST_FILE"))
    needed = ["best/config.json", "best/model.safetensors", *(f"predictions-{name}.csv" for name in held_out)]
    present = all((output / name).is_file() and (output / name).stat().st_size for name in needed)
    return present and isinstance(parse_json(output / "summary.json"), dict)


def find_checkpoints(output: Path, description: Mapping[str, Any], decision: Decision) -> Checkpoints:
    """The run's checkpoints; if the run is resumed, `newest` is the newest valid one.

    They have the fingerprints of the settings.json that the run began with, perhaps of an older version.
    Raises UserMistake if there are checkpoints and none is valid.
    """
    folder = output / "checkpoints"
    begun = read_description(output) if decision is Decision.CONTINUE else None
    if begun:
        checkpoints = Checkpoints(folder, fingerprints(begun))
        if checkpoints.find_newest() is not None:
            return checkpoints
        print(f"The unfinished run in {output} has no checkpoint yet; it starts again.")
    return Checkpoints(folder, fingerprints(description))
