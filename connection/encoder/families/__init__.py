"""The families of encoders that can be trained, one module each. To add one, add its module here and a line to FAMILIES.

The module of a family has FAMILY, an instance of `Bert` in `bert.py` or of a subclass that overrides what differs.
This package imports neither torch nor transformers, so that a folder can be checked before they are loaded.
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
    "camembert": "connection.encoder.families.camembert",
    "distilbert": "connection.encoder.families.distilbert",
    "electra": "connection.encoder.families.electra",
    "modernbert": "connection.encoder.families.modernbert",
    "mpnet": "connection.encoder.families.mpnet",
    "roberta": "connection.encoder.families.roberta",
    "xlm-roberta": "connection.encoder.families.xlm_roberta",
}


def family_of(config: Mapping[str, Any], path: Path) -> Bert:
    """The family named in a config.json; BERT if it names none. Raises UserMistake for a family that is not supported."""
    name = config.get("model_type", "bert")
    if name not in FAMILIES:
        raise UserMistake(f'{path}: the model type is "{name}"; only {", ".join(FAMILIES)} is supported.')
    return importlib.import_module(FAMILIES[name]).FAMILY
