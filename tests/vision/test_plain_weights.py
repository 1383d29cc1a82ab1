"""Computed weights become plain ones: the same function, and everything that folds or cuts convolutions works."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from polyscan.vision.plain_weights import make_weights_plain
from polyscan.vision.readouts import Reader


def old(wrap):
    """A wrapper that torch calls deprecated, but that many networks still have."""

    def wrapped(layer):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return wrap(layer)

    return wrapped


def pruned_twice(layer):
    prune.random_unstructured(layer, "weight", 0.3)
    return prune.l1_unstructured(layer, "weight", 0.3)


class Doubled(nn.Module):
    """A parametrization of one's own."""

    def forward(self, weight):
        return 2 * weight


def doubled(layer):
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


WRAPPERS = {
    "weight norm": old(nn.utils.weight_norm),
    "spectral norm": old(nn.utils.spectral_norm),
    "new weight norm": parametrizations.weight_norm,
    "new spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own": doubled,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "channels pruned": lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=0),
    "pruned twice": pruned_twice,
}


def network(wrap):
    torch.manual_seed(0)
    return nn.Sequential(
        wrap(nn.Conv2d(3, 8, 3, stride=2, padding=1)), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        wrap(nn.Conv2d(8, 16, 3, padding=1)), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), wrap(nn.Linear(16, 5)),
    )  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPERS)
def test_it_is_the_same_function_and_all_of_it_can_be_folded(network_of, noise, kind):
    module = network(WRAPPERS[kind])
    for _ in range(3):  # spectral norm's vectors settle in training
        module(noise(4, 3, 16, 16))
    module.eval().requires_grad_(requires_grad=False)
    batch = noise(4, 3, 16, 16, seed=1)
    with torch.no_grad():
        expected = module(batch)
    make_weights_plain(module)
    with torch.no_grad():
        torch.testing.assert_close(module(batch), expected)
    assert {name for name, _ in module.named_parameters() if name[0] in "038"} == {
        f"{layer}.{name}" for layer in (0, 3, 8) for name in ("weight", "bias")
    }
    assert not any(part._forward_pre_hooks for part in module.modules())
    copy.deepcopy(module)
    reader = Reader(network_of(module, side=16), "all")
    seen = {}
    reader.read(batch, lambda index, maps: seen.__setitem__(index, maps.clone()))
    for index, point in enumerate(reader.points):
        torch.testing.assert_close(reader.trunk(point)(batch), seen[index], rtol=1e-3, atol=1e-4)
        own = reader.own_maps(point)(batch, torch.tensor([0, 1, 2, 3]))
        torch.testing.assert_close(own, seen[index][torch.arange(4), torch.arange(4)], rtol=1e-3, atol=1e-4)


def test_hooks_of_ones_own_stay_and_keep_a_layer_from_being_folded(network_of, noise):
    """Folded into the norm, the convolution would be lost together with its hook."""
    module = network(lambda layer: layer)
    module[3].register_forward_hook(lambda _, __, output: output * -2)
    module.eval()
    make_weights_plain(module)
    reader = Reader(network_of(module, side=16), "all")
    batch, seen = noise(2, 3, 16, 16), {}
    reader.read(batch, lambda index, maps: seen.__setitem__(index, maps.clone()))
    with torch.no_grad():
        torch.testing.assert_close(seen[1], module[:5](batch))
    torch.testing.assert_close(reader.trunk(reader.points[1])(batch), seen[1], rtol=1e-3, atol=1e-4)
    own = reader.own_maps(reader.points[1])(batch, torch.tensor([3, 9]))
    torch.testing.assert_close(own, seen[1][[0, 1], [3, 9]], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["own", "pruned", "new spectral norm", "channels pruned"])
def test_a_layer_that_shares_the_parameter_keeps_its_weights(kind):
    torch.manual_seed(0)
    first, second = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
    second.weight = first.weight
    module = nn.Sequential(first, WRAPPERS[kind](second)).eval()
    before = first.weight.detach().clone()
    with torch.no_grad():
        expected = module(torch.ones(1, 4, 8, 8))
    make_weights_plain(module)
    assert torch.equal(first.weight, before)
    torch.testing.assert_close(module(torch.ones(1, 4, 8, 8)), expected)
