"""Checks that a network gives each image its own peaks: alone or in a batch, now and again.

A network that draws random numbers, or whose values depend on the other images of a batch, has no exemplars that a
second scan would find again; and rows that belong to other images would give wrong ones without a word.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from polyscan.errors import ModelError
from polyscan.units import REAL, parent_and_role
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Peaks, Reader
from polyscan.vision.trial import example

PeakValues = list[Float32[Tensor, "b u"]]
"""Peaks of a batch, by read point."""

SAME, SAME_ON_GPU, SAME_OF_READOUTS = 1e-4, 1e-2, 1e-2
"""Largest difference between batches of two sizes, relative to a layer's largest peak: rounding makes one of 1e-6, on a
GPU with TF32 of 1e-3. Readouts weigh directions of little variance heavily, and large terms cancel: 3e-4."""
STRANGE = 10
"""Factor of the noise that is put beside the two images: what depends on the batch shows in such company."""
RANDOM = frozenset(
    (
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "rrelu"),
        *("rand", "randn", "rand_like", "randn_like", "randint", "randperm", "bernoulli", "normal", "normal_"),
        *("uniform_", "bernoulli_", "multinomial", "gumbel_softmax", "stochastic_depth", "drop_block2d"),
    )
)
"""Functions that draw random numbers, at least in training."""


def check_reading(reader: Reader, images: Float[Tensor, "2 c y x"]) -> None:
    """Reads two images twice, then in another order with a third, and compares each one's peaks.

    Args:
        reader: the reader of the chosen layers of a network.
        images: two different inputs.

    Raises:
        ModelError: if a peak differs; it names the first such layer and what to do.
    """
    with random_numbers() as drawn:
        layer = reader.differing_layer(images)
    if drawn():
        raise ModelError(_random(reader.network, "it draws random numbers"))
    if layer:
        raise ModelError(_untrue(reader.network, layer))
    first, again = (_peaks(reader, images) for _ in range(2))
    stranger = STRANGE * example(reader.network, 1)
    others = _peaks(reader, torch.cat([images[[1, 0]], stranger]))
    repeated = 0.0 if reader.network.device.type == "cpu" else SAME_ON_GPU
    for point, one, two, other in zip(reader.points, first, again, others, strict=True):
        if _differ(two, one, repeated):
            what = f"layer {point.layer} gives other values when the same image is read again"
            raise ModelError(_random(reader.network, what))
        if _differ(other[[1, 0]], one, _same(reader)):
            raise ModelError(_dependent(reader.network, point.layer))


def check_batch(reader: Reader, batch: Float[Tensor, "b c y x"], peaks: Peaks) -> None:
    """Reads the first and the last image of a batch of a scan by themselves, and compares their peaks.

    Args:
        reader: the reader, possibly with virtual readouts.
        batch: the inputs, as many as a scan reads at once.
        peaks: of all units of all read points, one after the other, as they were read in the batch.

    Raises:
        ModelError: if a peak differs, so that it depends on the size of the batch or on what else is in it.
    """
    ends = [0, len(batch) - 1]
    alone = _peaks(reader, batch[ends])
    start = 0
    for point, values in zip(reader.points, alone, strict=True):
        stop = start + values.shape[1]
        is_layer = parent_and_role(point.layer)[1] == REAL
        same = _same(reader) if is_layer else max(_same(reader), SAME_OF_READOUTS)
        if _differ(peaks.value[ends, start:stop], values, same):
            raise ModelError(_dependent(reader.network, point.layer))
        start = stop


def _same(reader: Reader) -> float:
    return SAME if reader.network.device.type == "cpu" else SAME_ON_GPU


Values = dict[str, tuple[float, float]]
"""For each layer, a fixed random sum of its units' peaks, and the length of all peaks as a vector."""


def values_on_noise(reader: Reader) -> Values:
    """What the network's weights and code give for two inputs of fixed noise, in two numbers a layer.

    Raises:
        ModelError: if a peak is not finite.
    """
    peaks = _peaks(reader, example(reader.network, 2))
    for point, value in zip(reader.points, peaks, strict=True):
        bad = ~torch.isfinite(value).all(dim=0)
        if bool(bad.any()):
            raise ModelError(
                f"unit {point.layer}:{int(bad.nonzero()[0])} of {reader.network.name} gives values that are not "
                "finite, even for an input of noise; check the weights"
            )
    return _summed(reader, peaks)


def values_on(reader: Reader, images: Float[Tensor, "b c y x"]) -> Values:
    """The same for images, without what is not finite."""
    return _summed(reader, _peaks(reader, images))


def _summed(reader: Reader, peaks: PeakValues) -> Values:
    values: Values = {}
    for point, of_layer in zip(reader.points, peaks, strict=True):
        finite = torch.nan_to_num(of_layer.double().cpu(), posinf=0, neginf=0)
        # Random signs and sizes, so that exchanged units and images show.
        weights = torch.randn(finite.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        values[point.layer] = float((finite * weights).sum()), float(finite.square().sum().sqrt())
    return values


def _peaks(reader: Reader, batch: Float[Tensor, "b c y x"]) -> PeakValues:
    peaks: dict[int, Peaks] = {}
    reader.read_peaks(batch.contiguous(memory_format=reader.network.preprocessing.memory_format), peaks.__setitem__)
    return [peaks[index].value.clone() for index in range(len(reader.points))]


def _differ(one: Float32[Tensor, "b u"], other: Float32[Tensor, "b u"], tolerance: float) -> bool:
    """Whether peaks differ by more than a share of the unit's largest, or of the layer's median unit if that is more.

    What is finite in neither is equal.
    """
    finite = torch.isfinite(one) & torch.isfinite(other)
    if not torch.equal(torch.isfinite(one), torch.isfinite(other)):
        return True
    one, other = torch.where(finite, one, 0.0), torch.where(finite, other, 0.0)
    largest = torch.maximum(one.abs().amax(dim=0), other.abs().amax(dim=0))
    return bool(((one - other).abs() > tolerance * torch.maximum(largest, largest.median())).any())


@contextmanager
def random_numbers() -> Generator[Callable[[], bool]]:
    """Tells, by a function, whether torch's, NumPy's or Python's generators have given numbers meanwhile."""

    def states() -> tuple[bytes, str, object]:
        return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002

    before = states()
    yield lambda: states() != before


def _random(network: Network, what: str) -> str:
    causes = _random_calls(network) or _in_training(network.module)
    return (
        f"the forward pass of {network.name} is random: {what}{_because(causes)}. A scan could not be repeated; make "
        "it the same in eval mode (functional dropout needs `training=self.training`)"
    )


def _untrue(network: Network, layer: str) -> str:
    return (
        f"the code of {network.name} decides by the values or types of its input: for images, the graph that torch.fx "
        f"has traced gives other values at layer {layer} than the network. Set network.trace = false in the job, to "
        "read it by hooks"
    )


def _dependent(network: Network, layer: str) -> str:
    causes = _batch_norms(network.module) or _in_training(network.module)
    return (
        f"layer {layer} of {network.name} gives an image other values when other images are in its batch"
        f"{_because(causes)}. Exemplars would depend on the order of the images; make it treat each image by itself in "
        "eval mode, or leave this layer out of `network.layers`"
    )


def _because(causes: list[str]) -> str:
    return f" (probably because of {', '.join(causes[:3])})" if causes else ""


class _RandomCalls(TorchFunctionMode):
    """Notes the calls of functions that draw random numbers, with the module that makes each."""

    def __init__(self) -> None:
        super().__init__()
        self.modules: list[str] = []
        self.calls: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in RANDOM and _is_drawing(func, args, kwargs or {}):
            place = f"`{self.modules[-1]}`" if self.modules and self.modules[-1] else "`forward`"
            self.calls.append(f"`{name}` in {place}")
        return func(*args, **(kwargs or {}))


def _is_drawing(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a call draws: functions with an argument `training` do if it is true."""
    try:
        bound = signature(func).bind(*args, **kwargs)
    except (TypeError, ValueError):  # a function that is not written in Python
        return True
    bound.apply_defaults()
    return bool(bound.arguments.get("training", True))


def _random_calls(network: Network) -> list[str]:
    """The calls in one pass that draw random numbers."""
    calls, images = _RandomCalls(), example(network, 2)

    def left(*_: Any) -> None:
        calls.modules.pop()

    handles: list[Any] = []
    for name, part in network.module.named_modules():
        handles.append(part.register_forward_pre_hook(lambda *_, name=name: calls.modules.append(name)))
        handles.append(part.register_forward_hook(left))
    try:
        with calls, torch.no_grad():
            network.module(images)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(calls.calls))


def _in_training(module: nn.Module) -> list[str]:
    return [f"`{name}`, which stays in training mode" for name, part in module.named_modules() if part.training]


def _batch_norms(module: nn.Module) -> list[str]:
    """Batch norms that take their statistics from the batch."""
    return [
        f"`{name}`, a {type(part).__name__} without running statistics"
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None
    ]
