"""Stand-in until the detection is merged."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TextEncoding:
    name: str
    has_mark: bool
    is_detected: bool


def find_encoding(path: Path, encoding: str) -> TextEncoding:
    from connection.reading.formats.text_lines import check_mark

    with path.open("rb") as file:
        start = file.read(4)
    check_mark(path, start, encoding or "utf-8")
    return TextEncoding(encoding or "utf-8", start.startswith(codecs.BOM_UTF8), not encoding)
