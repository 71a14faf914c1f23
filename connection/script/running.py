"""How a script ends: user mistakes as messages, signals and closed pipes as exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from connection import UserMistake
from connection.script.interruption import QuietStream, Stopped
from connection.text import printable


def run_script(main: Callable[[], int | None]) -> int:
    """Run a script's `main` and return its exit status.

    The status is 2 for a `UserMistake`, whose text is printed; 130 for Ctrl-C; 143 for SIGTERM; 141 for a closed pipe
    (`… | head`). Other exceptions keep their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A Windows console cannot show every character; output that goes to a file should appear line by line.
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        return main() or 0
    except UserMistake as mistake:
        print(printable(str(mistake)), file=QuietStream(sys.stderr))
        return 2
    except Stopped as stopped:
        print(f"\n{stopped}", file=QuietStream(sys.stderr))
        return stopped.exit_status
    except KeyboardInterrupt:
        print("\nInterrupted.", file=QuietStream(sys.stderr))
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that Python's own flush at exit raises no second error
        return 141
