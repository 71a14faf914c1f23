"""docs/reliability.md is true: each row names a test, and each test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
TABLE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_row_names_tests_that_exist() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("test_*.py")]
    slow = {}
    for node in (node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)):
        slow[node.name] = any("slow" in ast.unparse(decorator) for decorator in node.decorator_list)
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| fault |"))]
    assert len(rows) > 50
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        named = re.findall(r"(test_\w+)`", cells[-1])
        assert len(cells) == 5 and named, row
        assert not set(named) - slow.keys(), row
        assert ("*slow*" in cells[2]) == any(slow[name] for name in named), row
