"""The layers of connection/: which file may import which, and no import cycles (docs/architecture.md)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bertFineTuningWithConnectionData as script

ROOT = Path(script.__file__).resolve().parent
LAYERS = ["", "script", "disk page", "reading encoder", "training", "use run"]  # "": the files beside the packages
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages.split() or [""]}
ROOT_MODULES = {path.stem for path in ROOT.glob("*.py")}
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.glob("connection/**/*.py")}
# What --help needs: it must answer before numpy, pandas or torch are loaded.
STANDARD_LIBRARY_ONLY = [
    name for name in FILES if name.startswith(("connection.script.", "connection.training.losses.__init__"))
]


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, in functions too, but for those that are imported for type hints only."""
    trees = [ast.parse(path.read_text(encoding="utf-8"))]
    while trees:
        node = trees.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        trees.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (module if module in FILES else str(node.module) for module in modules)


def package_of(module: str) -> str:
    """`connection.reading.pairs` → "reading"; `connection.text` → "", the lowest layer; constants.py is above all."""
    parts = module.removesuffix(".__init__").split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYER else ""


@pytest.mark.parametrize("module", FILES)
def test_a_file_imports_from_its_own_package_and_from_lower_layers(module: str) -> None:
    package = package_of(module)
    for other in imported(FILES[module]):
        assert other.split(".")[0] not in ROOT_MODULES, f"{module} imports {other} of the root"
        if not other.startswith("connection") or module == "connection.constants":
            continue
        assert other != "connection.constants", f"{module} imports the highest layer"
        there = package_of(other)
        assert there == package or LAYER[there] < LAYER[package], f"{module} imports {other}"


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {}
    for module, path in FILES.items():
        name = module.removesuffix(".__init__")
        graph[name] = {other for other in imported(path) if other.startswith("connection.") and other != name}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names them


@pytest.mark.parametrize("module", STANDARD_LIBRARY_ONLY)
def test_what_help_needs_is_the_standard_library_only(module: str) -> None:
    path, allowed = FILES[module], sys.stdlib_module_names | {"connection"}
    assert {other.split(".")[0] for other in imported(path)} <= allowed


def test_every_package_is_in_a_layer() -> None:
    packages = {path.parent.relative_to(ROOT / "connection").parts[:1] for path in FILES.values()} - {()}
    assert {name for (name,) in packages} == LAYER.keys() - {""}
