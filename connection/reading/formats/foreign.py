"""Names the formats that people bring and that cannot be read, each with the step that makes a readable file of it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

LONGEST_START = 8  # bytes by which every format but tar is recognised
_AS_CSV = "save it as CSV UTF-8"
_AS_WORKBOOK = "in the spreadsheet program, save it as .xlsx"
_IN_PYTHON = "in Python, "
_PICKLE = f"a Python pickle, which can run code when it is read: if you trust it, {_IN_PYTHON}pandas.read_pickle(…).to_csv(…)"
_UNPACK = "compressed ({}): unpack it"
_WEB_PAGE = "a web page: download the file itself, or open an exported table in a spreadsheet and save it as .xlsx"
_XML_FILE = f"an XML file: if it is a spreadsheet, {_AS_WORKBOOK}"
_NUMPY = f"a numpy array: {_IN_PYTHON}write its rows as CSV with pandas.DataFrame(numpy.load(…)).to_csv(…)"
_HDF5 = f"an HDF5 file: {_IN_PYTHON}pandas.read_hdf(…).to_csv(…)"
_STATA = f"a Stata file: {_IN_PYTHON}pandas.read_stata(…).to_csv(…)"
_R = "data of R: in R, load it and write it with write.csv"
_LFS = "a pointer of Git LFS, not the file itself: run git lfs pull"

# First bytes → what the file is, and what to do. Longer ones first where one begins another.
_STARTS: dict[bytes, str] = {
    b"\x93NUMPY": _NUMPY,
    b"\x89HDF\r\n\x1a\n": _HDF5,
    b"SQLite f": f"an SQLite database: {_IN_PYTHON}pandas.read_sql(…).to_csv(…), or export the table as CSV",
    b"Obj\x01": f"an Avro file: {_IN_PYTHON}read it with the package fastavro and write it as JSON Lines or CSV",
    b"ORC": f"an ORC file: {_IN_PYTHON}pandas.read_orc(…).to_csv(…)",
    b"PAR1\x15": 'a Parquet file: give it a name that ends in ".parquet"',
    b"ARROW1\0\0": 'an Arrow file: give it a name that ends in ".arrow"',
    b"FEA1\0": f"a Feather file of the first version: {_IN_PYTHON}pandas.read_feather(…).to_csv(…)",
    b"$FL2": f"an SPSS file: {_IN_PYTHON}pandas.read_spss(…).to_csv(…), or export it as CSV",
    b"$FL3": f"an SPSS file: {_IN_PYTHON}pandas.read_spss(…).to_csv(…), or export it as CSV",
    b"<stata_d": _STATA,
    b"RDX2\n": _R,
    b"RDX3\n": _R,
    b"RDA2\n": _R,
    b"%PDF": f"a PDF document: {_AS_CSV}, as a table",
    b"{\\rtf": "a text document (RTF), not a table: copy its table into a spreadsheet and save it as .xlsx",
    b"\x1f\x8b": _UNPACK.format("gzip"),
    b"BZh": _UNPACK.format("bzip2"),
    b"\xfd7zXZ": _UNPACK.format("xz"),
    b"\x28\xb5\x2f\xfd": _UNPACK.format("zstd"),
    b"\x04\x22\x4d\x18": _UNPACK.format("lz4"),
    b"\xff\x06\0\0sNaP": _UNPACK.format("snappy"),
    b"\x1f\x9d": _UNPACK.format("compress"),
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it and name the file inside",
    b"Rar!\x1a": "a RAR archive: unpack it and name the file inside",
    b"MSCF\0": "a cabinet archive: unpack it and name the file inside",
    b"version ": _LFS,
}
# What must be among the first bytes besides, where text may begin the same way.
_ALSO = {
    b"ORC": re.compile(rb"ORC.*[\0-\x08]", re.DOTALL),
    b"BZh": re.compile(rb"BZh[1-9]1AY&SY"),
    b"version ": re.compile(rb"version https://git-lfs"),
}
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<table")
_BEFORE_MARKUP = b"\xef\xbb\xbf \t\r\n"
# By the first part of a zip archive's names, or by its type, where it declares one.
_ZIPPED: dict[str, str] = {
    "xl/workbook.bin": f"a binary Excel workbook (.xlsb): {_AS_WORKBOOK}",
    "xl/": 'an Excel workbook: give it a name that ends in ".xlsx"',
    "word/": "a Word document, not a table: copy its table into a spreadsheet and save it as .xlsx",
    "ppt/": "a PowerPoint presentation, not a table: copy its table into a spreadsheet and save it as .xlsx",
    "Index/": "a Numbers spreadsheet: in Numbers, export it as Excel (.xlsx)",
    "data.pkl": "a file of PyTorch, which can run code when it is read: write its rows as CSV",
}
_DOCUMENTS: dict[str, str] = {
    "application/vnd.oasis.opendocument.spreadsheet": f"an OpenDocument spreadsheet (.ods): {_AS_WORKBOOK}",
    "application/vnd.oasis.opendocument": "an OpenDocument text, not a table: copy its table into a spreadsheet",
}
_MOST_NAMES = 10_000  # of an archive, that are looked at


def describe(path: Path, start: bytes) -> str | None:
    """What the file is and what to do, as the end of "FILE is …"; None for what may be text, a table of its own kind.

    start: its first LONGEST_START bytes, or more.
    """
    if start.startswith(b"PK"):
        return _archive(path)
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        return _compound(path)
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _PICKLE
    if start.lstrip(_BEFORE_MARKUP).startswith(b"<"):
        beginning = _beginning(path).lstrip(_BEFORE_MARKUP).lower()
        if beginning.startswith(b"<?xml"):
            return _XML_FILE
        if beginning.startswith(_HTML):
            return _WEB_PAGE
    for magic, description in _STARTS.items():
        if start.startswith(magic) and (magic not in _ALSO or _ALSO[magic].match(_beginning(path))):
            return description
    if _beginning(path)[257:262] == b"ustar":
        return "a tar archive: unpack it and name the file inside"
    return None


def _beginning(path: Path, length: int = 512) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError:
        return b""


def _archive(path: Path) -> str:
    """What a zip archive is: a document, or an archive of files."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.replace("\\", "/") for name in archive.namelist()[:_MOST_NAMES]]
            kind = ""
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
                kind = archive.read("mimetype").decode("ascii", "replace")
    except Exception:  # zipfile raises several kinds for a damaged archive
        return "a zip archive or a workbook, and damaged or cut off: copy or download it again"
    for beginning, description in _DOCUMENTS.items():
        if kind.startswith(beginning):
            return description
    for part, description in _ZIPPED.items():
        if any(name.lower().startswith(part.lower()) or name.endswith(f"/{part}") for name in names):
            return description
    if names and all(name.endswith(".npy") for name in names):
        return f"an archive of numpy arrays (.npz): {_IN_PYTHON}write its rows as CSV with pandas"
    files = [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX")]
    inside = f" ({files[0]})" if len(files) == 1 and files[0].isprintable() else ""
    return f"a zip archive: unpack it and name the file inside{inside}"


def _compound(path: Path) -> str:
    """What a compound file of Microsoft is: an old document, or one that a password protects."""
    if "EncryptedPackage".encode("utf-16-le") in _beginning(path, 1 << 24):
        return "protected by a password: in the spreadsheet program, save it without one, as .xlsx"
    return f"an old Excel workbook (.xls) or another old document of Microsoft Office: {_AS_WORKBOOK}"
