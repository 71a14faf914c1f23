"""A finished run for the tests of the report, and its page in the browser."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reports import HOSTILE

import bertFineTuningWithConnectionData as script
from connection.run.report import write_report


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Path:
    """A finished run whose test set's first sentence tries to be a script."""
    folder = tmp_path_factory.mktemp("report")
    with pairs_files["test"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[1] = [HOSTILE, "the dog is red.", "5"]
    with (folder / "test.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    files = {**pairs_files, "test": folder / "test.csv"}
    flags = [f"--{name}-file={path}" for name, path in files.items()]
    flags += [f"--encoder={tiny_encoder}", f"--output={folder / 'run'}", "--epochs=2", "--batch-size=8", "--learning-rate=1e-3"]
    assert script.main(flags) == 0
    return folder / "run"


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


@pytest.fixture
def opened(browser: Any, run_folder: Path) -> Any:
    browser.get_log("browser"), browser.get_log("performance")
    browser.get((run_folder / "report.html").as_uri())
    return browser


@pytest.fixture
def show(browser: Any) -> Callable[..., Any]:
    """Opens the report of a run's folder, made again with what `change` makes of its summary; nothing may go wrong on it."""

    def opened(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Any:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        change(summary)
        write_report(folder, summary)
        browser.get_log("browser")
        browser.get((folder / "report.html").as_uri())
        assert browser.get_log("browser") == []
        return browser

    return opened
