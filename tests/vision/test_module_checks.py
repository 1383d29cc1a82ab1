"""Modules of unusual kinds: made ready and told, or refused in a sentence."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.module_checks import ready
from polyscan.vision.networks import Network
from polyscan.vision.preprocessing import Preprocessing


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.LazyLinear(2))


def built():
    module = plain()
    module(torch.zeros(2, 3, 8, 8))
    return module


class WithState(nn.Module):
    """Keeps what is no tensor beside its weights."""

    def __init__(self, state):
        super().__init__()
        self.body, self.kept = nn.Conv2d(3, 4, 3), state

    def get_extra_state(self):
        return self.kept

    def set_extra_state(self, state):
        self.kept = state


class AlwaysTraining(nn.Module):
    """Ignores `eval`, as for dropout at test time."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5))

    def train(self, mode=True):
        return super().train(True)

    def forward(self, x):
        return self.body(x)


class Stuck(nn.Module):
    """Says that it is in training, whatever it is told."""

    training = property(lambda self: True, lambda self, value: None)


class Quick(nn.Module):
    """Its `train` takes no argument."""

    def train(self):
        return self


def digest(module):
    return Network("toy", module, Preprocessing(8, 8, (0.5,), (0.5,)), torch.device("cpu")).digest


@pytest.mark.parametrize(
    "wrapped",
    [
        nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
        torch.compile,
        lambda module: nn.DataParallel(torch.compile(module)),
    ],
)
def test_wrappers_are_taken_off(wrapped):
    module, notes = ready(wrapped(built()), "toy")
    assert isinstance(module, nn.Sequential)
    assert notes == []


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(kind):
    module, notes = ready(built().to(kind), "toy")
    assert {tensor.dtype for tensor in module.parameters()} == {torch.float32}
    assert notes == [f"converted from {str(kind).removeprefix('torch.')} to float32"]
    assert module(torch.zeros(1, 3, 8, 8)).dtype == torch.float32


def test_a_module_that_stays_in_training_is_put_into_eval_mode():
    module, notes = ready(nn.Sequential(AlwaysTraining(), nn.Flatten()), "toy")
    assert not any(part.training for part in module.modules())
    assert notes == ["put into eval mode, which `eval()` did not do at `0`, `0.body`, `0.body.0`"]
    image = torch.ones(1, 3, 8, 8)
    assert torch.equal(module(image), module(image))


def quantized():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
    return torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "says"),
    [
        (plain, r"toy has a layer without weights yet at `5` \(LazyLinear\); call the network once on an input"),
        (lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 2, 1))), "toy is a TorchScript module"),
        (lambda: nn.Sequential(torch.jit.script(nn.Conv2d(3, 2, 1))), "toy is a TorchScript module at `0`"),
        (quantized, r"toy is quantized at `1` \(Linear\)"),
        (lambda: nn.Conv2d(3, 2, 1, device="meta"), "weights without data"),
        (lambda: nn.Sequential(Stuck()), "toy stays in training mode at `0`"),
        (lambda: nn.Sequential(Quick()), r"setting toy to eval mode failed with TypeError: .*train"),
    ],
)
def test_what_can_not_be_read_is_refused(build, says):
    with pytest.raises(ModelError, match=says):
        ready(build(), "toy")


def test_extra_states_are_part_of_the_digest():
    states = [
        {"classes": ["cat", "dog"]},
        {"classes": ["dog", "cat"]},
        {"mean": torch.ones(3)},
        {"mean": torch.zeros(3)},
        b"bytes",
        None,
        3,
        "three",
    ]
    torch.manual_seed(0)
    module = WithState(None)
    digests = set()
    for state in states:
        module.kept = state
        digests.add(digest(module))
    assert len(digests) == len(states)


def test_objects_without_a_plain_form_keep_the_digest_the_same_everywhere():
    module = WithState(None)
    module.kept = object()
    first = digest(module)
    module.kept = object()  # whose address differs
    assert digest(module) == first
    assert digest(copy.deepcopy(module)) == first


def test_digests_of_unusual_tensors():
    module = nn.Module()
    for name, value in {
        "sparse": torch.eye(3).to_sparse(),
        "complex": torch.ones(2, dtype=torch.complex64),
        "flags": torch.ones(2, dtype=torch.bool),
        "scalar": torch.tensor(3.0),
        "none": torch.zeros(0, 3),
    }.items():
        module.register_buffer(name, value)
    assert len(digest(module)) == 64
