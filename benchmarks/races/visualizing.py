"""polyscan's side of the visualization races, and what both sides took and reached."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks import inputs
from benchmarks.race import Outcome, Target, geometric_means, ratios, seconds
from polyscan.vision.feature_visualization import AscentSettings, ascent_to
from polyscan.vision.readouts import Reader


@dataclass
class Lane:
    """What one of a peer's calls took and reached on the layers, and polyscan on the same units.

    Args:
        peer: its name in the notes.
        steps: of an image.
    """

    peer: str
    steps: int
    ratios: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    theirs: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    def add(self, layer: str, theirs: float, ours: float) -> None:
        """One run's seconds an image and step."""
        self.ratios.setdefault(layer, []).extend(ratios([theirs], [ours]))
        self.seconds.setdefault(f"{self.peer} {layer}", []).append(theirs * self.steps)
        self.seconds.setdefault(f"polyscan {layer}", []).append(ours * self.steps)

    def outcome(self, target: Target) -> Outcome:
        """Its line of the table."""
        notes: dict[str, object] = {"layers": self.ratios, "seconds_per_image": self.seconds}
        if self.theirs:
            notes["activation"] = self._activation()
        return Outcome(target, geometric_means(list(self.ratios.values())), notes)

    def _activation(self) -> dict[str, object]:
        sides, pairs = {"polyscan": self.ours, self.peer: self.theirs}, list(zip(self.ours, self.theirs, strict=True))
        return {
            **{side: statistics.median(values) for side, values in sides.items()},
            "images_at_least_as_strong": statistics.fmean(ours >= theirs for ours, theirs in pairs),
            "geometric_mean_ratio": _mean_ratio(pairs),
            "silent": {side: sum(value <= 0 for value in values) for side, values in sides.items()},
            "each": sides,
        }


def units_of(reader: Reader, layer: str, run: int, count: int) -> list[int]:
    """Evenly spaced channels of a stage, others in each run."""
    n_channels = next(point for point in reader.points if point.layer == inputs.TRUNK_LAYERS[layer]).n_channels
    return [(run + place * n_channels // count) % n_channels for place in range(count)]


def visualized(
    reader: Reader,
    layer: str,
    units: Sequence[int],
    *,
    steps: int,
    seed: int,
    step_size: float = AscentSettings.step_size,
    own_way: bool = False,
) -> tuple[float, np.ndarray]:
    """Seconds, the cutting of the trunk among them, and images.

    Args:
        own_way: with polyscan's own jitter and canvas (the layer's receptive field and a margin, at most the input's
            128 px); else without augmentation, at 128 px.
    """
    made: list[np.ndarray] = []
    settings = AscentSettings(steps=steps, step_size=step_size, objective="channel", batch=len(units))
    if not own_way:
        settings = replace(settings, jitter_px=0, canvas_px=inputs.SIDE_PX)

    def work() -> None:
        point = next(point for point in reader.points if point.layer == inputs.TRUNK_LAYERS[layer])
        ascent = ascent_to(reader, point, settings)
        made.append(ascent(units, [1000 * seed + place for place in range(len(units))]))

    return seconds(work), made[0]


def _mean_ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    """How much stronger polyscan's images are; None where an image leaves its unit silent."""
    if min(map(min, pairs)) <= 0:
        return None
    return math.exp(statistics.fmean(math.log(ours / theirs) for ours, theirs in pairs))
