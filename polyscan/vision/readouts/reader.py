"""Reading the chosen layers of a network in one forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from polyscan.errors import ModelError
from polyscan.units import CALL_MARK, VIRTUAL_MARK
from polyscan.vision.networks import Network
from polyscan.vision.readouts.blocks import blocks_of
from polyscan.vision.readouts.choosing import choose, numbered, with_readouts
from polyscan.vision.readouts.cutting import ending_at, with_taps
from polyscan.vision.readouts.own_maps import OwnMaps, gives_maps, picked, with_own_maps
from polyscan.vision.readouts.places import traced_points
from polyscan.vision.readouts.points import PeakSink, ReadPoint, Sink
from polyscan.vision.readouts.units import Channels, Readout
from polyscan.vision.readouts.untraced import module_points, read_modules
from polyscan.vision.tracing import folded, traced

Trunk = Callable[[Float[Tensor, "b c y x"]], Float[Tensor, "b u y x"]]

SAME = {"rtol": 1e-3, "atol": 1e-4}  # a graph does the same operations; only a wrong branch makes a larger difference


class Reader:
    """The chosen layers of a network, all read in one forward pass that ends at the deepest of them.

    Args:
        network: the network to read.
        layers: `all`, `blocks`, a glob, a name, or a list of these.
        readouts: further readouts of chosen layers by name, each a read point `<layer>@<name>` after that of the layer.

    Raises:
        ModelError: if a name fits no layer (the message names the nearest ones), a readout does not fit its layer, a
            module's name contains `@` or `#`, or the network does not take inputs of its preprocessing's shape.
    """

    def __init__(
        self,
        network: Network,
        layers: str | Sequence[str],
        readouts: Mapping[str, Mapping[str, Readout]] | None = None,
    ) -> None:
        self.network = network
        self.example = _example(network)
        self.untraced_because = ""
        _refuse_reserved_names(network)
        try:
            self._graph = _checked_graph(network.module, self.example)
        except Exception as error:  # whatever made tracing fail, the modules can still be read
            self._graph = None
            self.untraced_because = f"{type(error).__name__}: {error}".splitlines()[0]
        points, blocks = self._all_points()
        chosen = numbered(points, choose(points, blocks, layers, network.name))
        self.points = tuple(with_readouts(chosen, readouts or {}))
        if self._graph is not None:
            self._cut, self._taps = with_taps(self._graph, self.points)

    @property
    def is_traced(self) -> bool:
        """Whether `torch.fx` found the read points; if not, modules are read at their outputs."""
        return self._graph is not None

    def _all_points(self) -> tuple[list[ReadPoint], list[str]]:
        """All read points of the network, and the names of its blocks."""
        module = self.network.module
        blocks = blocks_of(module)
        if self._graph is not None:
            return traced_points(self._graph, blocks), blocks
        try:
            return module_points(module, blocks, self.example), blocks
        except Exception as error:
            raise ModelError(
                f"{self.network.name} does not take inputs of shape {tuple(self.example.shape)} "
                f"({type(error).__name__}: {error}); check `input_px` and `channels` in [network]"
            ) from error

    def read(self, batch: Float[Tensor, "b c y x"], sink: Sink) -> None:
        """One forward pass; `sink` is called once per read point, in forward order."""
        with torch.inference_mode():
            self.pass_through(batch, sink)

    def read_peaks(self, batch: Float[Tensor, "b c y x"], sink: PeakSink) -> None:
        """As `read`, if only the peaks over space are needed: maps of many readouts are never in memory at once."""
        with torch.inference_mode():
            self._pass(batch, lambda index, maps: sink(index, self.points[index].units.peaks(maps)), sink)

    def pass_through(self, batch: Float[Tensor, "b c y x"], sink: Sink) -> None:
        """As `read`, but with gradients if they are enabled."""
        self._pass(batch, lambda index, maps: sink(index, self.points[index].units(maps)))

    def _pass(self, batch: Float[Tensor, "b c y x"], sink: Sink, peak_sink: PeakSink | None = None) -> None:
        """One forward pass; `sink` gets the layers' maps, or `peak_sink` the units' peaks if a tap computes them."""
        if self._graph is None:
            read_modules(self.network.module, self.points, batch, sink)
            return
        for tap in self._taps:
            tap.sink, tap.peak_sink = sink, peak_sink
        try:
            self._cut(batch)
        finally:
            for tap in self._taps:
                tap.sink = tap.peak_sink = None

    def trunk(self, point: ReadPoint) -> Trunk:
        """The network up to one read point, as a differentiable function from inputs to its units' maps."""
        if self._graph is not None:
            module = folded(ending_at(self._graph, point.node))
            return lambda batch: point.units(point.maps(module(batch)))

        def untraced(batch: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u y x"]:
            layer_maps: list[Tensor] = []
            read_modules(self.network.module, (point,), batch, lambda _, maps: layer_maps.append(maps))
            return point.units(layer_maps[0])

        return untraced

    def own_maps(self, point: ReadPoint, numbers: torch.dtype = torch.float32) -> OwnMaps:
        """The network up to one read point, as a differentiable function to the map of one unit per image.

        Args:
            point: the read point.
            numbers: the number format of the computation; a network that can't be traced uses that of its weights.
        """
        if self._graph is None:
            trunk = self.trunk(point)
            return lambda batch, units: picked(trunk(batch), units)
        module = folded(ending_at(self._graph, point.node))
        has_own = isinstance(point.units, Channels) and not point.channels_last and gives_maps(module)
        module = with_own_maps(module) if has_own else module
        if numbers != torch.float32:
            module = copy.deepcopy(module).to(numbers)  # modules that are not folded belong to the network
        if has_own:
            return lambda batch, units: module(batch.to(numbers), units)
        return lambda batch, units: picked(point.units(point.maps(module(batch.to(numbers)))), units)


def _refuse_reserved_names(network: Network) -> None:
    """Refuses modules whose names look like those of another call or of other units."""
    for name, _ in network.module.named_modules():
        if VIRTUAL_MARK in name or CALL_MARK in name:
            raise ModelError(
                f'{network.name} has a module named "{name}"; `#` marks further calls of a module (`conv#2`), and '
                "`@` for further units of a layer (`conv@random`). Give it a name without them"
            )


def _example(network: Network) -> Float[Tensor, "1 c y x"]:
    """One input of fixed noise; it shows whether a graph took another branch than the network."""
    preprocessing = network.preprocessing
    noise = torch.randn(1, preprocessing.channels, *preprocessing.size, generator=torch.Generator().manual_seed(0))
    return noise.to(network.device).contiguous(memory_format=torch.channels_last)


def _checked_graph(module: nn.Module, example: Tensor) -> fx.GraphModule:
    """The network's graph, with shapes at its nodes, after a check of its output.

    Raises:
        Exception: if the network can't be traced, or the graph gives another output than the network.
    """
    graph = traced(module)
    with torch.no_grad():
        output = ShapeProp(graph).propagate(example)
        expected = module(example)
    if isinstance(expected, Tensor) and not torch.allclose(output, expected, **SAME, equal_nan=True):
        raise ValueError("the traced graph gives another output than the network")
    return graph
