"""Large blocks that are freed are had again without asking the system, until they are given back to it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from polyscan.vision.memory import keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from polyscan.vision.memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("this allocator can't be told")
def block():
    np.ones(8_000_000)  # 64 MB
block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    block()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
GIVEN_BACK = """
import sys
import numpy as np
from polyscan.vision.memory import free_memory, keep_freed_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
if not keep_freed_memory():
    sys.exit("this allocator can't be told")
before = resident()
blocks = [np.ones(1_000_000) for _ in range(20)]  # 160 MB
last = np.ones(1000)  # above them on the heap
del blocks
kept = resident() - before
free_memory()
print(kept, resident() - before)
"""


def faults(side: str) -> int:
    """Page faults of five large blocks, in a process of its own."""
    found = subprocess.run([sys.executable, "-c", FAULTS, side], check=True, capture_output=True, text=True)
    return int(found.stdout)


def test_a_block_of_the_same_size_costs_no_page_faults() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("page faults are counted as Linux does")
    if not keep_freed_memory():
        pytest.skip("not glibc")
    assert faults("kept") < faults("default") / 10


def test_what_a_worker_kept_is_given_back_to_the_system() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is told as Linux does")
    if not keep_freed_memory():
        pytest.skip("not glibc")
    found = subprocess.run([sys.executable, "-c", GIVEN_BACK], check=True, capture_output=True, text=True)
    kept, left = map(int, found.stdout.split())
    assert kept > 150e6
    assert left < 10e6


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert keep_freed_memory() is False
