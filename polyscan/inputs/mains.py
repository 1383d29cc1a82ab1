"""Units and their main readouts, read together in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from polyscan.inputs.virtual import virtual_readouts
from polyscan.nulls.deflation import Curves
from polyscan.run import Run
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Directions, Peaks, Reader, Readout
from polyscan.vision.readouts.units import Together

OWN, INPUTS = "own", "inputs"
"""What a main readout reads: its layer's own vectors, or what the layer reads."""


@dataclass(frozen=True, eq=False)
class MainReadouts:
    """The main readouts of a layer's units, real and virtual, in the run's order of units.

    Args:
        layer: the real layer.
        of: what they read: OWN or INPUTS.
        weights: direction of each.
        bias: of each.
    """

    layer: str
    of: str
    weights: Float32[np.ndarray, "u c"]
    bias: Float32[np.ndarray, " u"]

    @property
    def directions(self) -> Directions:
        """Them as readouts."""
        return Directions(torch.from_numpy(self.weights), torch.from_numpy(self.bias))


class Pair(NamedTuple):
    """Peaks of a layer's units on a batch, and the peak values of their main readouts."""

    units: Peaks
    mains: Float[Tensor, "b u"]


class PairReader:
    """Reads units of some layers and their main readouts.

    Args:
        run: a surveyed run.
        network: the scanned network.
        mains: of the layers to read.
    """

    def __init__(self, run: Run, network: Network, mains: Sequence[MainReadouts]) -> None:
        self.mains = {main.layer: main for main in mains}
        virtual = virtual_readouts(run)
        readouts: dict[str, dict[str, Readout]] = {}
        of_inputs: dict[str, Readout] = {}
        for layer, main in self.mains.items():
            together = tuple(virtual.get(layer, {}).values())
            if main.of == INPUTS:
                of_inputs[layer] = main.directions
            else:
                together += (main.directions,)
            if together:
                readouts[layer] = {"together": Together(together)}
        self.reader = Reader(network, list(self.mains), readouts, of_inputs)

    def read(self, inputs: Float[Tensor, "b c y x"]) -> dict[str, Pair]:
        """A pair for each layer, in one forward pass."""
        parts: dict[str, list[Peaks]] = {layer: [] for layer in self.mains}
        found: dict[int, Peaks] = {}
        self.reader.read_peaks(inputs, found.__setitem__)
        for index, point in enumerate(self.reader.points):
            parts[point.layer.partition("@")[0]].append(found[index])
        return {layer: self._pair(layer, of_layer) for layer, of_layer in parts.items()}

    def _pair(self, layer: str, parts: Sequence[Peaks]) -> Pair:
        """The layer's units come first, then its virtual units, then their main readouts."""
        n = len(self.mains[layer].bias)
        value = torch.cat([part.value for part in parts], dim=1)
        place = torch.cat([part.place for part in parts], dim=1)
        return Pair(Peaks(value[:, :n], place[:, :n], parts[0].width), value[:, n:])


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
