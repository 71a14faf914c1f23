"""The files that make a transformers model a sentence encoder, as sentence-transformers writes and reads them.

modules.json (Transformer, Pooling, Normalize), the pooling's config.json, sentence_bert_config.json (the longest sentence) and
config_sentence_transformers.json (prompts, similarity).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk.json_file import read_json, write_json
from connection.text import shown

POOLINGS = ("mean", "cls", "max")
SETTINGS = "config_sentence_transformers.json"
# Modules of version 0.2, each for one family → its "model_type", which its config.json did not name.
_FIRST_MODULES = {
    "BERT": "bert",
    "CamemBERT": "camembert",
    "DistilBERT": "distilbert",
    "RoBERTa": "roberta",
    "XLMRoBERTa": "xlm-roberta",
}


@dataclass(frozen=True)
class Modules:
    """What modules.json lists.

    model: the folder of transformers' files. model_type: of the family, where the first module is one of a family, else "".
    pooling: "" if not named. normalize: whether embeddings are scaled to length 1. pools_prompt: whether pooling takes the
    tokens of a prompt too.
    """

    model: Path
    model_type: str = ""
    pooling: str = ""
    normalize: bool = False
    pools_prompt: bool = True


def read_modules(folder: Path) -> Modules:
    """The modules of a folder; those of a plain model if it has no modules.json. Raises UserMistake for others."""
    if not (folder / "modules.json").is_file():
        return Modules(folder)
    listed = read_json(folder / "modules.json")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in listed]
    ours = all(str(module.get("type", "")).startswith("sentence_transformers.") for module in listed)
    model_type = _FIRST_MODULES.get(kinds[0], "") if kinds else ""
    first = "Transformer" if model_type else "".join(kinds[:1])
    if not ours or [first, *kinds[1:]] not in (
        ["Transformer"],
        ["Transformer", "Pooling"],
        ["Transformer", "Pooling", "Normalize"],
    ):
        raise UserMistake(
            f"{folder / 'modules.json'} lists the modules {', '.join(kinds)}; only a transformer, pooling and Normalize are "
            "supported. Choose another encoder."
        )
    paths = [folder / str(module.get("path", "")) for module in listed]
    if any(folder != path.resolve() and folder not in path.resolve().parents for path in paths):
        raise UserMistake(f"{folder / 'modules.json'} names a path outside of its folder.")
    pooling, pools_prompt = _read_pooling(paths[1] / "config.json") if len(kinds) > 1 else ("", True)
    return Modules(paths[0].resolve(), model_type, pooling, "Normalize" in kinds, pools_prompt)


def _read_pooling(path: Path) -> tuple[str, bool]:
    """The pooling, and whether it takes the tokens of a prompt."""
    config = read_json(path)
    mode = config.get("pooling_mode")
    if mode is None:
        legacy = {
            "pooling_mode_cls_token": "cls",
            "pooling_mode_mean_tokens": "mean",
            "pooling_mode_max_tokens": "max",
        }
        on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        mode = [legacy.get(key, key) for key in on] or "mean"
    modes = mode if isinstance(mode, list) else [mode]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise UserMistake(f"{path}: the pooling is {' + '.join(map(str, modes))}; only {', '.join(POOLINGS)} are supported.")
    return modes[0], config.get("include_prompt", True) is not False


def transformer_settings(model: Path) -> tuple[Path, dict[str, Any]]:
    """sentence_bert_config.json, or by its older names, one for each family; its path, and {} where there is none.

    Raises UserMistake for a module that gives something else than token embeddings.
    """
    path = next(iter(sorted(model.glob("sentence_*_config.json"))), model / "sentence_bert_config.json")
    settings = read_json(path, missing={})
    for name, value in (("transformer_task", "feature-extraction"), ("module_output_name", "token_embeddings")):
        if settings.get(name, value) != value:
            raise UserMistake(f'{path}: "{name}" is "{settings[name]}", not "{value}".')
    return path, settings


def read_settings(folder: Path) -> dict[str, Any]:
    """config_sentence_transformers.json without versions: prompts, similarity, the dimension to cut to. {} without such a file.

    Raises UserMistake if the prompts or the dimension are not what they must be.
    """
    path = folder / SETTINGS
    settings = read_json(path, missing={})
    settings.pop("__version__", None)
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, (str, type(None))) for text in prompts.values()):
        raise UserMistake(f'{path}: "prompts" is not a table of names and texts.')
    default, dimension = settings.get("default_prompt_name"), settings.get("truncate_dim")
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise UserMistake(f'{path}: "default_prompt_name" is {shown(default)}, which is not among its prompts.')
    if dimension is not None and (type(dimension) is not int or dimension < 1):
        raise UserMistake(f'{path}: "truncate_dim" is {shown(dimension)}; a whole number from 1 is expected.')
    return settings


def write_sentence_files(
    folder: Path,
    *,
    pooling: str,
    normalize: bool,
    max_tokens: int,
    hidden: int,
    lower_case_first: bool,
    settings: Mapping[str, Any],
    pools_prompt: bool,
) -> None:
    """Write the files beside those of transformers, in the layout of sentence-transformers 2 and later.

    hidden: the size of the embeddings. settings: as from `read_settings`. The others are the fields of `EncoderFolder`.
    """
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalize
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if i == 0 else f"{i}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": lower_case_first})
    description: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    description |= {name: value for name, value in settings.items() if value is not None}
    write_json(folder / SETTINGS, {"__version__": {}, **description})
    modes = {f"pooling_mode_{mode}_token{'s' * (mode != 'cls')}": mode == pooling for mode in POOLINGS}
    kept = {} if pools_prompt else {"include_prompt": False}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **modes, **kept})
