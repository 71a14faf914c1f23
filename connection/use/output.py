"""Writes the table of a script's OUTPUT_FILE: a CSV, TSV or Excel file, complete or absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from connection import UserMistake
from connection.disk import durable
from connection.disk.files import check_writable, set_aside
from connection.reading.formats.table import NUMBER, NotText, Number
from connection.reading.formats.text.csv_output import Style, csv_pieces
from connection.reading.formats.workbook_output import check_package, workbook_pieces


def is_workbook(path: Path) -> bool:
    """Whether OUTPUT_FILE is an Excel workbook."""
    return path.suffix == ".xlsx"


def check_output(output: Path, **inputs: Path) -> None:
    """Raise UserMistake, before anything is read, if OUTPUT_FILE cannot be written or is one of the inputs.

    inputs: the file of each constant.
    """
    if output.is_dir():
        raise UserMistake(f"OUTPUT_FILE: {output} is a folder; name a file that ends in .csv, .tsv or .xlsx.")
    for name, path in inputs.items():
        if output.exists() and path.exists() and output.samefile(path):
            raise UserMistake(f"OUTPUT_FILE and {name} are the same file, {path}. Name another OUTPUT_FILE.")
    nearest = next(folder for folder in output.parents if folder.exists())
    if not nearest.is_dir():
        raise UserMistake(f"OUTPUT_FILE: {nearest} is a file, not a folder; name another OUTPUT_FILE.")
    check_writable(nearest)
    if is_workbook(output):
        check_package(output)


def table_pieces(path: Path, header: Sequence[str], rows: Iterable[Sequence[str | float]], style: Style) -> Iterator[bytes]:
    """The contents of OUTPUT_FILE, in pieces: a workbook, TSV or CSV, by the ending of its name.

    rows: texts and numbers; in a workbook, a `Number` is a number too. style: of the input.
    """
    if is_workbook(path):
        yield from workbook_pieces(header, rows)
        return
    style = replace(style, separator="\t") if path.suffix == ".tsv" else style
    yield from csv_pieces(
        header, ([str(cell) if isinstance(cell, str) else style.number(cell) for cell in row] for row in rows), style
    )


def replace_output(path: Path, pieces: Iterable[bytes]) -> None:
    """Write OUTPUT_FILE; a file that is already there is renamed once the new one is complete."""
    with durable.writing(path):
        durable.make_folder(path.parent)
        durable.replace_file(path, _with_old_aside(path, pieces))


def _with_old_aside(path: Path, pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield from pieces
    if path.exists():
        print(f"{path} existed and is now {set_aside(path)}.")


def typed_number(cell: str) -> str:
    """A cell of an input, as `Number` if a file with types, such as Parquet, has it as a number."""
    return Number(cell) if isinstance(cell, NotText) and NUMBER.fullmatch(cell) else cell
