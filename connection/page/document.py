"""An HTML page in one file: it opens without a network, fetches nothing and runs nothing but its own scripts.

Curves are drawn by Chart.js 4 (MIT; `vendor/`, as published on npm): 210 kB; supports scatter plots, nearest-point hover,
resizing and print. uPlot, at 51 kB, is for lines over time: scatter and hover would be ours to write. No plotting package of
Python is needed.

A person's texts reach the page as JSON that cannot end its element, and its script inserts them as text, never as HTML. A
Content-Security-Policy allows only the scripts in the page, by their SHA-256, and no fetch at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHART_LIBRARY = HERE / "vendor" / "chart.umd.min.js"
# What could end the element that holds the JSON, begin another, or end a line of a script; and what UTF-8 cannot hold.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def make_page(template: str, styles: Sequence[str], scripts: Sequence[str], data: Mapping[str, Any]) -> str:
    """The whole page, as text, from files of this folder. data: what its scripts read, as JSON.

    Chart.js is in it where the template has a place for it.
    """
    text, css, script = _read(template), "\n".join(map(_read, styles)), "\n".join(map(_read, scripts))
    library = _without_map(CHART_LIBRARY.read_text(encoding="utf-8")) if "{{library}}" in text else ""
    sources = " ".join(map(_source, filter(None, (library, script))))
    policy = (
        f"default-src 'none'; script-src {sources}; style-src {_source(css)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "style": css, "library": library, "script": script, "data": as_inline_json(data)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], text)


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def as_inline_json(data: Any) -> str:
    r"""JSON that is safe inside of a `<script>` element.

    >>> as_inline_json({"sentence1": "</script><b>"})
    '{"sentence1":"\\u003c/script\\u003e\\u003cb\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _source(text: str) -> str:
    """A script or style as a Content-Security-Policy names it: by the SHA-256 of what stands in its element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _without_map(library: str) -> str:
    """Without its last line, which would send a browser's developer tools looking for a file."""
    return re.sub(r"\n//# sourceMappingURL=\S+\s*$", "\n", library)
