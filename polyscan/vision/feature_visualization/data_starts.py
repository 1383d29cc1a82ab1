"""Ascents that start from a unit's own exemplars, so that a mode too small for a random start to find is seen, too.

Source: Nguyen, Yosinski & Clune 2016, "Multifaceted feature visualization": start from the mean of each cluster of a
unit's strongest images. Departure: clusters are made of perceptual features of the windows around the peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from polyscan.stats.clustering import gram, kmeans
from polyscan.vision.feature_visualization.ascent import Ascent
from polyscan.vision.perceptual import PerceptualDistance

RESTARTS = 10


@dataclass(frozen=True, eq=False)
class DataStart:
    """A finished image that began as the mean of a cluster of exemplars.

    Args:
        index: 0 for the largest cluster's.
        n_exemplars: items of the cluster.
        pixels: as stored.
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
        distance: whose features are clustered.
        channel: the unit's.
        windows: what its exemplars look like around their peaks, as large as the ascent's images.
        clusters: how many; of fewer windows than that, each is its own.
        seed: of the clustering and of the ascent's shifts.
    """
    if not len(windows):
        return []
    features = ascent.features(distance, windows).float().cpu().numpy()
    means, sizes = cluster_means(windows, features, min(clusters, len(windows)), seed=seed)
    found: list[DataStart] = []
    batch = ascent.settings.batch
    for first in range(0, len(means), batch):
        own = means[first : first + batch]
        padded = np.concatenate([own, np.repeat(own[:1], batch - len(own), axis=0)])
        images = ascent([channel] * batch, [seed] * batch, starts=padded)
        peaks = ascent.peaks(images, [channel] * batch)
        found += [
            DataStart(first + place, int(sizes[first + place]), images[place], float(peaks[place]))
            for place in range(len(own))
        ]
    return found


def cluster_means(
    windows: UInt8[np.ndarray, "n y x c"], features: Float[np.ndarray, "n d"], clusters: int, *, seed: int
) -> tuple[Float32[np.ndarray, "k c y x"], Float[np.ndarray, " k"]]:
    """The mean window of each cluster in 0..1, and how many windows it has, largest first."""
    away = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    uniforms = np.random.default_rng(seed).random((1, RESTARTS, clusters))
    labels = np.asarray(kmeans(gram(away[None]), clusters, uniforms=uniforms).labels)[0]
    sizes = np.bincount(labels, minlength=clusters)
    order = np.argsort(-sizes, kind="stable")
    means = np.stack([windows[labels == cluster].mean(axis=0) for cluster in order])
    return (means / 255).astype(np.float32).transpose(0, 3, 1, 2), sizes[order]


def window(
    view: UInt8[np.ndarray, "s s c"], box: tuple[int, int, int, int], side: int
) -> UInt8[np.ndarray, "side side c"]:
    """The square around a box's middle, moved into the view where it would leave it; a smaller view's edges go on.

    Args:
        view: what the network sees of an image.
        box: top, left, bottom, right of what the unit's peak sees.
        side: px of the square.
    """
    top, left, bottom, right = box
    spare = max(0, side - view.shape[0])
    if spare:
        view = np.pad(view, ((spare // 2, spare - spare // 2),) * 2 + ((0, 0),), mode="edge")
    corner = [
        min(max(0, (low + high) // 2 + spare // 2 - side // 2), view.shape[0] - side)
        for low, high in ((top, bottom), (left, right))
    ]
    return view[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
