"""What the vectors of an index depend on, and the refusal of an index whose vectors are others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk.files import sha256
from connection.encoder.folder import EncoderFolder
from connection.script.settings import Settings
from connection.use.search.index import Header


def fingerprint_of(folder: EncoderFolder, prompt: str, settings: Settings) -> dict[str, Any]:
    """What the index depends on, by the name of its constant. prompt: of the corpus."""
    return {
        "ENCODER": {name: sha256(path) for name, path in folder.files.items()},
        "POOLING": folder.pooling or folder.own_pooling,
        "MAX_TOKENS": folder.own_max_tokens,
        "CORPUS_PROMPT": prompt,
        "DIMENSION": settings.DIMENSION or folder.size,
        "NUMBERS": settings.NUMBERS,
        "ENGINE": settings.ENGINE,
    }


def refuse_other_index(folder: Path, header: Header, fingerprint: dict[str, Any]) -> None:
    """Raise UserMistake, with all that differs, if the index was made with another encoder or other constants."""
    before = header.fingerprint
    differs = [_difference(name, before.get(name), now) for name, now in fingerprint.items() if before.get(name) != now]
    if differs:
        raise UserMistake(
            f"INDEX: {folder} was built differently: {'; '.join(differs)}. Name another INDEX, or delete that folder to build "
            "it again."
        )


def _difference(name: str, before: Any, now: Any) -> str:
    if name == "ENCODER":
        old = before if isinstance(before, dict) else {}
        files = sorted({*old, *now})
        return f"another ENCODER ({', '.join(file for file in files if old.get(file) != now.get(file))})"
    return f"{name} was {before!r} and is {now!r}"
