"""What JSON, Parquet and Arrow share: names of nested columns, such as `labels.score`, and numbers as names of columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from connection.reading.formats.table import Reading

MOST_NESTED = 200  # names that are listed
DEEPEST = 20  # keys in a dotted name
NUMBERED_NOTE = "its columns have numbers as names"
MISSING = object()


def value_at(record: Mapping[str, Any], name: str) -> Any:
    """The value of a key, or of a key in nested objects, joined by dots; MISSING if there is none.

    A key that contains dots itself comes first, and so does a longer one.

    >>> value_at({"a": {"b": 1, "c.d": 2}, "a.b": 3}, "a.c.d"), value_at({"a": {"b": 1}, "a.b": 3}, "a.b")
    (2, 3)
    """
    if name in record:
        return record[name]
    for head, tail in splits(name):
        inner = record.get(head)
        if isinstance(inner, Mapping):
            value = value_at(inner, tail)
            if value is not MISSING:
                return value
    return MISSING


def splits(name: str) -> Iterator[tuple[str, str]]:
    """The ways to cut a dotted name into a key and the rest, the longest key first; none for more than DEEPEST keys.

    >>> list(splits("a.b.c"))
    [('a.b', 'c'), ('a', 'b.c')]
    """
    parts = name.split(".")
    if len(parts) <= DEEPEST:
        for count in range(len(parts) - 1, 0, -1):
            yield ".".join(parts[:count]), ".".join(parts[count:])


def nested_names(record: Mapping[str, Any]) -> list[str]:
    """The dotted names of the values in nested objects; MOST_NESTED at most.

    >>> nested_names({"a": 1, "b": {"c": 2, "d": {"e": 3}}})
    ['b.c', 'b.d.e']
    """
    names: list[str] = []
    waiting = [(key, value) for key, value in list(record.items())[::-1] if isinstance(value, Mapping)]
    while waiting and len(names) < MOST_NESTED:
        name, value = waiting.pop()
        if isinstance(value, Mapping) and name.count(".") < DEEPEST:
            waiting += [(f"{name}.{key}", inner) for key, inner in list(value.items())[::-1]]
        else:
            names.append(name)
    return names


def wanted_dotted(reading: Reading, header: Iterable[str]) -> list[str]:
    """The columns that may be nested ones: wanted, with a dot, and no column themselves."""
    known = set(header)
    names = (column for column in reading.wanted if isinstance(column, str) and "." in column)
    return [name for name in dict.fromkeys(names) if name not in known]


def number_notes(reading: Reading, header: Iterable[str]) -> list[str]:
    """A note if the columns are given by number and these numbers are names, as pandas writes them by default."""
    known = set(header)
    is_named = bool(reading.needed) and not reading.by_name and all(str(column) in known for column in reading.needed)
    return [NUMBERED_NOTE] * is_named
