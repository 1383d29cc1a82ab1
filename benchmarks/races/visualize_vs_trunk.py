"""How much of a step of gradient ascent is the network itself: the bare trunk's forward and backward pass / ours."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.race import Outcome, Target, geometric_means, interleaved, ratios
from polyscan.vision.feature_visualization import AscentSettings, ascent_to, numbers_of
from polyscan.vision.readouts import Reader, ReadPoint

UNITS, STEPS = 16, 8
TARGETS = {"visualize_vs_trunk": Target(0.9, "bare forward and backward pass of the cut trunk / polyscan")}


def outcomes() -> dict[str, Outcome]:
    """The line of `visualize_vs_trunk`."""
    reader = Reader(inputs.trunk_network(), list(inputs.TRUNK_LAYERS.values()))
    layers: dict[str, list[float]] = {}
    for point in reader.points:
        bare, ours = _bare(reader, point), _polyscan(reader, point)
        bare(2), ours(2)  # first calls allocate and choose kernels
        times = interleaved({"bare": bare, "polyscan": ours})
        layers[point.layer] = ratios(times["bare"], times["polyscan"])
    target = TARGETS["visualize_vs_trunk"]
    return {"visualize_vs_trunk": Outcome(target, geometric_means(list(layers.values())), {"layers": layers})}


def _bare(reader: Reader, point: ReadPoint) -> Callable[..., None]:
    """torchvision's own modules up to the stage, on the same input in the same numbers: no spectrum, no optimizer."""
    network = reader.network
    stage = next(stage for stage, block in inputs.TRUNK_LAYERS.items() if block == point.layer)
    children = dict(network.module.named_children())
    names = list(children)
    numbers = numbers_of("auto", network.device)
    trunk = torch.nn.Sequential(*[copy.deepcopy(children[name]) for name in names[: names.index(stage) + 1]])
    trunk.to(numbers)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(UNITS, 3, inputs.SIDE_PX, inputs.SIDE_PX, generator=generator).to(network.device)
    images: Tensor = network.preprocessing.normalised(pixels).to(numbers).requires_grad_()

    def work(steps: int = STEPS) -> None:
        for _ in range(steps):
            value = trunk(images)[range(UNITS), range(UNITS)].mean(dim=(1, 2)).sum()
            torch.autograd.grad(value, images)

    return work


def _polyscan(reader: Reader, point: ReadPoint) -> Callable[..., None]:
    def work(steps: int = STEPS) -> None:
        settings = AscentSettings(steps=steps, objective="channel", jitter_px=0, batch=UNITS, canvas_px=inputs.SIDE_PX)
        ascent_to(reader, point, settings)(range(UNITS), range(UNITS))

    return work
