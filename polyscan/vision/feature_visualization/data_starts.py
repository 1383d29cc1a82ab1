"""Ascents that start from a unit's own exemplars, to find modes that are too small for random starts to find.

Source: Nguyen, Yosinski & Clune 2016, "Multifaceted feature visualization": start from the mean of each cluster of a
unit's strongest images. Departure: perceptual features of the windows around the peaks are clustered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from polyscan.stats.clustering import gram, kmeans
from polyscan.vision.feature_visualization.ascent import Ascent
from polyscan.vision.framing import Size
from polyscan.vision.perceptual import PerceptualDistance

RESTARTS = 10


@dataclass(frozen=True, eq=False)
class DataStart:
    """A finished image whose start was the mean of a cluster of exemplars.

    Args:
        index: 0 for the largest cluster.
        n_exemplars: number of exemplars in the cluster.
        pixels: the image as it is stored.
        activation: the unit's peak over space on these pixels.
    """

    index: int
    n_exemplars: int
    pixels: UInt8[np.ndarray, "y x c"]
    activation: float


def data_started(
    ascent: Ascent,
    distance: PerceptualDistance,
    channel: int,
    windows: UInt8[np.ndarray, "n y x c"],
    *,
    clusters: int,
    seed: int,
) -> list[DataStart]:
    """One image for each cluster of a unit's windows, largest cluster first.

    Args:
        ascent: makes images of the layer.
        distance: the distance whose features are clustered.
        channel: the unit's.
        windows: the unit's exemplars around their peaks, as large as the ascent's images.
        clusters: number of clusters; if there are fewer windows, each is a cluster.
        seed: seed of the clustering and of the ascent's shifts.
    """
    if not len(windows):
        return []
    features = ascent.features(distance, windows).float().cpu().numpy()
    means, sizes = cluster_means(windows, features, min(clusters, len(windows)), seed=seed)
    batch = ascent.settings.batch
    batches = [means[first : first + batch] for first in range(0, len(means), batch)]
    finished = [image for some in batches for image in _finished(ascent, channel, some, seed)]
    return [
        DataStart(index, int(sizes[index]), pixels, activation) for index, (pixels, activation) in enumerate(finished)
    ]


def _finished(
    ascent: Ascent, channel: int, means: Float32[np.ndarray, "k c y x"], seed: int
) -> Iterator[tuple[UInt8[np.ndarray, "y x c"], float]]:
    """Pixels and activations of the images that start from at most a batch of means."""
    batch = ascent.settings.batch
    padded = np.concatenate([means, np.repeat(means[:1], batch - len(means), axis=0)])
    images = ascent([channel] * batch, [seed] * batch, starts=padded)
    peaks = ascent.peaks(images, [channel] * batch)
    for place in range(len(means)):
        yield images[place], float(peaks[place])


def cluster_means(
    windows: UInt8[np.ndarray, "n y x c"], features: Float[np.ndarray, "n d"], clusters: int, *, seed: int
) -> tuple[Float32[np.ndarray, "k c y x"], Float[np.ndarray, " k"]]:
    """The mean window of each cluster in 0..1, and its number of windows, largest first."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    uniforms = np.random.default_rng(seed).random((1, RESTARTS, clusters))
    labels = np.asarray(kmeans(gram(centred[None]), clusters, uniforms=uniforms).labels)[0]
    sizes = np.bincount(labels, minlength=clusters)
    order = np.argsort(-sizes, kind="stable")
    means = np.stack([windows[labels == cluster].mean(axis=0) for cluster in order])
    return (means / 255).astype(np.float32).transpose(0, 3, 1, 2), sizes[order]


def window(view: UInt8[np.ndarray, "y x c"], box: tuple[int, int, int, int], size: Size) -> UInt8[np.ndarray, "h w c"]:
    """The part around the middle of a box, shifted to stay in the view; a view that is too small is edge-padded.

    Args:
        view: what the network sees of an image.
        box: top, left, bottom, right of the receptive field of the unit's peak.
        size: height and width of the part in px.
    """
    spare = [max(0, side - length) for side, length in zip(size, view.shape, strict=False)]
    if any(spare):
        view = np.pad(view, [(more // 2, more - more // 2) for more in spare] + [(0, 0)], mode="edge")
    top, left = (
        min(max(0, (low + high) // 2 + more // 2 - side // 2), length - side)
        for low, high, more, side, length in zip(box[:2], box[2:], spare, size, view.shape, strict=False)
    )
    return view[top : top + size[0], left : left + size[1]]
