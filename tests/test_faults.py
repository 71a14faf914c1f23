"""Each operation on the disk fails in turn, the script is killed at any moment: the next start ends as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import runs
import warm

import bertFineTuningWithConnectionData as script
from connection.script.interruption import stoppable

SCRIPT = Path(script.__file__).resolve()
DRIVER = Path(__file__).with_name("fault_driver.py")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals, as POSIX has them")


@pytest.fixture(scope="session")
def flags(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, pairs_writer: Callable[..., Path]) -> list[str]:
    """Of a run of 6 steps with 5 evaluations and 6 checkpoints, without --output."""
    folder = tmp_path_factory.mktemp("few pairs")
    counts = {"train": 24, "dev": 20, "test": 10}
    files = {name: pairs_writer(folder / f"{name}.csv", count, seed) for seed, (name, count) in enumerate(counts.items())}
    fixed = "--epochs=2 --batch-size=8 --device=cpu --learning-rate=3e-3 --evaluations-per-epoch=2 --checkpoints-per-epoch=3"
    return [
        f"--encoder={tiny_encoder}",
        *(f"--{name}-file={path}" for name, path in files.items()),
        *fixed.split(),
        "--threads=1",
    ]


def drive(folder: Path, flags: list[str], *more: object) -> list[dict]:
    """The cases of tests/fault_driver.py, each of which ended well."""
    done = warm.run([DRIVER, folder, json.dumps(flags), *more])
    assert done.returncode == 0, done.stdout + done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    # The folder is synced after each file; after the report, whose failure ends nothing, there is one such point.
    syncs = [case for case in cases if case["struck"] == "sync run" and case["status"] == 0]
    assert len(syncs) <= 1
    for case in cases:
        assert (case["again"], case["differs"], case["litter"], case["traceback"]) == (0, [], [], False), case
        if case["status"] == 2:
            assert "cannot be written: " in case["said"], case
        elif case["struck"] and ("report.html" in case["struck"] or case in syncs) and case["status"] == 0:
            assert case["action"] not in ("kill", "power", "short"), case  # a report is never worth a run
        elif case["struck"]:
            assert case["status"] == -signal.SIGKILL, case
    return cases


@pytest.mark.parametrize("action", ["kill", "full"])
def test_some_operations_on_the_disk_fail_and_the_next_start_ends_the_same(
    tmp_path: Path, flags: list[str], action: str
) -> None:
    """Eight of them: among the first, amid best/ and checkpoints, among the last."""
    points = [1, 3, 21, 77, 130, 164, 201, 258]
    cases = drive(tmp_path, flags, "--action", action, "--points", *points)
    assert [case["point"] for case in cases] == points and all(case["struck"] for case in cases)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["kill", "power", "short", "full", "EIO", "EACCES"])
def test_every_operation_on_the_disk_fails_in_turn_and_the_next_start_ends_the_same(
    tmp_path: Path, flags: list[str], action: str
) -> None:
    cases = drive(tmp_path, flags, "--action", action)
    assert not cases[-1]["struck"] and all(case["struck"] for case in cases[:-1])
    assert len(cases) > (50 if action == "short" else 200)


@pytest.mark.slow
def test_five_starts_are_killed_one_after_the_other_and_the_sixth_ends_the_same(tmp_path: Path, flags: list[str]) -> None:
    """The recoveries too are killed, among their first 60 operations."""
    drive(tmp_path, flags, "--action", "kill", "--recoveries", 4, "--points", *range(5, 280, 5))


LONGER = ["--epochs=20", "--checkpoints-per-epoch=1"]


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory, flags: list[str], result: Callable) -> dict[str, object]:
    """What an undisturbed run with the flags LONGER leaves."""
    output = tmp_path_factory.mktemp("golden") / "run"
    assert script.main([*flags, *LONGER, f"--output={output}"]) == 0
    return result(output)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "case" / "run"


@pytest.fixture
def launch(flags: list[str], output: Path) -> Iterator[Callable[..., warm.Process]]:
    """Start the real script in a process of its own, as `golden` was."""
    processes = []

    def run(*more: str, **options: object) -> warm.Process:
        processes.append(warm.start([SCRIPT, *flags, *LONGER, f"--output={output}", *more], **options))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def again(flags: list[str], output: Path, capsys: pytest.CaptureFixture) -> Callable[[], str]:
    """Start the script once more, in this process, and return what it prints."""

    def run() -> str:
        capsys.readouterr()
        assert script.main([*flags, *LONGER, f"--output={output}"]) == 0
        return capsys.readouterr().out

    return run


def finish(process: warm.Process, status: int = 0) -> tuple[str, str]:
    told = process.communicate(timeout=100)
    assert process.returncode == status and "Traceback" not in told[1], told
    return told


def wait_for(process: warm.Process, start: str) -> None:
    """Read what it prints up to a line that starts so; it is killed if none comes in 100 s."""
    guard = threading.Timer(100, process.kill)
    guard.start()
    try:
        if not any(line.startswith(start) for line in process.stdout):
            pytest.fail(process.stderr.read())
    finally:
        guard.cancel()


def kill_at_random(launch: Callable, again: Callable, output: Path, golden: dict, assert_same: Callable, kills: int) -> None:
    """Kill the script as often as that, each time after a random line that it prints; then let it end."""
    chance = random.Random(kills)
    killed = ended = 0
    while killed < kills:
        process = launch()
        for _ in range(chance.randint(1, 45)):
            if not process.stdout.readline():
                break
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.communicate()
        if process.returncode == 0:  # it ended first
            assert_same(output, golden)
            shutil.rmtree(output)
            ended += 1
        killed += process.returncode != 0
    again()
    assert_same(output, golden)
    print(f"{killed} kills; {ended} runs ended before")


def test_two_kills_of_the_real_script(launch: Callable, again: Callable, output: Path, golden: dict, assert_same) -> None:
    kill_at_random(launch, again, output, golden, assert_same, kills=2)


@pytest.mark.slow
def test_twenty_kills_of_the_real_script(launch: Callable, again: Callable, output: Path, golden: dict, assert_same) -> None:
    kill_at_random(launch, again, output, golden, assert_same, kills=20)


@pytest.mark.parametrize(("name", "said"), [("SIGTERM", "Stopped (SIGTERM)."), ("SIGINT", "Interrupted.")])
def test_a_signal_finishes_the_step_saves_and_exits(
    output: Path, launch: Callable, again: Callable, golden: dict, assert_same: Callable, name: str, said: str
) -> None:
    number = getattr(signal, name)
    process = launch()
    wait_for(process, "======== Epoch 3 /")
    process.send_signal(number)
    out, err = finish(process, 128 + number)
    assert err == f"\n{said}\n"
    step = int(out.split("Saved after step ")[1].split(".")[0])
    assert (output / "checkpoints" / f"step-{step:08d}" / "MANIFEST.json").is_file()
    assert not list(output.parent.glob(".*"))  # no lock is left
    assert f"Resuming after step {step}, from" in again()
    assert_same(output, golden)


def test_a_signal_while_there_is_nothing_to_save_ends_at_once(
    output: Path, launch: Callable, again: Callable, golden: dict, assert_same: Callable
) -> None:
    process = launch()
    wait_for(process, "Device: ")
    process.send_signal(signal.SIGTERM)
    finish(process, 143)
    assert not (output / "checkpoints").exists() and not list(output.parent.glob(".*"))
    again()
    assert_same(output, golden)


HELD = """
import sys, time
from connection.script.interruption import stoppable
from connection.script.running import run_script
def main():
    with stoppable() as stop:
        with stop.deferred():
            print("held", flush=True)
            while not stop.asked: time.sleep(0.01)
            print("asked", flush=True)
            time.sleep({after})
sys.exit(run_script(main))
"""


def hold(after: float, **options: object) -> warm.Process:
    return warm.start(["-c", HELD.format(after=after)], **options)


def test_a_second_signal_ends_the_process_on_the_spot() -> None:
    for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)):
        process = hold(after=60)
        wait_for(process, "held")
        process.send_signal(first)
        wait_for(process, "asked")  # what is at hand goes on
        process.send_signal(second)
        assert process.wait(timeout=10) == -second
    process = hold(after=0.1)
    wait_for(process, "held")
    process.send_signal(signal.SIGTERM)
    assert finish(process, 143) == ("asked\n", "\nStopped (SIGTERM).\n")


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored() -> None:
    """As under nohup."""
    process = hold(after=0, ignoring=[signal.SIGHUP])
    wait_for(process, "held")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    finish(process, 143)


def test_a_run_in_another_thread_leaves_signals_as_they_are() -> None:
    seen = []

    def work() -> None:
        with stoppable() as stop:
            seen.append((stop.handled, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [([], before)]
    with stoppable() as stop:
        assert signal.getsignal(signal.SIGTERM) == stop.receive
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_outlives_whoever_reads_what_it_prints(output: Path, launch: Callable, golden: dict, assert_same) -> None:
    """As `… | head` does."""
    process = launch()
    wait_for(process, "======== Epoch 2 /")
    process.stdout.close()
    assert (process.wait(timeout=100), process.stderr.read()) == (0, "")
    assert_same(output, golden)


def test_a_closed_terminal_saves_and_ends(output: Path, flags: list[str], again: Callable, golden: dict, assert_same) -> None:
    pty = pytest.importorskip("pty")
    child, terminal = pty.fork()
    if not child:
        warm.heed_signals()
        os.execv(sys.executable, [sys.executable, SCRIPT, *flags, *LONGER, f"--output={output}"])
    shown = b""
    while b"======== Epoch 2 /" not in shown:
        shown += os.read(terminal, 1 << 16)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    assert "Resuming after step" in again()
    assert_same(output, golden)


def test_a_limit_on_the_size_of_files_is_one_sentence(
    output: Path, launch: Callable, again: Callable, golden: dict, assert_same: Callable, tiny_encoder: Path
) -> None:
    """It lets the weights through, and not the moments, which are twice as large."""
    limit = (tiny_encoder / "model.safetensors").stat().st_size * 3 // 2
    _, err = finish(launch(largest_file=limit), 2)
    assert err.startswith(f"{output / 'checkpoints' / 'step-00000003'} cannot be written: File too large. A checkpoint needs")
    assert not list((output / "checkpoints").iterdir())
    again()
    assert_same(output, golden)


FULL_DISK = """
import os, shutil, sys
import warm
disk, kept, *command = sys.argv[1:]
process = warm.start(command)
while not process.stdout.readline().startswith("======== Epoch 3 /"): pass
with open(disk + "/filler", "wb", buffering=0) as file:
    try:
        while True: file.write(b"x" * 4096)
    except OSError: pass
process.stdout.read()
print(process.wait(), process.stderr.read(), end="")
print(warm.run(command).stderr, end="")
os.remove(disk + "/filler")
assert warm.run(command).returncode == 0
shutil.copytree(disk + "/run", kept)
"""


def test_a_full_disk_is_one_sentence_and_the_next_start_ends_the_same(
    tmp_path: Path, flags: list[str], golden: dict, assert_same: Callable
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = runs.in_namespace(
        'mount -t tmpfs -o size=16m tmpfs "$1"; python="$2"; code="$3"; disk="$1"; shift 3; cd tests\n'
        '"$python" -c "$code" "$disk" "$@"',
        *(disk, sys.executable, FULL_DISK, tmp_path / "kept"),
        *(SCRIPT, *flags, *LONGER, f"--output={disk / 'run'}"),
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(f"2 {disk / 'run'}")
    assert re.search(r" cannot be written: No space left on device \(0\.\d MB are free\)\.", first)
    assert second.startswith(f"OUTPUT: the disk of {disk / 'run'} has 0 MB free, and the run needs about ")
    assert_same(tmp_path / "kept", golden)


def test_a_folder_that_may_only_be_read_is_refused_before_anything_is_loaded(tmp_path: Path, flags: list[str]) -> None:
    """A mount, since permissions do not bind the administrator."""
    folder = tmp_path / "folder"
    output = folder / "run"
    folder.mkdir()
    assert script.main([*flags, f"--output={output}"]) == 0
    (output / "summary.json").unlink()
    mount = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"'
    for name in ("run", "new"):  # a run to go on with, and one to begin
        done = runs.in_namespace(mount, folder, sys.executable, SCRIPT, *flags, f"--output={folder / name}")
        assert done.returncode == 2 and "Device: " not in done.stdout
        assert done.stderr == f"{folder / name} cannot be written: Read-only file system.\n"


@pytest.mark.slow
def test_memory_and_open_files_stay_flat_over_20_000_steps(launch: Callable) -> None:
    """Of 24 steps an epoch, each epoch evaluated and saved; looked at from outside while they run."""
    if not Path("/proc/self/statm").is_file():
        pytest.skip("needs /proc")
    process = launch("--epochs=834", "--batch-size=1", "--evaluations-per-epoch=1")
    seen = {}
    for line in process.stdout:
        if line.startswith("======== Epoch "):
            proc = Path("/proc") / str(process.pid)
            pages = int((proc / "statm").read_text(encoding="ascii").split()[1])
            seen[int(line.split()[2])] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(list((proc / "fd").iterdir()))
    assert process.wait() == 0 and max(seen) == 834
    early, late = ([seen[epoch] for epoch in epochs] for epochs in (range(80, 130), range(784, 834)))
    megabytes = [sum(memory for memory, _ in some) / len(some) for some in (early, late)]
    print(f"\nMemory {megabytes[0]:.1f} MB after 2,000 steps, {megabytes[1]:.1f} MB at the end; open files {late[-1][1]}")
    assert megabytes[1] - megabytes[0] < 10
    assert max(files for _, files in late) <= max(files for _, files in early)
