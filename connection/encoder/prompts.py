"""Prompts: texts before every sentence, such as "query: ", with which some encoders were trained.

A folder names them in config_sentence_transformers.json, and which of them is the default. A run whose two sides of a pair have
different prompts saves them under the names sentence1 and sentence2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connection import UserMistake

SIDES = ("sentence1", "sentence2")
NONE = "none"  # the value of a constant that drops the folder's default


def default_prompt(settings: Mapping[str, Any]) -> str:
    """The text before every sentence for which no other is asked for; "" for none. settings: from `read_settings`."""
    return (settings.get("prompts") or {}).get(settings.get("default_prompt_name")) or ""


def pair_prompts(settings: Mapping[str, Any], values: tuple[str, str]) -> tuple[str, str]:
    """The texts before sentence1 and sentence2.

    values: of SENTENCE1_PROMPT and SENTENCE2_PROMPT: "" for the folder's own, "none", the name of a prompt, or a text.
    Raises UserMistake for a name that the folder does not have.

    >>> e5 = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
    >>> pair_prompts(e5, ("query", "passage")), pair_prompts(e5, ("", "")), pair_prompts(e5, ("Ask: ", "none"))
    (('query: ', 'passage: '), ('', ''), ('Ask: ', ''))
    """
    first, second = (
        _text(settings, value, f"{side.upper()}_PROMPT", [side]) for side, value in zip(SIDES, values, strict=True)
    )
    return first, second


def search_prompts(settings: Mapping[str, Any], values: tuple[str, str]) -> tuple[str, str]:
    """The texts before a query and before a sentence of the corpus. values: of QUERY_PROMPT and CORPUS_PROMPT, as above.

    The folder's own are those of sentence1 and sentence2, or those that sentence-transformers takes for queries and documents.

    >>> e5 = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
    >>> search_prompts(e5, ("", "")), search_prompts(e5, ("none", "query"))
    (('query: ', 'passage: '), ('', 'query: '))
    """
    query, corpus = values
    return (
        _text(settings, query, "QUERY_PROMPT", [SIDES[0], "query"]),
        _text(settings, corpus, "CORPUS_PROMPT", [SIDES[1], "document", "passage", "corpus"]),
    )


def _text(settings: Mapping[str, Any], value: str, constant: str, own: Sequence[str]) -> str:
    """The text of a prompt. value: of the constant. own: names of the folder's prompts for which "" stands, the first wins."""
    prompts = settings.get("prompts") or {}
    if not value:
        return next((prompts[name] for name in own if prompts.get(name)), default_prompt(settings))
    if value in prompts:
        return prompts[value] or ""
    if value == NONE:
        return ""
    if re.fullmatch(r"[\w-]+", value):
        names = ", ".join(f'"{name}"' for name, text in prompts.items() if text) or "none"
        raise UserMistake(
            f'{constant}: the encoder has no prompt named "{value}"; its prompts: {names}. A text ends with a blank, such as '
            '"query: ".'
        )
    return value


def with_pair_prompts(settings: Mapping[str, Any], texts: tuple[str, str]) -> dict[str, Any]:
    """The settings of an encoder that was trained with these prompts, from which `pair_prompts` gives them again.

    One text for both sides becomes the default, which every program applies.
    """
    if pair_prompts(settings, ("", "")) == texts:
        return dict(settings)
    prompts = {name: text for name, text in (settings.get("prompts") or {}).items() if name not in SIDES}
    if texts[0] != texts[1]:
        return {**settings, "prompts": prompts | dict(zip(SIDES, texts, strict=True)), "default_prompt_name": None}
    default = next((name for name, text in prompts.items() if text == texts[0]), "sentence") if texts[0] else None
    return {**settings, "prompts": prompts | ({default: texts[0]} if default else {}), "default_prompt_name": default}


def prompted(sentences: Iterable[str], prompt: str) -> list[str]:
    """Each sentence with the prompt before it."""
    return [prompt + sentence for sentence in sentences]


def without_prompt(text: str, prompts: Sequence[str]) -> str:
    """A text that was made by `prompted` from one of the prompts, without it; the longest that fits.

    >>> without_prompt("query: two", ("query: ", ""))
    'two'
    """
    return text.removeprefix(max((prompt for prompt in prompts if text.startswith(prompt)), key=len, default=""))


def prompts_text(texts: tuple[str, str]) -> str:
    """A line that names the prompts.

    >>> prompts_text(("query: ", "query: "))
    'Before every sentence stands the prompt "query: ".'
    """
    if texts[0] == texts[1]:
        return f"Before every sentence stands the prompt {json.dumps(texts[0], ensure_ascii=False)}."
    named = [
        f"before every {side} {f'the prompt {json.dumps(text, ensure_ascii=False)}' if text else 'none'}"
        for side, text in zip(SIDES, texts, strict=True)
    ]
    return f"Prompts: {', '.join(named)}."
