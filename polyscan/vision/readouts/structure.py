"""What is known of a network before it is read: its graph, if it can be traced, its blocks, and its read points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from polyscan.units import CALL_MARK
from polyscan.vision.networks import Network
from polyscan.vision.preprocessing import Preprocessing
from polyscan.vision.readouts.blocks import blocks_of
from polyscan.vision.readouts.layouts import N_FEWER, N_MORE, Look, layouts_of
from polyscan.vision.readouts.marks import Marks, differing, graph_marks, output_and_marks, state_kept
from polyscan.vision.readouts.places import Places
from polyscan.vision.readouts.points import PlacedLayer, ReadPoint
from polyscan.vision.readouts.untraced import module_candidates, see_modules
from polyscan.vision.tracing import recorded, traced, watch
from polyscan.vision.trial import example, output_on

CLOSE = {"rtol": 1e-3, "atol": 1e-4}  # a graph does the same operations; only a wrong branch makes a larger difference
NOT_BY_IMAGE = "its output is not divided among the images of a batch"


@dataclass(frozen=True)
class Structure:
    """A network's read points in forward order.

    Args:
        graph: None if the network can't be traced.
        untraced_because: why not; "".
        points: all layers, blocks, and the other modules that were asked for; if two are read at the same place, the
            layer comes first.
        kinds: the names of the layers (`all`) and of the blocks (`blocks`).
        left_out: layers that can't be read, and why.
    """

    graph: fx.GraphModule | None
    untraced_because: str
    points: tuple[ReadPoint, ...]
    kinds: Mapping[str, set[str]]
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])


_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[Preprocessing, bool, tuple[str, ...]], Structure]] = WeakKeyDictionary()


def structure_of(network: Network, others: Sequence[str] = ()) -> Structure:
    """The structure of a network, found once for each of its input sizes.

    Args:
        network: the network.
        others: modules that are neither layers nor blocks, to be read at their outputs.

    Raises:
        ModelError: if the network does not take inputs of its preprocessing's shape.
    """
    known = _KNOWN.setdefault(network.module, {})
    key = (network.preprocessing, network.trace, tuple(others))
    if key not in known:
        with torch.inference_mode(mode=False), torch.no_grad():  # inference mode does not count writes to tensors
            known[key] = _found(network, others)
    return known[key]


def _found(network: Network, others: Sequence[str]) -> Structure:
    module = network.module
    blocks = blocks_of(module)
    images = example(network, N_MORE)
    expected = output_and_marks(network, images)
    graph, reason = None, "the job asks for hooks (network.trace)"
    if network.trace:
        try:
            graph, reason = _checked_graph(module, images, expected), ""
        except Exception as error:  # whatever made tracing fail, the modules can still be read
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if graph is None:
        output_on(network, images[:N_FEWER])  # some networks take one number of images only
    by_kind = _of_graph(graph, blocks, others) if graph else _of_modules(module, blocks, others, images[:N_FEWER])
    candidates = [candidate for of_kind in by_kind.values() for candidate in of_kind]
    points, left_out = _laid_out(candidates, _look(module, graph, candidates), images)
    kinds = {kind: {candidate.layer for candidate in of_kind} for kind, of_kind in by_kind.items()}
    return Structure(graph, reason, tuple(points), kinds, left_out)


def _checked_graph(module: nn.Module, images: Tensor, expected: tuple[Any, Marks]) -> fx.GraphModule:
    """The network's graph, with shapes at its nodes, after a comparison with the network itself.

    Raises:
        Exception: if the network can't be traced, or the graph gives other values than the network.
    """
    with torch.random.fork_rng(devices=[]), state_kept(module):
        torch.manual_seed(1)  # random numbers must be other ones than those behind the expected output
        graph = traced(module)
        recorded(graph, images[:N_FEWER])
        output, marks = graph_marks(graph, images)
    for found, wanted in zip(tree_leaves(output), tree_leaves(expected[0]), strict=True):
        if isinstance(wanted, Tensor) and not torch.allclose(found, wanted, **CLOSE, equal_nan=True):
            raise ValueError("the traced graph gives another output than the network")
    if layer := differing(expected[1], marks):
        raise ValueError(f"the traced graph gives other values than the network at layer {layer}")
    return graph


def _of_graph(graph: fx.GraphModule, blocks: Sequence[str], others: Sequence[str]) -> dict[str, list[PlacedLayer]]:
    places = Places(graph)
    return {"all": places.layers(), "blocks": places.blocks(set(blocks)), "": places.outputs(set(others))}


def _of_modules(
    module: nn.Module, blocks: Sequence[str], others: Sequence[str], images: Tensor
) -> dict[str, list[PlacedLayer]]:
    kinds: dict[str, list[PlacedLayer]] = {"all": [], "blocks": [], "": []}
    for candidate in module_candidates(module, [*blocks, *others], images):
        name = candidate.layer.partition(CALL_MARK)[0]
        kinds["blocks" if name in blocks else "" if name in others else "all"].append(candidate)
    return kinds


def _look(module: nn.Module, graph: fx.GraphModule | None, candidates: Sequence[PlacedLayer]) -> Look:
    if graph is not None:
        return lambda images, see: watch(graph, images, see)
    calls = {candidate.node for candidate in candidates}
    return lambda images, see: see_modules(module, calls, images, see)


def _laid_out(candidates: Sequence[PlacedLayer], look: Look, images: Tensor) -> tuple[list[ReadPoint], dict[str, str]]:
    """The read points in forward order, and the layers that have none, with the reason."""
    layouts = layouts_of({candidate.node: candidate.channels for candidate in candidates}, look, images)
    points: list[ReadPoint] = []
    left_out: dict[str, str] = {}
    order = {node: number for number, node in enumerate(layouts)}
    for candidate in sorted(candidates, key=lambda candidate: order.get(candidate.node, -1)):
        shape, layout = layouts.get(candidate.node, ((), None))
        if layout is not None:
            points.append(candidate.point(layout, shape))
        elif shape:
            left_out[candidate.layer] = NOT_BY_IMAGE
    return points, left_out
