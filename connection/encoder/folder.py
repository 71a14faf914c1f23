"""The folder of an encoder: checks its files before any weight is read, and writes the files that describe it.

Supports a plain BERT (`config.json`, `vocab.txt` or `tokenizer.json`, `model.safetensors` or `pytorch_model.bin`) and the
folders of sentence-transformers (BERT + pooling, with or without Normalize). Does not build a model; `weights.py` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk.json_file import read_json, write_json
from connection.encoder.families import family_of
from connection.encoder.families.bert import Bert

POOLINGS = ("mean", "cls", "max")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt")
PLAIN_MAX_TOKENS = 128  # the default for a plain BERT, whose folder does not limit sentences
USE = ("prompts", "similarity_fn_name")  # fields of config_sentence_transformers.json that are kept


@dataclass(frozen=True)
class EncoderFolder:
    """The description of an encoder, read from its folder, without the weights.

    folder: the encoder's folder. bert: the folder of BERT's own files (`folder`, or a sub-folder in the layout of old versions
    of sentence-transformers). family: the kind of model. config: its config.json. pooling: "" if neither the user nor the
    folder names one. own_pooling: the folder's pooling, mean if it names none. normalize: whether embeddings are scaled to
    length 1. max_tokens: the folder's limit, None if it names none. lower_case_first: sentence-transformers' own
    `do_lower_case`, which lower-cases before the tokenizer. use: named prompts and the similarity function, kept unchanged.
    weights: the weight file, None if it is missing.
    """

    folder: Path
    bert: Path
    family: Bert
    config: dict[str, Any]
    pooling: str
    own_pooling: str
    normalize: bool
    max_tokens: int | None
    lower_case_first: bool
    use: dict[str, Any]
    weights: Path | None

    @property
    def own_max_tokens(self) -> int:
        """The limit of a sentence encoder's folder; PLAIN_MAX_TOKENS for a plain BERT, which names at most its positions."""
        return self.max_tokens if self.max_tokens and not self.is_plain else PLAIN_MAX_TOKENS

    @property
    def is_plain(self) -> bool:
        """Whether this is a plain BERT: no file of a sentence encoder is in the folder."""
        return not any((self.folder / name).is_file() for name in ("modules.json", "sentence_bert_config.json"))

    @property
    def files(self) -> dict[str, Path]:
        """The files that determine what this encoder computes, by their path in the folder, for a run's fingerprint."""
        names = ["config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]
        names += ["sentence_bert_config.json", *VOCABULARY_FILES]
        paths = [self.bert / name for name in names]
        paths += [self.weights] if self.weights else []
        paths += [self.folder / "modules.json", *sorted(self.folder.glob("*_Pooling/config.json"))]
        return {path.relative_to(self.folder).as_posix(): path for path in paths if path.is_file()}


def inspect_encoder(folder: str | Path, pooling: str = "", *, without_weights: bool = False) -> EncoderFolder:
    """Check that `folder` holds an encoder that `ConnectionBert` can load. Reads no weights.

    pooling: the user's choice; "" means the folder's pooling. without_weights: the weight file may be missing.
    Raises UserMistake for a missing file and for anything that is not supported.
    """
    folder = Path(folder).resolve()
    if pooling not in ("", *POOLINGS):
        raise UserMistake(f'The pooling "{pooling}" is not one of {", ".join(POOLINGS)}.')
    _check_files(folder, without_weights)
    bert, module_pooling, normalize = _read_modules(folder)
    config = read_json(bert / "config.json")
    family = family_of(config, bert / "config.json")
    family.check_config(config, bert / "config.json")
    sentence_bert = read_json(bert / "sentence_bert_config.json", missing={})
    for name, value in (("transformer_task", "feature-extraction"), ("module_output_name", "token_embeddings")):
        if sentence_bert.get(name, value) != value:
            raise UserMistake(f'{bert / "sentence_bert_config.json"}: "{name}" is "{sentence_bert[name]}", not "{value}".')
    written = read_json(folder / "config_sentence_transformers.json", missing={})
    _check_no_prompt(folder / "config_sentence_transformers.json", written)
    return EncoderFolder(
        folder=folder,
        bert=bert,
        family=family,
        config=config,
        pooling=pooling or module_pooling,
        own_pooling=module_pooling or "mean",
        normalize=normalize,
        max_tokens=_max_tokens(bert, sentence_bert),
        lower_case_first=bool(sentence_bert.get("do_lower_case", False)),
        use={name: written[name] for name in USE if written.get(name)},
        weights=next((bert / name for name in WEIGHT_FILES if (bert / name).is_file()), None),
    )


def missing_files(bert: Path) -> list[str]:
    """The files of a BERT that a folder lacks; alternatives are joined by "or"."""
    needed = [("config.json",), VOCABULARY_FILES[::-1], WEIGHT_FILES]
    return [" or ".join(names) for names in needed if not any((bert / name).is_file() for name in names)]


def _check_files(folder: Path, without_weights: bool) -> None:
    modules = folder / "modules.json"
    bert = _read_modules(folder)[0] if modules.is_file() else folder
    missing = missing_files(bert)
    if without_weights:
        missing = [names for names in missing if WEIGHT_FILES[0] not in names]
    if not missing:
        return
    if folder.is_file():
        raise UserMistake(f"ENCODER is the file {folder}; give the folder that holds config.json, vocab.txt and the weights.")
    if (folder / "summary.json").is_file() and (folder / "best").is_dir():
        raise UserMistake(f"ENCODER: {folder} is the folder of a run; its encoder is {folder / 'best'}.")
    problem = f"{bert} lacks" if folder.is_dir() else f"{folder} does not exist; an encoder needs"
    others = [] if folder.is_dir() else _encoders_in(folder.parent)
    hint = f" Encoders beside it: {', '.join(others)}." if others else ""
    raise UserMistake(
        f"ENCODER: {problem} {', '.join(missing)}.{hint} Put the files there by hand, or run "
        '`python downloadBert.py all-MiniLM-L6-v2` and set ENCODER = "transformers/bert/all-MiniLM-L6-v2".'
    )


def _encoders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not missing_files(path))[:10] if folder.is_dir() else []


def _read_modules(folder: Path) -> tuple[Path, str, bool]:
    """The folder of BERT's files, the pooling ("" if not named), and whether embeddings are normalised, from modules.json."""
    if not (folder / "modules.json").is_file():
        return folder, "", False
    modules = read_json(folder / "modules.json")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    ours = all(str(module.get("type", "")).startswith("sentence_transformers.") for module in modules)
    if not ours or kinds not in (["Transformer"], ["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UserMistake(
            f"{folder / 'modules.json'} lists the modules {', '.join(kinds)}; only BERT, pooling and Normalize are supported. "
            "Choose another encoder."
        )
    paths = [folder / str(module.get("path", "")) for module in modules]
    if any(folder != path.resolve() and folder not in path.resolve().parents for path in paths):
        raise UserMistake(f"{folder / 'modules.json'} names a path outside of its folder.")
    pooling = _read_pooling(paths[1] / "config.json") if len(kinds) > 1 else ""
    return paths[0].resolve(), pooling, "Normalize" in kinds


def _read_pooling(path: Path) -> str:
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
    return modes[0]


def _check_no_prompt(path: Path, config: Mapping[str, Any]) -> None:
    prompts, default = config.get("prompts"), config.get("default_prompt_name")
    prompt = prompts.get(default) if isinstance(prompts, dict) and isinstance(default, str) else None
    if prompt:
        raise UserMistake(
            f"{path} puts the prompt {prompt!r} before every sentence, which is not supported. Choose another encoder."
        )


def _max_tokens(bert: Path, sentence_bert: dict[str, Any]) -> int | None:
    named = sentence_bert.get("max_seq_length")
    if named is None:
        named = read_json(bert / "tokenizer_config.json", missing={}).get("model_max_length")
    return int(named) if isinstance(named, (int, float)) and 3 <= named < 1e9 else None


def write_description(
    folder: Path,
    *,
    pooling: str,
    normalize: bool,
    max_tokens: int,
    hidden: int,
    lower_case_first: bool,
    use: Mapping[str, Any],
) -> None:
    """Write the files that make a BERT's folder a sentence encoder, in the layout of sentence-transformers 2 and later.

    hidden: the size of the embeddings. The other arguments are the fields of `EncoderFolder`.
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
    description: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"} | dict(use)
    write_json(folder / "config_sentence_transformers.json", {"__version__": {}, **description})
    modes = {f"pooling_mode_{mode}_token{'s' * (mode != 'cls')}": mode == pooling for mode in POOLINGS}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **modes})
