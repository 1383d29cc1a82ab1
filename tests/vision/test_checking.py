"""What a network must do before it is scanned: give each image its own values, always the same."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.checking import check_reading, peaks_on_noise
from polyscan.vision.readouts import Reader


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
    with pytest.raises(ModelError, match=rf"toy is random: layer second gives other.*`{name}` in `forward`"):
        checked(network_of, noise, function)


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


def test_peaks_on_noise_tell_networks_apart(network_of, noise):
    one, same, other = (checked(network_of, noise, function) for function in (F.relu, torch.relu, torch.abs))
    assert peaks_on_noise(one) == peaks_on_noise(same)
    assert peaks_on_noise(one)["first"] == peaks_on_noise(other)["first"]
    assert abs(peaks_on_noise(one)["second"] - peaks_on_noise(other)["second"]) > 1e-3


def test_weights_that_are_no_numbers_are_named(network_of, noise):
    reader = checked(network_of, noise, F.relu)
    reader.network.module.second.bias.data[3] = torch.nan
    with pytest.raises(ModelError, match=r"unit second:3 of toy gives values that are not finite.*check the weights"):
        peaks_on_noise(reader)
