"""Where things lie: the repository, its tests, and the shared real weights and images, if they are on this machine."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
DATA = Path(os.environ.get("POLYSCAN_TEST_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
"""Real weights and images: POLYSCAN_TEST_DATA, by default ../shared/data."""
ABSENT = f"the shared test data are not at {DATA}; set POLYSCAN_TEST_DATA to where they lie"
PYTHONPATH = os.pathsep.join([str(TESTS), str(REPOSITORY)])
"""For processes of their own that need the tests' modules."""
