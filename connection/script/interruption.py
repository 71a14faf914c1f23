"""What reaches a run from outside: signals that ask it to stop, and listeners that go away.

SIGINT (Ctrl-C), SIGTERM, SIGHUP (a closed terminal) and Windows' SIGBREAK end a script by `Stopped`: at once where nothing
would be lost, and once a step is done and saved where something would. A second one ends the process on the spot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # not every system has all of them


class Stopped(BaseException):
    """A signal has asked the process to stop. Not an Exception: nothing but the script's end may catch it."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number

    @property
    def exit_status(self) -> int:
        """As a shell gives it for a process that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return "Interrupted." if name == "SIGINT" else f"Stopped ({name})."


class Stop:
    """Whether a signal has come. While it is `held`, one waits until `obey` is called; else it raises where it strikes."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self.handled: list[int] = []  # the signals that come here
        self._holding = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signals' handler."""
        self.asked = number
        for other in self.handled:  # the next one meets no handler: it ends the process whatever it is doing
            signal.signal(other, signal.SIG_DFL)
        if not self._holding:
            raise Stopped(number)

    def obey(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.asked is not None:
            raise Stopped(self.asked)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait while the `with` lasts: for `obey`, or for the end."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        self.obey()


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn the signals into a Stop while the `with` lasts, and let the run outlive whoever reads what it prints.

    A signal that the process was started to ignore (nohup) stays ignored. Outside of the main thread, which alone may set
    handlers, signals are left as they are.
    """
    stop, before = Stop(), {}
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Listener(stream) for stream in streams)
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for name in NAMES if (number := getattr(signal, name, None))}
        stop.handled = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
        for number in stop.handled:
            signal.signal(number, stop.receive)
    try:
        yield stop
    finally:
        for number in stop.handled:
            signal.signal(number, before[number])
        sys.stdout, sys.stderr = streams


class Listener:
    """A stream that falls silent once nobody reads it any more (`| head`, a closed terminal), rather than end the run."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        return self._or_silence(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        self._or_silence(self._stream.flush)

    def _or_silence(self, tell: Any) -> Any:
        try:
            return tell()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
