"""A script's constants ⇄ command-line flags ⇄ the settings of one run.

A script's constants are the `UPPER_CASE` names at its top. Each is also a command-line flag: TRAIN_FILE is `--train-file`.
`connection/constants.py` says which kind of value each constant takes. The values themselves are in the scripts.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from connection import UserMistake
from connection.script.kinds import Kind, is_number


class Settings(SimpleNamespace):
    """The effective constants of one run, as attributes. Paths are absolute `Path`s; the path "" is None.

    flagged: the constants set by a command-line flag.
    """

    flagged: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        """Called for missing attributes only: a constant that was renamed or deleted at the top of the script."""
        if not name.isupper():
            raise AttributeError(name)
        raise UserMistake(f"The constant {name} is missing at the top of the script. Put it back.")

    def as_json(self) -> dict[str, Any]:
        """The settings as plain JSON values, paths as text, None as ""."""
        return {name: _json_value(value) for name, value in vars(self).items() if name.isupper()}


def _json_value(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return "" if value is None else list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Constant:
    """A constant of a script: its name, the comment above it and the heading of its group."""

    name: str
    comment: str
    group: str


def read_constants(source: str, kinds: Mapping[str, Kind]) -> list[Constant]:
    """The constants of a script's source, in order: top-level assignments to names of `kinds`.

    A constant that is assigned twice is listed once, at its first assignment; its value is the last one, as in Python.
    """
    lines = source.splitlines()
    constants: list[Constant] = []
    group = ""
    for node in ast.parse(source).body:
        name = _assigned_name(node)
        if name is None or name not in kinds or name in [constant.name for constant in constants]:
            continue
        comment: list[str] = []
        above = node.lineno - 2
        while above >= 0 and lines[above].startswith("#") and not lines[above].startswith("# ---"):
            comment.insert(0, lines[above].lstrip("# ").rstrip())
            above -= 1
        while above >= 0 and not lines[above].strip():
            above -= 1
        if lines[above].startswith("# ---"):
            group = lines[above].strip("# -")
        constants.append(Constant(name, " ".join(comment), group))
    return constants


def _assigned_name(node: ast.stmt) -> str | None:
    """`X = 1` and `X: int = 1` → "X"."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) and getattr(node, "value", None) is not None else None


def flag_of(name: str) -> str:
    """`TRAIN_FILE` → `--train-file`."""
    return "--" + name.lower().replace("_", "-")


def described(constant: Constant, kind: Kind) -> str:
    """What a constant means: its comment, then the meanings of its choices if its kind has any."""
    meanings = "; ".join(f"{choice}: {meaning}" for choice, meaning in kind.meanings().items())
    return f"{constant.comment} {meanings}." if meanings else constant.comment


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserMistake(f"{message[0].upper()}{message[1:]} (--help lists every flag).")


def _make_parser(
    script: Path, constants: Sequence[Constant], kinds: Mapping[str, Kind], values: Mapping[str, Any], about: str
) -> _Parser:
    parser = _Parser(
        prog=f"python {script.name}",
        description=about,
        epilog="Each flag overrides, for one run, the constant of its name at the top of the script.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups: dict[str, Any] = {}
    for constant in constants:
        kind, default = kinds[constant.name], values[constant.name]
        if constant.group not in groups:
            groups[constant.group] = parser.add_argument_group(constant.group)
        shown = " ".join(map(str, default)) if isinstance(default, (tuple, list)) else default
        options: dict[str, Any] = {
            "dest": constant.name,
            "default": argparse.SUPPRESS,
            "help": f"{described(constant, kind)} (now: {shown!r})".replace("%", "%%"),
        }
        if kind.type is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif kind.type is tuple:
            options |= {"nargs": "*"} if kind.item else {"nargs": 2, "metavar": ("LOWEST", "HIGHEST")}
            options |= {"metavar": "VALUE"} if kind.item else {}
        else:
            listed = ",".join(choice or '""' for choice in kind.choices)
            options["metavar"] = f"{{{listed}}}" if listed else "VALUE"
        groups[constant.group].add_argument(flag_of(constant.name), **options)
    return parser


def _from_text(name: str, kind: Kind, argument: Any) -> Any:
    """Convert the text of a flag to the type of its constant. Raises UserMistake for text that is not such a value."""
    if kind.type is bool or (kind.or_empty and argument == ""):
        return argument
    try:
        if kind.item:
            return tuple(kind.item(text) for text in argument if text)  # "" is the empty tuple
        if kind.type is tuple:
            return tuple(_shortest_number(float(text)) for text in argument)
        if kind.type in (int, float):
            return kind.type(argument)
    except (ValueError, OverflowError):
        expected = _expected(kind)
        shown = " ".join(argument) if kind.type is tuple else argument
        raise UserMistake(f'{flag_of(name)} "{shown}" is not {expected}.') from None
    return "\t" if name == "SEPARATOR" and argument == "\\t" else argument


def _expected(kind: Kind) -> str:
    """What a value of this kind must be, for messages."""
    if kind.item:
        return 'names or numbers of columns, as in ("negative",)' if kind.is_column else "whole numbers, as in (64, 128)"
    if kind.or_empty:
        return 'a number, or ""'
    names = {str: "text in quotes", int: "a whole number", float: "a number", bool: "True or False", tuple: "two numbers"}
    return names[kind.type]


def _shortest_number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _checked(kind: Kind, value: Any, folder: Path, script: Path, where: str) -> Any:
    """The value as the run uses it. Raises `UserMistake` for a value of the wrong type or out of its range.

    folder: the folder that a relative path starts from. script: the script's folder. where: the constant or flag, for the
    message.
    """
    if kind.type is tuple and type(value) is list:
        value = tuple(value)
    if kind.type is tuple and kind.is_column and type(value) in (str, int):  # ("negative") for ("negative",)
        value = (value,) if value != "" else ()
    if kind.or_empty and value == "":
        return value
    if kind.type is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    has_type = type(value) is kind.type or (kind.is_column and type(value) is int)
    if kind.type is tuple and has_type:
        types = (str, int) if kind.is_column else (kind.item,) if kind.item else (int, float)
        has_type = all(type(item) in types for item in value)
    problem = kind.check(value) if has_type else f"must be {_expected(kind)}"
    if problem:
        raise UserMistake(f"{where} is {value!r}; it {problem}.")
    if kind.type is tuple and not kind.item:
        return tuple(_shortest_number(float(bound)) for bound in value)  # (0, 5) and (0.0, 5.0) are the same setting
    if kind.is_column:
        columns = [int(column) if is_number(column) else column for column in (value if kind.type is tuple else [value])]
        return tuple(columns) if kind.type is tuple else columns[0]
    if kind.is_path:
        path = _absolute(value, folder, where) if value else None
        if kind.also_in and path and not path.exists() and not Path(value).is_absolute():
            other = _absolute(f"{kind.also_in}/{value}", script, where)
            return other if other.exists() else path
        return path
    return value


def _absolute(value: str, folder: Path, where: str) -> Path:
    try:
        path = (folder / Path(value).expanduser()).resolve()
        if not path.name:
            raise ValueError("it is the root of a disk")
        path.exists()  # raises for a path that is too long, a loop of links or a folder without permission
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserMistake(f"{where} is {value!r}, which is not a usable path: {reason}.") from None
    return path


def read_settings(
    script: str | Path,
    values: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    arguments: Sequence[str] | None = None,
) -> Settings:
    """The settings of one run: the script's constants, overridden by the command line.

    script: the script's file. `--help` shows its comments; relative paths in its constants start from its folder, those in
    flags from the current one. values: the script's globals. kinds: the kind of each constant. arguments: the command line
    without the program's name; `sys.argv[1:]` if None.
    Raises UserMistake for an unknown flag and for a value of the wrong type or out of its range.
    """
    script = Path(script).resolve()
    constants = read_constants(script.read_text(encoding="utf-8-sig"), kinds)
    parser = _make_parser(script, constants, kinds, values, (values.get("__doc__") or "").strip())
    overrides, unknown = parser.parse_known_args(sys.argv[1:] if arguments is None else list(arguments))
    if unknown:
        flags = [text for action in parser._actions for text in action.option_strings]
        near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; --help lists them."
        raise UserMistake(f'There is no flag "{unknown[0]}"{hint}')
    settings = Settings(flagged=frozenset(vars(overrides)))
    for constant in constants:
        name = constant.name
        flagged = name in overrides
        value = _from_text(name, kinds[name], getattr(overrides, name)) if flagged else values[name]
        where = flag_of(name) if flagged else f"{name} (at the top of {script.name})"
        folder = Path.cwd() if flagged else script.parent
        setattr(settings, name, _checked(kinds[name], value, folder, script.parent, where))
    return settings
