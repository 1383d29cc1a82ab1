"""A CUDA GPU: the same exemplars as on the CPU within a stated tolerance, and the same pictures twice."""

from __future__ import annotations

import pytest
import torch

from polyscan.vision.devices import pick_device
from polyscan.vision.feature_visualization import Ascent, AscentSettings
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.peaks import LayerPeakTally, TallyResult
from polyscan.vision.readouts import Reader

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU"),
]
N_IMAGES, BATCH, K = 128, 32, 16


def network_on(name: str) -> Network:
    return load_network(NetworkRequest("torchvision:resnet18", "random"), pick_device(name))


def tallied(network: Network, images: torch.Tensor) -> list[TallyResult]:
    reader = Reader(network, "blocks")
    tallies = [
        LayerPeakTally(point.n_channels, k=K, layer=point.layer, device=network.device) for point in reader.points
    ]  # fmt: skip
    for start in range(0, N_IMAGES, BATCH):
        ids = torch.arange(start, start + BATCH, device=network.device)
        batch = images[start : start + BATCH].to(network.device)
        reader.read_peaks(batch, lambda index, peaks, ids=ids: tallies[index].add(peaks, ids))
    return [tally.result() for tally in tallies]


def test_exemplars_are_those_of_the_cpu_and_activations_agree_to_1e_4() -> None:
    images = torch.randn(N_IMAGES, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    same = total = 0
    for gpu, cpu in zip(tallied(network_on("cuda"), images), tallied(network_on("cpu"), images), strict=True):
        assert abs(gpu.activation - cpu.activation).max() <= 1e-4 * abs(cpu.activation).max()
        same += int((gpu.image == cpu.image).sum())
        total += gpu.image.size
    assert same / total > 0.995, f"{same} of {total} rows name the same image"


def test_a_picture_is_the_same_again_and_beside_others() -> None:
    network = network_on("cuda")
    reader = Reader(network, "layer2.1")
    settings = AscentSettings(steps=32, batch=16)
    point = reader.points[0]
    ascent = Ascent(
        reader.trunk(point), reader.own_maps(point), network.preprocessing, 96, settings, device=network.device
    )
    channels, seeds = list(range(16)), list(range(100, 116))
    first = ascent(channels, seeds)
    assert (ascent(channels, seeds) == first).all()
    assert (ascent(channels[::-1], seeds[::-1])[::-1] == first).all()
