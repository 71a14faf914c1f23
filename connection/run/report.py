"""Writes report.html of a run: its metric, curves, plots by the shape of its pairs, and worst pairs on one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connection.disk import durable
from connection.page.document import make_page
from connection.run.report_data import report_data
from connection.run.start import REPORT

SCRIPTS = tuple(f"{name}.js" for name in "report result facts points matches scores ranks confusion charts lists table".split())


def write_report(folder: Path, summary: Mapping[str, Any] | None = None) -> None:
    """Write report.html into the folder of a run, finished or not. On an error it prints one line and does not raise.

    summary: the future contents of summary.json, if it is not written yet.
    """
    try:
        durable.replace_file(folder / REPORT, [report_page(report_data(folder, summary)).encode()])
    except Exception as error:  # a failed report must not end a run
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"{REPORT} could not be made: {reason}")


def report_page(data: Mapping[str, Any]) -> str:
    """The HTML page. data: the result of `report_data`."""
    return make_page("report.html", ["report.css"], SCRIPTS, data)
