"""What kind of value each constant of a script takes, and what is wrong with one that is no such value."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connection.reading.csv_table import MOST_COLUMNS


@dataclass(frozen=True)
class Kind:
    """What a constant may be: how a flag's text becomes a value, and a check that says what is wrong, or nothing."""

    type: type
    check: Callable[[Any], str | None] = lambda value: None
    is_path: bool = False
    is_column: bool = False
    choices: tuple[str, ...] = ()


def _number(type_: type, low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> Kind:
    """A number with both bounds: the upper one is far above what anybody uses, and keeps a slip of the hand out."""
    wanted = f"must be {'more than' if open_low else 'at least'} {low:,} and {'less than' if open_high else 'at most'} {high:,}"

    def check(value: float) -> str | None:
        inside = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
        return None if inside else wanted  # nan is inside of nothing

    return Kind(type_, check)


def _choice(*choices: str) -> Kind:
    listed = ", ".join(f'"{choice}"' for choice in choices)
    return Kind(str, lambda value: None if value in choices else f"must be one of {listed}", choices=choices)


def is_number(column: str | int) -> bool:
    return type(column) is int or (column.isascii() and column.isdecimal())


def _check_column(value: str | int) -> str | None:
    if not value:
        return "must name a column, or count from 1"
    if is_number(value) and not (len(str(value)) <= 5 and 1 <= int(value) <= MOST_COLUMNS):
        return f"must be a column's number from 1 to {MOST_COLUMNS:,}, or its name"
    return None


def _check_encoding(value: str) -> str | None:
    try:
        b"a".decode(value, "replace")  # also refuses what turns bytes into bytes, as "hex" and "zlib" do
        known = codecs.lookup(value).name not in ("idna", "punycode", "undefined")
    except (LookupError, ValueError):
        known = False
    return None if known else 'is no text encoding that Python knows; "utf-8", "cp1252" and "cp949" are usual'


def _check_separator(value: str) -> str | None:
    return None if len(value) <= 1 and value not in ('"', "\n", "\r", "\0") else "must be one character, or empty"


def _check_range(value: tuple[float, float]) -> str | None:
    good = len(value) == 2 and all(abs(bound) <= 1e100 for bound in value) and value[0] < value[1]
    return None if good else "must be two numbers, the lower one first"


def _check_device(value: str) -> str | None:
    good = re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?", value)
    return None if good else 'must be "auto", "cpu", "cuda", "cuda:1" (a card by its number) or "mps"'


_COLUMN = Kind(str, _check_column, is_column=True)
KINDS = {
    "ENCODER": Kind(str, lambda value: None if value else "must name a folder", is_path=True),
    "POOLING": _choice("", "mean", "cls", "max"),
    "MAX_TOKENS": _number(int, 3, 1_000_000),
    "TRAIN_FILE": Kind(str, lambda value: None if value else "must name a file", is_path=True),
    "DEV_FILE": Kind(str, is_path=True),
    "TEST_FILE": Kind(str, is_path=True),
    "SENTENCE1_COLUMN": _COLUMN,
    "SENTENCE2_COLUMN": _COLUMN,
    "SCORE_COLUMN": _COLUMN,
    "SCORE_RANGE": Kind(tuple, _check_range),
    "SEPARATOR": Kind(str, _check_separator),
    "QUOTING": Kind(bool),
    "ENCODING": Kind(str, _check_encoding),
    "OVERLAP": _choice("report", "drop", "refuse"),
    "DEV_SHARE": _number(float, 0, 1, open_low=True, open_high=True),
    "LOSS": _choice("cosine"),
    "EPOCHS": _number(int, 0, 1_000_000),
    "BATCH_SIZE": _number(int, 1, 1_000_000),
    "LEARNING_RATE": _number(float, 0, 1, open_low=True),
    "WARMUP": _number(float, 0, 1),
    "WEIGHT_DECAY": _number(float, 0, 1_000),
    "MAX_GRADIENT_NORM": _number(float, 0, 1_000_000),
    "SEED": _number(int, 0, 2**63 - 1),
    "OUTPUT": Kind(str, lambda value: None if value else "must name a folder", is_path=True),
    "EVALUATIONS_PER_EPOCH": _number(int, 1, 1_000_000),
    "PATIENCE": _number(int, 0, 1_000_000),
    "CHECKPOINTS_PER_EPOCH": _number(int, 1, 1_000_000),
    "DEVICE": Kind(str, _check_device),
    "PRECISION": _choice("float32", "bfloat16"),
    "THREADS": _number(int, 0, 1_024),
    "TENSORBOARD": Kind(bool),
    "START_OVER": Kind(bool),
}
# Those of the scoring script: what it shares with training means the same there, but for a score that may be absent.
_SHARED = "ENCODER SENTENCE1_COLUMN SENTENCE2_COLUMN SCORE_RANGE SEPARATOR QUOTING ENCODING BATCH_SIZE DEVICE PRECISION THREADS"
SCORING_KINDS = {name: KINDS[name] for name in _SHARED.split()} | {
    "PAIRS_FILE": Kind(str, lambda value: None if value else "must name a file", is_path=True),
    "OUTPUT_FILE": Kind(str, lambda value: None if value.endswith(".csv") else 'must end in ".csv"', is_path=True),
    "SENTENCE1": Kind(str),
    "SENTENCE2": Kind(str),
    "SCORE_COLUMN": Kind(str, lambda value: _check_column(value) if value else None, is_column=True),
}
