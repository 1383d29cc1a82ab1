"""Gradient ascent raises one unit an image: of a network's last operations, only that unit's share is computed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeGuard, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx, nn

from polyscan.vision.readouts.cutting import pruned
from polyscan.vision.tracing import shape_of

OwnMaps = Callable[[Float[Tensor, "b c y x"], Int64[Tensor, " b"]], Float[Tensor, "b y x"]]
"""From a batch of inputs and a unit for each to these units' maps."""

ADDITIONS = (operator.add, operator.iadd, torch.add)
CHANNELWISE = {
    nn.ReLU: nn.functional.relu,
    nn.ReLU6: nn.functional.relu6,
    nn.Dropout: torch.clone,
    nn.Identity: torch.clone,
}
"""Modules that treat channels alike, and what they do; dropout drops nothing in a scanned network."""


def picked(maps: Float[Tensor, "b c y x"], units: Int64[Tensor, " b"]) -> Float[Tensor, "b y x"]:
    """Each image's own unit of all the units' maps."""
    return maps[torch.arange(len(units), device=maps.device), units].float()


def gives_maps(graph: fx.GraphModule) -> bool:
    """Whether a graph ends in maps [b, c, y, x]."""
    return len(shape_of(_end(graph))) == 4


def with_own_maps(graph: fx.GraphModule) -> fx.GraphModule:
    """A graph to all units' maps [b, c, y, x] as one of (inputs, units [b]) to each image's own unit's map [b, y, x].

    The same values up to rounding; in place. From its end backwards, whatever keeps channels apart (sums, rectifiers,
    depthwise convolutions) is computed for one channel an image, up to the convolutions that make it: of these, one
    filter. In the first layers of a network that is up to a quarter of the work.
    """
    end = _end(graph)
    first = next(node for node in graph.graph.nodes if node.op == "placeholder")
    with graph.graph.inserting_after(first):
        units = graph.graph.placeholder("units_to_raise")
    own = _Narrowing(graph, units).own(end)
    graph.graph.output_node().args = (own,)
    return pruned(graph)


def _end(graph: fx.GraphModule) -> fx.Node:
    return cast("fx.Node", graph.graph.output_node().args[0])


class _Narrowing:
    """Puts a node's one-channel form right behind it, where what it reads has not been overwritten yet."""

    def __init__(self, graph: fx.GraphModule, units: fx.Node) -> None:
        self.graph = graph
        self.units = units
        self.modules: dict[str, Any] = dict(graph.named_modules())

    def own(self, node: fx.Node) -> fx.Node:
        """A node that gives [b, y, x]."""
        if len(node.users) > 1:  # all of it is computed anyway
            return self.call(node, picked, node, self.units)
        module: Any = self.modules.get(str(node.target)) if node.op == "call_module" else None
        source = node.all_input_nodes[0] if node.all_input_nodes else node
        if OwnFilter.fits(module):
            return self.put(node, OwnFilter(module), source)
        if OwnDepthwise.fits(module):
            return self.put(node, OwnDepthwise(module), self.own(source))
        if type(module) in CHANNELWISE:
            return self.call(node, CHANNELWISE[type(module)], self.own(source))
        if _adds_maps(node):
            return self.call(node, operator.add, *[self.own(cast("fx.Node", each)) for each in node.args])
        return self.call(node, picked, node, self.units)

    def put(self, behind: fx.Node, module: nn.Module, source: fx.Node) -> fx.Node:
        name = f"own_{behind.name}"
        self.graph.add_module(name, module)
        return self._behind(behind, lambda graph: graph.call_module(name, (source, self.units)))

    def call(self, behind: fx.Node, function: Callable[..., Tensor], *arguments: fx.Node) -> fx.Node:
        return self._behind(behind, lambda graph: graph.call_function(function, arguments))

    def _behind(self, node: fx.Node, make: Callable[[fx.Graph], fx.Node]) -> fx.Node:
        with self.graph.graph.inserting_after(node):
            return make(self.graph.graph)


def _adds_maps(node: fx.Node) -> bool:
    """Whether a node is the sum of two maps with the same channels."""
    if node.op != "call_function" or node.target not in ADDITIONS or node.kwargs or len(node.args) != 2:
        return False
    shapes = [shape_of(each) for each in node.args if isinstance(each, fx.Node) and each.op != "get_attr"]
    return len(shapes) == 2 and all(len(shape) == 4 and shape[1] == shapes[0][1] for shape in shapes)


class OwnFilter(nn.Module):
    """Of a convolution's filters the one that is each image's own.

    First every weight of the filter with every position's channels, one product of matrices an image; then each
    weight's map is moved to its place and added.

    Args:
        convolution: what it is part of; see `fits`.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.kernel = cast("tuple[int, int]", convolution.kernel_size)
        self.stride = cast("tuple[int, int]", convolution.stride)
        self.dilation = cast("tuple[int, int]", convolution.dilation)
        self.padding = _inverse_padding(convolution)
        # `fold` puts the k-th map where the k-th weight would be *read from* by the mirrored filter.
        weight = convolution.weight.detach().flip(2, 3).flatten(2).transpose(1, 2)
        self.weight = nn.Parameter(weight.contiguous(), requires_grad=False)  # [u, k, c]
        self.bias = _bias(convolution)

    @staticmethod
    def fits(module: object) -> bool:
        """Whether a module is a plain convolution over all channels that pads no further than its kernel reaches."""
        return _is_plain(module) and module.groups == 1 and min(_inverse_padding(module)) >= 0

    def forward(self, maps: Float[Tensor, "b c y x"], units: Int64[Tensor, " b"]) -> Float[Tensor, "b v w"]:
        """Each image's own map, float32."""
        height, width = (
            _moved_over(*axis) for axis in zip(maps.shape[2:], self.dilation, self.kernel, self.padding, strict=True)
        )
        positions = maps.permute(0, 2, 3, 1).flatten(1, 2)  # [b, y x, c], no copy where channels come last
        shares = torch.bmm(self.weight[units], positions.transpose(1, 2)).float()  # [b, k, y x]
        summed = nn.functional.fold(shares, (height, width), self.kernel, self.dilation, self.padding)[:, 0]
        return summed[:, :: self.stride[0], :: self.stride[1]] + self.bias[units][:, None, None]


class OwnDepthwise(nn.Module):
    """Of a depthwise convolution's filters the one that is each image's own, on that one channel's map.

    Args:
        convolution: what it is part of; see `fits`.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation = convolution.stride, convolution.padding, convolution.dilation
        self.weight = nn.Parameter(convolution.weight.detach().float(), requires_grad=False)  # [u, 1, y, x]
        self.bias = _bias(convolution)

    @staticmethod
    def fits(module: object) -> bool:
        """Whether a module is a plain convolution of each channel with one filter of its own."""
        return _is_plain(module) and module.groups == module.in_channels == module.out_channels > 1

    def forward(self, maps: Float[Tensor, "b y x"], units: Int64[Tensor, " b"]) -> Float[Tensor, "b v w"]:
        """Each image's own map, float32."""
        # One group an image: the batch stands where channels do.
        return nn.functional.conv2d(
            maps[None].float(),
            self.weight[units].float(),
            self.bias[units].float(),
            self.stride,  # pyright: ignore[reportArgumentType]  # pairs, as the convolution holds them
            self.padding,  # pyright: ignore[reportArgumentType]
            self.dilation,  # pyright: ignore[reportArgumentType]
            groups=len(maps),
        )[0]


def _moved_over(side: int, dilation: int, kernel: int, padding: int) -> int:
    """How many places all the weights' maps lie over along an axis, once they are moved."""
    return side + dilation * (kernel - 1) - 2 * padding


def _is_plain(module: object) -> TypeGuard[nn.Conv2d]:
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _inverse_padding(convolution: nn.Conv2d) -> tuple[int, int]:
    """How much of the sum of all moved maps is cut off at each side."""
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
