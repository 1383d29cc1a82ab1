"""What drives a unit on each cluster of its exemplars: the lower units, with their share of the relevance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np
from jaxtyping import Int64

from polyscan.errors import JobError
from polyscan.results import Results
from polyscan.results.clusters import shown_clusters
from polyscan.shards import seed
from polyscan.stats.circuit_parts import Driver, drivers, pure_parts
from polyscan.studies.circuit.attributed import Attributed, Attributing
from polyscan.studies.circuit.files import ENDINGS, content_of
from polyscan.studies.figure import saved
from polyscan.units import Unit
from polyscan.vision.attribution import HOWS, How

SplitBy = Literal["shown", "attribution"]
SPLITS: tuple[SplitBy, ...] = ("shown", "attribution")
EXEMPLARS = 64


@dataclass(frozen=True)
class Circuit:
    """What drives a unit from one lower layer.

    Args:
        unit: the unit.
        lower: the lower layer.
        how: `gradient` or `lrp`.
        sizes: number of exemplars in each cluster.
        drivers: the lower units of each cluster, largest share first.
        carried: for each cluster, the median share of the unit's value that comes through the lower layer.
        beside: the same of what passes the lower layer by.
        biases: the same of what biases take.
        error: largest part of a value that is not accounted for, relative to the value; 0 with gradients.
    """

    unit: Unit
    lower: str
    how: How
    sizes: dict[int, int]
    drivers: list[Driver]
    carried: dict[int, float]
    beside: dict[int, float]
    biases: dict[int, float]
    error: float


def circuit(
    address: str,
    name: str,
    *,
    lower: Sequence[str] = (),
    top: int = 8,
    how: How = "lrp",
    split: SplitBy = "shown",
    exemplars: int = EXEMPLARS,
    out: str = "",
) -> list[Circuit]:
    """What drives a unit of a run, from one or several lower layers.

    Args:
        address: the run's folder.
        name: the unit, as LAYER:CHANNEL.
        lower: lower layers; default: the layer of the run that is next below.
        top: number of lower units of each cluster.
        how: `lrp`: relevance, which is conserved; `gradient`: gradient x activation.
        split: whether the clusters are those that the unit's page shows, or PURE's, of the attribution vectors.
        exemplars: number of exemplars, strongest first.
        out: a file to write, if any: .csv, .json or .svg.

    Returns:
        One circuit for each lower layer, deepest last.

    Raises:
        JobError: if the run has no such unit, a name or number is wrong, or the file can't be written.
        ModelError: if a layer is not below the unit, or attribution is not possible in this network.
        TableError: if there is no run.
    """
    _check(how, split, top, exemplars, out)
    results = Results(address)
    unit = _unit(name)
    opened = Attributing(results, unit.layer)
    rows = opened.exemplars([unit.channel], exemplars)
    found: list[Circuit] = []
    for layer in lower or [opened.layer_below()]:
        (attributed,) = opened.attributed(opened.attributor(layer, how), rows)
        labels = _clusters(results, attributed, split, opened.job.seed)
        found.append(_circuit(attributed, labels, how, top, opened.job.seed))
    if out:
        saved(out, content_of(found, PurePath(out).suffix.lower()))
    return found


def _check(how: str, split: str, top: int, exemplars: int, out: str) -> None:
    for option, value, known in (("--how", how, HOWS), ("--split", split, SPLITS)):
        if value not in known:
            raise JobError(f'unknown {option} "{value}"; there are: {", ".join(known)}')
    for option, value, least in (("--top", top, 1), ("--exemplars", exemplars, 2)):
        if value < least:
            raise JobError(f"{option} must be at least {least}, got {value}")
    if out and PurePath(out).suffix.lower() not in ENDINGS:
        raise JobError(f'`circuit` writes {", ".join(ENDINGS)}; "{out}" has another ending. As in --out circuit.svg')


def _unit(name: str) -> Unit:
    try:
        return Unit.parse(name)
    except ValueError as error:
        raise JobError(str(error)) from error


def _clusters(results: Results, attributed: Attributed, split: SplitBy, job_seed: int) -> Int64[np.ndarray, " n"]:
    """The cluster of each exemplar; all in one if the run has not split the unit."""
    unit = attributed.unit
    if split == "attribution":
        generator = np.random.default_rng(seed(job_seed, "parts by attribution", unit.layer, unit.channel))
        try:
            return pure_parts(attributed.relevance, generator=generator)
        except ValueError as error:
            raise JobError(f"{unit} can't be split by attribution: {error}") from error
    where = {"layer": unit.layer, "channel": unit.channel, "evidence": "exemplars", "is_main": True}
    rows = results.run.read("clusters", ["item", "cluster", "cluster_bic"], where=where).set_index("item")
    if not np.isin(attributed.rank, rows.index.to_numpy()).all():
        return np.zeros(len(attributed.rank), dtype=np.int64)
    rows = rows.loc[attributed.rank.tolist()]
    return shown_clusters(0.0, rows["cluster"].to_numpy(), rows["cluster_bic"].to_numpy())


def _circuit(attributed: Attributed, labels: Int64[np.ndarray, " n"], how: How, top: int, job_seed: int) -> Circuit:
    unit, lower = attributed.unit, attributed.lower
    generator = np.random.default_rng(seed(job_seed, f"circuit to {lower}", unit.layer, unit.channel))
    clusters, counts = np.unique(labels[labels >= 0], return_counts=True)
    size = np.abs(attributed.value)
    safe = np.where(size > 0, attributed.value, np.nan)
    error = np.abs(attributed.error)[size > 0] / size[size > 0]

    def medians(part: np.ndarray) -> dict[int, float]:
        return {int(cluster): float(np.nanmedian((part / safe)[labels == cluster])) for cluster in clusters}

    return Circuit(
        unit,
        lower,
        how,
        dict(zip(clusters.tolist(), counts.tolist(), strict=True)),
        drivers(attributed.relevance, labels, generator=generator, top=top),
        medians(attributed.relevance.sum(axis=1)),
        medians(attributed.beside),
        medians(attributed.biases),
        float(error.max(initial=0.0)),
    )
