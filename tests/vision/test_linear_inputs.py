"""The inputs of layers that read them linearly at each position."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.readouts import Channels, Directions, Reader


class Small(nn.Module):
    """A 3 x 3 convolution, a 1 x 1 convolution with a norm, one with a stride, and a linear layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wide = nn.Conv2d(3, 6, 3, padding=1)
        self.point = nn.Conv2d(6, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.strided = nn.Conv2d(4, 4, 1, stride=2)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.wide(x))
        x = torch.relu_(self.norm(self.point(x)))
        return self.head(torch.relu(self.head(self.strided(x).mean(dim=(2, 3)))))


def network(trace: bool = True) -> Network:
    """The small network, loaded as a job's own code would be."""
    request = NetworkRequest(
        "test_linear_inputs:Small", folder=__file__.rpartition("/")[0], input_px=8, channels=3, trace=trace
    )
    return load_network(request, torch.device("cpu"))


def test_which_layers_have_inputs() -> None:
    reader = Reader(network(), "all")
    found = {point.layer: reader.inputs(point.layer) for point in reader.points}
    assert {layer: point and point.n_channels for layer, point in found.items()} == {
        "wide": None,
        "point": 6,
        "strided": None,
        "head": 4,
        "head#2": 4,
    }


@pytest.mark.parametrize("layer", ["point", "head", "head#2"])
def test_the_units_are_a_linear_function_of_the_inputs(layer: str) -> None:
    reader = Reader(network(), layer, None, {layer: {"inputs": Channels()}})
    maps: dict[str, Tensor] = {}
    reader.read(torch.randn(3, 3, 8, 8), lambda i, values: maps.__setitem__(reader.points[i].layer, values.clone()))
    inputs, units = (maps[name].permute(0, 2, 3, 1).flatten(0, 2).double() for name in (f"{layer}@inputs", layer))
    design = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    solved = torch.linalg.lstsq(design, units).solution
    if len(design) > design.shape[1]:
        assert torch.allclose(design @ solved, units, atol=1e-4)
    else:  # three vectors: compared with the layer itself
        head = reader.network.module.get_submodule("head")
        assert torch.allclose(head(inputs.float()), units.float(), atol=1e-5)


def test_a_layer_without_such_inputs_is_refused() -> None:
    with pytest.raises(ModelError, match="wide has no inputs"):
        Reader(network(), "all", None, {"wide": {"inputs": Channels()}})


def test_without_a_graph_vectors_alone_are_read() -> None:
    reader = Reader(network(trace=False), "all")
    found = {point.layer: reader.inputs(point.layer) for point in reader.points}
    assert {layer for layer, point in found.items() if point is not None} == {"head", "head#2"}


@pytest.mark.parametrize("layer", ["head", "head#2"])
def test_inputs_are_the_same_with_and_without_a_graph(layer: str) -> None:
    images = torch.randn(3, 3, 8, 8)
    found: list[Tensor] = []
    for trace in (True, False):
        reader = Reader(network(trace=trace), layer, None, {layer: {"inputs": Channels()}})
        maps: dict[str, Tensor] = {}
        reader.read(
            images, lambda i, values, maps=maps, reader=reader: maps.update({reader.points[i].layer: values.clone()})
        )
        found.append(maps[f"{layer}@inputs"])
    assert torch.equal(*found)


def test_directions_of_inputs_are_read_like_those_of_a_layer() -> None:
    weights, bias = torch.randn(7, 6), torch.randn(7)
    reader = Reader(network(), ["point"], None, {"point": {"inputs": Directions(weights, bias)}})
    images = torch.randn(2, 3, 8, 8)
    found: dict[str, Tensor] = {}
    reader.read_peaks(images, lambda i, peaks: found.__setitem__(reader.points[i].layer, peaks.value))
    inputs = torch.relu(reader.network.module.get_submodule("wide")(images))
    expected = nn.functional.conv2d(inputs, weights[:, :, None, None], bias).amax(dim=(2, 3))
    assert torch.allclose(found["point@inputs"], expected, atol=1e-5)
