"""Nothing leaves the machine, nothing is pickled: shown on the sources, and on a run that finds no network."""

from __future__ import annotations

import ast
import socket
import subprocess
from pathlib import Path

import pytest
import runs

import bertFineTuningWithConnectionData as script
import bertScoringWithConnectionData as scoring_script
import bertSearchWithConnectionData as search_script

ROOT = Path(script.__file__).resolve().parent
SOURCES = sorted([*ROOT.glob("*.py"), *ROOT.glob("connection/**/*.py")])
NETWORK = {"socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "huggingface_hub", "asyncio"}
PICKLES = {"pickle", "joblib", "dill", "shelve", "marshal", "cloudpickle"}


def imports(path: Path) -> set[str]:
    """The top names of everything that a file imports, in functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_file_but_one_uses_a_network_and_none_a_pickle(path: Path) -> None:
    assert not imports(path) & PICKLES
    if path.name != "downloadBert.py":
        assert not imports(path) & (NETWORK | {"subprocess"})


def test_one_pickle_is_read_and_as_weights_only() -> None:
    calls = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                assert called not in ("torch.save", "pickle.load", "pickle.loads"), path
                if called == "torch.load":
                    calls.append((path.name, {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}))
    assert [name for name, _ in calls] == ["weights.py"]
    assert calls[0][1]["weights_only"] == "True"


def test_no_python_file_lies_in_the_folder_that_shares_its_name_with_a_package() -> None:
    tracked = subprocess.run(["git", "ls-files", "transformers"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert not [name for name in tracked.splitlines() if name.endswith(".py")]
    assert not (ROOT / "transformers" / "__init__.py").exists()


def test_a_run_asks_for_no_connection(
    tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*arguments: object, **keywords: object) -> None:
        asked.append(arguments)
        raise OSError("no network here")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    files = [f"--{name}-file={path}" for name, path in pairs_files.items()]
    assert script.main([f"--encoder={tiny_encoder}", *files, f"--output={tmp_path / 'run'}", "--epochs=1"]) == 0
    flags = [f"--encoder={tmp_path / 'run' / 'best'}", f"--pairs-file={pairs_files['test']}"]
    assert scoring_script.main([*flags, f"--output-file={tmp_path / 'scores.csv'}"]) == 0
    files = {"corpus_file": pairs_files["test"], "sentence_column": "sentence1", "index": tmp_path / "index"}
    assert search_script.main(runs.flags(**files, encoder=tmp_path / "run" / "best", query="a cat")) == 0
    assert asked == []
