"""Code shared by the scripts, in packages ordered by layer (docs/architecture.md). Nothing here imports a script."""

from __future__ import annotations


class UserMistake(ValueError):
    """An error that the user can correct: a bad row, a wrong constant, a full disk.

    Its text names the file, row, column, value or constant and says what to do. A script prints it without a traceback
    and exits with status 2.
    """
