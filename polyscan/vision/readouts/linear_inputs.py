"""The inputs of layers that read them linearly at each position: linear layers, and convolutions of one position."""

from __future__ import annotations

from dataclasses import replace

from torch import fx, nn

from polyscan.units import CALL_MARK, virtual_layer
from polyscan.vision.readouts.layouts import Layout
from polyscan.vision.readouts.points import OWN_CHANNELS, ReadPoint, call_name
from polyscan.vision.tracing import shape_of

INPUTS = "inputs"
"""The name of the readout of a layer's inputs."""


def input_point(graph: fx.GraphModule | None, point: ReadPoint) -> ReadPoint | None:
    """Where the inputs of a layer are read, position for position as its units; None if it does not read so.

    Args:
        graph: the traced network, whose nodes know their shapes; None if it can't be traced.
        point: of the layer.
    """
    node = _call(graph, point.layer) if graph is not None else None
    if graph is None or node is None or not point.layout.is_by_image:
        return None
    module = graph.get_submodule(str(node.target))
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or not _reads_positions(module):
        return None
    shape = shape_of(source)
    axis = len(shape) - 1 if isinstance(module, nn.Linear) else 1
    if not shape or len(shape) != len(shape_of(node)):
        return None
    layout = Layout(channels=axis)
    _, n_channels, *size = layout.shape(shape)
    if (size[0], size[1]) != point.map_size:
        return None
    name = virtual_layer(point.layer, INPUTS)
    return replace(
        point,
        layer=name,
        n_channels=n_channels,
        readout=f"{INPUTS} of: {point.layer}",
        relu_follows=False,
        node=source.name,
        layout=layout,
        units=OWN_CHANNELS,
    )


def _call(graph: fx.GraphModule, layer: str) -> fx.Node | None:
    """The node that calls a layer's module, by the layer's name; None if no module is called for it."""
    calls: dict[str, int] = {}
    module = layer.partition(CALL_MARK)[0]
    for node in graph.graph.nodes:
        if node.op == "call_module" and node.target == module and call_name(module, calls) == layer:
            return node
    return None


def _reads_positions(module: nn.Module) -> bool:
    """Whether each position of the output is a linear function of the input at the same position alone."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return module.groups == 1 and all(size == 1 for size in (*module.kernel_size, *module.stride))
    return isinstance(module, nn.Linear)
