"""A script's constants ⇄ command-line flags ⇄ the settings of one run.

A script's constants are the plain `UPPER_CASE` names at its top. Each is also a flag for one run: TRAIN_FILE is
`--train-file`. This file knows what kind of value each name takes; the values themselves stand in the scripts.
It imports nothing but the standard library, so that `--help` and a mistyped flag answer at once.
"""

from __future__ import annotations

import argparse
import ast
import codecs
import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from connection import UserMistake, printable
from connection.interruption import Listener, Stopped
from connection.table_files import MOST_COLUMNS


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


def _is_number(column: str | int) -> bool:
    return type(column) is int or (column.isascii() and column.isdecimal())


def _check_column(value: str | int) -> str | None:
    if not value:
        return "must name a column, or count from 1"
    if _is_number(value) and not (len(str(value)) <= 5 and 1 <= int(value) <= MOST_COLUMNS):
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


class Settings(SimpleNamespace):
    """The effective constants of one run, as attributes. Paths are absolute `Path`s; a path that is "" is None."""

    def __getattr__(self, name: str) -> Any:
        """Only asked for what is not there: a constant that was renamed or deleted from the top of the script."""
        if not name.isupper():
            raise AttributeError(name)
        raise UserMistake(f"The constant {name} is missing at the top of the script: put it back.")

    def as_json(self) -> dict[str, Any]:
        """The settings as plain JSON values, paths as text, None as ""."""
        return {name: _plain(value) for name, value in vars(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return "" if value is None else list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Constant:
    """A constant as it stands in a script: its name, the comment above it and the headline of its group."""

    name: str
    comment: str
    group: str


def read_constants(source: str, kinds: Mapping[str, Kind] = KINDS) -> list[Constant]:
    """The constants of a script's source, in order: assignments to names of `kinds` at its top level.

    One that is assigned twice counts once, where it first stands; its value is the last one, as Python has it.
    """
    lines = source.splitlines()
    constants, group = [], ""
    for node in ast.parse(source).body:
        name = _assigned_name(node)
        if name not in kinds or name in [constant.name for constant in constants]:
            continue
        comment, above = [], node.lineno - 2
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
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
            "help": f"{constant.comment} (now: {shown!r})".replace("%", "%%"),
        }
        if kind.type is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif kind.type is tuple:
            options |= {"nargs": 2, "metavar": ("LOWEST", "HIGHEST")}
        else:
            listed = ",".join(choice or '""' for choice in kind.choices)
            options["metavar"] = f"{{{listed}}}" if listed else "VALUE"
        groups[constant.group].add_argument(flag_of(constant.name), **options)
    return parser


def _from_text(name: str, kind: Kind, given: Any) -> Any:
    """A flag's text as a value of its constant's kind."""
    if kind.type is bool:
        return given
    try:
        if kind.type is tuple:
            return tuple(_plain_number(float(text)) for text in given)
        if kind.type in (int, float):
            return kind.type(given)
    except (ValueError, OverflowError):
        wanted = {int: "a whole number", float: "a number", tuple: "two numbers"}[kind.type]
        shown = " ".join(given) if kind.type is tuple else given
        raise UserMistake(f'{flag_of(name)} "{shown}" is not {wanted}.') from None
    return "\t" if name == "SEPARATOR" and given == "\\t" else given


def _plain_number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _checked(kind: Kind, value: Any, folder: Path, where: str) -> Any:
    """The value as the run uses it; raise `UserMistake` if it is of another type or out of its range.

    folder: where a relative path starts.
    """
    if kind.type is tuple and type(value) is list:
        value = tuple(value)
    if kind.type is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    right = type(value) is kind.type or (kind.is_column and type(value) is int)
    if kind.type is tuple and right:
        right = all(type(bound) in (int, float) for bound in value)
    wanted = {str: "text in quotes", int: "a whole number", float: "a number", bool: "True or False", tuple: "two numbers"}
    problem = kind.check(value) if right else f"must be {wanted[kind.type]}"
    if problem:
        raise UserMistake(f"{where} is {value!r}; it {problem}.")
    if kind.type is tuple:
        return tuple(_plain_number(float(bound)) for bound in value)  # (0, 5) and (0.0, 5.0) are one setting
    if kind.is_column:
        return int(value) if _is_number(value) else value
    if kind.is_path:
        return _absolute(value, folder, where) if value else None
    return value


def _absolute(value: str, folder: Path, where: str) -> Path:
    try:
        path = (folder / Path(value).expanduser()).resolve()
        if not path.name:
            raise ValueError("it is a disk's root")
        path.exists()  # the system's word on it: too long, a loop of links, a folder that may not be entered
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserMistake(f"{where} is {value!r}, which cannot be a path here: {reason}.") from None
    return path


def read_settings(
    script: str | Path,
    values: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
    kinds: Mapping[str, Kind] = KINDS,
) -> Settings:
    """The settings of one run: the script's constants, overridden by the command line.

    script: the script's file, whose comments make `--help` and whose folder is where its relative paths start.
    values: the script's globals. arguments: the command line without the program's name, `sys.argv[1:]` if None.
    kinds: what each of its constants may be.
    Raises UserMistake for an unknown flag and for a value of the wrong type or out of its range.
    """
    script = Path(script).resolve()
    constants = read_constants(script.read_text(encoding="utf-8-sig"), kinds)
    parser = _make_parser(script, constants, kinds, values, (values.get("__doc__") or "").strip())
    given, unknown = parser.parse_known_args(sys.argv[1:] if arguments is None else list(arguments))
    if unknown:
        flags = [text for action in parser._actions for text in action.option_strings]
        near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; --help lists them."
        raise UserMistake(f'There is no flag "{unknown[0]}"{hint}')
    settings = Settings()
    for constant in constants:
        name = constant.name
        flagged = name in given
        value = _from_text(name, kinds[name], getattr(given, name)) if flagged else values[name]
        where = flag_of(name) if flagged else f"{name} (at the top of {script.name})"
        setattr(settings, name, _checked(kinds[name], value, Path.cwd() if flagged else script.parent, where))
    return settings


def run_script(main: Callable[[], int | None]) -> int:
    """Run a script's `main` and return its exit status.

    A `UserMistake` is printed as a sentence, with status 2; Ctrl-C ends with 130, SIGTERM with 143, a closed pipe
    (`… | head`) with 141.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A Windows console cannot show every letter; a file that output is piped into grows line by line.
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        return main() or 0
    except UserMistake as mistake:
        print(printable(str(mistake)), file=Listener(sys.stderr))
        return 2
    except Stopped as stopped:
        print(f"\n{stopped}", file=Listener(sys.stderr))
        return stopped.exit_status
    except KeyboardInterrupt:
        print("\nInterrupted.", file=Listener(sys.stderr))
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more to say when Python flushes its streams
        return 141
