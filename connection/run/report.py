"""report.html: one file that opens without a network, on a phone, in print, dark and light.

The curves are drawn by Chart.js 4 (MIT; `vendor/`, as published on npm): 210 kB that know scatter plots with a nearest
point under the pointer or finger, resize and redraw for print. uPlot, at 51 kB, is for lines over time: scatter and hover
would be ours to write. No plotting package of Python is needed, so every run has its report.

Sentences reach the page as JSON that cannot end its element, and its script puts them there as text, never as HTML. A
Content-Security-Policy lets nothing run but the two scripts here, by their sha256, and lets nothing be fetched at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connection.disk import durable
from connection.run.report_data import report_data

PAGE = Path(__file__).resolve().parents[1] / "page"
REPORT = "report.html"
CHART_LIBRARY = PAGE / "vendor" / "chart.umd.min.js"
SCRIPTS = ("report.js", "charts.js", "table.js")
# What could end the element that holds the JSON, begin another, or end a line of a script; and what UTF-8 cannot hold.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def write_report(folder: Path, summary: Mapping[str, Any] | None = None) -> None:
    """Write report.html into a run's folder, finished or not; what goes wrong is told in one line and ends nothing.

    summary: what summary.json will hold, where it is not written yet.
    """
    try:
        durable.replace_file(folder / REPORT, [report_page(report_data(folder, summary)).encode()])
    except Exception as error:  # a report is never worth a run
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"{REPORT} could not be made: {reason}")


def report_page(data: Mapping[str, Any]) -> str:
    """The whole page, as text, for what `report_data` returned."""
    style = (PAGE / "report.css").read_text(encoding="utf-8")
    library = _without_map(CHART_LIBRARY.read_text(encoding="utf-8"))
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {_source(library)} {_source(script)}; style-src {_source(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "style": style, "library": library, "script": script, "data": as_inline_json(data)}
    template = (PAGE / "report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


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
