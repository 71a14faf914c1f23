"""Python processes that start at once: forks of one that has torch, transformers and the project imported.

    python tests/warm.py SOCKET     serves forks to whoever holds the other end of this socket: see `start`

To the script that it runs, a fork is what a start of Python would be: its own arguments, folder, variables, streams and
signals; it is the script's file that runs, as `__main__`, and Python ends as ever. Where there is no fork, Python starts.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = (
    "bertFineTuningWithConnectionData",
    "bertScoringWithConnectionData",
    "bertMiningWithConnectionData",
    "bertSearchWithConnectionData",
)
OURS = ("connection", "ConnectionBert", "ConnectionDataset", *SCRIPTS)
PRELOADED = f"""
    {" ".join(OURS)} connection.training.resume connection.training.forecast connection.training.record
    connection.training.losses.cosine connection.run.folder connection.run.result connection.run.start
    connection.reading.splits connection.reading.formats.text.csv_table connection.disk.claim connection.encoder.preview
    pandas transformers.models.bert.modeling_bert transformers.models.bert.tokenization_bert
""".split()  # and what these import
SIZE = struct.Struct("!i")  # before a request; then a process's number, and at its end its status


def start(
    arguments: Sequence[object],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    terminal: int | None = None,
    ignoring: Sequence[int] = (),
    largest_file: int | None = None,
    cold: bool = False,
) -> Process | subprocess.Popen:
    """`python ARGUMENTS`, a file or -c and then flags; its output goes to pipes, or to `terminal`.

    A shell's background job ignores SIGINT, nohup SIGHUP, and so would what they start: it heeds all signals but `ignoring`.
    largest_file: in bytes, the system's limit for it. cold: in a Python that starts from nothing, as a person starts it.
    """
    words = [str(argument) for argument in arguments]
    forks = hasattr(os, "fork")
    prepare = functools.partial(_prepare, list(ignoring), largest_file)
    if forks and not cold:
        return Process({"arguments": words, "cwd": str(cwd), "env": dict(env or os.environ)}, prepare.args, terminal)
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.PIPE if terminal is None else terminal,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=env,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        preexec_fn=prepare if forks else None,
    )


def run(arguments: Sequence[object], **options: object) -> subprocess.CompletedProcess:
    """`start`, and wait for its end."""
    process = start(arguments, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(list(arguments), process.returncode, out, err)


def heed_signals() -> None:
    """Signals as Python finds them when a shell starts it in the foreground."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _prepare(ignoring: list[int], largest_file: int | None) -> None:
    """Before a process begins: its signals and its limit."""
    import resource

    heed_signals()
    for number in ignoring:
        signal.signal(number, signal.SIG_IGN)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))


class Process:
    """A fork, to be handled as subprocess.Popen with pipes of text."""

    def __init__(self, request: dict[str, object], prepared: tuple[list[int], int | None], terminal: int | None):
        self.returncode: int | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self._told, theirs = socket.socketpair()
        pipes = [] if terminal is not None else [os.pipe(), os.pipe()]
        writing = [end for _, end in pipes] or [terminal, terminal]
        data = json.dumps(request | {"prepared": prepared}).encode()
        socket.send_fds(_server(), [SIZE.pack(len(data)) + data], [*writing, theirs.fileno()])
        theirs.close()
        for _, end in pipes:
            os.close(end)
        if pipes:
            self.stdout, self.stderr = (open(end, encoding="utf-8") for end, _ in pipes)  # noqa: PTH123, SIM115
        (self.pid,) = SIZE.unpack(self._told.recv(SIZE.size))

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                (self.returncode,) = SIZE.unpack(self._told.recv(SIZE.size))
            except TimeoutError:
                raise subprocess.TimeoutExpired("a fork", timeout or 0) from None
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(timeout=0.001)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        guard = threading.Timer(timeout or 1e6, self.kill)
        guard.daemon = True
        guard.start()
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(self.stderr.read()))
        reader.start()
        out = "" if self.stdout.closed else self.stdout.read()
        reader.join()
        self.wait()
        guard.cancel()
        for stream in (self.stdout, self.stderr):
            stream.close()
        return out, said[0]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server() -> socket.socket:
    """The socket of the process that forks, which is started when it is first asked for."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, __file__, str(theirs.fileno())]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True, env=environment)
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def serve(requests: socket.socket) -> list[str]:
    """Fork for each request until nobody is left who makes them. In a fork that is to run a script, returns its arguments."""
    while True:
        header, streams, _, _ = socket.recv_fds(requests, SIZE.size, 3)
        with contextlib.suppress(ChildProcessError):  # none is left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not header:
            os._exit(0)
        wanted = SIZE.unpack(header)[0]
        data = b""
        while len(data) < wanted:
            data += requests.recv(wanted - len(data))
        if not os.fork():
            requests.close()
            request, told = json.loads(data), socket.socket(fileno=streams.pop())
            child = os.fork()
            if not child:
                told.close()
                become(request, streams)
                return request["arguments"]
            for stream in streams:
                os.close(stream)
            told.sendall(SIZE.pack(child))
            told.sendall(SIZE.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
            os._exit(0)
        for stream in streams:
            os.close(stream)


def become(request: dict, streams: list[int]) -> None:
    """Give this process the streams, folder, variables, signals and limit of the one that is asked for."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for place, stream in enumerate([nothing, *streams]):
        os.dup2(stream, place)
    os.closerange(3, max(nothing, *streams) + 1)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr.reconfigure(line_buffering=True)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    _prepare(*request["prepared"])


def run_as_main(arguments: list[str]) -> None:
    """What `python ARGUMENTS` does once Python has started. In a copy of the project, the project's modules are the copy's."""
    file, *flags = arguments
    folder = Path.cwd() if file == "-c" else Path(file).resolve().parent
    if folder != ROOT and (folder / "connection").is_dir():  # a copy of the project
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
    sys.path[0] = str(folder)
    importlib.invalidate_caches()
    if file == "-c":
        sys.argv = ["-c", *flags[1:]]
        main = sys.modules["__main__"].__dict__
        exec(compile(flags[0], "<string>", "exec"), main)
    else:
        sys.argv = [file, *flags]
        runpy.run_path(file, run_name="__main__")


def end_of(main: Callable[[], None]) -> int:
    """The status with which Python would end after `main`; said and flushed is what it says then.

    Without the ends of 3,000 modules, which take 0.3 s.
    """
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if not isinstance(ended.code, int | None):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:
        print("Exception ignored:", error, file=sys.stderr)
        status = 120
    return status


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # so that no collection in a fork looks at all this, and copies it
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(end_of(lambda: run_as_main(asked)))
