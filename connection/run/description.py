"""Describes a run in settings.json (constants, versions, checksums), and compares two descriptions.

Runs are compared by effective values: where a constant is "" or 0 (automatic), the value that was used is recorded too. An
upgrade does not make an old run differ: a constant that an older settings.json lacks counts as that version's behaviour
(ABSENT), and a constant at its own version's default on both sides counts as unchanged.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connection.disk.json_file import parse_json
from connection.script.settings import Settings

MADE_BY = "bertFineTuningWithConnectionData"
FORMAT = 2  # 1: without "effective" and "defaults"
HARMLESS = {  # may change when a run is resumed
    "OUTPUT",
    "DEVICE",
    "THREADS",
    "CHECKPOINTS_PER_EPOCH",
    "KEEP_CHECKPOINTS",
    "TENSORBOARD",
    "START_OVER",
}
BY_CONTENT = {
    "ENCODER",
    "TRAIN_FILE",
    "DEV_FILE",
    "TEST_FILE",
    "POSITIVES_FILE",
}  # compared by the contents of the files, not by their paths
BY_EFFECT = {"SENTENCE1_PROMPT", "SENTENCE2_PROMPT"}  # compared by the text that they came to: a name and its text are the same
# The defaults of the version that wrote format 1.
DEFAULTS_OF_FORMAT_1 = {
    "POOLING": "",
    "MAX_TOKENS": 128,
    "SENTENCE1_COLUMN": "sentence1",
    "SENTENCE2_COLUMN": "sentence2",
    "SCORE_COLUMN": "score",
    "SCORE_RANGE": [0, 5],
    "SEPARATOR": "",
    "QUOTING": True,
    "ENCODING": "utf-8",
    "OVERLAP": "report",
    "DEV_SHARE": 0.1,
    "LOSS": "cosine",
    "EPOCHS": 4,
    "BATCH_SIZE": 16,
    "LEARNING_RATE": 2e-05,
    "WARMUP": 0.1,
    "WEIGHT_DECAY": 0.0,
    "MAX_GRADIENT_NORM": 1.0,
    "SEED": 42,
    "EVALUATIONS_PER_EPOCH": 1,
    "PATIENCE": 0,
    "PRECISION": "float32",
}
# The behaviour of versions that lacked a constant, where it differs from today's default.
ABSENT: dict[str, Any] = {"DECIMAL": "."}


def describe_run(
    constants: Mapping[str, Any],
    effective: Mapping[str, Any],
    defaults: Mapping[str, Any],
    sums: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """The contents of settings.json.

    constants: as JSON values. effective: the values used for automatic constants. defaults: the constants as this version
    ships them. sums: for each constant that names files, a label and the SHA-256 of each; none if the constant is "".
    """
    packages = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas")
    versions = {package: importlib.metadata.version(package) for package in packages}
    return {
        "made_by": MADE_BY,
        "format": FORMAT,
        "constants": dict(constants),
        "effective": dict(effective),
        "defaults": dict(defaults),
        "versions": {"python": platform.python_version()} | versions,
        "sha256": {name: dict(labelled) for name, labelled in sums.items()},
    }


def read_description(output: Path) -> dict[str, Any] | None:
    """The settings.json of the run in OUTPUT, by this or an older version; None if there is no run of this project."""
    description = parse_json(output / "settings.json")
    if not isinstance(description, dict) or description.get("made_by") != MADE_BY:
        return None
    parts = {"effective": {}, "defaults": DEFAULTS_OF_FORMAT_1} | description
    names = ("constants", "effective", "defaults", "sha256")
    well_formed = all(isinstance(parts.get(name), dict) for name in names)
    return parts if well_formed and all(isinstance(sums, dict) for sums in parts["sha256"].values()) else None


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The constants and files that differ, one text each; empty if both describe the same run."""
    changes = []
    for name in sorted(before["constants"].keys() | now["constants"].keys()):
        if name in BY_CONTENT or name in HARMLESS or (name not in BY_EFFECT and _is_default_in_both(name, before, now)):
            continue
        old, new = _effective(name, before, now), _effective(name, now, now)
        if old != new:
            changes.append(f"{name} was {old!r} and is {new!r}")
    for name in sorted(before["sha256"].keys() | now["sha256"].keys()):
        old, new = (record["sha256"].get(name, {}) for record in (before, now))
        if sorted(old.values()) != sorted(new.values()):
            files = [file for file in sorted({*old, *new}) if old.get(file) != new.get(file)]
            changes.append(f"{name} names other content than before: {', '.join(files) or 'files swapped'}")
    return changes


def _effective(name: str, record: Mapping[str, Any], now: Mapping[str, Any]) -> Any:
    """The value that a run used for a constant. If it was automatic and not recorded, the value that would be used now."""
    if name in BY_EFFECT:
        return record["effective"].get(name, "")
    value = _recorded(name, record, now)
    if value in ("", 0) and type(value) is not bool:
        return record["effective"].get(name, now["effective"].get(name, value))
    return value


def _recorded(name: str, record: Mapping[str, Any], now: Mapping[str, Any]) -> Any:
    """A constant's recorded value; if the run's version lacked the constant, the behaviour of that version."""
    if name in record["constants"]:
        return record["constants"][name]
    return ABSENT.get(name, now["defaults"].get(name))


def _is_default_in_both(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a constant has its own version's default in both. False if a version lacked the constant."""
    return all(
        name in record["constants"] and name in record["defaults"] and record["constants"][name] == record["defaults"][name]
        for record in (before, now)
    )


def keep_recorded(settings: Settings, defaults: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Give constants at their default the value that an unfinished run of another version began with.

    before: that run's description. Returns (today's default, value of the run) for each constant that was changed.
    """
    now = {"constants": settings.as_json(), "defaults": defaults, "effective": {}}
    changed = {}
    for name, value in now["constants"].items():
        if name in BY_CONTENT or name in HARMLESS or not _is_default_in_both(name, before, now):
            continue
        old = _effective(name, before, now)
        if before["constants"][name] != value:
            setattr(settings, name, tuple(old) if isinstance(old, list) else old)
            changed[name] = (value, old)
    return changed


def fingerprints(description: Mapping[str, Any]) -> dict[str, str]:
    """Hexadecimal digests of constants, data and encoder; a run resumes only from a checkpoint with the same ones."""
    compared = {name: value for name, value in description["constants"].items() if name not in HARMLESS | BY_CONTENT}
    sums = {name: sorted(files.values()) for name, files in description["sha256"].items()}
    parts = {"constants": compared, "encoder": sums.pop("ENCODER", []), "data": sums}
    return {name: hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest() for name, part in parts.items()}
