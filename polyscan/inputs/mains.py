"""The units of layers, real and virtual, and their main readouts: read together in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from polyscan.inputs.virtual import OF_INPUTS, OWN, virtual_readouts
from polyscan.nulls.deflation import Curves
from polyscan.run import Run
from polyscan.units import REAL, parent_and_role
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Directions, Peaks, Reader, Readout
from polyscan.vision.readouts.units import Together


@dataclass(frozen=True, eq=False)
class MainReadouts:
    """The main readouts of a layer's units, real and virtual, in the run's order of units.

    Args:
        layer: the real layer.
        of: what they read: OWN or OF_INPUTS.
        weights: direction of each.
        bias: of each.
    """

    layer: str
    of: str
    weights: Float32[np.ndarray, "u c"]
    bias: Float32[np.ndarray, " u"]

    @property
    def directions(self) -> Directions:
        """The same as readouts of the layer, or of its inputs."""
        return Directions(torch.from_numpy(self.weights), torch.from_numpy(self.bias))


class Pair(NamedTuple):
    """Peaks of a layer's units on a batch, and the peak values of their main readouts."""

    units: Peaks
    mains: Float[Tensor, "b u"]


class UnitReader:
    """Reads the units of some layers, real and virtual in the run's order, and their main readouts if they are given.

    Args:
        run: a surveyed run.
        network: the scanned network.
        layers: `all`, `blocks`, a glob, a name, or a list of these.
        mains: main readouts of these layers.
    """

    def __init__(
        self, run: Run, network: Network, layers: str | Sequence[str], mains: Sequence[MainReadouts] = ()
    ) -> None:
        self.mains = {main.layer: main for main in mains}
        self.virtual = virtual_readouts(run)
        self.sizes = {(layer.parent, layer.role): layer.n_units for layer in run.layers()}
        names = dict.fromkeys([*self.virtual, *self.mains])
        together = {of: {layer: self._together(layer, of) for layer in names} for of in (OWN, OF_INPUTS)}
        own, inputs = (
            {layer: {of: Together(units)} for layer, units in by_layer.items() if units}
            for of, by_layer in together.items()
        )
        # The run may have virtual units of layers that are not read here.
        chosen = {point.layer for point in Reader(network, layers).points}
        own, inputs = ({layer: units for layer, units in kind.items() if layer in chosen} for kind in (own, inputs))
        self.reader = Reader(network, layers, own, inputs)

    def _together(self, layer: str, of: str) -> tuple[Readout, ...]:
        """All readouts of a layer that are of one kind: virtual units by role, then main readouts."""
        units = tuple(readout.units for readout in self.virtual.get(layer, {}).values() if readout.of == of)
        main = self.mains.get(layer)
        return (*units, main.directions) if main is not None and main.of == of else units

    def read(self, inputs: Float[Tensor, "b c y x"]) -> dict[str, Pair]:
        """A pair for each layer in forward order, in one forward pass."""
        return self.pairs(self.of_points(inputs))

    def of_points(self, inputs: Float[Tensor, "b c y x"]) -> list[Peaks]:
        """Peaks at each read point of `reader`, in one forward pass."""
        found: dict[int, Peaks] = {}
        self.reader.read_peaks(inputs, found.__setitem__)
        return [found[index] for index in range(len(self.reader.points))]

    def pairs(self, found: Sequence[Peaks]) -> dict[str, Pair]:
        """A pair for each layer in forward order, from the peaks at each read point."""
        parts: dict[str, dict[str, Peaks]] = {}
        for index, point in enumerate(self.reader.points):
            layer, role = parent_and_role(point.layer)
            parts.setdefault(layer, {})[role] = found[index]
        return {layer: self._pair(layer, of_layer) for layer, of_layer in parts.items()}

    def _pair(self, layer: str, parts: Mapping[str, Peaks]) -> Pair:
        """The layer's channels, its virtual units by role, and the values of their main readouts."""
        units, taken = [parts[REAL]], dict.fromkeys((OWN, OF_INPUTS), 0)
        for role, readout in self.virtual.get(layer, {}).items():
            n, start = self.sizes[layer, role], taken[readout.of]
            units.append(_columns(parts[readout.of], start, start + n))
            taken[readout.of] += n
        main = self.mains.get(layer)
        value = parts[REAL].value
        mains = value[:, :0] if main is None else parts[main.of].value[:, taken[main.of] :]
        return Pair(Peaks.joined(units)._replace(width=parts[REAL].width), mains)


def _columns(peaks: Peaks, start: int, stop: int) -> Peaks:
    return Peaks(peaks.value[:, start:stop], peaks.place[:, start:stop], peaks.width)


@dataclass(frozen=True, eq=False)
class Deflated:
    """A layer's main readouts, the curves of its units given them, and the activations above which units are searched.

    Args:
        mains: the main readouts.
        curves: what each unit is expected to do, given its main readout.
        floor: activation of the weakest image that is searched; inf for a unit without a main readout.
    """

    mains: MainReadouts
    curves: Curves
    floor: Float32[np.ndarray, " u"]


def deflated_layers(run: Run) -> list[Deflated]:
    """The deflated layers of a run, in forward order."""
    rows = run.read("main_readouts")
    order = run.unit_order()
    layers: list[Deflated] = []
    for parent in [layer.name for layer in order.layers if layer.is_real]:
        of_layer = rows[rows["parent"] == parent]
        if of_layer.empty:
            continue
        number = of_layer["layer"].map(order.start) + of_layer["channel"]
        of_layer = of_layer.iloc[np.argsort(number.to_numpy(), kind="stable")]

        def stacked(name: str, of_layer: object = of_layer) -> Float32[np.ndarray, "u n"]:
            return np.stack(cast("list[np.ndarray]", of_layer[name].to_list())).astype(np.float32)  # type: ignore[index]

        bias, slope, floor = (of_layer[name].to_numpy(np.float32) for name in ("bias", "slope", "floor"))
        mains = MainReadouts(parent, str(of_layer["of"].iloc[0]), stacked("weights"), bias)
        layers.append(Deflated(mains, Curves(stacked("curve_x"), stacked("curve_y"), slope), floor))
    return layers
