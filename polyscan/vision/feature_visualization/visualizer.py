"""The visualizations of a range of units: full batches of images, until each unit reaches its elbow."""

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
"""Random starts that each image gets; if the ascent makes the unit no stronger from any of them, the unit stops."""


@dataclass(frozen=True)
class Visualization:
    """One finished image of one unit.

    Args:
        channel: the unit's.
        index: 0 for the unit's first image.
        pixels: the image as it is stored.
        activation: the unit's peak over space on these pixels.
        mean_distance: m_I of images 0..index; NaN for the first.
        n_counted: the unit's I.
        stop: `elbow`, `max_images`, `stalled` if the starts of the next image failed, or `dead` if those of the first
            image failed; then this image is from the last of these starts, and not counted.
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
        distance: distance between images.
        channels: the units, each once.
        elbow: when to stop.
        seed: gives the seed of a channel, an index and a try, from 0 on; all that is random about the image.
    """
    units = {channel: _Unit(channel, Elbow(elbow)) for channel in channels}
    while slots := _slots(units.values(), ascent.settings.batch):
        # The batch is padded by repeating its first slot: its shape, not its content, affects the rounding.
        padded = slots + [slots[0]] * (ascent.settings.batch - len(slots))
        batch = [unit.channel for unit, _ in padded]
        seeds = [seed(unit.channel, index, unit.tries(index)) for unit, index in padded]
        images = ascent(batch, seeds)
        peaks, start_peaks = ascent.peaks(images, batch), ascent.peaks(ascent.starts(seeds), batch)
        features = ascent.features(distance, images)
        for place, (unit, index) in enumerate(slots):
            has_risen = peaks[place] > start_peaks[place]
            unit.add(index, images[place], float(peaks[place]), features[place], has_risen=has_risen)
    return [picture for channel in sorted(units) for picture in units[channel].visualizations()]


@dataclass
class _Unit:
    """The state of one unit: its pictures in order, and how many starts of the next one have failed."""

    channel: int
    elbow: Elbow
    pictures: list[tuple[UInt8[np.ndarray, "y x c"], float]] = field(default_factory=list)
    failed: tuple[UInt8[np.ndarray, "y x c"], float] | None = None
    n_failed: int = 0

    @property
    def stop(self) -> str:
        if self.n_failed < TRIES:
            return self.elbow.stop
        return "stalled" if self.pictures else "dead"

    def tries(self, index: int) -> int:
        """Number of failed starts of the image of this index."""
        return self.n_failed if index == len(self.pictures) else 0

    def add(
        self,
        index: int,
        pixels: UInt8[np.ndarray, "y x c"],
        peak: float,
        features: Float[Tensor, " d"],
        *,
        has_risen: bool,
    ) -> None:
        """Counts a picture, unless the unit has stopped, or an earlier picture has to be made again first."""
        if self.stop or index != len(self.pictures):
            return
        if has_risen:
            self.pictures.append((pixels, peak))
            self.elbow.add(features)
            self.n_failed = 0
        else:
            self.failed = (pixels, peak)
            self.n_failed += 1

    def visualizations(self) -> Iterator[Visualization]:
        """The unit's pictures, or the failed one if it has no other."""
        if not self.pictures and self.failed:
            yield Visualization(self.channel, 0, *self.failed, math.nan, 0, self.stop)
        for index, (pixels, peak) in enumerate(self.pictures):
            yield Visualization(
                self.channel, index, pixels, peak, self.elbow.means[index], self.elbow.n_counted, self.stop
            )


def _slots(units: Iterable[_Unit], batch: int) -> list[tuple[_Unit, int]]:
    """The next images to make: one for each unit that is not done, then a second for each, until the batch is full.

    Images after a unit's elbow are discarded, so the batch size does not change the result.
    """
    open_units = [unit for unit in units if not unit.stop]
    rounds = range(max((unit.elbow.settings.max_images - len(unit.pictures) for unit in open_units), default=0))
    slots = [
        (unit, len(unit.pictures) + ahead)
        for ahead in rounds
        for unit in open_units
        if len(unit.pictures) + ahead < unit.elbow.settings.max_images
    ]
    return sorted(slots[:batch], key=lambda slot: (slot[0].channel, slot[1]))
