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


def input_point(network: nn.Module, graph: fx.GraphModule | None, point: ReadPoint) -> ReadPoint | None:
    """Where the inputs of a layer are read, position for position as its units; None if it does not read so.

    Args:
        network: the network.
        graph: the traced network, whose nodes know their shapes; None if it can't be traced.
        point: of the layer.
    """
    if not point.layout.is_by_image:
        return None
    found = _of_module(network, point) if graph is None else _of_graph(graph, point)
    if found is None:
        return None
    return replace(
        found,
        layer=virtual_layer(point.layer, INPUTS),
        readout=f"{INPUTS} of: {point.layer}",
        relu_follows=False,
        units=OWN_CHANNELS,
    )


def _of_graph(graph: fx.GraphModule, point: ReadPoint) -> ReadPoint | None:
    node = _call(graph, point.layer)
    source = node.args[0] if node is not None and node.args else None
    if node is None or not isinstance(source, fx.Node):
        return None
    module, shape = graph.get_submodule(str(node.target)), shape_of(source)
    if not _reads_positions(module) or not shape or len(shape) != len(shape_of(node)):
        return None
    layout = Layout(channels=len(shape) - 1 if isinstance(module, nn.Linear) else 1)
    _, n_channels, *size = layout.shape(shape)
    if (size[0], size[1]) != point.map_size:
        return None
    return replace(point, n_channels=n_channels, node=source.name, layout=layout)


def _of_module(network: nn.Module, point: ReadPoint) -> ReadPoint | None:
    name = point.layer.partition(CALL_MARK)[0]
    module = dict(network.named_modules()).get(name)
    # Without a graph the shape of the input is not known; that of a vector follows from the output's.
    if not isinstance(module, nn.Linear) or point.layout != Layout(channels=1) or point.map_size != (1, 1):
        return None
    return replace(point, n_channels=module.in_features, node=point.layer, reads_input=True)


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
