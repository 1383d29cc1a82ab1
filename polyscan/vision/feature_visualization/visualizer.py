"""The visualizations of a range of units: batches of images, always full, until each unit reaches its elbow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from polyscan.vision.feature_visualization.ascent import Ascent
from polyscan.vision.feature_visualization.elbow import Elbow, ElbowSettings
from polyscan.vision.perceptual import PerceptualDistance


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
        stop: `elbow` or `max_images`.
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
    seed: Callable[[int, int], int],
) -> list[Visualization]:
    """Images of each channel up to its elbow, in the order (channel, index).

    Args:
        ascent: makes a batch of images of the layer.
        distance: between images.
        channels: which units, each once.
        elbow: when to stop.
        seed: of a channel's image of some index; all that is random about it.
    """
    elbows = {channel: Elbow(elbow) for channel in channels}
    made: dict[tuple[int, int], tuple[UInt8[np.ndarray, "y x c"], float]] = {}
    while slots := _slots(elbows, ascent.settings.batch):
        # The batch is padded by repeating its first slot: its shape, not its content, decides the rounding.
        padded = slots + [slots[0]] * (ascent.settings.batch - len(slots))
        wanted = [channel for channel, _ in padded]
        images = ascent(wanted, [seed(channel, index) for channel, index in padded])
        peaks = ascent.peaks(images, wanted)
        with torch.inference_mode():
            values = torch.from_numpy(images).to(ascent.device).permute(0, 3, 1, 2).float() / 255
            features = distance.features(values)
        for place, (channel, index) in enumerate(slots):
            if not elbows[channel].stop:
                made[channel, index] = (images[place], float(peaks[place]))
                elbows[channel].add(features[place])
    return [
        Visualization(
            channel, index, pixels, peak, elbows[channel].means[index], elbows[channel].n_counted, elbows[channel].stop
        )
        for (channel, index), (pixels, peak) in sorted(made.items())
    ]


def _slots(elbows: dict[int, Elbow], batch: int) -> list[tuple[int, int]]:
    """The next images to make: one for each unit that is not done, then a second for each, until the batch is full.

    Those that prove to lie beyond a unit's elbow are thrown away, so the batch size never changes an answer.
    """
    open_units = [(channel, elbow) for channel, elbow in elbows.items() if not elbow.stop]
    rounds = range(max((elbow.settings.max_images - elbow.n_counted for _, elbow in open_units), default=0))
    wanted = [
        (channel, elbow.n_counted + ahead)
        for ahead in rounds
        for channel, elbow in open_units
        if elbow.n_counted + ahead < elbow.settings.max_images
    ]
    return sorted(wanted[:batch])
