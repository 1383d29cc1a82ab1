"""Attribution: how much each channel of a lower layer gives to a unit, at one position of one image.

Law: images do not know each other, so a unit's numbers do not depend on what else is in the batch, up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx
from zennit.core import Composite, Hook

from polyscan.errors import ModelError, suggestion
from polyscan.units import parent_and_role
from polyscan.vision.attribution.passage import Passage
from polyscan.vision.attribution.plain import NODE, plain
from polyscan.vision.attribution.rules import COMPOSITES, DEFAULT, rules_of, tallied
from polyscan.vision.readouts import Reader, ReadPoint
from polyscan.vision.readouts.cutting import ending_at
from polyscan.vision.readouts.structure import structure_of
from polyscan.vision.trial import example

How = Literal["gradient", "lrp"]
HOWS: tuple[How, ...] = ("gradient", "lrp")
CLOSE = 1e-3
"""Largest difference of a unit's map from the network's own, relative to the largest value; only a fault makes more."""


@dataclass(frozen=True, eq=False)
class Attributions:
    """Relevance of a lower layer's channels for units, one unit and position for each of n images.

    Args:
        value: the unit's value at its position, which is what is divided.
        relevance: of each channel of the lower layer, summed over space.
        beside: what reaches the unit without passing the lower layer, as by a residual connection.
        biases: what the biases on the way take; with gradients all that is not in the columns before.
        error: what is missing: value - sum of relevance - beside - biases; with gradients 0 by definition.
    """

    value: Float[Tensor, " n"]
    relevance: Float[Tensor, "n c"]
    beside: Float[Tensor, " n"]
    biases: Float[Tensor, " n"]
    error: Float[Tensor, " n"]

    @classmethod
    def joined(cls, parts: Sequence[Attributions]) -> Attributions:
        """Those of several batches."""
        names = [each.name for each in fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class Attributor:
    """Attributes units of one layer to the channels of a lower one.

    Args:
        reader: reads both layers.
        of: the units' layer, real or virtual.
        to: the lower layer, whose maps are read where its units are; "" for what the units' layer reads, if it reads
            that linearly at each position.
        how: `gradient`: gradient x activation; `lrp`: layer-wise relevance propagation, see `rules`.
        composite: for `lrp`, a name in `COMPOSITES`.

    Raises:
        ModelError: if the network can't be traced, `to` is not a layer below `of`, or there is no rule for an operation
            between them.
        ValueError: if `how` or `composite` has no such name.

    Source: gradient x activation: Shrikumar et al. 2017, "Not just a black box", as in Dreyer et al. 2024, "PURE".
    """

    def __init__(self, reader: Reader, of: str, to: str, *, how: How = "lrp", composite: str = DEFAULT) -> None:
        for name, value, known in (("how", how, HOWS), ("composite", composite, tuple(COMPOSITES))):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
        self.how = how
        self.upper = _point(reader, of)
        self.lower = _point(reader, to) if to else inputs_of(reader, self.upper.layer)
        self.passage = passage_between(reader, self.upper, self.lower)
        self.rules = rules_of(self.passage, composite) if how == "lrp" else {}

    @property
    def n_channels(self) -> int:
        """Number of channels of the lower layer."""
        return self.lower.n_channels

    def __call__(
        self, inputs: Float[Tensor, "b c y x"], units: Int64[Tensor, " b"], places: Int64[Tensor, "b 2"]
    ) -> Attributions:
        """Attributions for one batch, by one forward and one backward pass.

        Args:
            inputs: the network's inputs.
            units: the unit of each.
            places: row and column of its position in the unit's map.
        """
        biases = torch.zeros(len(inputs), device=inputs.device)
        graph = self.passage.graph_module
        composite = _composite(graph, self.rules, biases)
        with composite.context(graph), torch.inference_mode(mode=False):
            top = self.passage.run(inputs.detach().clone())
            value = picked(self.upper, top, units, places)
            (slope,) = torch.autograd.grad(value.sum(), top, retain_graph=True)
            # Linear readouts and maxima of them divide their value as LRP-0 does: weight x activation.
            start = (top * slope).detach() if self.how == "lrp" else slope
            leaves = self.passage.leaves
            passed = torch.autograd.grad(top, list(leaves.values()), start, materialize_grads=True)
        by_activation = self.how == "gradient"
        relevance = {
            name: each * leaves[name].detach() if by_activation else each
            for name, each in zip(leaves, passed, strict=True)
        }
        return self._summed(value.detach(), relevance, biases + (value.detach() - _by_image(top.detach() * slope)))

    def _summed(self, value: Tensor, relevance: Mapping[str, Tensor], biases: Tensor) -> Attributions:
        lower = self.passage.lower.name
        by_channel = self.lower.maps(relevance[lower]).sum(dim=(2, 3))
        beside = sum((_by_image(each) for name, each in relevance.items() if name != lower), torch.zeros_like(value))
        rest = value - by_channel.sum(dim=1) - beside
        if self.how == "gradient":
            return Attributions(value, by_channel, beside, rest, torch.zeros_like(rest))
        return Attributions(value, by_channel, beside, biases, rest - biases)


def attributions(
    attributor: Attributor,
    inputs: Float[Tensor, "n c y x"],
    units: Int64[Tensor, " n"],
    places: Int64[Tensor, "n 2"],
    *,
    batch: int = 16,
) -> Attributions:
    """Attributions for any number of inputs, `batch` at a time; see `Attributor`."""
    starts = range(0, len(inputs), batch)
    return Attributions.joined(
        [attributor(*(each[start : start + batch] for each in (inputs, units, places))) for start in starts]
    )


def inputs_of(reader: Reader, layer: str) -> ReadPoint:
    """Where the inputs of a layer are read.

    Raises:
        ModelError: if the layer is no linear function of its inputs at each position.
    """
    inputs = reader.inputs(layer)
    if inputs is None:
        raise ModelError(
            f"layer {layer} is not a linear function of its inputs at one position, so these are no units to attribute "
            "to, and a part of a unit is no direction in them; linear layers and 1x1 convolutions of stride 1 are "
            "such functions. Name a lower layer, and use `masked_values`"
        )
    return inputs


def _point(reader: Reader, layer: str) -> ReadPoint:
    points = {point.layer: point for point in reader.points}
    if layer not in points:
        raise ModelError(
            f'{reader.network.name} has no layer "{layer}" here; {suggestion(layer, points)}. '
            "Open the reader with both layers"
        )
    return points[layer]


def passage_between(reader: Reader, upper: ReadPoint, lower: ReadPoint) -> Passage:
    """The way from one layer to a higher one.

    Raises:
        ModelError: if the network can't be traced or is not followed exactly, or the one layer is not below the other.
    """
    if reader.graph is None:
        raise ModelError(
            f"{reader.network.name} can't be traced ({reader.untraced_because}), so it is not known what lies between "
            f"{lower.layer} and {upper.layer}; attribution needs a network that torch.fx can trace, such as those of "
            "torchvision, and `network.trace` = true"
        )
    with torch.inference_mode(mode=False):
        whole = plain(reader.graph)
        graph = ending_at(whole, _node(whole, upper).name)
    passage = Passage(graph, _node(graph, lower))
    if upper.node == lower.node or not passage.reaches_end:
        raise ModelError(_not_below(reader, upper, lower))
    _check_same(reader, upper, graph)
    return passage


def _node(graph: fx.GraphModule, point: ReadPoint) -> fx.Node:
    """The node that a point reads; the output, which nothing comes after, if the graph does not have it."""
    nodes = [node for node in graph.graph.nodes if node.meta.get(NODE) == point.node]
    return nodes[0] if nodes else list(graph.graph.nodes)[-1]


def _not_below(reader: Reader, upper: ReadPoint, lower: ReadPoint) -> str:
    """What to say of a lower layer that is not below."""
    known = structure_of(reader.network).points
    below = [point.layer for point in known if point.node != upper.node and _is_before(reader, point, upper)]
    what = "is read at the same place as" if upper.node == lower.node else "is not below"
    nearest = f"the nearest layers below are {', '.join(below[-3:])}" if below else "no layer is below it"
    return (
        f"layer {lower.layer} {what} {parent_and_role(upper.layer)[0]}, so nothing of it can be attributed; {nearest}"
    )


def _is_before(reader: Reader, point: ReadPoint, upper: ReadPoint) -> bool:
    assert reader.graph is not None
    order = [node.name for node in reader.graph.graph.nodes]
    return order.index(point.node) < order.index(upper.node)


def _check_same(reader: Reader, upper: ReadPoint, graph: fx.GraphModule) -> None:
    """Refuses a rewritten graph that gives other values than the network's own.

    Raises:
        ModelError: if it does.
    """
    assert reader.graph is not None
    images = example(reader.network, 2)
    with torch.inference_mode(mode=False), torch.no_grad():
        wanted, found = ending_at(reader.graph, upper.node)(images.clone()), graph(images.clone())
    limit = CLOSE * float(wanted.abs().max())
    if wanted.shape != found.shape or float((wanted - found).abs().max()) > limit:
        raise ModelError(
            f"{reader.network.name} changes values in place in a way that attribution does not follow, so layer "
            f"{upper.layer} would be attributed wrongly. Choose a layer further down"
        )


def picked(
    point: ReadPoint, top: Tensor, units: Int64[Tensor, " b"], places: Int64[Tensor, "b 2"]
) -> Float[Tensor, " b"]:
    """The value of one unit at one place for each image, from the value of the units' node."""
    maps = point.units(point.maps(top))
    return maps[torch.arange(len(maps), device=maps.device), units, places[:, 0], places[:, 1]]


def _by_image(value: Tensor) -> Float[Tensor, " b"]:
    return value.flatten(1).sum(dim=1)


def _composite(graph: fx.GraphModule, rules: Mapping[str, Hook], biases: Float[Tensor, " b"]) -> Composite:
    """Zennit's composite of these rules, which also adds up what the biases take."""
    counted = {name: tallied(rule, graph.get_submodule(name), biases.add_) for name, rule in rules.items()}
    return Composite(module_map=lambda _, name, __: counted.get(name))
