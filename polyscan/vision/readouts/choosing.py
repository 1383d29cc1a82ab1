"""The layers that a job chooses by names and patterns."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from polyscan.errors import ModelError, suggestion
from polyscan.units import VIRTUAL_MARK, virtual_layer
from polyscan.vision.readouts.points import ReadPoint
from polyscan.vision.readouts.structure import Structure
from polyscan.vision.readouts.units import Readout

SPECIAL = ("all", "blocks")


def choose(structure: Structure, layers: str | Sequence[str], network: str) -> set[str]:
    """Names of the read points that `layers` asks for.

    Args:
        structure: the read points of the network, and the layers that can't be read.
        layers: `all` (every convolution and linear layer), `blocks`, a glob, any module's name, or a list of these.
        network: the network's name, for messages.

    Raises:
        ModelError: if one of these fits no layer (the message names the nearest layers), or names one that can't be
            read.
    """
    names = [point.layer for point in structure.points]
    if not names:
        why = "; ".join(f"{layer}: {reason}" for layer, reason in list(structure.left_out.items())[:3])
        raise ModelError(
            f"{network} has no layer that can be read{f' ({why})' if why else ''}: neither a convolution nor a linear "
            "layer is called on the images; name a module of it in `network.layers`"
        )
    chosen: set[str] = set()
    for pattern in _patterns(layers):
        if pattern in structure.left_out:
            raise ModelError(f'layer "{pattern}" of {network} can\'t be read: {structure.left_out[pattern]}')
        matches = structure.kinds[pattern] & set(names) if pattern in SPECIAL else _matches(pattern, names)
        if not matches:
            missing = "no blocks" if pattern == "blocks" else f'no layer "{pattern}"'
            raise ModelError(
                f"{network} has {missing}; {suggestion(pattern, names)}. `polyscan units --all` lists them all."
            )
        chosen |= matches
    if not chosen:
        raise ModelError(f"`layers` is empty; {network} has {len(names)} layers: write all, blocks, a name or a glob")
    return chosen


def chosen_layers(names: Sequence[str], layers: str | Sequence[str]) -> set[str]:
    """The scanned layers that a second choice, such as `visualize.layers`, asks for.

    Raises:
        ModelError: if one of the names or globs fits no layer.
    """
    chosen: set[str] = set()
    for pattern in _patterns(layers):
        matches = set(names) if pattern == "all" else _matches(pattern, names)
        if not matches:
            raise ModelError(f'"{pattern}" fits no scanned layer; {suggestion(pattern, names)}')
        chosen |= matches
    return chosen


def _patterns(layers: str | Sequence[str]) -> Sequence[str]:
    return [layers] if isinstance(layers, str) else layers


def _matches(pattern: str, names: Sequence[str]) -> set[str]:
    return {name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)}


def numbered(points: Sequence[ReadPoint], names: set[str]) -> list[ReadPoint]:
    """The chosen points in forward order with their depth; of several names for one place, only the first is kept."""
    chosen: list[ReadPoint] = []
    places: set[str] = set()
    for point in points:
        if point.layer in names and point.node not in places:
            places.add(point.node)
            chosen.append(replace(point, depth=len(chosen)))
    return chosen


def with_readouts(
    points: Sequence[ReadPoint],
    readouts: Mapping[str, Mapping[str, Readout]],
    of_inputs: Mapping[str, Mapping[str, Readout]],
    input_of: Callable[[ReadPoint], ReadPoint | None],
) -> list[ReadPoint]:
    """The points, each followed by points for its further readouts, then by those for readouts of its inputs.

    Raises:
        ModelError: if a layer is not among the points or has no inputs, or a readout does not fit the channels.
    """
    names = [point.layer for point in points]
    for layer in (*readouts, *of_inputs):
        if layer not in names:
            raise ModelError(
                f'readouts are given for "{layer}", which is not a chosen layer; {suggestion(layer, names)}'
            )
    all_points: list[ReadPoint] = []
    for point in points:
        all_points.append(point)
        for name, units in readouts.get(point.layer, {}).items():
            all_points.append(_virtual(point, name, units))
        if further := of_inputs.get(point.layer):
            inputs = input_of(point)
            if inputs is None:
                raise ModelError(
                    f"layer {point.layer} has no inputs that it reads linearly at each position; leave it out"
                )
            named = replace(inputs, layer=point.layer)
            all_points += [_virtual(named, name, units) for name, units in further.items()]
    return all_points


def _virtual(point: ReadPoint, name: str, units: Readout) -> ReadPoint:
    if not name or VIRTUAL_MARK in name:
        raise ModelError(f'a readout of {point.layer} is named "{name}"; a name must not be empty or contain @')
    return replace(
        point,
        layer=virtual_layer(point.layer, name),
        n_channels=units.n_units(point.n_channels),
        readout=f"{name} of: {point.readout}",
        # The sign of these units does not decide what the ReLU lets through.
        relu_follows=False,
        units=units,
    )
