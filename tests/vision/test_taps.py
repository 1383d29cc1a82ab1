"""Peaks read a few images at a time: the same bits as those of the network's own maps, whatever follows the norm."""

import pytest
import torch
from torch import nn

from polyscan.vision.readouts import Reader, taps
from polyscan.vision.readouts.units import Channels, Directions, peaks_of


class Residual(nn.Module):
    """A norm whose maps are added to, and one whose maps two branches take."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.inner, self.inner_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem_norm(self.stem(x))
        x = x + self.inner_norm(self.inner(self.relu(x.clone())))
        return self.head(self.relu(x).mean(dim=(2, 3)))


class Shared(nn.Module):
    """A convolution whose maps go on beside its norm: they may not be overwritten."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return self.last(torch.relu(self.norm(x)) + x)


def plain(relu, affine=True):
    """Two convolutions with norms, the first with a ReLU behind it."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=affine), *relu, nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6)
    )  # fmt: skip


@pytest.fixture
def networks(network_of):
    """Makes networks of modules whose norms do something."""

    def made(module):
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d) and part.track_running_stats:
                part.running_mean.normal_()
                part.running_var.uniform_(0.3, 3)
                if part.affine:
                    nn.init.normal_(part.weight)
                    nn.init.normal_(part.bias)
        return network_of(module.eval())

    return made


def both_ways(reader, batch):
    """Peaks of each layer as read in pieces, and those of the maps that a plain pass sees."""
    found, expected = {}, {}
    reader.read_peaks(batch, found.__setitem__)
    reader.read(batch, lambda index, maps: expected.__setitem__(index, peaks_of(maps)))
    return found, expected


MODULES = {
    "ReLU in place": lambda: plain([nn.ReLU(inplace=True)]),
    "ReLU": lambda: plain([nn.ReLU()]),
    "ReLU6": lambda: plain([nn.ReLU6(inplace=True)]),
    "no ReLU": lambda: plain([]),
    "another activation": lambda: plain([nn.Hardswish(inplace=True)]),
    "norm without scale": lambda: plain([nn.ReLU()], affine=False),
    "norm of the batch": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)),
    "residual": Residual,
    "shared": Shared,
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("piece", [1, 3 * 8 * 14 * 14 * 4, 2**30])
@pytest.mark.parametrize("module", MODULES)
def test_same_bits_in_pieces(networks, noise, monkeypatch, module, piece, layout):
    monkeypatch.setattr(taps, "PIECE", piece)
    network = networks(MODULES[module]())
    reader = Reader(network, "all")
    assert reader.is_traced
    batch = noise(7, 3, 16, 16).contiguous(memory_format=layout)
    found, expected = both_ways(reader, batch)
    assert len(found) == len(reader.points) > 0
    for index, peaks in expected.items():
        assert torch.equal(found[index].value, peaks.value)
        assert torch.equal(found[index].place, peaks.place)
        assert found[index].width == peaks.width


def test_maps_are_those_of_the_network_itself(networks, noise, monkeypatch):
    """The plain pass above is no yardstick by itself: it goes through the same modules."""
    monkeypatch.setattr(taps, "PIECE", 1)
    network = networks(plain([nn.ReLU6(inplace=True)]))
    seen = {}
    network.module[1].register_forward_hook(lambda *call: seen.__setitem__(0, call[2].clone()))
    network.module[4].register_forward_hook(lambda *call: seen.__setitem__(1, call[2].clone()))
    batch = noise(5, 3, 16, 16)
    with torch.inference_mode():
        network.module(batch)
    hooked = dict(seen)
    found, _ = both_ways(Reader(network, "all"), batch)
    for index in (0, 1):
        assert torch.equal(found[index].value, hooked[index].amax(dim=(2, 3)))


def test_few_images_at_a_time(networks, noise, monkeypatch):
    sizes = []
    monkeypatch.setattr(taps, "PIECE", 3 * 8 * 14 * 14 * 4)
    monkeypatch.setattr(Channels, "peaks", lambda _, maps: sizes.append(tuple(maps.shape)) or peaks_of(maps))
    Reader(networks(plain([nn.ReLU()])), "0").read_peaks(noise(7, 3, 16, 16), lambda *_: None)
    assert sizes == [(3, 8, 14, 14), (3, 8, 14, 14), (1, 8, 14, 14)]


def test_directions_see_whole_batches(networks, noise, monkeypatch):
    sizes = []
    monkeypatch.setattr(taps, "PIECE", 1)
    monkeypatch.setattr(Directions, "peaks", lambda _, maps: sizes.append(len(maps)) or peaks_of(maps))
    reader = Reader(networks(plain([nn.ReLU()])), "0", {"0": {"some": Directions(noise(2, 8), noise(2))}})
    reader.read_peaks(noise(7, 3, 16, 16), lambda *_: None)
    assert sizes == [7]


def test_gradients_go_past(networks, noise):
    network = networks(plain([nn.ReLU(inplace=True)]))
    batch = noise(2, 3, 16, 16).requires_grad_()
    caught = []
    Reader(network, "all").pass_through(batch, lambda _, maps: caught.append(maps.sum()))
    sum(caught).backward()
    assert batch.grad.abs().sum() > 0
