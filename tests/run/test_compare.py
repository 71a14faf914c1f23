"""The table of runs: constants that differ, figures, and runs that are not finished."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from connection import UserMistake
from connection.run import compare
from connection.run.description import MADE_BY

ROOT = Path(compare.__file__).resolve().parents[2]


def write_run(folder: Path, dev: float | None, **constants: object) -> Path:
    folder.mkdir(parents=True)
    made = {"made_by": MADE_BY, "format": 2, "constants": constants, "effective": {}, "defaults": {}, "sha256": {}}
    (folder / "settings.json").write_text(json.dumps(made), encoding="utf-8")
    if dev is not None:
        figures = {when: {"dev": {"spearman": dev + more}, "test": None} for when, more in (("before", -0.1), ("after", 0.0))}
        summary = figures | {"best_step": 8, "train_seconds": 61.0}
        (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def test_it_shows_what_differs_and_the_best_run_first(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    same = {"EPOCHS": 4, "OUTPUT": "x", "TRAIN_FILE": "/data/a/train.csv"}
    folders = [
        write_run(tmp_path / "low", 0.5, **same, SEED=1, LEARNING_RATE=2e-05),
        write_run(tmp_path / "high", 0.75, **same | {"OUTPUT": "y"}, SEED=2, LEARNING_RATE=5e-05),
        write_run(tmp_path / "stopped", None, **same, SEED=3),
    ]
    (tmp_path / "no run").mkdir()
    assert compare.main([*map(str, folders), str(tmp_path / "no run")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:3] == ["Run", "SEED", "LEARNING_RATE"]
    assert lines[2:] == [
        ["high", "2", "5e-05", "0.6500", "0.7500", "-", "-", "8", "0:01:01"],
        ["low", "1", "2e-05", "0.4000", "0.5000", "-", "-", "8", "0:01:01"],
        ["stopped", "3", "None", "unfinished"],
    ]


def test_without_a_run_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"No run in .*: name the folders of runs"):
        compare.main([str(tmp_path)])


def test_the_command_takes_what_is_in_output(tmp_path: Path) -> None:
    write_run(tmp_path / "output" / "a", 0.5, SEED=1)
    write_run(tmp_path / "output" / "b", 0.6, SEED=2)
    command, environment = [sys.executable, "-m", "connection.run.compare"], os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == 0 and run.stdout.splitlines()[2].split()[:2] == ["b", "2"], run.stderr
