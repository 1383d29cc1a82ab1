"""Which axis of a node's output holds the channels, followed through the graph from the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import fx, nn

from polyscan.vision.readouts.ready import NORM_NAMES, NORMS, TURNS, turned_axes
from polyscan.vision.tracing import CONVOLUTIONS, function_name, shape_of

BY_CHANNEL = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.PixelShuffle)
"""Modules whose output has its channels second, as in their input."""
FUNCTIONS: Mapping[str, int] = {
    **{f"conv{n}d": n for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": n for n in (1, 2, 3)},
    "linear": 0,
}
"""Functions that compute a layer from a parameter, and the number of axes of positions after its channels."""
REDUCTIONS = frozenset(("mean", "sum", "amax", "amin"))


class ChannelAxes:
    """Finds these axes in one graph, whose nodes know their shapes.

    Args:
        nodes: the graph's nodes, in order.
        modules: its modules by name.
        layers: the axis of the channels of each layer's node.
    """

    def __init__(self, nodes: Sequence[fx.Node], modules: Mapping[str, Any], layers: Mapping[fx.Node, int]) -> None:
        self.modules = modules
        self.axes: dict[fx.Node, int] = {}
        for node in nodes:
            axis = layers.get(node, self._axis(node))
            if axis is not None and 0 <= axis < len(shape_of(node)):
                self.axes[node] = axis

    def __getitem__(self, node: fx.Node) -> int:
        """The axis; where it can't be told, that of maps [b, c, y, x], of tokens [b, t, c] or of vectors [b, c]."""
        return self.axes.get(node, 2 if len(shape_of(node)) == 3 else 1)

    def _axis(self, node: fx.Node) -> int | None:
        if node.op == "placeholder":
            return 1
        rank = len(shape_of(node))
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            known = [axis for kind, (_, axis) in NORMS.items() if isinstance(module, kind)]
            if known or isinstance(module, BY_CHANNEL):
                return known[0] % rank if known and rank else 1
        elif function_name(node) in NORM_NAMES:
            return NORM_NAMES[function_name(node)][1] % rank if rank else None
        return self._followed(node)

    def _followed(self, node: fx.Node) -> int | None:
        """The axis, from that of the first input that has one."""
        source = next((source for source in node.all_input_nodes if source in self.axes), None)
        if source is None:
            return None
        axis, before, after = self.axes[source], shape_of(source), shape_of(node)
        name = "" if node.op == "call_module" else function_name(node)
        if name in TURNS:
            turned = turned_axes(node, len(before))
            return turned.index(axis) if axis in turned else None
        if name == "flatten" or (node.op == "call_module" and isinstance(self.modules[str(node.target)], nn.Flatten)):
            return axis if before[: axis + 1] == after[: axis + 1] else None
        if name in REDUCTIONS and len(after) < len(before):
            dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else ())
            dropped = [
                dim % len(before) for dim in (dims if isinstance(dims, Sequence) else [dims]) if isinstance(dim, int)
            ]
            return None if axis in dropped or not dropped else axis - sum(dim < axis for dim in dropped)
        return axis if len(before) == len(after) else None


def layer_axis(layer: nn.Module | str, shape: tuple[int, ...]) -> int:
    """The axis of the channels in a layer's output: before the positions of a convolution, else the last.

    Args:
        layer: its module, or the name of its function.
        shape: of its output.
    """
    if isinstance(layer, str):
        return len(shape) - 1 - FUNCTIONS[layer]
    usual = len(shape) - 1 - (len(layer.kernel_size) if isinstance(layer, CONVOLUTIONS) else 0)
    n_channels: Any = getattr(layer, "out_channels", getattr(layer, "out_features", None))
    return axis_of(n_channels, shape, usual=usual)


def axis_of(n_channels: int | None, shape: tuple[int, ...], *, usual: int) -> int:
    """The usual axis, or the only other one with so many channels: classes of one's own may turn their output."""
    others = [axis for axis, size in enumerate(shape) if axis > 0 and size == n_channels]
    return others[0] if 0 <= usual < len(shape) and shape[usual] != n_channels and len(others) == 1 else usual
