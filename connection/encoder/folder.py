"""The folder of an encoder: checks its files before any weight is read. Does not build a model; `weights.py` does.

Supports a plain transformers model (config.json, its vocabulary, model.safetensors or pytorch_model.bin) and the folders of
sentence-transformers (with pooling, with or without Normalize).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connection import UserMistake
from connection.disk.json_file import read_json
from connection.encoder.diagnosis import VOCABULARIES, WEIGHT_FILES, refuse_incomplete, refuse_other_content
from connection.encoder.families import family_of
from connection.encoder.families.bert import Bert
from connection.encoder.prompts import NONE, default_prompt, pair_prompts
from connection.encoder.sentence_files import POOLINGS, read_modules, read_settings, transformer_settings

PLAIN_MAX_TOKENS = 128  # the default for a plain model, whose folder does not limit sentences


@dataclass(frozen=True)
class EncoderFolder:
    """The description of an encoder, read from its folder, without the weights.

    folder: the encoder's folder. bert: the folder of transformers' own files (`folder`, or a sub-folder in the layout of old
    versions of sentence-transformers). family: the kind of model. config: its config.json. pooling: "" if neither the user nor
    the folder names one. own_pooling: the folder's pooling, mean if it names none. pools_prompt: whether it takes the tokens
    of a prompt too. normalize: whether embeddings are scaled to length 1. max_tokens: the folder's limit, None if it names
    none. lower_case_first: sentence-transformers' own `do_lower_case`, which lower-cases before the tokenizer. lower_case: the
    tokenizer's, where the folder states it outside of the tokenizer's files. settings: prompts, similarity and the like
    (`sentence_files.read_settings`). pair_prompts: the texts before sentence1 and sentence2. weights: the weight file, None if
    it is missing.
    """

    folder: Path
    bert: Path
    family: Bert
    config: dict[str, Any]
    pooling: str
    own_pooling: str
    pools_prompt: bool
    normalize: bool
    max_tokens: int | None
    lower_case_first: bool
    lower_case: bool | None
    settings: dict[str, Any]
    pair_prompts: tuple[str, str]
    weights: Path | None

    @property
    def own_max_tokens(self) -> int:
        """The limit of a sentence encoder's folder; PLAIN_MAX_TOKENS for a plain one, which names at most its positions."""
        return self.max_tokens if self.max_tokens and not self.is_plain else PLAIN_MAX_TOKENS

    @property
    def size(self) -> int:
        """The length of the embeddings that the encoder gives."""
        name, default = self.family.width_and_heads[0]
        full = int(self.config.get(name, default))
        return min(self.settings.get("truncate_dim") or full, full)

    @property
    def is_plain(self) -> bool:
        """Whether this is a plain transformers model: no file of a sentence encoder is in the folder."""
        return not (self.folder / "modules.json").is_file() and not transformer_settings(self.folder)[0].is_file()

    @property
    def files(self) -> dict[str, Path]:
        """The files that determine what this encoder computes, by their path in the folder, for a run's fingerprint.

        config_sentence_transformers.json is not among them: of it, only prompts matter, which a run records by themselves.
        """
        names = ["config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]
        names += [transformer_settings(self.bert)[0].name, "tokenizer.json", "vocab.txt"]
        paths = [self.bert / name for name in names]
        if not any((self.bert / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
            paths += [self.bert / name for name in VOCABULARIES[-1]]
        paths += [self.weights] if self.weights else []
        paths += [self.folder / "modules.json", *sorted(self.folder.glob("*_Pooling/config.json"))]
        return {path.relative_to(self.folder).as_posix(): path for path in paths if path.is_file()}


def inspect_encoder(
    folder: str | Path, pooling: str = "", prompts: tuple[str, str] = ("", ""), *, without_weights: bool = False
) -> EncoderFolder:
    """Check that `folder` holds an encoder that `ConnectionBert` can load. Reads no weights.

    pooling: the user's choice; "" means the folder's pooling. prompts: the values of SENTENCE1_PROMPT and SENTENCE2_PROMPT; ""
    means the folder's. without_weights: the weight file may be missing.
    Raises UserMistake for a missing file and for anything that is not supported.
    """
    folder = Path(folder).resolve()
    if pooling not in ("", *POOLINGS):
        raise UserMistake(f'The pooling "{pooling}" is not one of {", ".join(POOLINGS)}.')
    refuse_other_content(folder / "modules.json")
    modules = read_modules(folder)
    bert = modules.model
    refuse_incomplete(folder, bert, without_weights=without_weights)
    weights = next((bert / name for name in WEIGHT_FILES if (bert / name).is_file()), None)
    for path in (bert / "config.json", bert / "tokenizer.json", bert / "vocab.txt", *([weights] if weights else [])):
        refuse_other_content(path)
    config = read_json(bert / "config.json")
    if modules.model_type:
        config = {"model_type": modules.model_type, **config}
    family = family_of(config, bert / "config.json")
    family.check_config(config, bert / "config.json")
    transformer = transformer_settings(bert)[1]
    lower_case = bool(transformer.get("do_lower_case", False))
    settings = read_settings(folder)
    texts = pair_prompts(settings, prompts)
    if not modules.pools_prompt and any((*texts, default_prompt(settings))):
        raise UserMistake(
            f"{folder}: its pooling leaves the tokens of a prompt out (include_prompt), which is not supported. Set "
            f'SENTENCE1_PROMPT and SENTENCE2_PROMPT to "{NONE}" if there is no default prompt, or choose another encoder.'
        )
    return EncoderFolder(
        folder=folder,
        bert=bert,
        family=family,
        config=config,
        pooling=pooling or modules.pooling,
        own_pooling=modules.pooling or "mean",
        pools_prompt=modules.pools_prompt,
        normalize=modules.normalize,
        max_tokens=_max_tokens(bert, transformer),
        lower_case_first=lower_case and not modules.model_type,
        lower_case=transformer.get("do_lower_case") if modules.model_type else None,
        settings=settings,
        pair_prompts=texts,
        weights=weights,
    )


def _max_tokens(bert: Path, transformer: dict[str, Any]) -> int | None:
    named = transformer.get("max_seq_length")
    if named is None:
        named = read_json(bert / "tokenizer_config.json", missing={}).get("model_max_length")
    return int(named) if isinstance(named, (int, float)) and not isinstance(named, bool) and 3 <= named < 1e9 else None
