"""Where the tests lie; the rest is `benchmarks.places`', which benchmarks read, too."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.places import ABSENT, DATA, REPOSITORY

TESTS = Path(__file__).resolve().parent
PYTHONPATH = os.pathsep.join([str(TESTS), str(REPOSITORY)])
"""For processes of their own that need the tests' modules."""

__all__ = ["ABSENT", "DATA", "PYTHONPATH", "REPOSITORY", "TESTS"]
