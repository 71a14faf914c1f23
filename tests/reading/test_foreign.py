"""Files of formats that cannot be read, each by its name and with one step."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from connection.reading.formats.foreign import LONGEST_START, describe


def zipped(**members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return file.getvalue()


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "db") as connection:
        connection.execute("create table pairs (a)")
    connection.close()
    return (folder / "db").read_bytes()


def tar(file: io.BytesIO) -> None:
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pairs.csv"))


ODS = "application/vnd.oasis.opendocument.spreadsheet"
FILES: dict[str, bytes] = {
    **{f"a Python pickle, which can run code (protocol {i})": pickle.dumps(["a"], i) for i in range(2, 6)},
    "a numpy array": written(lambda file: numpy.save(file, numpy.zeros(2))),
    "an archive of numpy arrays": written(lambda file: numpy.savez(file, a=numpy.zeros(2))),
    "a tar archive": written(tar),
    "compressed (gzip)": gzip.compress(b"a,b"),
    "compressed (bzip2)": bz2.compress(b"a,b"),
    "compressed (xz)": lzma.compress(b"a,b"),
    "a web page": b"\n  <!DOCTYPE html><html>",
    "a web page (upper case)": b"<HTML>",
    "a web page (exported)": b"\xef\xbb\xbf\r\n<table border=1>",
    "an XML file": b'<?xml version="1.0"?><Workbook>',
    "an HDF5 file": b"\x89HDF\r\n\x1a\n",
    "an Avro file": b"Obj\x01\x04",
    "an ORC file": b"ORC\x08\x03",
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\x04",
    "a RAR archive": b"Rar!\x1a\x07\x01\0",
    "a Parquet file": b"PAR1\x15\x04",
    "an Arrow file": b"ARROW1\0\0\xff",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:",
    "an old Excel workbook": b"\xd0\xcf\x11\xe0" + b"\0" * 600,
    "protected by a password": b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"),
    "an OpenDocument spreadsheet": zipped(mimetype=ODS, content_dot_xml="x"),
    "an OpenDocument text": zipped(mimetype="application/vnd.oasis.opendocument.text"),
    "a Word document": zipped(word__document_dot_xml="x"),
    "a PowerPoint presentation": zipped(ppt__presentation_dot_xml="x"),
    "an Excel workbook": zipped(xl__workbook_dot_xml="x"),
    "a binary Excel workbook": zipped(xl__workbook_dot_bin="x"),
    "a Numbers spreadsheet": zipped(Index__Document_dot_iwa="x"),
    "a file of PyTorch": zipped(model__data_dot_pkl="x"),
    "a zip archive: unpack it and name the file inside (pairs.csv)": zipped(pairs_dot_csv="x"),
    "a zip archive: unpack it and name the file inside": zipped(a="x", b="x"),
    "a zip archive or a workbook, and damaged": zipped(a="x")[:-10],
}


@pytest.mark.parametrize("name", FILES)
def test_a_foreign_file_is_named_with_a_step(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(FILES[name])
    answer = describe(path, FILES[name][:LONGEST_START])
    assert answer and answer.startswith(name.split(" (protocol")[0].split(" (upper")[0].split(" (exp")[0])
    assert ": " in answer and len(answer) < 200 and "\n" not in answer


def test_a_database_is_named(tmp_path: Path) -> None:
    content = database(tmp_path)
    assert str(describe(tmp_path / "db", content[:LONGEST_START])).startswith("an SQLite database: ")


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n",
        "",
        "version 2,b,c",
        "ORC,b\n",
        "PAR1,b",
        "FEA1",
        "BZh9,b",
        "<b>,c",
        "\x80\x01",
        "{",
        "[",
        "P",
        "한국,b",
        "Obj,b",
    ],
)
def test_text_is_not_foreign(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    assert describe(path, path.read_bytes()[:LONGEST_START]) is None
