"""Maps of one unit per image, for gradient ascent: the network's last operations are computed for this unit only."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeGuard, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx, nn

from polyscan.vision.readouts.cutting import pruned
from polyscan.vision.tracing import is_as_built, shape_of

OwnMaps = Callable[[Float[Tensor, "b c y x"], Int64[Tensor, " b"]], Float[Tensor, "b y x"]]
"""A function from a batch of inputs, and one unit for each, to the maps of these units."""

ADDITIONS = (operator.add, operator.iadd, torch.add)
CHANNELWISE = {
    nn.ReLU: nn.functional.relu,
    nn.ReLU6: nn.functional.relu6,
    nn.Dropout: torch.clone,
    nn.Identity: torch.clone,
}
"""Modules that treat all channels alike, and their functions; dropout does nothing in eval mode."""


def picked(maps: Float[Tensor, "b c y x"], units: Int64[Tensor, " b"]) -> Float[Tensor, "b y x"]:
    """The map of each image's unit, from the maps of all units."""
    return maps[torch.arange(len(units), device=maps.device), units].float()


def gives_maps(graph: fx.GraphModule) -> bool:
    """Whether a graph ends in maps [b, c, y, x]."""
    return len(shape_of(_end(graph))) == 4


def with_own_maps(graph: fx.GraphModule) -> fx.GraphModule:
    """Turns a graph to maps [b, c, y, x] into one from inputs and units [b] to the map of each image's unit [b, y, x].

    The values are the same up to rounding; in place. Backwards from the end of the graph, operations that don't mix
    channels (sums, rectifiers, depthwise convolutions) are computed for one channel per image, and the convolutions
    before them for one filter per image. In the first layers of a network this saves up to a quarter of the work.
    """
    end = _end(graph)
    first = next(node for node in graph.graph.nodes if node.op == "placeholder")
    with graph.graph.inserting_after(first):
        units = graph.graph.placeholder("units_to_raise")
    own_map = _Narrowing(graph, units).own_map(end)
    graph.graph.output_node().args = (own_map,)
    return pruned(graph)


def _end(graph: fx.GraphModule) -> fx.Node:
    return cast("fx.Node", graph.graph.output_node().args[0])


class _Narrowing:
    """Inserts a one-channel form of a node right after it, before anything overwrites the node's inputs."""

    def __init__(self, graph: fx.GraphModule, units: fx.Node) -> None:
        self.graph = graph
        self.units = units
        self.modules: dict[str, Any] = dict(graph.named_modules())

    def own_map(self, node: fx.Node) -> fx.Node:
        """A node that gives [b, y, x], the maps of the units in the output of a node."""
        if len(node.users) > 1:  # all channels are computed anyway
            return self.call(node, picked, node, self.units)
        module: Any = self.modules.get(str(node.target)) if node.op == "call_module" else None
        source = node.all_input_nodes[0] if node.all_input_nodes else node
        if OwnFilter.fits(module):
            return self.put(node, OwnFilter(module), source)
        if OwnDepthwise.fits(module):
            return self.put(node, OwnDepthwise(module), self.own_map(source))
        if type(module) in CHANNELWISE and is_as_built(module):
            return self.call(node, CHANNELWISE[type(module)], self.own_map(source))
        if _adds_maps(node):
            return self.call(node, operator.add, *[self.own_map(cast("fx.Node", term)) for term in node.args])
        return self.call(node, picked, node, self.units)

    def put(self, node: fx.Node, module: nn.Module, source: fx.Node) -> fx.Node:
        """Inserts a call of a module with the source's output and the units after a node."""
        name = f"own_{node.name}"
        self.graph.add_module(name, module)
        return self._inserted(node, lambda graph: graph.call_module(name, (source, self.units)))

    def call(self, node: fx.Node, function: Callable[..., Tensor], *arguments: fx.Node) -> fx.Node:
        """Inserts a call of a function after a node."""
        return self._inserted(node, lambda graph: graph.call_function(function, arguments))

    def _inserted(self, node: fx.Node, make: Callable[[fx.Graph], fx.Node]) -> fx.Node:
        with self.graph.graph.inserting_after(node):
            return make(self.graph.graph)


def _adds_maps(node: fx.Node) -> bool:
    """Whether a node is the sum of two maps with the same channels."""
    if node.op != "call_function" or node.target not in ADDITIONS or node.kwargs or len(node.args) != 2:
        return False
    shapes = [shape_of(term) for term in node.args if isinstance(term, fx.Node) and term.op != "get_attr"]
    return len(shapes) == 2 and all(len(shape) == 4 and shape[1] == shapes[0][1] for shape in shapes)


class OwnFilter(nn.Module):
    """One filter of a convolution per image.

    First the filter's weights are multiplied with the channels at every position, in one matrix product per image;
    then the map of each kernel position is shifted to its place, and the maps are added.

    Args:
        convolution: the convolution with all filters; see `fits`.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.kernel = cast("tuple[int, int]", convolution.kernel_size)
        self.stride = cast("tuple[int, int]", convolution.stride)
        self.dilation = cast("tuple[int, int]", convolution.dilation)
        self.padding = _inverse_padding(convolution)
        # `fold` puts the k-th map where the mirrored filter would *read* for its k-th weight.
        weight = convolution.weight.detach().flip(2, 3).flatten(2).transpose(1, 2)
        self.weight = nn.Parameter(weight.contiguous(), requires_grad=False)  # [u, k, c]
        self.bias = _bias(convolution)

    @staticmethod
    def fits(module: object) -> bool:
        """Whether a module is a plain convolution over all channels that pads no further than its kernel reaches."""
        return _is_plain(module) and module.groups == 1 and min(_inverse_padding(module)) >= 0

    def forward(self, maps: Float[Tensor, "b c y x"], units: Int64[Tensor, " b"]) -> Float[Tensor, "b v w"]:
        """The map of each image's unit, float32."""
        height, width = (
            _extent(*axis) for axis in zip(maps.shape[2:], self.dilation, self.kernel, self.padding, strict=True)
        )
        positions = maps.permute(0, 2, 3, 1).flatten(1, 2)  # [b, y x, c], no copy if channels come last
        shares = torch.bmm(self.weight[units], positions.transpose(1, 2)).float()  # [b, k, y x]
        summed = nn.functional.fold(shares, (height, width), self.kernel, self.dilation, self.padding)[:, 0]
        return summed[:, :: self.stride[0], :: self.stride[1]] + self.bias[units][:, None, None]


class OwnDepthwise(nn.Module):
    """One filter of a depthwise convolution per image, applied to the map of its channel.

    Args:
        convolution: the convolution with all filters; see `fits`.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation = convolution.stride, convolution.padding, convolution.dilation
        self.weight = nn.Parameter(convolution.weight.detach().float(), requires_grad=False)  # [u, 1, y, x]
        self.bias = _bias(convolution)

    @staticmethod
    def fits(module: object) -> bool:
        """Whether a module is a plain convolution with one filter for each channel."""
        return _is_plain(module) and module.groups == module.in_channels == module.out_channels > 1

    def forward(self, maps: Float[Tensor, "b y x"], units: Int64[Tensor, " b"]) -> Float[Tensor, "b v w"]:
        """The map of each image's unit, float32."""
        # One group per image: the batch takes the place of the channels.
        return nn.functional.conv2d(
            maps[None].float(),
            self.weight[units].float(),
            self.bias[units].float(),
            self.stride,  # pyright: ignore[reportArgumentType]  # pairs, as the convolution holds them
            self.padding,  # pyright: ignore[reportArgumentType]
            self.dilation,  # pyright: ignore[reportArgumentType]
            groups=len(maps),
        )[0]


def _extent(side: int, dilation: int, kernel: int, padding: int) -> int:
    """Number of positions along an axis that the shifted maps cover, without what is cut off."""
    return side + dilation * (kernel - 1) - 2 * padding


def _is_plain(module: object) -> TypeGuard[nn.Conv2d]:
    is_zero_padded = (
        type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    )
    return is_zero_padded and is_as_built(module)


def _inverse_padding(convolution: nn.Conv2d) -> tuple[int, int]:
    """How many positions of the sum of all shifted maps are cut off at each side."""
    rows, columns = (
        dilation * (kernel - 1) - int(padding)
        for dilation, kernel, padding in zip(
            convolution.dilation, convolution.kernel_size, convolution.padding, strict=True
        )
    )
    return rows, columns


def _bias(convolution: nn.Conv2d) -> nn.Parameter:
    bias = convolution.bias
    values = torch.zeros(convolution.out_channels) if bias is None else bias.detach().float()
    return nn.Parameter(values.to(convolution.weight.device), requires_grad=False)
