"""polyscan tells, for every unit of a convolutional network, whether it answers to one thing or to several.

>>> import polyscan
>>> polyscan.scan("digits", "runs/digits")                # doctest: +SKIP
>>> results = polyscan.open_run("runs/digits")            # doctest: +SKIP
>>> results.top(5)                                        # doctest: +SKIP
>>> results.unit("conv2:3")                               # doctest: +SKIP

A job is a TOML file, the name of a job that comes with polyscan, or a `Job` built from keywords:

>>> job = polyscan.Job(network={"name": "torchvision:resnet18", "weights": "DEFAULT"}, images={"source": "photos"})
>>> polyscan.plan(job)                                    # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyscan.job import Job
    from polyscan.results import open_run
    from polyscan.studies.compare import compare
    from polyscan.studies.figure import figure
    from polyscan.studies.find import find
    from polyscan.studies.plan import plan
    from polyscan.studies.robustness import robustness
    from polyscan.studies.scanning import scan
    from polyscan.studies.validate import validate

    __version__: str

__all__ = ["Job", "__version__", "compare", "figure", "find", "open_run", "plan", "robustness", "scan", "validate"]

_MODULES = {
    "Job": "polyscan.job",
    "compare": "polyscan.studies.compare",
    "figure": "polyscan.studies.figure",
    "find": "polyscan.studies.find",
    "open_run": "polyscan.results",
    "plan": "polyscan.studies.plan",
    "robustness": "polyscan.studies.robustness",
    "scan": "polyscan.studies.scanning",
    "validate": "polyscan.studies.validate",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that `import polyscan` alone loads neither torch nor Ray."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("polyscan")
    if name not in _MODULES:
        raise AttributeError(f"module 'polyscan' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
