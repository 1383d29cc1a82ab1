"""Comparisons of a traced graph with the network that it was traced from, at every layer.

The graph has the branches that the code took while it was traced. If the network takes others, the numbers differ
somewhere, even if its output does not show it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, fx, nn

from polyscan.vision.networks import Network
from polyscan.vision.readouts.hooks import hooked
from polyscan.vision.readouts.points import call_name
from polyscan.vision.tracing import LAYER_TYPES, watch
from polyscan.vision.trial import output_on

Marks = dict[str, tuple[float, float]]
"""Mean and largest size of each layer's output, by the name of the call."""
CLOSE = 1e-3
"""Largest difference of two means, relative to the largest value; only another branch makes a larger one."""


def output_and_marks(network: Network, images: Float[Tensor, "b c y x"], *, seed: int | None = 0) -> tuple[Any, Marks]:
    """One forward pass of the network itself: its output, and the marks of its layers; see `output_on`.

    Raises:
        ModelError: if it does not take these images.
    """
    marks: Marks = {}

    def note(call: str, _: Any, __: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            marks[call] = _mark(output)

    layers = {name: part for name, part in network.module.named_modules() if isinstance(part, LAYER_TYPES)}
    with hooked(layers, note):
        return output_on(network, images, seed=seed), marks


def graph_marks(graph: fx.GraphModule, images: Float[Tensor, "b c y x"]) -> tuple[Any, Marks]:
    """The same of a graph."""
    modules = dict(graph.named_modules())
    counts: dict[str, int] = {}
    calls = {
        node.name: call_name(str(node.target), counts)
        for node in graph.graph.nodes
        if node.op == "call_module" and isinstance(modules[str(node.target)], LAYER_TYPES)
    }
    marks: Marks = {}

    def see(node: str, output: Tensor) -> None:
        if node in calls:
            marks[calls[node]] = _mark(output)

    return watch(graph, images, see), marks


def differing(one: Marks, other: Marks) -> str:
    """The first layer whose marks differ, or that only one of them has; "" if there is none."""
    for layer in [*one, *other]:
        if layer not in one or layer not in other:
            return layer
        (mean, largest), (other_mean, other_largest) = one[layer], other[layer]
        limit = CLOSE * max(largest, other_largest)
        if abs(mean - other_mean) > limit or abs(largest - other_largest) > limit:
            return layer
    return ""


def _mark(output: Tensor) -> tuple[float, float]:
    values = output.detach().float()
    return float(values.mean()), float(values.abs().max()) if values.numel() else 0.0


@contextmanager
def state_kept(module: nn.Module) -> Generator[None]:
    """Puts back what a network's code sets on its modules meanwhile: tracing would leave its own objects there."""
    parts = [(part, {key: _copied(value) for key, value in vars(part).items()}) for part in module.modules()]
    try:
        yield
    finally:
        for part, before in parts:
            vars(part).clear()
            vars(part).update(before)


def _copied(value: Any) -> Any:
    """A container as it is now; what is in it is not copied."""
    return type(value)(value) if type(value) in (dict, list, set) else value
