"""Says what to install, in one sentence, where Python or a package is missing. Imports nothing but the standard library."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from connection import UserMistake

PYTHON_FROM, PYTHON_BELOW = (3, 10), (3, 14)
PACKAGES = ("torch", "transformers", "pandas", "tqdm", "numpy", "safetensors", "tokenizers", "filelock", "huggingface_hub")


def is_installed(package: str) -> bool:
    """Whether `package` can be imported, without importing it.

    The folder `transformers/` beside the scripts holds encoders, no code: without the pip package, Python would import
    it as an empty namespace, which has no `origin`.
    """
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


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
        requirements = Path(__file__).resolve().parent.parent / "requirements.txt"
        raise UserMistake(
            f"Not installed: {', '.join(missing)}. Install what this project needs with: "
            f'"{sys.executable}" -m pip install -r "{requirements}"'
        )
