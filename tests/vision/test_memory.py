"""Large blocks that are freed are had again without asking the system."""

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


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert keep_freed_memory() is False
