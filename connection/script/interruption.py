"""Signals that stop a run, and output streams whose reader has gone.

SIGINT (Ctrl-C), SIGTERM, SIGHUP (a closed terminal) and Windows' SIGBREAK raise `Stopped`: at once where no work would be
lost, and during training after the current step is finished and saved. A second signal ends the process at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # no system has all of them


class Stopped(BaseException):
    """A signal asks the process to stop. Not an `Exception`, so that only the end of the script catches it."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number

    @property
    def exit_status(self) -> int:
        """The status that a shell reports for a process ended by this signal: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return "Interrupted." if name == "SIGINT" else f"Stopped ({name})."


class Stop:
    """Receives the signals. While deferred, a signal waits for `obey`; otherwise it raises `Stopped` at once.

    asked: the number of the signal received, None so far.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.handled: list[int] = []  # the signals whose handler is `receive`
        self._deferring = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.asked = number
        for other in self.handled:  # a second signal has the default effect: it ends the process at once
            signal.signal(other, signal.SIG_DFL)
        if not self._deferring:
            raise Stopped(number)

    def obey(self) -> None:
        """Raise `Stopped` if a signal was received."""
        if self.asked is not None:
            raise Stopped(self.asked)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer signals inside the `with` block: until `obey` is called, or until the block ends."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        self.obey()


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Handle signals by a `Stop` inside the `with` block, and continue the run when nobody reads its output any more.

    A signal that the process was started to ignore (nohup) stays ignored. Only the main thread may set handlers: in other
    threads signals are left unchanged.
    """
    stop, previous = Stop(), {}
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (QuietStream(stream) for stream in streams)
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.getsignal(number) for name in NAMES if (number := getattr(signal, name, None))}
        stop.handled = [number for number, handler in previous.items() if handler not in (signal.SIG_IGN, None)]
        for number in stop.handled:
            signal.signal(number, stop.receive)
    try:
        yield stop
    finally:
        for number in stop.handled:
            signal.signal(number, previous[number])
        sys.stdout, sys.stderr = streams


class QuietStream:
    """An output stream that discards text once its reader has gone (`| head`, a closed terminal), instead of raising."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        return self._or_discard(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        self._or_discard(self._stream.flush)

    def _or_discard(self, operation: Callable[[], Any]) -> Any:
        try:
            return operation()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
