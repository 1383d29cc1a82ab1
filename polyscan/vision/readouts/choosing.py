"""Which layers the words of a job ask for."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace

from polyscan.errors import ModelError, suggestion
from polyscan.units import CALL_MARK, VIRTUAL_MARK, virtual_layer
from polyscan.vision.readouts.points import ReadPoint
from polyscan.vision.readouts.units import Readout


def choose(points: Sequence[ReadPoint], blocks: Sequence[str], layers: str | Sequence[str], network: str) -> set[str]:
    """Names of the read points that `layers` asks for.

    Args:
        points: all that the network has.
        blocks: names of its blocks.
        layers: `all` (every convolution and linear layer), `blocks`, a glob, a name, or a list of these.
        network: its name, for messages.

    Raises:
        ModelError: if one of the words fits none; the nearest ones are named.
    """
    names, known_blocks = [point.layer for point in points], set(blocks)
    block_names = {name for name in names if name.partition(CALL_MARK)[0] in known_blocks}
    special = {"all": set(names) - block_names, "blocks": block_names}
    chosen: set[str] = set()
    for word in _words(layers):
        fitting = special[word] if word in special else _fitting(word, names)
        if not fitting:
            what = "no blocks" if word == "blocks" else f'no layer "{word}"'
            raise ModelError(f"{network} has {what}; {suggestion(word, names)}. `polyscan units` lists them all.")
        chosen |= fitting
    if not chosen:
        raise ModelError(f"`layers` names none; {network} has {len(names)}: write all, blocks, a name or a glob")
    return chosen


def chosen_layers(names: Sequence[str], layers: str | Sequence[str]) -> set[str]:
    """Those of the scanned layers that a second choice, such as `visualize.layers`, asks for.

    Raises:
        ModelError: if one of its words fits none.
    """
    chosen: set[str] = set()
    for word in _words(layers):
        fitting = set(names) if word == "all" else _fitting(word, names)
        if not fitting:
            raise ModelError(f'"{word}" fits no scanned layer; {suggestion(word, names)}')
        chosen |= fitting
    return chosen


def _words(layers: str | Sequence[str]) -> Sequence[str]:
    return [layers] if isinstance(layers, str) else layers


def _fitting(word: str, names: Sequence[str]) -> set[str]:
    return {name for name in names if name == word or fnmatch.fnmatchcase(name, word)}


def numbered(points: Sequence[ReadPoint], names: set[str]) -> list[ReadPoint]:
    """The chosen points in forward order with their depth; two names of one place are one layer."""
    chosen: list[ReadPoint] = []
    places: set[str] = set()
    for point in points:
        if point.layer in names and point.node not in places:
            places.add(point.node)
            chosen.append(replace(point, depth=len(chosen)))
    return chosen


def with_readouts(points: Sequence[ReadPoint], readouts: Mapping[str, Mapping[str, Readout]]) -> list[ReadPoint]:
    """The points, each followed by its further readouts as points of their own.

    Raises:
        ModelError: if a layer is not among the points, or a readout does not fit its channels.
    """
    names = [point.layer for point in points]
    for layer in readouts:
        if layer not in names:
            raise ModelError(f'readouts are given for "{layer}", which is no chosen layer; {suggestion(layer, names)}')
    found: list[ReadPoint] = []
    for point in points:
        found.append(point)
        for name, units in readouts.get(point.layer, {}).items():
            found.append(_virtual(point, name, units))
    return found


def _virtual(point: ReadPoint, name: str, units: Readout) -> ReadPoint:
    if not name or VIRTUAL_MARK in name:
        raise ModelError(f'a readout of {point.layer} is named "{name}"; a name is not empty and holds no @')
    return replace(
        point,
        layer=virtual_layer(point.layer, name),
        n_channels=units.n_units(point.n_channels),
        readout=f"{name} of: {point.readout}",
        # Their own sign says nothing about what the ReLU lets through.
        relu_follows=False,
        units=units,
    )
