"""What computes here: results are equal bit by bit only where the processor has the same instructions and as many threads are used."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")

# Instructions that libraries choose their kernels by; with others, sums are taken in another order. x86 first, then ARM.
INSTRUCTIONS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8",
    "asimd", "asimdhp", "asimddp", "sve", "sve2", "bf16", "i8mm",
)  # fmt: skip


def processor(cpuinfo: Path = CPUINFO) -> dict[str, Any]:
    """Model, instructions that matter, and cores of this machine's processor; where torch is loaded, what it makes of them.

    Args:
        cpuinfo: The kernel's description of the processor; where there is none (macOS), Python's own name of it is told, without instructions.
    """
    facts = _first(cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()) if cpuinfo.is_file() else {}
    has = set((facts.get("flags") or facts.get("features") or "").split())
    found: dict[str, Any] = {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in INSTRUCTIONS if name in has],
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    if (torch := sys.modules.get("torch")) is not None:  # never loaded for this: it takes seconds
        found |= {"torch": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
    return found


def _first(lines: Iterable[str]) -> dict[str, str]:
    """What is said of the first core: keys in small letters, to which x86 and ARM give different cases."""
    found: dict[str, str] = {}
    for line in lines:
        if not line.strip() and found:
            break
        key, _, value = line.partition(":")
        found.setdefault(key.strip().lower(), value.strip())
    return found
