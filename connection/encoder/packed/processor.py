"""What the processor can do, which decides how products are computed.

It is read, not timed: a run that is resumed on the same machine computes in the same way, to the bit.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import torch

PROCESSOR_FACTS = Path("/proc/cpuinfo")


@functools.cache
def is_intel() -> bool:
    """Whether the processor is made by Intel: MKL, which computes torch's own products, is fast there (Linux, Windows)."""
    try:
        facts = PROCESSOR_FACTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        facts = os.environ.get("PROCESSOR_IDENTIFIER", "")  # Windows
    return "GenuineIntel" in facts


@functools.cache
def has_bfloat16() -> bool:
    """Whether oneDNN multiplies bfloat16 by instructions of the processor: avx512_bf16 (AMD since Zen 4) or AMX (Intel)."""
    if not torch.backends.mkldnn.is_available():
        return False
    if hasattr(torch.cpu, "get_capabilities"):  # since torch 2.13
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe is not None and probe() for probe in probes)
