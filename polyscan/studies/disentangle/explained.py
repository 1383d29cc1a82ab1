"""How much of a unit's activation its parts explain: a regression of its peaks on theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64

from polyscan.inputs import CollectedImages, batches
from polyscan.inputs.virtual import OF_INPUTS, OWN, VirtualReadout, readout_of
from polyscan.job import Job
from polyscan.run import Run
from polyscan.studies.disentangle.gathering import sample_ids
from polyscan.studies.disentangle.parts import UnitPart, by_layer
from polyscan.units import Unit, parent_and_role, virtual_layer
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Directions, Peaks, Reader, Readout

PARTS = "parts"
Peak = Float64[np.ndarray, "images u"]


def explained(
    job: Job, run: Run, network: Network, images: CollectedImages, parts: Sequence[UnitPart], *, of: str
) -> dict[tuple[Unit, int], tuple[float, float]]:
    """For each part, by unit and number: the share of the unit's variance that it explains, and that all parts explain.

    Peaks are read on a seeded sample of the run's images; shares are R^2 of least squares with an intercept, in 0..1.
    """
    units = list(dict.fromkeys(part.unit for part in parts))
    reader = _reader(run, network, parts, units, of)
    peaks = _peaks(job, reader, images, sample_ids(job, run).tolist())
    shares: dict[tuple[Unit, int], tuple[float, float]] = {}
    for parent, of_layer in by_layer(parts).items():
        values = peaks[virtual_layer(parent, PARTS)]
        for unit in dict.fromkeys(part.unit for part in of_layer):
            own = peaks[virtual_layer(parent, _name(units, unit))][:, 0]
            places = [place for place, part in enumerate(of_layer) if part.unit == unit]
            every = r_squared(own, values[:, places])
            for place in places:
                shares[unit, of_layer[place].number] = (r_squared(own, values[:, [place]]), every)
    return shares


def r_squared(values: Float64[np.ndarray, " n"], by: Float64[np.ndarray, "n k"]) -> float:
    """Share of the variance that a linear function of some columns explains; 0 if there is none to explain.

    >>> r_squared(np.array([0.0, 1.0, 2.0, 3.0]), np.array([[1.0], [3.0], [5.0], [7.0]]))
    1.0
    """
    total = float(((values - values.mean()) ** 2).sum())
    if not total > 0:
        return 0.0
    design = np.column_stack([np.ones(len(values)), by])
    rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return round(1 - float((rest**2).sum()) / total, 12)


def _reader(run: Run, network: Network, parts: Sequence[UnitPart], units: Sequence[Unit], of: str) -> Reader:
    """Reads all parts of each layer, and each unit."""
    readouts: dict[str, dict[str, dict[str, Readout]]] = {OWN: {}, OF_INPUTS: {}}
    for parent, of_layer in by_layer(parts).items():
        weights = torch.from_numpy(np.stack([part.weights for part in of_layer]))
        bias = torch.tensor([part.bias for part in of_layer], dtype=torch.float32)
        readouts[of].setdefault(parent, {})[PARTS] = Directions(weights, bias)
    parents = list(by_layer(parts))
    widths = {point.layer: point.n_channels for point in Reader(network, parents).points}
    for unit in units:
        parent = parent_and_role(unit.layer)[0]
        whole = _whole(run, unit, widths[parent])
        readouts[whole.of].setdefault(parent, {})[_name(units, unit)] = whole.units
    return Reader(network, parents, readouts[OWN], readouts[OF_INPUTS])


def _peaks(job: Job, reader: Reader, images: CollectedImages, ids: Sequence[int]) -> dict[str, Peak]:
    """Peaks on these images, by the name under which they are read."""
    found: dict[str, list[Peak]] = {point.layer: [] for point in reader.points}
    for batch in batches(reader.network, images, ids, job.collect.batch):

        def keep(index: int, peaks: Peaks, n: int = len(batch)) -> None:
            found[reader.points[index].layer].append(peaks.value[:n].double().cpu().numpy())

        reader.read_peaks(batch.inputs, keep)
    return {layer: np.concatenate(values) for layer, values in found.items()}


def _whole(run: Run, unit: Unit, n_channels: int) -> VirtualReadout:
    """A unit as a readout."""
    if parent_and_role(unit.layer)[0] == unit.layer:
        row = torch.zeros(1, n_channels)
        row[0, unit.channel] = 1
        return VirtualReadout(Directions(row, torch.zeros(1)), OWN)
    return readout_of(run, unit)


def _name(units: Sequence[Unit], unit: Unit) -> str:
    return f"whole{units.index(unit)}"
