"""Breaks the product on purpose, one line at a time, and says whether a test notices:  python tests/mutations.py [WORDS ...]

Each mutation is made in a copy of the project, where the tests that should catch it run; it prints caught or survived, and ends
with status 1 where one survived. WORDS: only mutations whose name holds one of them. First the unbroken copy must pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutation_list import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parent.parent


def copy_project(folder: Path) -> Path:
    """What the tests need, with the encoders of this checkout as a link."""
    copy = folder / "project"
    skipped = shutil.ignore_patterns(".*", "__pycache__", "output", "transformers", "results")
    shutil.copytree(ROOT, copy, ignore=skipped)
    shutil.copy(ROOT / ".gitignore", copy)
    (copy / "transformers").mkdir()
    (copy / "transformers" / "bert").symlink_to(ROOT / "transformers" / "bert", target_is_directory=True)
    return copy


def passes(project: Path, tests: list[str]) -> bool:
    """Whether these tests pass there. Fails where none was run."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, check=False).returncode == 0


def survives(project: Path, mutation: Mutation) -> bool:
    """Whether no test notices. Raises ValueError where the line to change is not there, or more than once."""
    path = project / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: {mutation.old!r} stands {text.count(mutation.old)} times in {mutation.file}")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        return passes(project, list(mutation.tests))
    finally:
        path.write_text(text, encoding="utf-8")


def main(words: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if not words or any(word in mutation.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder))
        if not passes(project, sorted({test for mutation in chosen for test in mutation.tests})):
            print("The tests fail already where nothing is broken.")
            return 1
        survived = 0
        for mutation in chosen:
            began = time.perf_counter()
            alive = survives(project, mutation)
            survived += alive
            outcome = "SURVIVED" if alive else "caught"
            print(f"{outcome:8}  {time.perf_counter() - began:5.1f} s  {mutation.name}  ({mutation.file})", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} caught.")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
