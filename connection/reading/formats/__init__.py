"""Opens a file with the reader of its format, chosen by the file's extension.

To add a format, add a module to this package and a line to FORMATS.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from connection import UserMistake
from connection.reading.formats.table import Reading, Table

# Extension → the module with its `open_file`. Other extensions are read as CSV.
FORMATS = {
    ".csv": "connection.reading.formats.text.csv_table",
    ".tsv": "connection.reading.formats.text.csv_table",
    ".tab": "connection.reading.formats.text.csv_table",
    ".jsonl": "connection.reading.formats.json_lines",
    ".ndjson": "connection.reading.formats.json_lines",
    ".json": "connection.reading.formats.json_lines",
    ".parquet": "connection.reading.formats.parquet_table",
    ".pq": "connection.reading.formats.parquet_table",
}
# First bytes of formats that cannot be read → what the file is, and what to do.
_FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or another zip archive: in the spreadsheet, save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: in the spreadsheet, save it as CSV UTF-8",
    b"\x1f\x8b": "compressed (gzip): unpack it",
    b"BZh": "compressed (bzip2): unpack it",
    b"\xfd7zX": "compressed (xz): unpack it",
    b"\x28\xb5\x2f\xfd": "compressed (zstd): unpack it",
    b"<!DO": "a web page, not a table: download the file itself",
    b"<htm": "a web page, not a table: download the file itself",
    b"PAR1": 'a Parquet file: give it a name that ends in ".parquet"',
    b"%PDF": "a PDF document: save its table as CSV UTF-8",
}


def open_table(path: Path, reading: Reading) -> Table:
    """The table of a file. reading: the columns to find in it, and the constants that say how it is written.

    Raises UserMistake, here or while the rows are read, for a file that does not have the format of its extension.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror}.") from None
    format_module = importlib.import_module(FORMATS.get(path.suffix.lower(), FORMATS[".csv"]))
    if not getattr(format_module, "BINARY", False):
        for magic, description in _FOREIGN.items():
            if start.startswith(magic):
                raise UserMistake(f"{path} is {description}.")
    return format_module.open_file(path, reading)
