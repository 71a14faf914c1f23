"""Reading and writing JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk import durable


def read_json(path: Path, missing: Any = None) -> Any:
    """Read a JSON file of an encoder's folder: an object, or for modules.json a list of objects.

    missing: returned if there is no such file. Raises UserMistake for a file that is damaged or holds anything else.
    """
    if missing is not None and not path.is_file():
        return missing
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserMistake(f"{path} is not readable as JSON: {error}. Download the file again.") from None
    entries = value if path.name == "modules.json" else [value]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        kind = "a list of JSON objects" if path.name == "modules.json" else "a JSON object"
        raise UserMistake(f"{path} does not hold {kind}. Download the file again.")
    return value


def parse_json(source: Path | bytes) -> Any:
    """The value of a JSON file or text; None if it is missing or not valid JSON."""
    try:
        if isinstance(source, Path):
            source = source.read_bytes() if source.is_file() else b""
        return json.loads(source)
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; make its folder if needed. Raises ValueError for numbers that are not finite."""
    durable.make_folder(path.parent)
    durable.replace_file(path, [f"{json.dumps(value, indent=2, allow_nan=False)}\n".encode()])
