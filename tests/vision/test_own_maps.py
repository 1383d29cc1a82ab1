"""One unit's map an image is the same as that unit's of all the maps, and the rest is not computed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polyscan.vision.networks import NetworkRequest, load_network
from polyscan.vision.readouts import Reader
from polyscan.vision.readouts.own_maps import OwnDepthwise, OwnFilter

SIDE = 20


class Residual(nn.Module):
    """An inverted residual: wide, depthwise, narrow, added to what came in."""

    def __init__(self, channels, wide):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True),
            nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.Dropout(),
        )  # fmt: skip
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x + self.body(x))


class Forked(nn.Module):
    """Two convolutions added: nobody else reads either."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(6, 6, 3, stride=2, padding=1), nn.Conv2d(6, 6, 1, stride=2)

    def forward(self, x):
        return torch.relu(self.left(x) + self.right(x))


class Broadcast(nn.Module):
    """A map of one channel added to six."""

    def __init__(self):
        super().__init__()
        self.many, self.one = nn.Conv2d(6, 6, 3), nn.Conv2d(6, 1, 3)

    def forward(self, x):
        return torch.relu(self.many(x) + self.one(x))


def network(network_of):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        Residual(6, 12), Residual(6, 9), Forked(), Broadcast(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean)
    return network_of(module, side=SIDE)


def compare(reader, point, noise, *, batch=5):
    """Values and gradients of both ways, units with repeats among them."""
    units = torch.arange(batch) * 7 % point.n_channels
    images = noise(batch, 3, SIDE, SIDE)
    leaves = [images.clone().requires_grad_() for _ in range(2)]
    expected = reader.trunk(point)(leaves[0])[torch.arange(batch), units]
    found = reader.own_maps(point)(leaves[1], units)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weights = noise(*expected.shape, seed=1)
    gradients = [
        torch.autograd.grad((maps * weights).sum(), leaf)[0]
        for maps, leaf in zip((expected, found), leaves, strict=True)
    ]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)


def test_every_layer_and_block_of_a_network(network_of, noise):
    reader = Reader(network(network_of), ["all", "blocks"])
    assert len(reader.points) == 16
    for point in reader.points:
        compare(reader, point, noise)


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v2", "torchvision:squeezenet1_1", "torchvision:googlenet"])
def test_real_architectures(name, noise):
    reader = Reader(load_network(NetworkRequest(name, "random", input_px=64), torch.device("cpu")), ["all", "blocks"])
    for point in reader.points[:: max(1, len(reader.points) // 8)]:
        units = torch.tensor([0, point.n_channels - 1])
        images = noise(2, 3, 64, 64)
        with torch.no_grad():
            expected = reader.trunk(point)(images)[torch.arange(2), units]
            found = reader.own_maps(point)(images, units)
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * scale, msg=point.layer)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 2},
        {"kernel_size": 5, "stride": 2, "padding": 2, "bias": False},
        {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 0)},
        {"kernel_size": 3, "dilation": 2, "padding": 2},
        {"kernel_size": (1, 7), "padding": (0, 3)},
    ],
)
@pytest.mark.parametrize("size", [(9, 9), (12, 7)])
def test_filters_of_every_form(settings, size, noise):
    torch.manual_seed(1)
    units = torch.tensor([3, 0, 3])
    plain = nn.Conv2d(4, 5, **settings)
    maps = noise(3, 4, *size).contiguous(memory_format=torch.channels_last)
    assert OwnFilter.fits(plain)
    torch.testing.assert_close(OwnFilter(plain)(maps, units), plain(maps)[torch.arange(3), units])

    depthwise = nn.Conv2d(4, 4, groups=4, **settings)
    assert OwnDepthwise.fits(depthwise)
    own = OwnDepthwise(depthwise)(maps[torch.arange(3), units], units)
    torch.testing.assert_close(own, depthwise(maps)[torch.arange(3), units])


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(4, 4, 1, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 8, 3, groups=2),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.ConvTranspose2d(4, 4, 3),
        nn.ReLU(),
        None,
    ],
)
def test_what_is_computed_whole(other):
    assert not OwnFilter.fits(other)
    assert not OwnDepthwise.fits(other)


def test_only_the_own_filter_is_computed(network_of, noise, monkeypatch):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 1), nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, groups=6),
    )  # fmt: skip
    reader = Reader(network_of(module, side=SIDE), "4")
    first = nn.Conv2d.forward

    def forward(self, maps):
        assert self is module[0], "all filters were computed"
        return first(self, maps)

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    reader.own_maps(reader.points[0])(noise(2, 3, SIDE, SIDE), torch.tensor([0, 5]))


def test_neighbours_change_nothing_bit_by_bit(network_of, noise):
    reader = Reader(network(network_of), ["all", "blocks"])
    images = noise(4, 3, SIDE, SIDE)
    others = torch.cat([noise(3, 3, SIDE, SIDE, seed=9), images[:1]])
    for point in reader.points:
        for numbers in (torch.float32, torch.bfloat16):
            own_maps = reader.own_maps(point, numbers)
            with torch.no_grad():
                first = own_maps(images, torch.tensor([0, 1, 2, 3]) % point.n_channels)[0]
                last = own_maps(others, torch.tensor([1, 3, 1, 0]) % point.n_channels)[3]
            assert torch.equal(first, last), (point.layer, numbers)
