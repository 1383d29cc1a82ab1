"""What a piece of work takes here: its seconds, and the most memory that this process holds meanwhile."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK_ANEW = "5"
"""What Linux takes as a wish that the peak be counted from now on."""
CALLS, ENOUGH_S = 3, 2.0
clock: Callable[[], float] = time.perf_counter
"""What seconds are read from. The benchmark `plan_vs_scan` puts the CPU time of the process there."""


def seconds(work: Callable[[], object]) -> float:
    """Of a call behind the first one, which warms up: the middle of three, or of fewer where they take long."""
    work()
    taken: list[float] = []
    while not taken or (len(taken) < CALLS and sum(taken) < ENOUGH_S):
        taken.append(once(work))
    return median(taken)


def once(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = clock()
    work()
    return clock() - started


@dataclass
class Peak:
    """The most memory held while something was watched, in bytes.

    Args:
        process: of the whole process, with all that it has loaded; None where the system does not tell (it is read as
            Linux counts it).
        gpu: of it on the GPU; None without one.
    """

    process: float | None = None
    gpu: float | None = None


@contextmanager
def watched() -> Generator[Peak]:
    """Gives what the body took, once it is over."""
    can_tell = _forgotten()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    peak = Peak()
    yield peak
    peak.process = _resident_peak() if can_tell else None
    peak.gpu = float(torch.cuda.max_memory_allocated()) if torch.cuda.is_initialized() else None


def _forgotten() -> bool:
    """Whether the peak so far could be forgotten, and with it what freed memory the allocator has kept."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        FORGET.write_text(PEAK_ANEW, encoding="ascii")
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return False
    return STATUS.exists()


def _resident_peak() -> float:
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return 1024.0 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
