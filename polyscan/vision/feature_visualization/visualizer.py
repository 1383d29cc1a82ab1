"""The visualizations of a range of units: batches of images, always full, until each unit reaches its elbow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from polyscan.vision.feature_visualization.ascent import Ascent
from polyscan.vision.feature_visualization.elbow import Elbow, ElbowSettings
from polyscan.vision.perceptual import PerceptualDistance

TRIES = 3
"""Starts that an image gets: of those from which the ascent makes its unit no stronger, the last one is named."""


@dataclass(frozen=True)
class Visualization:
    """One finished image of one unit.

    Args:
        channel: the unit's.
        index: 0 for its first image.
        pixels: as stored.
        activation: the unit's peak over space on these pixels.
        mean_distance: m_I of images 0..index; NaN for the first.
        n_counted: the unit's I.
        stop: `elbow`, `max_images`, `stalled` where three starts in a row led nowhere, or `dead` where none has led
            anywhere: then this image is the last of these starts, and not counted.
    """

    channel: int
    index: int
    pixels: UInt8[np.ndarray, "y x c"]
    activation: float
    mean_distance: float
    n_counted: int
    stop: str


def visualize(
    ascent: Ascent,
    distance: PerceptualDistance,
    channels: Sequence[int],
    *,
    elbow: ElbowSettings,
    seed: Callable[[int, int, int], int],
) -> list[Visualization]:
    """Images of each channel up to its elbow, in the order (channel, index).

    Args:
        ascent: makes a batch of images of the layer.
        distance: between images.
        channels: which units, each once.
        elbow: when to stop.
        seed: of a channel's image of some index at some try, from 0 on; all that is random about it.
    """
    units = {channel: _Unit(channel, Elbow(elbow)) for channel in channels}
    while slots := _slots(units.values(), ascent.settings.batch):
        # The batch is padded by repeating its first slot: its shape, not its content, decides the rounding.
        padded = slots + [slots[0]] * (ascent.settings.batch - len(slots))
        wanted = [unit.channel for unit, _ in padded]
        seeds = [seed(unit.channel, index, unit.tries(index)) for unit, index in padded]
        images = ascent(wanted, seeds)
        peaks, before = ascent.peaks(images, wanted), ascent.peaks(ascent.starts(seeds), wanted)
        features = ascent.features(distance, images)
        for place, (unit, index) in enumerate(slots):
            unit.take(
                index, images[place], float(peaks[place]), features[place], has_risen=peaks[place] > before[place]
            )
    return [picture for channel in sorted(units) for picture in units[channel].visualizations()]


@dataclass
class _Unit:
    """One unit's way: its pictures in order, and how often the next one led nowhere."""

    channel: int
    elbow: Elbow
    made: list[tuple[UInt8[np.ndarray, "y x c"], float]] = field(default_factory=list)
    grey: tuple[UInt8[np.ndarray, "y x c"], float] | None = None
    n_failed: int = 0

    @property
    def stop(self) -> str:
        if self.n_failed < TRIES:
            return self.elbow.stop
        return "stalled" if self.made else "dead"

    def tries(self, index: int) -> int:
        """How often the image of this index was tried."""
        return self.n_failed if index == len(self.made) else 0

    def take(
        self,
        index: int,
        pixels: UInt8[np.ndarray, "y x c"],
        peak: float,
        features: Float[Tensor, " d"],
        *,
        has_risen: bool,
    ) -> None:
        """Counts a picture, unless the unit has enough, or an earlier one has to be made again first."""
        if self.stop or index != len(self.made):
            return
        if has_risen:
            self.made.append((pixels, peak))
            self.elbow.add(features)
            self.n_failed = 0
        else:
            self.grey = (pixels, peak)
            self.n_failed += 1

    def visualizations(self) -> Iterator[Visualization]:
        """What it has to show."""
        if not self.made and self.grey:
            yield Visualization(self.channel, 0, *self.grey, math.nan, 0, self.stop)
        for index, (pixels, peak) in enumerate(self.made):
            yield Visualization(
                self.channel, index, pixels, peak, self.elbow.means[index], self.elbow.n_counted, self.stop
            )


def _slots(units: Iterable[_Unit], batch: int) -> list[tuple[_Unit, int]]:
    """The next images to make: one for each unit that is not done, then a second for each, until the batch is full.

    Those that prove to lie beyond a unit's elbow are thrown away, so the batch size never changes an answer.
    """
    open_units = [unit for unit in units if not unit.stop]
    rounds = range(max((unit.elbow.settings.max_images - len(unit.made) for unit in open_units), default=0))
    wanted = [
        (unit, len(unit.made) + ahead)
        for ahead in rounds
        for unit in open_units
        if len(unit.made) + ahead < unit.elbow.settings.max_images
    ]
    return sorted(wanted[:batch], key=lambda slot: (slot[0].channel, slot[1]))
