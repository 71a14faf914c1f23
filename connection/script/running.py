"""How a script ends: mistakes as sentences, signals and closed pipes as exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from connection import UserMistake
from connection.script.interruption import Listener, Stopped
from connection.text import printable


def run_script(main: Callable[[], int | None]) -> int:
    """Run a script's `main` and return its exit status.

    A `UserMistake` is printed as a sentence, with status 2; Ctrl-C ends with 130, SIGTERM with 143, a closed pipe
    (`… | head`) with 141.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A Windows console cannot show every letter; a file that output is piped into grows line by line.
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        return main() or 0
    except UserMistake as mistake:
        print(printable(str(mistake)), file=Listener(sys.stderr))
        return 2
    except Stopped as stopped:
        print(f"\n{stopped}", file=Listener(sys.stderr))
        return stopped.exit_status
    except KeyboardInterrupt:
        print("\nInterrupted.", file=Listener(sys.stderr))
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more to say when Python flushes its streams
        return 141
