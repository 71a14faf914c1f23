"""Kinds of constants: how a flag's text becomes a value, and what is wrong with a value. No constant by its name."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

MOST_COLUMNS = 10_000  # of a file


@dataclass(frozen=True)
class Kind:
    """What a constant may be: how a flag's text becomes a value, and a check that says what is wrong, or nothing.

    choices: what is allowed, if only these are. meanings: what `--help` says of each of them, where a table knows it.
    """

    type: type
    check: Callable[[Any], str | None] = lambda value: None
    is_path: bool = False
    is_column: bool = False
    choices: Collection[str] = ()
    meanings: Callable[[], Mapping[str, str]] = dict


def number(
    type_: type, low: float, high: float, *, open_low: bool = False, open_high: bool = False, or_zero: bool = False
) -> Kind:
    """A number with both bounds: the upper one is far above what anybody uses, and keeps a slip of the hand out.

    or_zero: 0 is taken too, though it lies below."""
    least, most = ("more than" if open_low else "at least"), ("less than" if open_high else "at most")
    wanted = f"must be {'0, or ' * or_zero}{least} {low:,} and {most} {high:,}"

    def check(value: float) -> str | None:
        inside = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
        return None if inside or (or_zero and value == 0) else wanted  # nan is inside of nothing

    return Kind(type_, check)


def choice(*choices: str) -> Kind:
    return table_choice(choices)


def table_choice(choices: Collection[str], meanings: Callable[[], Mapping[str, str]] = dict) -> Kind:
    """One of a table's names: of those that it has when a value is checked, so that a name can be added from Python."""

    def check(value: str) -> str | None:
        listed = ", ".join(f'"{choice}"' for choice in choices)
        return None if value in choices else f"must be one of {listed}"

    return Kind(str, check, choices=choices, meanings=meanings)


def is_number(column: str | int) -> bool:
    return isinstance(column, int) or (column.isascii() and column.isdecimal())


def check_column(value: str | int) -> str | None:
    if not value:
        return "must name a column, or count from 1"
    if is_number(value) and not (len(str(value)) <= 5 and 1 <= int(value) <= MOST_COLUMNS):
        return f"must be a column's number from 1 to {MOST_COLUMNS:,}, or its name"
    return None


def check_encoding(value: str) -> str | None:
    try:
        b"a".decode(value, "replace")  # also refuses what turns bytes into bytes, as "hex" and "zlib" do
        known = codecs.lookup(value).name not in ("idna", "punycode", "undefined")
    except (LookupError, ValueError):
        known = False
    return None if known else 'is no text encoding that Python knows; "utf-8", "cp1252" and "cp949" are usual'


def check_separator(value: str) -> str | None:
    return None if len(value) <= 1 and value not in ('"', "\n", "\r", "\0") else "must be one character, or empty"


def check_range(value: tuple[float, float]) -> str | None:
    good = len(value) == 2 and all(abs(bound) <= 1e100 for bound in value) and value[0] < value[1]
    return None if good else "must be two numbers, the lower one first"


def check_device(value: str) -> str | None:
    good = re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?", value)
    return None if good else 'must be "auto", "cpu", "cuda", "cuda:1" (a card by its number) or "mps"'
