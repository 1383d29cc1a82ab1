"""Measures a piece of work: its seconds, and the peak memory of this process while it runs."""

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
RESET_PEAK = "5"
"""Written to `FORGET`, it makes Linux count the peak memory from now on."""
CALLS, ENOUGH_S = 3, 2.0
clock: Callable[[], float] = time.perf_counter
"""The clock of all measurements; the benchmark `plan_vs_scan` sets it to the CPU time of this process."""


def seconds(work: Callable[[], object]) -> float:
    """Seconds of a call: the median of three, or of fewer if they take long, after a first call to warm up."""
    work()
    durations: list[float] = []
    while not durations or (len(durations) < CALLS and sum(durations) < ENOUGH_S):
        durations.append(once(work))
    return median(durations)


def once(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = clock()
    work()
    return clock() - started


@dataclass
class Peak:
    """The peak memory while something ran, in bytes.

    Args:
        process: memory of the whole process, with all that it has loaded; None if the system does not report it (Linux
            does).
        gpu: its memory on the GPU; None without a GPU.
    """

    process: float | None = None
    gpu: float | None = None


@contextmanager
def watched() -> Generator[Peak]:
    """Yields the peak memory of the body, which is filled in at its end."""
    is_known = _peak_reset()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    peak = Peak()
    yield peak
    peak.process = _resident_peak() if is_known else None
    peak.gpu = float(torch.cuda.max_memory_allocated()) if torch.cuda.is_initialized() else None


def _peak_reset() -> bool:
    """Resets the peak and releases memory that the allocator keeps; whether the system can do so."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        FORGET.write_text(RESET_PEAK, encoding="ascii")
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return False
    return STATUS.exists()


def _resident_peak() -> float:
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return 1024.0 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
