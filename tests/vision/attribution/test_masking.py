"""Units of which only some lower channels pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from vision.attribution.small_networks import Residual, seeded

from polyscan.errors import ModelError
from polyscan.vision.attribution import Attributor, masked_directions, masked_values, purified_directions
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Reader

NetworkOf = Callable[..., Network]
N = 4
PLACES = torch.tensor([[0, 0], [3, 4], [9, 1], [15, 15]])
UNITS = torch.tensor([0, 1, 2, 3])


@pytest.fixture
def images() -> Tensor:
    return torch.randn(N, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def kept(*channels: int, of: int = 6) -> Tensor:
    keep = torch.zeros(N, of, dtype=torch.bool)
    keep[:, list(channels)] = True
    return keep


def maps_of(reader: Reader, images: Tensor, layer: str) -> Tensor:
    found: dict[str, Tensor] = {}
    reader.read(images, lambda index, maps: found.__setitem__(reader.points[index].layer, maps.clone()))
    return found[layer]


def test_a_masked_unit_is_the_network_with_channels_cut(network_of: NetworkOf, images: Tensor) -> None:
    network = network_of(seeded(Residual))
    attributor = Attributor(Reader(network, "all"), "head", "first", how="gradient")
    found = masked_values(attributor, images, UNITS, PLACES, kept(1, 4))
    cut = network_of(seeded(Residual))
    others = [0, 2, 3, 5]
    for values in (cut.module.norm.weight, cut.module.norm.bias):  # type: ignore[union-attr]
        values.data[others] = 0  # type: ignore[index]
    wanted = maps_of(Reader(cut, "all"), images, "head")[torch.arange(N), UNITS, PLACES[:, 0], PLACES[:, 1]]
    assert torch.allclose(found, wanted, atol=1e-5)
    whole = masked_values(attributor, images, UNITS, PLACES, kept(*range(6)))
    assert torch.allclose(whole, attributor(images, UNITS, PLACES).value)
    assert not torch.allclose(found, whole)


def test_directions_of_all_inputs_are_the_channels(network_of: NetworkOf, images: Tensor) -> None:
    network = network_of(seeded(Residual))
    whole = masked_directions(Reader(network, "all"), "head", [2, 0], torch.ones(2, 6, dtype=torch.bool))
    own = {"head": {"parts": whole}}
    reader = Reader(network, "all", of_inputs=own)
    parts = maps_of(reader, images, "head@parts")
    assert torch.allclose(parts, maps_of(reader, images, "head")[:, [2, 0]], atol=1e-5)


def test_a_masked_direction_is_the_masked_network(network_of: NetworkOf, images: Tensor) -> None:
    """`head` reads the sum of `second` and the residual: cutting its inputs is no cut of `second` alone."""
    network = network_of(seeded(Residual))
    keep = kept(0, 5)
    part = masked_directions(Reader(network, "all"), "head", UNITS.tolist(), keep)
    maps = maps_of(Reader(network, "all", of_inputs={"head": {"parts": part}}), images, "head@parts")
    with torch.no_grad():
        module = network.module
        x = torch.relu(module.stem(images))  # type: ignore[operator]
        inputs = torch.relu(module.second(torch.relu(module.norm(module.first(x)))) + x)  # type: ignore[operator]
        wanted = module.head(inputs * keep[:1, :, None, None])  # type: ignore[operator]
    assert torch.allclose(maps, wanted, atol=1e-5)


def test_only_layers_that_read_linearly_have_directions(network_of: NetworkOf) -> None:
    reader = Reader(network_of(seeded(Residual)), "all")
    with pytest.raises(ModelError, match=r"second is not a linear function of its inputs at one position"):
        masked_directions(reader, "second", [0], torch.ones(1, 6, dtype=torch.bool))
    with pytest.raises(ModelError, match=r"`keep` has the shape \(1, 5\); head reads 6 channels, so \(1, 6\)"):
        masked_directions(reader, "head", [0], torch.ones(1, 5, dtype=torch.bool))


def test_the_inputs_of_a_linear_layer_divide_its_value_by_weight_times_input(
    network_of: NetworkOf, images: Tensor
) -> None:
    reader = Reader(network_of(seeded(Residual)), "all")
    for how in ("gradient", "lrp"):
        found = Attributor(reader, "head", "", how=how, composite="epsilon")(images, UNITS, PLACES)  # type: ignore[arg-type]
        head = reader.network.module.head
        assert torch.allclose(found.biases, head.bias[UNITS], atol=1e-5)  # type: ignore[index,union-attr]
        assert torch.allclose(found.relevance.sum(dim=1) + found.biases, found.value, atol=1e-5)
    with pytest.raises(ModelError, match=r"second is not a linear function of its inputs"):
        Attributor(reader, "second", "")


def test_a_purified_unit_keeps_its_value_on_its_own_cluster_alone(network_of: NetworkOf) -> None:
    """A unit that adds up two halves of its inputs, each of which answers to one colour."""
    network = network_of(seeded(Residual))
    with torch.no_grad():
        for part in network.module.parameters():
            part.zero_()
        for channel in range(6):
            network.module.stem.weight[channel, 0 if channel < 3 else 1, 1, 1] = 1 + channel / 10  # type: ignore[union-attr,operator,index]
        network.module.head.weight[0] = 1  # type: ignore[union-attr,operator,index]
    reader = Reader(network, "all")
    images = torch.zeros(N, 3, 16, 16)
    images[:2, 0], images[2:, 1] = 1.0, 1.0
    units = torch.zeros(N, dtype=torch.int64)
    found = Attributor(reader, "head", "", how="gradient")(images, units, PLACES)
    clusters = np.array([0, 0, 1, 1])
    parts = purified_directions(reader, "head", 0, found.relevance.numpy(), clusters, share=1.0)
    maps = maps_of(Reader(network, "all", of_inputs={"head": {"parts": parts}}), images, "head@parts")
    values = maps[torch.arange(N), :, PLACES[:, 0], PLACES[:, 1]]
    assert torch.allclose(values[torch.arange(N), clusters], found.value)
    assert values[torch.arange(N), 1 - clusters].abs().max() == 0
