"""The data of the network map: columns packed for the page, and the colour scale of each column.

Law: the page shows exact numbers. Scores are stored as float32 and counts as whole numbers; the browser makes colours
from them, and never reads a number back from a colour.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from polyscan.maps.atlas import Atlas, MapColumn, Mean, TrendPoint
from polyscan.maps.templating import script_json

MOST_STEPS = 10  # most colours of a scale of counts; larger counts share the last one
CLIP_PERCENT = (1.0, 99.0)
LOW_Q = 0.05  # the choice "q below .05" in the map's menu shows units below it
CHANCES = (1.0, 0.1, 0.05, 0.01, 0.001)  # ticks of a scale of p, which runs from the first to the last
SEVERAL, UNJUDGED = "several", "unjudged"
GROUPS = {"probably several": "probable", "suggestive": "suggestive", "no split shown": "none"}
"""The choices in the map's menu by verdict; verdicts that begin with "several" are one choice, all others another."""
COUNT_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int32))

# Thirty-one points of viridis (van der Walt & Smith 2015, CC0); the colours between them are interpolated.
VIRIDIS = (
    "440154 470e61 481a6c 482575 472f7d 443a83 414487 3d4e8a 39568c 35608d 31688e 2d708e 2a788e 27818e 23888e 21918d "
    "1f988b 1fa088 22a884 2ab07f 35b779 43bf71 54c568 66cc5d 7ad151 8fd744 a5db36 bcdf27 d2e21b e9e51a fde725"
)


def viridis_table() -> list[str]:
    """The 256 colours of the scale, from low to high, as `rrggbb`.

    >>> table = viridis_table()
    >>> len(table), table[0], table[-1]
    (256, '440154', 'fde725')
    """
    anchors = np.array([[int(point[start : start + 2], 16) for start in (0, 2, 4)] for point in VIRIDIS.split()])
    places = np.linspace(0, len(anchors) - 1, 256)
    rgb = [np.interp(places, np.arange(len(anchors)), anchors[:, part]) for part in range(3)]
    return ["".join(f"{round(value):02x}" for value in color) for color in np.stack(rgb, axis=1)]


def packed(values: np.ndarray) -> dict[str, Any]:
    """An array as the page reads it: its element type, and its little-endian bytes in base64."""
    kind = values.dtype.newbyteorder("<")
    return {"type": values.dtype.name, "data": base64.b64encode(values.astype(kind).tobytes()).decode("ascii")}


def packed_bits(flags: np.ndarray) -> dict[str, Any]:
    """One flag per unit, eight to a byte, the first in the highest bit."""
    return packed(np.packbits(flags.astype(bool)))


def packed_counts(values: np.ndarray) -> dict[str, Any]:
    """Whole numbers in the smallest type that can hold them; `missing` is the number that marks a missing value.

    Raises:
        ValueError: if a value is not whole or does not fit 32 bits.
    """
    is_known = np.isfinite(values)
    known = values[is_known]
    if np.any(known != np.round(known)):
        wrong = known[known != np.round(known)][0]
        raise ValueError(f'a column of kind "count" holds {wrong}; counts are whole. Give it kind "real".')
    low, high = (known.min(), known.max()) if known.size else (0, 0)
    for kind in COUNT_TYPES:
        missing = np.iinfo(kind).max
        if low >= np.iinfo(kind).min and high < missing:
            return packed(np.where(is_known, values, missing).astype(kind)) | {"missing": int(missing)}
    raise ValueError(f'a count must fit 32 bits, got {low:g} to {high:g}. Give the column kind "real".')


def color_scale(column: MapColumn, values: np.ndarray) -> dict[str, Any]:
    """The colour scale of a column over the live, scored units of the run.

    A real column runs from its 1st to its 99th percentile; `below` and `above` say whether units lie outside. Counts
    have one step per value; `open` says whether the last step includes larger values. A column of p runs from 1 to .001
    in every run, in equal steps of its logarithm; `below` says whether units lie below.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if column.kind == "p":
        return {"ticks": list(CHANCES), "below": bool((known < CHANCES[-1]).any())}
    if column.kind == "count":
        steps = np.unique(known).astype(np.int64).tolist()
        return {"steps": steps[:MOST_STEPS], "open": len(steps) > MOST_STEPS}
    if not known.size:
        return {"low": None, "high": None, "below": False, "above": False}
    low, high = (float(np.float32(end)) for end in np.percentile(known, CLIP_PERCENT))
    if low == high:  # nearly all units have the same value: clipping would hide the others
        low, high = float(known.min()), float(known.max())
    return {"low": low, "high": high, "below": bool(known.min() < low), "above": bool(known.max() > high)}


def column_words(column: MapColumn) -> dict[str, str]:
    """Name, label, help and kind of a column."""
    return {"name": column.name, "label": column.label, "help": column.help, "kind": column.kind}


def packed_column(column: MapColumn, values: np.ndarray, is_dead: np.ndarray) -> dict[str, Any]:
    """A column with its texts, its numbers and its scale."""
    numbers = np.asarray(values, dtype=np.float64)
    if column.kind == "count":
        cells = packed_counts(numbers)
    else:
        numbers = numbers.astype(np.float32)
        cells = packed(numbers)
    return column_words(column) | {"cells": cells, "scale": color_scale(column, numbers[~is_dead])}


def whole_column(atlas: Atlas, place: int) -> dict[str, Any]:
    """The column of all units in unit order, and its trend."""
    order, column = unit_order(atlas), atlas.columns[place]
    content = packed_column(column, atlas.values[column.name][order], atlas.is_dead[order].astype(bool))
    rows = trend_rows([point for point in atlas.trend if point.column == column.name], layer_names(atlas))
    return content | {"trend": rows.get(column.name)}


def column_script(atlas: Atlas, place: int) -> bytes:
    """The script with a column that the front page loads only when it is chosen."""
    content = {"run": atlas.run, "place": place, "column": whole_column(atlas, place)}
    return f"polyscan.deliverColumn({script_json(content)});\n".encode()


def names_script(atlas: Atlas) -> bytes:
    """The script with the names of all units in unit order, which the front page loads at the first search."""
    names = [str(atlas.names[unit]) for unit in unit_order(atlas)] if len(atlas.names) else []
    return f"polyscan.deliverNames({script_json({'run': atlas.run, 'names': names})});\n".encode()


def layer_names(atlas: Atlas) -> list[str]:
    """Names of the layers in forward order."""
    return [layer.name for layer in atlas.layers]


def is_at_once(atlas: Atlas, place: int) -> bool:
    """Whether the front page contains the column from the start: the first one, and key columns of counts and q."""
    column = atlas.columns[place]
    return place == 0 or (column.is_key and (column.kind == "count" or column.name == "q"))


def trend_rows(points: Sequence[TrendPoint], layers: Sequence[str]) -> dict[str, list[list[float | None] | None]]:
    """For each column one row per layer: n, mean, low, high and the five quantiles; None for a layer without a point.

    If a layer has controls, its row goes on with mean, low and high of the controls and of real minus control.
    """
    place = {name: index for index, name in enumerate(layers)}
    rows: dict[str, list[list[float | None] | None]] = {}
    for point in points:
        if point.n > 0 and point.layer in place:
            controls = [*ends(point.control), *ends(point.excess)] if point.control else []
            numbers = [point.n, point.mean, point.low, point.high, *point.quantiles, *controls]
            row = [float(f"{number:.7g}") if np.isfinite(number) else None for number in numbers]
            rows.setdefault(point.column, [None] * len(layers))[place[point.layer]] = row
    return rows


def ends(mean: Mean | None) -> tuple[float, float, float]:
    """The mean and the ends of its interval; NaN without a mean."""
    return (mean.mean, mean.low, mean.high) if mean else (np.nan, np.nan, np.nan)


def verdict_group(word: str) -> str:
    """The choice in the map's menu that shows units with this verdict.

    >>> verdict_group("several, certified"), verdict_group("no split shown"), verdict_group("off range")
    ('several', 'none', 'unjudged')
    """
    return SEVERAL if word.startswith(SEVERAL) else GROUPS.get(word, UNJUDGED)


def packed_verdicts(verdicts: Sequence[str]) -> dict[str, Any] | None:
    """The verdicts that occur, the group of each, and for each unit the index of its verdict; None without verdicts."""
    if not len(verdicts):
        return None
    words = sorted(set(verdicts))
    place = {word: index for index, word in enumerate(words)}
    cells = packed_counts(np.array([place[word] for word in verdicts], dtype=np.float64))
    return {"words": words, "groups": [verdict_group(word) for word in words], "cells": cells}


def sorted_verdicts(atlas: Atlas, order: np.ndarray) -> list[str]:
    """The verdicts of the units in this order; empty if the atlas has no verdicts."""
    return [str(atlas.verdict[unit]) for unit in order] if len(atlas.verdict) else []


def unit_order(atlas: Atlas) -> np.ndarray:
    """Indices of the units, sorted by layer and channel."""
    return np.lexsort((atlas.channel, atlas.layer_index))


def map_data(atlas: Atlas, addresses: Sequence[str]) -> dict[str, Any]:
    """Everything that the map's script reads at the start; each other column is in a separate script.

    Args:
        atlas: the atlas to draw.
        addresses: address of each layer's page, relative to the front page.
    """
    order = unit_order(atlas)
    counts = np.bincount(atlas.layer_index, minlength=len(atlas.layers)).tolist()
    low_q = np.asarray(atlas.q, dtype=np.float64)[order] < LOW_Q if len(atlas.q) else None
    return {
        "run": atlas.run,
        "layers": [
            {"name": layer.name, "count": count, "address": address, "weak": layer.is_weak}
            for layer, count, address in zip(atlas.layers, counts, addresses, strict=True)
        ],
        "channel": packed_channels(atlas.channel[order], counts),
        "dead": packed_bits(atlas.is_dead[order]),
        "columns": [
            whole_column(atlas, place) if is_at_once(atlas, place) else column_words(column)
            for place, column in enumerate(atlas.columns)
        ],
        "verdict": packed_verdicts(sorted_verdicts(atlas, order)),
        "lowQ": None if low_q is None else packed_bits(low_q),
        "named": bool(len(atlas.names)),
        "colors": "".join(viridis_table()),
    }


def packed_channels(channel: np.ndarray, counts: Sequence[int]) -> dict[str, Any] | None:
    """The channels of all units in unit order; None if each layer has the channels 0, 1, ... up to its count."""
    is_whole = np.array_equal(channel, np.concatenate([np.empty(0, int), *(np.arange(count) for count in counts)]))
    return None if is_whole else packed_counts(channel.astype(np.float64))


def layer_data(atlas: Atlas, index: int) -> dict[str, Any]:
    """The units of one layer and their numbers, for its page, which shows the scores of units without pictures too."""
    order = unit_order(atlas)
    order = order[atlas.layer_index[order] == index]
    is_dead = atlas.is_dead[order].astype(bool)
    columns = [packed_column(column, atlas.values[column.name][order], is_dead) for column in atlas.columns]
    channel = packed_counts(atlas.channel[order].astype(np.float64))
    name = atlas.layers[index].name
    verdict = packed_verdicts(sorted_verdicts(atlas, order))
    return {"layer": name, "channel": channel, "dead": packed_bits(is_dead), "columns": columns, "verdict": verdict}
