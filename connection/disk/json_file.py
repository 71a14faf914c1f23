"""JSON files: one object, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk import durable


def read_json(path: Path, missing: Any = None) -> Any:
    """A JSON file of an encoder's folder: an object, or in modules.json a list of them. missing: what stands for no file."""
    if missing is not None and not path.is_file():
        return missing
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserMistake(f"{path} is not readable as JSON: {error}. Fetch the file again.") from None
    entries = value if path.name == "modules.json" else [value]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserMistake(f"{path} does not hold what its name says. Fetch the file again.")
    return value


def parse_json(source: Path | bytes) -> Any:
    """What a JSON file or a piece of JSON says; None if that cannot be told."""
    try:
        if isinstance(source, Path):
            source = source.read_bytes() if source.is_file() else b""
        return json.loads(source)
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: Path, value: Any) -> None:
    durable.make_folder(path.parent)
    durable.replace_file(path, [f"{json.dumps(value, indent=2, allow_nan=False)}\n".encode()])
