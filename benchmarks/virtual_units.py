"""What the virtual units cost: collect with 280 of them a layer / without.

200 null read-outs, 40 controls and 40 planted pairs on each of MobileNetV2's blocks and its logits, 512 ImageNet images
at 224 px, k = 40. Timed is the whole stage, decoding and filing among it, in one worker of one thread; the surveys that
make the read-outs are not.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.race import Outcome, Target, interleaved, ratios
from benchmarks.stages import NO_VIRTUAL_UNITS, finish, job_of
from polyscan import pipeline
from polyscan.run import Run

IMAGES, K = 512, 40
LAYERS = ("blocks", "classifier.1")
SURVEYS: dict[str, dict[str, Any]] = {
    "with": {"read_outs": 200, "controls": 40, "planted": 40, "images": IMAGES, "positions": 4096},
    "without": NO_VIRTUAL_UNITS,
}
NAME = "virtual_units"
TARGETS = {NAME: Target(1.5, "collect's time with 280 virtual units a layer / without", at_most=True)}


def outcomes() -> dict[str, Outcome]:
    """The line of `virtual_units`."""
    with tempfile.TemporaryDirectory() as folder:
        sides = {name: Collect(Path(folder, name), survey) for name, survey in SURVEYS.items()}
        times = interleaved(sides)
        units = {name: side.n_units() for name, side in sides.items()}
    notes = {"seconds": times, "images": IMAGES, "units": units}
    return {NAME: Outcome(TARGETS[NAME], ratios(times["with"], times["without"]), notes)}


class Collect:
    """The stage on one surveyed run, anew at each call."""

    def __init__(self, folder: Path, survey: dict[str, Any]) -> None:
        self.job = job_of(
            "images/imagenet_sample_1000.parquet",
            layers=LAYERS,
            images={"limit": IMAGES},
            survey=survey,
            collect={"k": K},
        )
        self.run = Run(str(folder))
        self.prints = pipeline.prepare(self.job, self.run)
        finish(self.job, self.run, "survey", self.prints)

    def __call__(self) -> None:
        self.run.clear("collect")
        finish(self.job, self.run, "collect", self.prints)

    def n_units(self) -> int:
        """Channels and virtual units of all layers."""
        return len(self.run.unit_order())
