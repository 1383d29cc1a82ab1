"""Reading the chosen layers of a network in one forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, fx

from polyscan.errors import ModelError
from polyscan.units import CALL_MARK, VIRTUAL_MARK
from polyscan.vision.networks import Network
from polyscan.vision.readouts.blocks import blocks_of
from polyscan.vision.readouts.choosing import choose, numbered, with_readouts
from polyscan.vision.readouts.cutting import ending_at, with_taps
from polyscan.vision.readouts.linear_inputs import input_point
from polyscan.vision.readouts.marks import differing, graph_marks, output_and_marks
from polyscan.vision.readouts.own_maps import OwnMaps, gives_maps, picked, with_own_maps
from polyscan.vision.readouts.points import PeakSink, ReadPoint, Sink
from polyscan.vision.readouts.structure import structure_of
from polyscan.vision.readouts.units import Channels, Readout
from polyscan.vision.readouts.untraced import read_modules
from polyscan.vision.tracing import LAYER_TYPES, folded

Trunk = Callable[[Float[Tensor, "b c y x"]], Float[Tensor, "b u y x"]]


class Reader:
    """The chosen layers of a network, all read in one forward pass that ends at the deepest of them.

    Args:
        network: the network to read.
        layers: `all`, `blocks`, a glob, a name, or a list of these.
        readouts: further readouts of chosen layers by name, each a read point `<layer>@<name>` after that of the layer.
        of_inputs: the same for readouts of what a layer reads, for layers that have `inputs`.

    Raises:
        ModelError: if a name fits no layer (the message names the nearest ones), a readout does not fit its layer, a
            module's name contains `@` or `#`, or the network does not take inputs of its preprocessing's shape.
    """

    def __init__(
        self,
        network: Network,
        layers: str | Sequence[str],
        readouts: Mapping[str, Mapping[str, Readout]] | None = None,
        of_inputs: Mapping[str, Mapping[str, Readout]] | None = None,
    ) -> None:
        self.network = network
        _refuse_reserved_names(network)
        structure = structure_of(network, _other_modules(network, layers))
        self.untraced_because = structure.untraced_because
        self.left_out = structure.left_out
        self._graph = structure.graph
        chosen = numbered(structure.points, choose(structure, layers, network.name))
        self.points = tuple(with_readouts(chosen, readouts or {}, of_inputs or {}, self._inputs))
        if self._graph is not None:
            self._cut, self._taps = with_taps(self._graph, self.points)

    def inputs(self, layer: str) -> ReadPoint | None:
        """Where the inputs of a layer are read if it reads them linearly, position for position; else None."""
        return next((self._inputs(point) for point in self.points if point.layer == layer), None)

    def _inputs(self, point: ReadPoint) -> ReadPoint | None:
        return input_point(self.network.module, self._graph, point)

    @property
    def graph(self) -> fx.GraphModule | None:
        """The traced network, whose nodes know their shapes; None if it can't be traced. Not to be changed."""
        return self._graph

    @property
    def is_traced(self) -> bool:
        """Whether `torch.fx` found the read points; if not, modules are read at their outputs."""
        return self._graph is not None

    def differing_layer(self, images: Float[Tensor, "b c y x"]) -> str:
        """The first layer at which the traced graph gives other values than the network for these images; "" if none.

        The pass of the network itself is one more than those that are read.
        """
        with torch.no_grad():
            _, marks = output_and_marks(self.network, images, seed=None)
            return "" if self._graph is None else differing(marks, graph_marks(self._graph, images)[1])

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
        n_images = len(batch)

        def counted(index: int, maps: Float[Tensor, "b c y x"]) -> None:
            self._check_rows(index, len(maps), n_images)
            sink(index, maps)

        if self._graph is None:
            read_modules(self.network.module, self.points, batch, counted)
            return
        for tap in self._taps:
            tap.sink, tap.peak_sink = counted, peak_sink
        try:
            self._cut.forward(batch)  # calling the module would print fx's own words about an error
        finally:
            for tap in self._taps:
                tap.sink = tap.peak_sink = None

    def _check_rows(self, index: int, n_rows: int, n_images: int) -> None:
        """Refuses maps of fewer or more images than the batch has: they can't be given to the right ones."""
        if n_rows != n_images:
            raise ModelError(
                f"layer {self.points[index].layer} of {self.network.name} gives maps of {n_rows} images for a batch of "
                f"{n_images}: it is not computed for each image. Leave it out of `network.layers`"
            )

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
        has_own = (
            isinstance(point.units, Channels)
            and point.layout.channels == 1
            and point.layout.is_by_image
            and gives_maps(module)
        )
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


def _other_modules(network: Network, layers: str | Sequence[str]) -> list[str]:
    """The modules asked for by name that are neither layers nor blocks."""
    wanted = {layers} if isinstance(layers, str) else set(layers)
    blocks = blocks_of(network.module)
    return [
        name
        for name, part in network.module.named_modules()
        if name in wanted and name not in blocks and not isinstance(part, LAYER_TYPES)
    ]
