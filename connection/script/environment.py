"""What must be set before torch and the tokenizers are imported: how many threads they start, and how these wait."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path

from connection import UserMistake

CGROUPS = Path("/sys/fs/cgroup")
# A thread that waits for the others of its product spins this often before it sleeps. Beside another busy process the default
# makes a step up to twice as long (benchmarks/beside_other_work.py); on idle cores it makes no difference.
SPINS = "1000"
BLOCK_MILLISECONDS = "1"  # the same for the OpenMP of macOS' and Windows' torch


def prepare_environment(threads: int) -> None:
    """Set what the person has not set. threads: THREADS, 0 for what the process may use."""
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
    """How many CPUs this process may use: those that it is bound to, and no more than a container's quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return max(1, min(bound, math.ceil(quota))) if quota else bound


def _quota(cgroups: Path) -> float | None:
    """The CPUs' worth of time that a container gets (Linux, cgroups 2 and 1); None without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroups / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None
