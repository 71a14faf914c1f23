"""Environment variables to set before torch and tokenizers are imported: how many threads they start, how threads wait."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from pathlib import Path

from connection import UserMistake

CGROUPS = Path("/sys/fs/cgroup")
PROCESSOR_TIMES = Path("/proc/stat")
SAMPLE_SECONDS = 0.1
BUSY_SHARE = 0.5  # of the sample, on one CPU
# OpenMP threads that wait for each other spin this many times before they sleep. Beside another busy process a step takes a
# quarter of the time that it takes with the default; on idle cores it takes a quarter longer, so that the default stays there
# (benchmarks/beside_other_work.py).
SPINS = "1000"
BLOCK_MILLISECONDS = "1"  # the same limit for the OpenMP library of torch on macOS and Windows


def prepare_environment(threads: int) -> None:
    """Set the variables that the user has not set. threads: THREADS; 0 means every CPU that the process may use."""
    if "OMP_WAIT_POLICY" not in os.environ and cores_are_busy():
        name, value = ("GOMP_SPINCOUNT", SPINS) if sys.platform == "linux" else ("KMP_BLOCKTIME", BLOCK_MILLISECONDS)
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads or usable_cpus()))  # the tokenizers' own threads


def cores_are_busy(times: Path = PROCESSOR_TIMES) -> bool:
    """Whether another program keeps a CPU busy that this process may use: by a short sample on Linux, elsewhere by the load."""
    try:
        before = _cpu_times(times)
        time.sleep(SAMPLE_SECONDS)
        after = _cpu_times(times)
    except (OSError, ValueError):
        return hasattr(os, "getloadavg") and os.getloadavg()[0] > BUSY_SHARE * usable_cpus()
    spent = [(after[cpu][0] - before[cpu][0], after[cpu][1] - before[cpu][1]) for cpu in before.keys() & after.keys()]
    return any(total > 0 and busy > BUSY_SHARE * total for busy, total in spent)


def _cpu_times(path: Path) -> dict[int, tuple[int, int]]:
    """The busy and the whole time of each usable CPU since the system started, in ticks. Raises ValueError without any."""
    bound = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    times = {}
    for line in path.read_text(encoding="ascii").splitlines():
        name, *ticks = line.split() or [""]
        if name[:3] == "cpu" and name[3:].isdecimal() and (bound is None or int(name[3:]) in bound):
            counts = [int(tick) for tick in ticks[:8]]  # user nice system idle iowait irq softirq steal
            times[int(name[3:])] = (sum(counts) - counts[3] - counts[4], sum(counts))
    if not times:
        raise ValueError("no CPU is listed")
    return times


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
