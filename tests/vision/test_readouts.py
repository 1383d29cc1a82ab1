"""Further readouts of a layer: read in the same pass, at the same place, by the same way as its channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.peaks import LayerPeakTally
from polyscan.vision.readouts import Channels, Directions, Downward, Largest, Reader, peaks_of, units
from polyscan.vision.readouts.units import Together

CPU = torch.device("cpu")


def toy():
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 4, 3),
        nn.ReLU6(inplace=True),
    )
    module[1].weight.data = torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0, -6.0])
    return nn.Sequential(*module, nn.Flatten(), nn.Linear(4 * 14 * 14, 5))


def values(reader, batch):
    seen = {}
    reader.read(batch, lambda index, maps: seen.__setitem__(reader.points[index].layer, maps.clone()))
    return seen


@pytest.mark.parametrize("layer", ["0", "3", "6"])
def test_a_one_hot_direction_is_the_channel(network_of, noise, layer):
    network, batch = network_of(toy()), noise(3, 3, 16, 16)
    n_channels = {"0": 6, "3": 4, "6": 5}[layer]
    rows = torch.eye(n_channels).flip(0)
    reader = Reader(network, "all", {layer: {"flipped": Directions(rows, torch.zeros(n_channels))}})
    seen = values(reader, batch)
    assert torch.equal(seen[f"{layer}@flipped"], seen[layer].flip(1))
    assert seen[layer].min() < 0  # before the in-place ReLU behind it


def test_they_stand_behind_their_layer_with_their_own_number_of_units(network_of, noise):
    weights, bias = noise(9, 6), noise(9, seed=1)
    readouts = {
        "0": {"null": Directions(weights, bias), "same": Channels()},
        "6": {"one": Directions(noise(1, 5), noise(1))},
    }
    reader = Reader(network_of(toy()), "all", readouts)
    assert [p.layer for p in reader.points] == ["0", "0@null", "0@same", "3", "6", "6@one"]
    assert [p.n_channels for p in reader.points] == [6, 9, 6, 4, 5, 1]
    assert [p.depth for p in reader.points] == [0, 0, 0, 1, 2, 2]
    own, null = reader.points[:2]
    assert (null.field, null.map_size, null.node) == (own.field, own.map_size, own.node)
    assert own.relu_follows
    assert not null.relu_follows
    assert null.readout == "null of: after batch norm 1"
    order = []
    batch = noise(2, 3, 16, 16)
    reader.read(batch, lambda index, maps: order.append((index, maps.shape[1])))
    assert order == [(i, p.n_channels) for i, p in enumerate(reader.points)]
    seen = values(reader, batch)
    by_hand = torch.einsum("bcyx,uc->buyx", seen["0"], weights) + bias[:, None, None]
    torch.testing.assert_close(seen["0@null"], by_hand, rtol=1e-5, atol=1e-4)
    assert torch.equal(seen["0@same"], seen["0"])


@pytest.mark.parametrize("per_unit", [1, 2, 3])
def test_the_largest_of_several_directions_is_the_elementwise_maximum(network_of, noise, per_unit):
    weights, bias = noise(4 * per_unit, 6), noise(4 * per_unit, seed=1)
    parts = Directions(weights, bias)
    reader = Reader(network_of(toy()), "0", {"0": {"parts": parts, "largest": Largest(parts, per_unit)}})
    assert [p.n_channels for p in reader.points] == [6, 4 * per_unit, 4]
    seen = values(reader, noise(3, 3, 16, 16))
    found, own = seen["0@largest"], seen["0"]
    for image, unit, y, x in [(0, 0, 0, 0), (1, 3, 15, 2), (2, 2, 7, 15)]:
        rows = range(unit * per_unit, (unit + 1) * per_unit)
        by_hand = max(float(weights[row] @ own[image, :, y, x] + bias[row]) for row in rows)
        assert found[image, unit, y, x] == pytest.approx(by_hand, abs=1e-4)
    for unit in range(4):
        mine = [seen["0@parts"][:, row] for row in range(unit * per_unit, (unit + 1) * per_unit)]
        assert torch.equal(found[:, unit], torch.stack(mine).max(dim=0).values)


def test_downward_finds_the_smallest(network_of, noise):
    reader = Reader(network_of(toy()), "0", {"0": {"down": Downward()}})
    batch = noise(8, 3, 16, 16)
    seen = values(reader, batch)
    assert torch.equal(seen["0@down"], -seen["0"])
    tallies = [LayerPeakTally(6, k=3, layer=point.layer, device=CPU) for point in reader.points]
    reader.read_peaks(batch, lambda index, peaks: tallies[index].add(peaks, torch.arange(8)))
    up, down = (tally.result() for tally in tallies)
    smallest = seen["0"].amin(dim=(2, 3)).T  # [u, b]
    assert down.image.tolist() == smallest.argsort(dim=1, stable=True)[:, :3].tolist()
    for unit in range(6):
        for rank in range(3):
            image, y, x = (int(getattr(down, name)[unit, rank]) for name in ("image", "y", "x"))
            assert seen["0"][image, unit, y, x] == smallest[unit, image] == -down.activation[unit, rank]
    assert (down.activation.max(axis=1) > 0).any()
    assert not np.array_equal(up.image, down.image)


def test_one_pass_reads_all(network_of, noise):
    network = network_of(toy())
    reader = Reader(network, "0", {"0": {str(i): Directions(noise(2, 6, seed=i), noise(2)) for i in range(5)}})
    calls = []
    network.module[0].register_forward_hook(lambda *_: calls.append(1))
    assert len(values(reader, noise(1, 3, 16, 16))) == 6
    assert len(calls) == 1


def test_a_trunk_ends_in_the_readout(network_of, noise):
    reader = Reader(network_of(toy()), "3", {"3": {"two": Directions(noise(2, 4), noise(2))}})
    batch = noise(2, 3, 16, 16)
    virtual = reader.points[1]
    leaf = batch.clone().requires_grad_()
    maps = reader.trunk(virtual)(leaf)
    torch.testing.assert_close(maps.detach(), values(reader, batch)["3@two"], rtol=1e-5, atol=1e-5)  # norms are folded
    (gradient,) = torch.autograd.grad(maps[:, 1].sum(), leaf)
    assert gradient.abs().sum() > 0


def test_untraced_networks_have_them_too(network_of, noise):
    class Untraceable(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = toy()[:4]

        def forward(self, x):
            return self.body(x) if x.sum() > -1e9 else x

    reader = Reader(
        network_of(Untraceable()), "body.3", {"body.3": {"flipped": Directions(torch.eye(4).flip(0), torch.zeros(4))}}
    )
    assert not reader.is_traced
    seen = values(reader, noise(2, 3, 16, 16))
    assert torch.equal(seen["body.3@flipped"], seen["body.3"].flip(1))


def test_what_does_not_fit_is_refused(network_of, noise):
    network = network_of(toy())
    fitting = Directions(noise(2, 6), noise(2))
    with pytest.raises(ModelError, match=r'"00", which is not a chosen layer; nearest: 0'):
        Reader(network, "all", {"00": {"null": fitting}})
    with pytest.raises(ModelError, match=r"weights of shape \(2, 5\).*6 channels, so \(units, 6\)"):
        Reader(network, "all", {"0": {"null": Directions(noise(2, 5), noise(2))}})
    with pytest.raises(ModelError, match=r"weights of shape \(4, 5\).*6 channels"):
        Reader(network, "all", {"0": {"planted": Largest(Directions(noise(4, 5), noise(4)), 2)}})
    with pytest.raises(ModelError, match=r"a bias of \(3,\)"):
        Reader(network, "all", {"0": {"null": Directions(noise(2, 6), noise(3))}})
    with pytest.raises(ModelError, match='is named "a@b"; a name must not be empty or contain @'):
        Reader(network, "all", {"0": {"a@b": fitting}})


@pytest.mark.parametrize("numbers_at_once", [1, 60, 1000, 2**20])
@pytest.mark.parametrize("kind", ["channels", "downward", "directions", "largest", "together"])
def test_peaks_in_pieces_are_those_of_the_whole_maps(noise, monkeypatch, kind, numbers_at_once):
    directions = Directions(noise(12, 6), noise(12, seed=1))
    units_of = {
        "channels": Channels(),
        "downward": Downward(),
        "directions": directions,
        "largest": Largest(directions, 3),
        "together": Together((Largest(directions, 3), Downward(), directions)),
    }
    made = units_of[kind]
    maps = noise(7, 6, 5, 4, seed=2)
    whole = made(maps)
    monkeypatch.setattr(units, "_IN_CACHE", numbers_at_once)
    found = made.peaks(maps)
    assert found.width == 4
    assert found.value.dtype == torch.float32
    torch.testing.assert_close(found.value, whole.amax(dim=(2, 3)))
    assert torch.equal(found.place, whole.flatten(2).argmax(dim=2))
    assert torch.equal(found.place, peaks_of(whole).place)


def test_of_equal_directions_the_peak_that_comes_first_counts():
    maps = torch.tensor([[[[0.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [2.0, 0.0]]]])
    found = Largest(Directions(torch.eye(2).flip(0), torch.zeros(2)), 2).peaks(maps)
    assert (found.value.item(), found.place.item()) == (2.0, 1)


@pytest.mark.parametrize("numbers_at_once", [50, 2**20])
def test_readouts_together_are_each_of_them_in_a_row(noise, monkeypatch, numbers_at_once):
    monkeypatch.setattr(units, "_IN_CACHE", numbers_at_once)
    rows, bias = noise(7, 6), noise(7, seed=1)
    pairs = torch.tensor([0, 3, 3, 5, 5, 0, 1, 1])  # parts that are shared, one of them with itself
    parts = (
        Directions(rows, bias),
        Downward(),
        Largest(Directions(rows[pairs], bias[pairs]), 2),
        Directions(rows[:1], bias[:1]),
    )
    together, maps = Together(parts), noise(5, 6, 4, 3, seed=2)
    assert together.n_units(6) == 7 + 6 + 4 + 1
    assert torch.equal(together(maps), torch.cat([part(maps) for part in parts], dim=1))
    found, apart = together.peaks(maps), [part.peaks(maps) for part in parts]
    # How many directions are read at once may decide in which order a product is summed.
    torch.testing.assert_close(found.value, torch.cat([each.value for each in apart], dim=1))
    assert torch.equal(found.place, torch.cat([each.place for each in apart], dim=1))
    assert found.width == 3


def test_a_direction_that_units_share_is_read_once(noise, monkeypatch):
    read = []
    monkeypatch.setattr(Directions, "peaks", _noting(Directions.peaks, read))
    rows, bias = noise(40, 6), noise(40, seed=1)
    pairs = torch.arange(40).repeat(2)
    maps = noise(3, 6, 4, 3, seed=2)
    Largest(Directions(rows[pairs], bias[pairs]), 2).peaks(maps)
    Together((Directions(rows, bias), Largest(Directions(rows[pairs], bias[pairs]), 2))).peaks(maps)
    assert read == [48, 48]  # 40, up to whole vectors


def _noting(peaks, read):
    def noted(self, maps):
        read.append(len(self.weights))
        return peaks(self, maps)

    return noted


def test_a_row_of_a_map_that_is_too_much_at_once_is_read_nevertheless(noise, monkeypatch):
    monkeypatch.setattr(units, "_IN_CACHE", 1)
    directions, maps = Directions(noise(3, 6), noise(3, seed=1)), noise(2, 6, 1, 5, seed=2)
    assert torch.equal(directions.peaks(maps).place, directions(maps).flatten(2).argmax(dim=2))


def test_of_equal_places_in_two_strips_the_first_counts(monkeypatch):
    monkeypatch.setattr(units, "_IN_CACHE", 4)
    maps = torch.zeros(2, 1, 6, 2)
    maps[0, 0, 1, 1] = maps[0, 0, 4, 0] = 2.0
    found = Directions(torch.eye(1), torch.zeros(1)).peaks(maps)
    assert found.place.tolist() == [[3], [0]]


def test_together_is_refused_with_its_reader_where_one_does_not_fit(network_of, noise):
    fitting, other = Directions(noise(2, 6), noise(2)), Directions(noise(2, 5), noise(2))
    with pytest.raises(ModelError, match=r"weights of shape \(2, 5\).*6 channels"):
        Reader(network_of(toy()), "0", {"0": {"all": Together((fitting, other))}})
