"""README is true: the constants with their defaults, the files, the lines of code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import bertFineTuningWithConnectionData as script
import bertScoringWithConnectionData as scoring_script
from connection.settings import KINDS, SCORING_KINDS, read_constants
from ConnectionBert import ConnectionBert

ROOT = Path(script.__file__).resolve().parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCES = [
    (Path(each.__file__).read_text(encoding="utf-8"), kinds)
    for each, kinds in ((script, KINDS), (scoring_script, SCORING_KINDS))
]


def test_every_constant_stands_in_readme_with_its_default_and_meaning() -> None:
    defaults = [
        (node.targets[0].id, ast.literal_eval(node.value))
        for source, _ in SOURCES
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
    ]
    rows = re.findall(r"^\| `([A-Z0-9_]+) = (.+?)` \|", README, flags=re.MULTILINE)
    assert [(name, ast.literal_eval(value)) for name, value in rows] == defaults
    for source, kinds in SOURCES:
        for constant in read_constants(source, kinds):
            assert f"` | {constant.comment} |" in README, constant.name


def test_the_file_tree_names_every_file_and_no_other() -> None:
    tree = README.split("## Files")[1].split("```")[1]
    named, folder = set(), ""
    for line in tree.strip("\n").splitlines():
        name = line.split()[0]
        if name.endswith("/") and not line.startswith(" "):
            folder = name
        named.add(folder + name if line.startswith(" ") else name)
    for name in named:
        assert (ROOT / name).exists(), name
    for pattern in ("*.py", "*.txt", "*.md", "connection/*.py", "benchmarks/*.py", "data/*.csv", "docs/*.*"):
        for path in ROOT.glob(pattern):
            relative = path.relative_to(ROOT).as_posix()
            if path.name != "__init__.py":
                assert relative in named, relative


def test_the_lines_that_use_the_result_work(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    ConnectionBert.load(tiny_encoder).save(tmp_path / "output/connections/best")
    monkeypatch.chdir(tmp_path)
    ours, theirs = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(ours, "README.md", "exec"), {})
    similarity = float(capsys.readouterr().out)
    pytest.importorskip("sentence_transformers", reason="the oracle is not installed")
    exec(compile(theirs, "README.md", "exec"), {})
    printed = re.search(r"-?\d\.\d+", capsys.readouterr().out)
    assert printed and np.isclose(float(printed.group()), similarity, atol=1e-4)


@pytest.mark.parametrize(
    "command", ["make train", "make test", "python bertFineTuningWithConnectionData.py", "-r requirements.txt"]
)
def test_the_commands_stand_there(command: str) -> None:
    assert command in README
