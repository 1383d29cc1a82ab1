"""Networks that torch.fx can't trace: read at their modules' own outputs, and said so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polyscan.vision.readouts import Reader


class Part(nn.Module):
    """Gives a map, or a tuple with None as some blocks do."""

    def __init__(self, *, tuple_output=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)
        self.tuple_output = tuple_output

    def forward(self, x):
        out = self.relu(self.conv(x))
        return (out, None) if self.tuple_output else out


class Loops(nn.Module):
    """Data decides how often it goes through its second part."""

    def __init__(self):
        super().__init__()
        self.first = Part()
        self.second = Part(tuple_output=True)
        self.nothing = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = self.first(x)
        for _ in range(2 if x.abs().sum() >= 0 else 3):
            x, _ = self.second(x)
        return self.head(x.mean(dim=(2, 3)))


@pytest.fixture
def network(network_of):
    torch.manual_seed(0)
    return network_of(Loops())


def values(reader, batch):
    seen = {}
    reader.read(batch, lambda index, maps: seen.__setitem__(reader.points[index].layer, maps.clone()))
    return seen


def test_it_says_so(network):
    reader = Reader(network, ["all", "blocks"])
    assert not reader.is_traced
    assert reader.untraced_because.startswith("TraceError: symbolically traced variables")
    # `second` gives a tuple and `nothing` is never called: neither can be read.
    assert [p.layer for p in reader.points] == ["first.conv", "first", "second.conv", "second.conv#2", "head"]
    assert {p.readout for p in reader.points} == {"module output (the network can't be traced)"}
    assert all(p.field is None and not p.relu_follows for p in reader.points)
    assert [p.map_size for p in reader.points] == [(16, 16)] * 4 + [(1, 1)]


def test_values_are_the_modules_outputs_before_in_place_relus(network, noise):
    module, batch = network.module, noise(3, 3, 16, 16)
    seen = values(Reader(network, ["all", "blocks"]), batch)
    with torch.inference_mode():
        first = module.first.conv(batch)
        torch.testing.assert_close(seen["first.conv"], first)
        assert seen["first.conv"].min() < 0
        second = module.second.conv(first.relu())
        torch.testing.assert_close(seen["second.conv"], second)
        torch.testing.assert_close(seen["second.conv#2"], module.second.conv(second.relu()))
        torch.testing.assert_close(seen["head"][:, :, 0, 0], module(batch))


def test_the_pass_ends_at_the_deepest(network, noise):
    reader = Reader(network, ["first", "second.conv"])
    network.module.head.register_forward_pre_hook(lambda *_: pytest.fail("the head was called"))
    calls = []
    network.module.second.conv.register_forward_hook(lambda *_: calls.append(1))
    assert list(values(reader, noise(1, 3, 16, 16))) == ["first", "second.conv"]
    assert len(calls) == 1  # the second round is not gone either
    trunk = reader.trunk(reader.points[1])
    leaf = noise(1, 3, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(trunk(leaf).sum(), leaf)
    assert gradient.abs().sum() > 0


def test_a_network_that_catches_errors_cannot_catch_the_end(network_of, noise):
    class Catches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x):
            is_sane = bool(x.sum() > -1e9)
            try:
                x = self.conv(x)
            except Exception:
                pytest.fail("it went on")
            return self.last(x) if is_sane else x

    reader = Reader(network_of(Catches()), "conv")
    assert not reader.is_traced
    assert list(values(reader, noise(1, 3, 16, 16))) == ["conv"]


def test_hooks_are_never_left_behind(network, noise):
    def hooks():
        return [hook for part in network.module.modules() for hook in part._forward_hooks]

    reader = Reader(network, "all")
    assert not hooks()
    values(reader, noise(1, 3, 16, 16))
    assert not hooks()

    def stop(*_):
        raise KeyError("the sink's own error")

    with pytest.raises(KeyError):
        reader.read(noise(1, 3, 16, 16), stop)
    with pytest.raises(RuntimeError):
        reader.read(noise(1, 5, 16, 16), lambda *_: None)
    assert not hooks()


def test_a_graph_that_took_another_branch_is_not_believed(network_of, noise):
    class Differs(nn.Module):
        """Does one thing to tensors and another to whatever traces it."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.conv(x if isinstance(x, torch.Tensor) else x * 0)

    reader = Reader(network_of(Differs()), "all")
    assert reader.untraced_because == "ValueError: the traced graph gives another output than the network"
    batch = noise(1, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(values(reader, batch)["conv"], reader.network.module(batch))
