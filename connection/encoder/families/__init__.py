"""The families of encoders that can be trained, one file each. To add one: its file here, and its line in FAMILIES.

A family's file has FAMILY, an object with what `bert.py` has: a class that inherits from it says only what is different.
This file imports neither torch nor transformers, so that a folder can be checked before they are loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection import UserMistake

if TYPE_CHECKING:
    from connection.encoder.families.bert import Bert

# "model_type" of config.json → the module with its FAMILY.
FAMILIES = {
    "bert": "connection.encoder.families.bert",
}


def family_of(config: Mapping[str, Any], path: Path) -> Bert:
    """The family that a config.json names, BERT where it names none. Raises UserMistake for one that cannot be trained."""
    name = config.get("model_type", "bert")
    if name not in FAMILIES:
        raise UserMistake(f'{path}: the model is a "{name}", no BERT; this project trains {", ".join(FAMILIES)} encoders.')
    return importlib.import_module(FAMILIES[name]).FAMILY
