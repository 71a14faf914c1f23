"""Environment variables to set before torch and tokenizers are imported: how many threads they start, how threads wait."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path

from connection import UserMistake

CGROUPS = Path("/sys/fs/cgroup")
# OpenMP threads that wait for each other spin this many times before they sleep. With the default, a step takes up to twice as
# long while another process keeps the cores busy; on idle cores there is no difference (benchmarks/beside_other_work.py).
SPINS = "1000"
BLOCK_MILLISECONDS = "1"  # the same limit for the OpenMP library of torch on macOS and Windows


def prepare_environment(threads: int) -> None:
    """Set the variables that the user has not set. threads: THREADS; 0 means every CPU that the process may use."""
    if "OMP_WAIT_POLICY" not in os.environ:
        name, value = ("GOMP_SPINCOUNT", SPINS) if sys.platform == "linux" else ("KMP_BLOCKTIME", BLOCK_MILLISECONDS)
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads or usable_cpus()))  # the tokenizers' own threads


def refuse_ranks() -> None:
    """Raise UserMistake where torchrun has started several processes: they would all do the same, into one folder."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    if ranks != "1":
        raise UserMistake(
            f"torchrun has started {ranks} processes, but a run computes on one device so far. Start the script with python."
        )


def usable_cpus(cgroups: Path = CGROUPS) -> int:
    """Number of CPUs this process may use: those in its affinity mask, limited by a container's CPU quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return max(1, min(affinity, math.ceil(quota))) if quota else affinity


def _quota(cgroups: Path) -> float | None:
    """A container's CPU quota, in CPUs (Linux, cgroups v2 and v1); None without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroups / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None
