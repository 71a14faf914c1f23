"""The families of encoders that can be trained, one module each. To add one, add its module here and a line to FAMILIES.

The module of a family has FAMILY, an instance of `Bert` in `bert.py` or of a subclass that overrides what differs.
This package imports neither torch nor transformers, so that a folder can be checked before they are loaded.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection import UserMistake
from connection.encoder import alternatives

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
    """The family named in a config.json; BERT if it names none. Raises UserMistake for a family that is not supported.

    The first versions of transformers named only the class of the model, such as RobertaForMaskedLM.
    """
    name = config.get("model_type")
    classes = config.get("architectures")
    if name is None and isinstance(classes, list) and classes:
        loaded = {key: importlib.import_module(module).FAMILY for key, module in FAMILIES.items()}
        starts = {family.model_class.removesuffix("Model"): key for key, family in loaded.items()}
        name = next((starts[start] for start in sorted(starts, key=len) if str(classes[0]).startswith(start)), str(classes[0]))
    if name is None:
        name = "bert"
    if not isinstance(name, str) or name not in FAMILIES:
        raise UserMistake(
            f"{path}: the model type is {json.dumps(name)}; the types {', '.join(FAMILIES)} are supported. Encoders that work: "
            f"{alternatives.listed()}; {alternatives.download(alternatives.ENGLISH)} downloads one."
        )
    return importlib.import_module(FAMILIES[name]).FAMILY
