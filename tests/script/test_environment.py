"""What is set before torch is imported: threads that a container allows, and how they wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import bertFineTuningWithConnectionData as script
import bertScoringWithConnectionData as scoring_script
from connection import UserMistake
from connection.script import environment
from connection.script.environment import cores_are_busy, prepare_environment, refuse_ranks, usable_cpus

NAMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "RAYON_NUM_THREADS")


@pytest.fixture(autouse=True)
def busy_and_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cores_are_busy", lambda: True)
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "nonsense"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
    ],
)
def test_a_containers_quota_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert usable_cpus(tmp_path) == expected


def test_a_process_that_is_bound_to_some_cpus_uses_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    (tmp_path / "cpu.max").write_text("800000 100000", encoding="ascii")
    assert usable_cpus(tmp_path) == 2


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("cpu0 100 0 0 900 0 0 0 0\ncpu1 0 0 0 1000 0 0 0 0\n", "cpu0 101 0 0 909 0 0 0 0\ncpu1 0 0 0 1010 0 0 0 0\n", False),
        ("cpu0 100 0 0 900 0 0 0 0\ncpu1 0 0 0 1000 0 0 0 0\n", "cpu0 109 0 0 901 0 0 0 0\ncpu1 0 0 0 1010 0 0 0 0\n", True),
        ("cpu7 100 0 0 900 0 0 0 0\ncpu0 0 0 0 10 0 0 0 0\n", "cpu7 109 0 0 901 0 0 0 0\ncpu0 0 0 0 20 0 0 0 0\n", False),
    ],
)
def test_a_cpu_that_another_program_keeps_busy_is_seen(
    first: str, second: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPU 7 is none that this process may use."""
    path = tmp_path / "stat"
    path.write_text("cpu  1 2 3\n" + first + "intr 5\n", encoding="ascii")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(environment.time, "sleep", lambda seconds: path.write_text(second, encoding="ascii"))
    assert cores_are_busy(path) is expected


def test_without_processor_times_the_load_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    for load, expected in ((0.2, False), (1.8, True)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0, 0), raising=False)
        assert cores_are_busy(tmp_path / "none") is expected


def test_on_idle_cores_the_threads_wait_as_they_always_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cores_are_busy", lambda: False)
    prepare_environment(3)
    assert "GOMP_SPINCOUNT" not in os.environ and os.environ["RAYON_NUM_THREADS"] == "3"


def test_what_is_not_set_is_set_and_what_is_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    prepare_environment(3)
    assert (os.environ["GOMP_SPINCOUNT"], os.environ["RAYON_NUM_THREADS"]) == ("1000", "3")
    os.environ["GOMP_SPINCOUNT"] = "7"
    prepare_environment(5)
    assert (os.environ["GOMP_SPINCOUNT"], os.environ["RAYON_NUM_THREADS"]) == ("7", "3")


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_it_is_the_other_openmp(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    prepare_environment(0)
    assert os.environ["KMP_BLOCKTIME"] == "1" and "GOMP_SPINCOUNT" not in os.environ
    assert os.environ["RAYON_NUM_THREADS"] == str(usable_cpus())


def test_a_person_who_has_chosen_how_threads_wait_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    prepare_environment(0)
    assert "GOMP_SPINCOUNT" not in os.environ and "KMP_BLOCKTIME" not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="the variable is that of Linux' OpenMP")
@pytest.mark.parametrize("module", [script, scoring_script], ids=lambda module: module.__name__)
def test_it_is_set_before_torch_is_imported(module: ModuleType) -> None:
    code = (
        "import sys, os, importlib\n"
        "import connection.script.environment as environment; environment.cores_are_busy = lambda: True\n"
        "main = importlib.import_module(sys.argv[1]).main\n"
        "try: main(['--encoder=transformers/bert/none-such'])\n"
        "except ValueError: pass\n"
        "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)\n"
    )
    variables = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, "-c", code, module.__name__]
    run = subprocess.run(command, cwd=Path(script.__file__).parent, env=variables, capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["1000", "False"], run.stderr


def test_several_processes_of_torchrun_are_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    refuse_ranks()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserMistake, match="torchrun has started 2 processes"):
        script.main([])
