"""Checks Python and packages; a missing one is one sentence with the command. Imports only the standard library."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from connection import UserMistake

ROOT = Path(__file__).resolve().parents[2]
PYTHON_FROM, PYTHON_BELOW = (3, 10), (3, 14)
PACKAGES = ("torch", "transformers", "pandas", "tqdm", "numpy", "safetensors", "tokenizers", "filelock", "huggingface_hub")


def is_installed(package: str) -> bool:
    """Whether `package` can be imported. Does not import it.

    The folder `transformers/` beside the scripts holds encoders, not code. Without the pip package, Python would import it
    as an empty namespace package, whose `origin` is None.
    """
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def missing_extra(reason: str) -> UserMistake:
    """The error for a missing package of requirements-extra.txt. reason: a sentence that says what needs it."""
    return missing_requirements_of(reason, "requirements-extra.txt")


def missing_requirement(reason: str) -> UserMistake:
    """The same for a package of requirements.txt that is not in PACKAGES, because few runs need it."""
    return missing_requirements_of(reason, "requirements.txt")


def missing_requirements_of(reason: str, requirements: str) -> UserMistake:
    """The same for a package of another file. requirements: its name."""
    return UserMistake(f'{reason} Install it with: "{sys.executable}" -m pip install -r "{ROOT / requirements}"')


def check_python() -> None:
    """Raise `UserMistake` if this Python is too old or too new."""
    if not PYTHON_FROM <= sys.version_info[:2] < PYTHON_BELOW:
        raise UserMistake(
            f"This is Python {sys.version_info[0]}.{sys.version_info[1]}; Python 3.10, 3.11, 3.12 or 3.13 is needed."
        )


def check_packages() -> None:
    """Raise `UserMistake` with the command to run if a package is missing."""
    missing = [package for package in PACKAGES if not is_installed(package)]
    if missing:
        raise UserMistake(
            f"Not installed: {', '.join(missing)}. Install this project's packages with: "
            f'"{sys.executable}" -m pip install -r "{ROOT / "requirements.txt"}"{_other_python()}'
        )


def _other_python() -> str:
    """A hint at the Python of `make train`, if that one is complete and another one is running; else nothing."""
    python = ROOT / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    is_complete = (ROOT / ".venv" / "installed").is_file() and python.is_file() and python != Path(sys.executable)
    return f'\nOr use the Python that `make train` installed them for: "{python}"' * is_complete
