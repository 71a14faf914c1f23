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
from connection.script.environment import prepare_environment, refuse_ranks, usable_cpus

NAMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "RAYON_NUM_THREADS")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
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
        "main = importlib.import_module(sys.argv[1]).main\n"
        "try: main(['--encoder=transformers/bert/none-such'])\n"
        "except ValueError: pass\n"
        "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, "-c", code, module.__name__]
    run = subprocess.run(
        command, cwd=Path(script.__file__).parent, env=environment, capture_output=True, text=True, check=False
    )
    assert run.stdout.split() == ["1000", "False"], run.stderr


def test_several_processes_of_torchrun_are_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    refuse_ranks()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserMistake, match="torchrun has started 2 processes"):
        script.main([])
