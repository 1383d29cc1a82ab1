"""What the virtual units cost: collect with 280 of them a layer / without.

200 null readouts, 40 controls and 40 planted pairs on each of MobileNetV2's blocks and its logits, 512 ImageNet images
at 224 px, k = 40. Timed is the whole stage, decoding and filing among it, in one worker of one thread; the surveys that
make the readouts are not.

Beside the ratio stands the least that it can be here: float32 products of the layers' positions with as many directions
and the maxima of these, nothing else, on top of the stage without virtual units.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.inputs import mobilenet
from benchmarks.race import Outcome, Target, interleaved, ratios
from benchmarks.stages import NO_VIRTUAL_UNITS, finish, job_of
from polyscan import pipeline
from polyscan.run import Run
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Reader

IMAGES, K, BATCH = 512, 40, 32
UNITS = 288
"""280, and as many more as fill the last vector of 16: these take less time than the 280 alone."""
AT_ONCE = 2**20
"""Products that are in memory at once: in pieces that outgrow the cache they take half as long again."""
LAYERS = ("blocks", "classifier.1")
SURVEYS: dict[str, dict[str, Any]] = {
    "with": {"readouts": 200, "controls": 40, "planted": 40, "images": IMAGES, "positions": 4096},
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
    network = mobilenet()
    plain = interleaved({"forward": forward(network), "arithmetic": arithmetic(network)})
    least = 1 + IMAGES / BATCH * statistics.median(plain["arithmetic"]) / statistics.median(times["without"])
    notes = {"seconds": times, "images": IMAGES, "units": units, "seconds_a_batch": plain, "least_ratio": least}
    return {NAME: Outcome(TARGETS[NAME], ratios(times["with"], times["without"]), notes)}


def forward(network: Network) -> Callable[[], None]:
    """The bare forward pass of one batch."""
    side = network.preprocessing.input_px
    batch = torch.randn(BATCH, network.preprocessing.channels, side, side)
    batch = batch.to(network.device).contiguous(memory_format=torch.channels_last)

    def work() -> None:
        with torch.inference_mode():
            network.module(batch)

    work()  # the first call allocates and chooses kernels
    return work


def arithmetic(network: Network) -> Callable[[], None]:
    """What no exact reading of as many directions in every layer of one batch can do without: products and maxima."""
    points = Reader(network, LAYERS).points
    sizes = [(BATCH * point.map_size[0] * point.map_size[1], point.n_channels) for point in points]
    layers = [
        (torch.randn(size, device=network.device), torch.randn(size[1], UNITS, device=network.device)) for size in sizes
    ]
    products = torch.empty(AT_ONCE // UNITS, UNITS, device=network.device)

    def work() -> None:
        for positions, directions in layers:
            for piece in positions.split(len(products)):
                torch.mm(piece, directions, out=products[: len(piece)]).amax(dim=0)

    work()
    return work


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
        self.fingerprints = pipeline.settle(self.job, self.run)
        finish(self.job, self.run, "survey", self.fingerprints)

    def __call__(self) -> None:
        self.run.clear("collect")
        finish(self.job, self.run, "collect", self.fingerprints)

    def n_units(self) -> int:
        """Channels and virtual units of all layers."""
        return len(self.run.unit_order())
