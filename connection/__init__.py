"""What the scripts share, in packages ordered by layer (docs/architecture.md). Nothing in here imports a script."""

from __future__ import annotations


class UserMistake(ValueError):
    """Something that the person running a script can put right.

    Its text is one clear sentence that names the file, row, column, value or constant and the remedy; a script prints
    it without a traceback and exits with status 2.
    """
