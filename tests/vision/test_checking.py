"""What a network must do before it is scanned: give each image its own values, always the same."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.checking import check_batch, check_reading, values_on_noise
from polyscan.vision.readouts import Peaks, Reader


class Between(nn.Module):
    """Two convolutions with a function between them."""

    def __init__(self, function):
        super().__init__()
        self.first, self.second, self.function = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), function

    def forward(self, x):
        return self.second(self.function(self.first(x)))


class AlwaysTraining(nn.BatchNorm2d):
    """Stays in training mode, as some code does on purpose."""

    def train(self, mode=True):
        return super().train(True)


def checked(network_of, noise, function):
    torch.manual_seed(0)
    reader = Reader(network_of(Between(function)), "all")
    check_reading(reader, noise(2, 3, 16, 16))
    return reader


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.dropout(x, 0.5),
        lambda x: F.dropout2d(x, 0.5),
        lambda x: x + torch.randn_like(x),
        lambda x: x * torch.rand(1),
        lambda x: F.rrelu(x, training=True),
        lambda x: x + torch.empty_like(x).normal_(0, 1e-3),
    ],
    ids=["dropout", "dropout2d", "randn_like", "rand", "rrelu", "normal_"],
)
def test_a_random_pass_is_refused_and_its_function_named(network_of, noise, function, request):
    name = re.search(r"\[(\w+)", request.node.name)[1]
    with pytest.raises(ModelError, match=rf"toy is random: it draws random numbers.*`{name}` in `forward`"):
        checked(network_of, noise, function)


def test_a_network_that_draws_numbers_is_refused_whatever_it_does_with_them(network_of, noise):
    """Once traced, it would have one of its two branches for good."""
    with pytest.raises(ModelError, match=r"it draws random numbers \(probably because of `rand` in `forward`"):
        checked(network_of, noise, lambda x: x * 2 if torch.rand(1) < 2 else x)


def test_a_branch_that_noise_does_not_take_is_found_on_images(network_of, noise):
    """`isinstance` is false for what traces the network."""

    def scaled(x):
        return x / 100 if isinstance(x, torch.Tensor) and x.abs().max() > 50 else x

    torch.manual_seed(0)
    network = network_of(Between(scaled))
    reader = Reader(network, "all")
    assert reader.is_traced
    check_reading(reader, noise(2, 3, 16, 16))
    with pytest.raises(ModelError, match=r"other values at layer second than the network. Set network\.trace = false"):
        check_reading(reader, 100 * noise(2, 3, 16, 16))
    by_hooks = Reader(replace(network, trace=False), "all")
    assert not by_hooks.is_traced
    check_reading(by_hooks, 100 * noise(2, 3, 16, 16))


def test_a_graph_is_compared_at_every_layer(network_of, noise):
    """The last layer hides the difference: its weights are 0."""

    class Hidden(Between):
        def forward(self, x):
            return self.second(self.first(x.flip(1) * 3 if isinstance(x, torch.Tensor) else x))

    network = network_of(Hidden(None))
    network.module.second.weight.data.zero_()
    reader = Reader(network, "all")
    assert reader.untraced_because == "ValueError: the traced graph gives other values than the network at layer first"


@pytest.mark.parametrize(
    "function", [lambda x: x - x.mean(0) if len(x) > 4 else x, lambda x: x.roll(1, 0) if len(x) == 8 else x]
)
def test_what_depends_on_the_size_of_a_scans_batches_is_refused(network_of, noise, function):
    reader = checked(network_of, noise, function)
    batch, peaks = noise(8, 3, 16, 16), {}
    reader.read_peaks(batch, peaks.__setitem__)
    with pytest.raises(ModelError, match="layer second of toy gives an image other values when other images are in"):
        check_batch(reader, batch, Peaks.joined([peaks[0], peaks[1]]))
    same = checked(network_of, noise, F.relu)
    same.read_peaks(batch, peaks.__setitem__)
    check_batch(same, batch, Peaks.joined([peaks[0], peaks[1]]))


def test_a_layer_that_sees_only_some_images_of_a_batch_is_refused(network_of, noise):
    class Exits(Between):
        def forward(self, x):
            late = self.first(x)
            late = late[late.mean((1, 2, 3)) > -10 * (len(x) < 4)] if len(x) > 4 else late
            return self.second(late)

    network = replace(network_of(Exits(None)), trace=False)
    reader = Reader(network, "all")
    with pytest.raises(ModelError, match=r"layer second of toy gives maps of \d images for a batch of 8"):
        reader.read_peaks(noise(8, 3, 16, 16), lambda *_: None)


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        (lambda x: x - x.mean(0, keepdim=True), r"in its batch\. Exemplars"),
        (lambda x: x / x.abs().max(), r"in its batch\. Exemplars"),
        (lambda x: x.flip(0), r"in its batch\. Exemplars"),
        (nn.BatchNorm2d(4, track_running_stats=False), "`function`, a BatchNorm2d without running statistics"),
        (AlwaysTraining(4, momentum=0.0), "`function`, which stays in training mode"),
    ],
)
def test_values_that_depend_on_the_batch_are_refused(network_of, noise, function, cause):
    with pytest.raises(ModelError, match=f"layer (first|second) of toy gives an image other values.*{cause}"):
        checked(network_of, noise, function)


def test_a_batch_norm_that_goes_on_learning_is_refused(network_of, noise):
    with pytest.raises(ModelError, match="`function`, which stays in training mode"):
        checked(network_of, noise, AlwaysTraining(4))


@pytest.mark.parametrize("function", [F.relu, nn.Dropout(0.5), nn.BatchNorm2d(4), lambda x: F.dropout(x, 0.5, False)])
def test_other_networks_pass(network_of, noise, function):
    checked(network_of, noise, function)


def test_images_that_give_no_number_are_no_reason(network_of, noise):
    """They are rejects of the scan."""
    reader = Reader(network_of(Between(lambda x: x / x.std(dim=(1, 2, 3), keepdim=True))), "all")
    check_reading(reader, torch.cat([noise(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)]))


def test_values_on_noise_tell_networks_apart(network_of, noise):
    one, same, other = (checked(network_of, noise, function) for function in (F.relu, torch.relu, torch.abs))
    assert values_on_noise(one) == values_on_noise(same)
    assert values_on_noise(one)["first"] == values_on_noise(other)["first"]
    assert abs(values_on_noise(one)["second"][0] - values_on_noise(other)["second"][0]) > 1e-3


def test_values_tell_exchanged_units_apart(network_of, noise):
    reader = checked(network_of, noise, F.relu)
    before = values_on_noise(reader)["second"]
    for part in (reader.network.module.second.weight, reader.network.module.second.bias):
        part.data = part.data.flip(0)
    assert abs(before[0] - values_on_noise(reader)["second"][0]) > 1e-2 * before[1]
    assert before[1] == pytest.approx(values_on_noise(reader)["second"][1])


def test_weights_that_are_no_numbers_are_named(network_of, noise):
    reader = checked(network_of, noise, F.relu)
    reader.network.module.second.bias.data[3] = torch.nan
    with pytest.raises(ModelError, match=r"unit second:3 of toy gives values that are not finite.*check the weights"):
        values_on_noise(reader)
