"""What it costs to read every unit, against the bare forward pass that any reading needs.

Both sides start from the same decoded uint8 images in batches of 32 and normalise them alike. The bare side calls the
network itself; ours reads every convolution and the classifier behind it and keeps each unit's 100 strongest images
with their places, and the moments, up to the finished tables' arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks import inputs
from benchmarks.race import Outcome, Target, interleaved, ratios
from polyscan.images import ImageOptions, Picture, open_images
from polyscan.vision.networks import Network
from polyscan.vision.peaks import PeakTally
from polyscan.vision.readouts import Peaks, Reader

IMAGES, BATCH, K = 2000, 32, 100
TARGETS = {"collect_vs_forward": Target(1.10, "collect's time / bare forward pass", at_most=True)}


def outcomes() -> dict[str, Outcome]:
    """The line of `collect_vs_forward`."""
    network = inputs.mobilenet()
    reader = Reader(network, "all")
    batches = _batches(network)
    bare, collect = _bare(network, batches), _collect(reader, batches)
    bare(2), collect(2)  # first calls allocate and choose kernels
    times = interleaved({"forward": bare, "collect": collect})
    units = sum(point.n_channels for point in reader.points)
    notes = {"seconds": times, "images": IMAGES, "units": units}
    return {
        "collect_vs_forward": Outcome(
            TARGETS["collect_vs_forward"], ratios(times["collect"], times["forward"]), notes=notes
        )
    }


def _batches(network: Network) -> list[np.ndarray]:
    """A thousand images and their mirror images as the network sees them, before normalisation."""
    source = open_images(str(inputs.held("images/imagenet_sample_1000.parquet")), options=ImageOptions())
    pictures = [entry for entry in source.read(range(IMAGES // 2)) if isinstance(entry, Picture)]
    views = np.stack([network.preprocessing.view(picture.pixels) for picture in pictures])
    views = np.concatenate([views, views[:, :, ::-1]])
    return [views[start : start + BATCH] for start in range(0, len(views), BATCH)]


def _bare(network: Network, batches: list[np.ndarray]) -> Callable[..., None]:
    def work(n: int | None = None) -> None:
        with torch.inference_mode():
            for views in batches[:n]:
                network.module(network.preprocessing.batch(views, network.device))

    return work


def _collect(reader: Reader, batches: list[np.ndarray]) -> Callable[..., None]:
    network = reader.network

    def work(n: int | None = None) -> None:
        units = sum(point.n_channels for point in reader.points)
        tally = PeakTally(units, k=K, name=str, device=network.device)
        for number, views in enumerate(batches[:n]):
            found: dict[int, Peaks] = {}
            reader.read_peaks(network.preprocessing.batch(views, network.device), found.__setitem__)
            ids = torch.arange(number * BATCH, number * BATCH + len(views), device=network.device)
            tally.add(Peaks.joined([found[index] for index in range(len(reader.points))]), ids)
        tally.result()

    return work
