"""Opens a file with the reader of its format, chosen by the file's extension.

To add a format, add a module to this package and a line to FORMATS.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from connection import UserMistake
from connection.reading.formats.foreign import LONGEST_START, describe
from connection.reading.formats.table import Reading, Table

_FORMATS = "connection.reading.formats"
# Extension → the module with its `open_file`. Other extensions are read as CSV.
FORMATS = {
    ".csv": f"{_FORMATS}.text.csv_table",
    ".tsv": f"{_FORMATS}.text.csv_table",
    ".tab": f"{_FORMATS}.text.csv_table",
    ".xlsx": f"{_FORMATS}.workbook",
    ".xlsm": f"{_FORMATS}.workbook",
    ".jsonl": f"{_FORMATS}.json_table",
    ".ndjson": f"{_FORMATS}.json_table",
    ".json": f"{_FORMATS}.json_table",
    ".parquet": f"{_FORMATS}.parquet_table",
    ".pq": f"{_FORMATS}.parquet_table",
    ".arrow": f"{_FORMATS}.arrow_table",
    ".feather": f"{_FORMATS}.arrow_table",
    ".ipc": f"{_FORMATS}.arrow_table",
}


def open_table(path: Path, reading: Reading) -> Table:
    """The table of a file. reading: the columns to find in it, and the constants that say how it is written.

    Raises UserMistake, here or while the rows are read, for a file that does not have the format of its extension.
    """
    try:
        with path.open("rb") as file:
            start = file.read(LONGEST_START)
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror}.") from None
    format_module = importlib.import_module(FORMATS.get(path.suffix.lower(), FORMATS[".csv"]))
    foreign = None if getattr(format_module, "BINARY", False) else describe(path, start)
    if foreign is not None:
        raise UserMistake(f"{path} is {foreign}.")
    return format_module.open_file(path, reading)
