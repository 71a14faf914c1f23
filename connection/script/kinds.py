"""Kinds of constants: their type, choices and range checks. `connection/constants.py` says which constant has which kind."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

MOST_COLUMNS = 10_000  # that a file of pairs may have
MOST_NEGATIVES = 100


@dataclass(frozen=True)
class Kind:
    """The values that a constant may take.

    check: value → what is wrong with it ("must be …"), or None. choices: the permitted texts, if only these are. meanings: an
    explanation of each choice for `--help`. item: the type of the items, of a tuple that may have any length. also_in: a folder
    beside the script, in which a relative path that does not exist is looked for as well. is_column: a number is a column, too.
    or_empty: a number that may also be "".
    """

    type: type
    check: Callable[[Any], str | None] = lambda value: None
    item: Callable[[Any], Any] | None = None
    is_path: bool = False
    also_in: str = ""
    is_column: bool = False
    or_empty: bool = False
    choices: Collection[str] = ()
    meanings: Callable[[], Mapping[str, str]] = dict


def number(
    type_: type, low: float, high: float, *, open_low: bool = False, open_high: bool = False, or_zero: bool = False
) -> Kind:
    """A number between two bounds. The upper one is far above what anybody uses and catches typing errors.

    open_low, open_high: the bound itself is excluded. or_zero: 0 is permitted although it is below `low`.
    """
    least, most = ("more than" if open_low else "at least"), ("less than" if open_high else "at most")
    requirement = f"must be {'0, or ' * or_zero}{least} {low:,} and {most} {high:,}"

    def check(value: float) -> str | None:
        inside = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
        return None if inside or (or_zero and value == 0) else requirement  # NaN is never inside

    return Kind(type_, check)


def choice(*choices: str) -> Kind:
    """One of several texts."""
    listed = ", ".join(f'"{choice}"' for choice in choices)
    return Kind(str, lambda value: None if value in choices else f"must be one of {listed}", choices=choices)


def is_number(column: str | int) -> bool:
    """Whether a column is given by its number rather than its name."""
    return isinstance(column, int) or (column.isascii() and column.isdecimal())


def check_column(value: str | int) -> str | None:
    if value == "":
        return "must be a column's name, or its number counting from 1"
    if is_number(value) and not (len(str(value)) <= 5 and 0 <= int(value) <= MOST_COLUMNS):
        return f"must be a column's number from 1 to {MOST_COLUMNS:,}, or its name"
    return None


def check_columns(value: tuple[str | int, ...]) -> str | None:
    problem = next((problem for column in value if (problem := check_column(column))), None)
    if problem is None and (len(value) > MOST_NEGATIVES or len(set(map(str, value))) < len(value)):
        return f"must be up to {MOST_NEGATIVES} different columns"
    return problem


def check_encoding(value: str) -> str | None:
    try:
        b"a".decode(value, "replace")  # fails for codecs from bytes to bytes, such as "hex" and "zlib"
        known = codecs.lookup(value).name not in ("idna", "punycode", "undefined")
    except (LookupError, ValueError):
        known = False
    return None if known else 'is not a text encoding known to Python; common ones are "utf-8", "cp1252" and "cp949"'


def check_separator(value: str) -> str | None:
    valid = len(value) <= 20 and not set(value) & set('"\n\r\0')
    return None if valid else "must be at most 20 characters without quotes and line ends, or empty"


def check_range(value: tuple[float, float]) -> str | None:
    valid = len(value) == 2 and all(abs(bound) <= 1e100 for bound in value) and value[0] < value[1]
    return None if valid else "must be two numbers, the lower one first"


def check_ranks(value: tuple[int, ...]) -> str | None:
    valid = len(value) == 2 and 1 <= value[0] <= value[1] <= 10_000
    return None if valid else "must be two whole numbers from 1 to 10,000, the lower one first"


def check_dimensions(value: tuple[int, ...]) -> str | None:
    valid = all(1 <= length <= 65_536 for length in value) and len(set(value)) == len(value) <= 32
    return None if valid else "must be up to 32 different whole numbers from 1 to 65,536"


def check_uri(value: str) -> str | None:
    valid = value == "" or re.fullmatch(r"https?://[^\s/]+(/\S*)?", value)
    return None if valid else 'must be empty, or the address of a server, such as "http://localhost:19530"'


def check_device(value: str) -> str | None:
    valid = re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?", value)
    return None if valid else 'must be "auto", "cpu", "cuda", "cuda:1" (a GPU by its number) or "mps"'
