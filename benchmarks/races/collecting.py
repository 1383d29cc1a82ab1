"""What the races of collecting share: the images, polyscan's side, and a brute force that both sides' ids are held to.

MobileNetV2 at 128 px. Read are the outputs of the 17 inverted residuals, which no ReLU follows, so that polyscan and
whoever hooks the modules read the same numbers. All start from the same decoded uint8 images and normalise them. Each
unit's strongest images are those of its largest value over space.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import inputs
from benchmarks.peers.rival import Peer, Rival
from benchmarks.race import RUNS, Outcome, Target, ratios, seconds
from polyscan.images import ImageOptions, Picture, open_images
from polyscan.vision.networks import Network
from polyscan.vision.peaks import PeakTally
from polyscan.vision.readouts import Peaks, Reader

IMAGES, BATCH, K = 1000, 32, 40
WARM_UP = 2 * BATCH
TINY = 1e-12
LAYERS = tuple(f"features.{place}" for place in range(1, 18))


def race(peer: Peer, target: Target) -> Outcome:
    """Both sides in turns on the same images, and how well their ids are those of the brute force."""
    network = network_at_side()
    reader = Reader(network, LAYERS)
    views = decoded(network)
    times: dict[str, list[float]] = {peer.name: [], "polyscan": []}
    theirs, ours = np.empty(0), np.empty(0)
    with Rival(peer) as rival:
        np.save(rival.folder / "views.npy", views)
        order = {"views": str(rival.folder / "views.npy"), "ids": str(rival.folder / "ids.npy")}
        rival.ask(order | {"images": WARM_UP})  # first calls allocate and choose kernels
        collected(reader, views[:WARM_UP])
        for _ in range(RUNS):
            times[peer.name].append(rival.ask(order | {"images": IMAGES})["seconds"])
            theirs = np.load(order["ids"])
            kept: list[np.ndarray] = []
            times["polyscan"].append(seconds(lambda kept=kept: kept.append(collected(reader, views))))
            ours = kept[0]
    peaks = brute_force(network, views)
    notes = {
        "seconds": times,
        "images": IMAGES,
        "units": len(ours),
        "ids": {"polyscan": agreement(ours, peaks), peer.name: agreement(theirs, peaks)},
    }
    return Outcome(target, ratios(times[peer.name], times["polyscan"]), notes)


def network_at_side() -> Network:
    """MobileNetV2 with its preprocessing brought to the races' size."""
    network = inputs.mobilenet()
    return replace(network, preprocessing=network.preprocessing.at(inputs.SIDE_PX))


def decoded(network: Network) -> np.ndarray:
    """The images as the network sees them, before normalisation: uint8 [n, y, x, c]."""
    source = open_images(str(inputs.held("images/imagenet_sample_1000.parquet")), options=ImageOptions())
    pictures = [entry for entry in source.read(range(IMAGES)) if isinstance(entry, Picture)]
    return np.stack([network.preprocessing.view(picture.pixels) for picture in pictures])


def collected(reader: Reader, views: np.ndarray) -> np.ndarray:
    """polyscan's side: ids of each unit's strongest images [u, k], all layers in a row."""
    network = reader.network
    tally = PeakTally(sum(point.n_channels for point in reader.points), k=K, name=str, device=network.device)
    for start in range(0, len(views), BATCH):
        batch = views[start : start + BATCH]
        found: dict[int, Peaks] = {}
        reader.read_peaks(network.preprocessing.batch(batch, network.device), found.__setitem__)
        ids = torch.arange(start, start + len(batch), device=network.device)
        tally.add(Peaks.joined([found[index] for index in range(len(reader.points))]), ids)
    return tally.result().image


def brute_force(network: Network, views: np.ndarray) -> np.ndarray:
    """Every unit's largest value over space on every image [u, n], by torch's own modules in float32."""
    parts: list[np.ndarray] = []
    with torch.inference_mode(), _peaks_of(network.module) as peaks:
        for start in range(0, len(views), BATCH):
            network.module(network.preprocessing.batch(views[start : start + BATCH], network.device))
            parts.append(torch.cat([peaks[layer] for layer in LAYERS], dim=1).T.cpu().numpy())
    return np.concatenate(parts, axis=1)


def agreement(ids: np.ndarray, peaks: np.ndarray) -> dict[str, float]:
    """How far ids [u, k] are those of sorting all peaks, equal ones by id.

    Returns:
        Share of units with the same ids in the same order; share of slots whose image is among the unit's true ones;
        share of slots that name no image; the largest shortfall of a slot's peak behind the true one at its rank, in
        the unit's standard deviation.
    """
    true = np.argsort(-peaks, axis=1, kind="stable")[:, : ids.shape[1]]
    is_image = (ids >= 0) & (ids < peaks.shape[1])
    reached = np.take_along_axis(peaks, np.where(is_image, ids, 0), axis=1)
    missing = np.take_along_axis(peaks, true, axis=1) - reached
    missing = np.where(is_image, missing / np.maximum(peaks.std(axis=1, keepdims=True), TINY), 0)
    same = [np.isin(row, wanted).mean() for row, wanted in zip(ids, true, strict=True)]
    return {
        "units_in_order": float((ids == true).all(axis=1).mean()),
        "slots": float(np.mean(same)),
        "empty_slots": float((~is_image).mean()),
        "largest_shortfall_sd": float(missing.max()),
    }


@contextmanager
def _peaks_of(module: nn.Module) -> Generator[dict[str, Tensor]]:
    """Within it, each layer's peaks [b, c] of the last forward pass."""
    found: dict[str, Tensor] = {}

    def kept(layer: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, arguments: Any, output: Tensor) -> None:
            found[layer] = output.amax(dim=(2, 3))

        return keep

    hooks = [module.get_submodule(layer).register_forward_hook(kept(layer)) for layer in LAYERS]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
