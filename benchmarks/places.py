"""Where things lie, for benchmarks and tests: the repository, what is built, and the shared real weights and images."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build"
DATA = Path(os.environ.get("POLYSCAN_TEST_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
"""Real weights and images: POLYSCAN_TEST_DATA, by default ../shared/data."""
ABSENT = f"the shared test data are not at {DATA}; set POLYSCAN_TEST_DATA to where they lie"
