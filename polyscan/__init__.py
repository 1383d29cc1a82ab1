"""polyscan tells, for every unit of a convolutional network, whether it answers to one thing or to several.

>>> import polyscan
>>> polyscan.scan("jobs/digits.toml", "runs/digits")           # doctest: +SKIP
>>> polyscan.open_run("runs/digits").top(5, by="semanticity")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyscan.job import Job
    from polyscan.results import open_run
    from polyscan.studies.scanning import scan

__all__ = ["Job", "open_run", "scan"]

_HOMES = {"Job": "polyscan.job", "open_run": "polyscan.results", "scan": "polyscan.studies.scanning"}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first asked for: `import polyscan` alone loads neither torch nor Ray."""
    if name not in _HOMES:
        raise AttributeError(f"module 'polyscan' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
