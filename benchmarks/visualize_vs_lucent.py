"""Feature visualization against torch-lucent 0.1.8: the same network, units, size and steps, one thread, in one run.

A run makes 8 images of each of three layers. Lucent makes them in its best batched call, and one of them in the call
that its README shows. Times are an image's; ratios are geometric means over the layers. Speed by doing less would be
seen: how strong the images make their units is measured on both sides' by one judge that belongs to neither.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks import inputs
from benchmarks.race import RUNS, Outcome, Target, geometric_means, ratios, seconds
from benchmarks.reached import reached
from benchmarks.rival import Lucent
from polyscan.vision.feature_visualization import Ascent, AscentSettings, numbers_of
from polyscan.vision.readouts import Reader

UNITS, STEPS, FROZEN_STEPS = 8, 64, 8
BATCHED, DOCUMENTED, FROZEN = (
    "visualize_vs_lucent_batched",
    "visualize_vs_lucent_documented",
    "visualize_vs_lucent_frozen",
)
TARGETS = {
    BATCHED: Target(5.0, "lucent's best batched call / polyscan"),
    DOCUMENTED: Target(30.0, "lucent's documented call, one unit each / polyscan"),
    FROZEN: Target(5.0, "the batched call, the weights frozen by its caller / polyscan"),
}


@dataclass
class Lane:
    """What one of the peer's calls took and reached on the layers, and polyscan on the same units."""

    ratios: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    lucent: list[float] = field(default_factory=list)
    polyscan: list[float] = field(default_factory=list)

    def add(self, layer: str, theirs: float, ours: float) -> None:
        """One run's seconds an image and step."""
        self.ratios.setdefault(layer, []).extend(ratios([theirs], [ours]))
        self.seconds.setdefault(f"lucent {layer}", []).append(theirs * STEPS)
        self.seconds.setdefault(f"polyscan {layer}", []).append(ours * STEPS)

    def outcome(self, target: Target) -> Outcome:
        """Its line of the table."""
        notes: dict[str, object] = {"layers": self.ratios, "seconds_per_image": self.seconds}
        if self.lucent:
            pairs = list(zip(self.polyscan, self.lucent, strict=True))
            notes["activation"] = {
                "polyscan": statistics.median(self.polyscan),
                "lucent": statistics.median(self.lucent),
                "images_at_least_as_strong": statistics.fmean(ours >= theirs for ours, theirs in pairs),
                "geometric_mean_ratio": _mean_ratio(pairs),
                "silent": {"polyscan": sum(v <= 0 for v in self.polyscan), "lucent": sum(v <= 0 for v in self.lucent)},
                "each": {"polyscan": self.polyscan, "lucent": self.lucent},
            }
        return Outcome(target, geometric_means(list(self.ratios.values())), notes)


def outcomes() -> dict[str, Outcome]:
    """The lines of the race."""
    reader = Reader(inputs.trunk_network(), list(inputs.TRUNK_LAYERS.values()))
    lanes = {name: Lane() for name in TARGETS}
    with Lucent() as lucent:
        _warmed(reader, lucent)
        for run in range(RUNS):
            for layer in inputs.TRUNK_LAYERS:
                _race(reader, lucent, lanes, layer, run)
    return {name: lane.outcome(TARGETS[name]) for name, lane in lanes.items()}


def _race(reader: Reader, lucent: Lucent, lanes: dict[str, Lane], layer: str, run: int) -> None:
    """Each side once on one layer: A B C D, and so on with the next."""
    units = _units(reader, layer, run)
    ours, images = _polyscan(reader, layer, units, steps=STEPS, seed=run)
    strength = reached(images, layer, units)
    ours /= UNITS * STEPS

    batched = lucent("batched", layer, units, steps=STEPS, seed=run)
    lanes[BATCHED].add(layer, batched.seconds / (UNITS * STEPS), ours)
    lanes[BATCHED].lucent += reached(batched.images, layer, units)
    lanes[BATCHED].polyscan += strength

    documented = lucent("documented", layer, units[:1], steps=STEPS, seed=run)
    lanes[DOCUMENTED].add(layer, documented.seconds / STEPS, ours)
    lanes[DOCUMENTED].lucent += reached(documented.images, layer, units[:1])
    lanes[DOCUMENTED].polyscan += strength[:1]

    # Fewer steps, since each costs the same and only the time is asked for.
    frozen = lucent("batched", layer, units, steps=FROZEN_STEPS, seed=run, frozen=True)
    lanes[FROZEN].add(layer, frozen.seconds / (UNITS * FROZEN_STEPS), ours)


def _units(reader: Reader, layer: str, run: int) -> list[int]:
    """Evenly spaced channels, others in each run."""
    point = next(point for point in reader.points if point.layer == inputs.TRUNK_LAYERS[layer])
    return [(run + place * point.n_channels // UNITS) % point.n_channels for place in range(UNITS)]


def _polyscan(reader: Reader, layer: str, units: Sequence[int], *, steps: int, seed: int) -> tuple[float, np.ndarray]:
    """Seconds, the cutting of the trunk among them, and images."""
    made: list[np.ndarray] = []
    settings = AscentSettings(steps=steps, objective="channel", jitter_px=0, batch=len(units), canvas_px=inputs.SIDE_PX)

    def work() -> None:
        point = next(point for point in reader.points if point.layer == inputs.TRUNK_LAYERS[layer])
        network = reader.network
        fast = reader.trunk(point, numbers_of("auto", network.device))
        ascent = Ascent(
            reader.trunk(point), network.preprocessing, inputs.SIDE_PX, settings, device=network.device, fast=fast
        )
        made.append(ascent(units, [1000 * seed + place for place in range(len(units))]))

    return seconds(work), made[0]


def _warmed(reader: Reader, lucent: Lucent) -> None:
    """First calls allocate and choose kernels."""
    units = list(range(UNITS))
    for layer in inputs.TRUNK_LAYERS:
        _polyscan(reader, layer, units, steps=2, seed=0)
        lucent("batched", layer, units, steps=2, seed=0)
        lucent("documented", layer, units[:1], steps=2, seed=0)


def _mean_ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    """How much stronger polyscan's images are; None where an image leaves its unit silent."""
    if min(map(min, pairs)) <= 0:
        return None
    return math.exp(statistics.fmean(math.log(ours / theirs) for ours, theirs in pairs))
