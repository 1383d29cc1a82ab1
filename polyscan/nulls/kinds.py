"""Virtual units of known ground truth: several concepts in one unit, or one concept that looks like several.

The units of a kind are made of the layer's controls (single-concept readouts), of readouts of one labelled class each,
which the null does not resemble, or of the layer's own channels if these are trained to mean one concept each, such as
the logits of a classifier. The parts of a unit are z-scored on the survey's sample, so that no part dominates another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64

from polyscan.nulls.planting import alike_pairs, plantable_pairs, plantable_triples
from polyscan.units import REAL

CONTROLS, CLASSES, CHANNELS = "control", "one_class", REAL
"""Roles of the units that planted units are made of."""


@dataclass(frozen=True, eq=False)
class Sources:
    """What a layer's planted units are made of.

    Args:
        role: CONTROLS, CLASSES, or CHANNELS for the layer's own channels.
        weights: direction of each source in the layer.
        bias: bias of each source.
        peaks: peaks of each source on the survey's sample.
        top: number of the sample's images that stand for a unit's exemplars.
    """

    role: str
    weights: Float32[np.ndarray, "u c"]
    bias: Float[np.ndarray, " u"]
    peaks: Float32[np.ndarray, "images u"]
    top: int


@dataclass(frozen=True)
class Plant:
    """One planted unit: the sources of its parts, their weights, and how the parts are combined."""

    sources: tuple[int, ...]
    weights: tuple[float, ...]
    how: Literal["max", "sum"] = "max"


Maker = Callable[[Sources, int, np.random.Generator], Iterator[Plant]]


@dataclass(frozen=True)
class Kind:
    """A kind of planted units.

    Args:
        make: chooses the sources of each unit.
        role: role of the sources: CONTROLS, CLASSES or CHANNELS.
        concepts: number of concepts of such a unit.
        meaning: description in words.
    """

    make: Maker
    role: str
    concepts: int
    meaning: str


def _pairs(*weights: float, least_r: float = -0.2) -> Maker:
    def make(sources: Sources, count: int, generator: np.random.Generator) -> Iterator[Plant]:
        pairs = plantable_pairs(sources.peaks, count=count, generator=generator, least_r=least_r, top=sources.top)
        for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True):
            yield Plant((a, b), weights)

    return make


def _single(sources: Sources, count: int, _: np.random.Generator) -> Iterator[Plant]:
    """Each source by itself."""
    alive = np.flatnonzero(np.ptp(sources.peaks, axis=0) > 0)
    for number in alive[:count].tolist():
        yield Plant((number,), (1.0,), "sum")


def _sums(sources: Sources, count: int, generator: np.random.Generator) -> Iterator[Plant]:
    for plant in _pairs(1.0, 1.0)(sources, count, generator):
        yield Plant(plant.sources, plant.weights, "sum")


def _triples(sources: Sources, count: int, generator: np.random.Generator) -> Iterator[Plant]:
    for a, b, c in plantable_triples(sources.peaks, count=count, generator=generator, top=sources.top).tolist():
        yield Plant((a, b, c), (1.0, 1.0, 1.0))


def _alike(sources: Sources, count: int, _: np.random.Generator) -> Iterator[Plant]:
    for a, b in alike_pairs(sources.peaks, count=count).tolist():
        yield Plant((a, b), (1.0, 1.0))


def _noisy(sources: Sources, count: int, generator: np.random.Generator) -> Iterator[Plant]:
    """One source and a little of several others, with random signs."""
    alive = np.flatnonzero(np.ptp(sources.peaks, axis=0) > 0)
    for number in alive[:count].tolist():
        others = [int(other) for other in generator.permutation(alive)[:8] if other != number]
        if not others:
            return
        signs = generator.choice([-1.0, 1.0], size=len(others)) * NOISE / np.sqrt(len(others))
        yield Plant((number, *others), (1.0, *signs.tolist()), "sum")


def _random(sources: Sources, count: int, generator: np.random.Generator) -> Iterator[Plant]:
    """Random directions: every source with a random weight."""
    alive = np.flatnonzero(np.ptp(sources.peaks, axis=0) > 0)
    for _ in range(count if len(alive) else 0):
        yield Plant(tuple(alive.tolist()), tuple(generator.standard_normal(len(alive)).tolist()), "sum")


NOISE = 0.5
KINDS: dict[str, Kind] = {
    "planted": Kind(_pairs(1.0, 1.0), CONTROLS, 2, "the larger of two controls that rarely respond together"),
    "planted80": Kind(_pairs(1.0, 0.8), CONTROLS, 2, "the same, the second at .8 of its strength"),
    "planted50": Kind(_pairs(1.0, 0.5), CONTROLS, 2, "the same, the second at .5"),
    "planted20": Kind(_pairs(1.0, 0.2), CONTROLS, 2, "the same, the second at .2"),
    "three": Kind(_triples, CONTROLS, 3, "the largest of three controls that rarely respond together"),
    "sum": Kind(_sums, CONTROLS, 2, "the sum of two controls that rarely respond together"),
    "same": Kind(_alike, CONTROLS, 1, "the larger of two controls that nearly always respond together"),
    "noisy": Kind(_noisy, CONTROLS, 1, "a control with others mixed in at half its strength, with random signs"),
    "random": Kind(_random, CHANNELS, 1, "a random direction of the layer"),
    CLASSES: Kind(_single, CLASSES, 1, "a readout of one labelled class"),
    "two_classes": Kind(
        _pairs(1.0, 1.0, least_r=-1.0), CLASSES, 2, "the larger of two such readouts that rarely respond together"
    ),
    "two_classes50": Kind(
        _pairs(1.0, 0.5, least_r=-1.0), CLASSES, 2, "the same, the second class at .5 of its strength"
    ),
    "far": Kind(_pairs(1.0, 1.0), CHANNELS, 2, "the larger of two of the layer's units that rarely respond together"),
    "near": Kind(_alike, CHANNELS, 2, "the larger of two of the layer's units that often respond together"),
}
"""Kinds by the role of their units; `planted` measures each layer's power, `random` is what channels are compared with,
the others are for `validate`."""


def planted(kind: str, sources: Mapping[str, Sources], count: int, generator: np.random.Generator) -> list[Plant]:
    """Units of one of the `KINDS`, at most `count`; as many as the sources of its role allow.

    Raises:
        KeyError: if the kind is unknown.
    """
    definition = KINDS[kind]
    of_role = sources.get(definition.role)
    if of_role is None or of_role.peaks.shape[1] < 2:  # a pair
        return []
    return list(definition.make(of_role, count, generator))


def parts_of(plant: Plant, sources: Sources) -> list[tuple[Float64[np.ndarray, " c"], float]]:
    """Direction and bias of each part of a unit: one per source, or a single one for a sum."""
    mean = sources.peaks.mean(axis=0, dtype=np.float64)
    sd = sources.peaks.std(axis=0, dtype=np.float64)
    scaled = [
        (weight * sources.weights[s].astype(np.float64) / sd[s], weight * (float(sources.bias[s]) - mean[s]) / sd[s])
        for s, weight in zip(plant.sources, plant.weights, strict=True)
    ]
    if plant.how == "max":
        return [(direction, float(bias)) for direction, bias in scaled]
    return [(np.sum([direction for direction, _ in scaled], axis=0), float(sum(bias for _, bias in scaled)))]
