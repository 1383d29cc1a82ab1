"""The front page: the network map, the depth trend, the extreme units and the table of layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyscan.maps import urls
from polyscan.maps.atlas import Atlas, MapColumn, SecondRow
from polyscan.maps.depth_trend import flat_words, is_chosen, trend_charts
from polyscan.maps.network_map import is_at_once, map_data, unit_order
from polyscan.maps.numbers import number_text, strength_text
from polyscan.maps.templating import page
from polyscan.maps.unit_data import second_verdict, strength

MOST_RANKED = 20
RANKED_COLUMNS = 5

PROOF = ("space", "fpr", "power", "p_05", "random")
"""What the table of layers shows of each layer if any layer has it."""
SECOND = ("fpr", "power", "p_05", "random", "at_least")
"""The same of the table of the second test."""


def index_page(atlas: Atlas) -> bytes:
    """The front page."""
    names = [layer.name for layer in atlas.layers]
    places = urls.layer_addresses(names)
    highest, lowest = ranked(atlas)
    context = {
        "atlas": atlas,
        "places": places,
        "ranks": [("highest", highest, ties(atlas, highest)), ("lowest", lowest, ties(atlas, lowest))],
        "ranked_columns": ranked_columns(atlas),
        "trended": trended_columns(atlas),
        "table": layer_table(atlas, places),
        "flat": flat_words(atlas),
        "weak": any(layer.is_weak for layer in atlas.layers),
        "shown": {name: any(getattr(layer, name) for layer in atlas.layers) for name in PROOF}
        | {"at_least": any(layer.at_least is not None for layer in atlas.layers)},
        "second": second_shown(atlas),
        "has_q": bool(len(atlas.q)),
        "has_second": bool(len(atlas.second_verdict)),
        "named": bool(len(atlas.names)),
        "data": map_data(atlas, places),
        **chart_context(atlas),
    }
    return page("index.html.j2", root="", title=f"{atlas.title} · polyscan", **context)


def second_shown(atlas: Atlas) -> dict[str, bool]:
    """Which numbers of the second test some layer has; empty in a run without it."""
    rows = [layer.second for layer in atlas.layers if layer.second]
    shown = {name: any(getattr(row, name) is not None for row in rows) for name in SECOND}
    return shown if any(shown.values()) else {}


def chart_context(atlas: Atlas) -> dict[str, Any]:
    """The charts of the depth trend, as the template and the page's script read them."""
    charts = trend_charts(atlas)
    return {
        "charts": charts,
        "trends": [{"rows": chart["rows"], "specs": chart["specs"]} for chart in charts],
        "has_excess": any("excess" in chart["specs"] for chart in charts),
    }


def ranked_columns(atlas: Atlas) -> list[MapColumn]:
    """The columns in the tables of extreme units: the default one, then those that the page has from the start.

    Columns for verdicts of both tests and names replace the last ones.
    """
    at_once = [column for place, column in enumerate(atlas.columns) if place and is_at_once(atlas, place)]
    columns = [atlas.columns[0], *(at_once or atlas.columns[1:])]
    others = (atlas.verdict, atlas.second_verdict, atlas.names)
    return columns[: RANKED_COLUMNS - sum(bool(len(values)) for values in others)]


def ranked(atlas: Atlas) -> tuple[list[Any], list[Any]]:
    """The live, scored units with the highest and the lowest values of the default column, ties in unit order.

    At most `MOST_RANKED` each; no unit is in both lists.
    """
    order = unit_order(atlas)
    values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)[order]
    scored = np.flatnonzero(np.isfinite(values) & ~atlas.is_dead[order].astype(bool))
    count = min(MOST_RANKED, len(scored) // 2)
    rising = scored[np.argsort(values[scored], kind="stable")]
    falling = scored[np.argsort(-values[scored], kind="stable")]
    highest = falling[:count]
    lowest = rising[~np.isin(rising, highest)][:count]
    highest_rows, lowest_rows = ([unit_row(atlas, int(unit)) for unit in order[places]] for places in (highest, lowest))
    return highest_rows, lowest_rows


def ties(atlas: Atlas, rows: list[dict[str, Any]]) -> int:
    """Number of live units with the value of the last row that are not in the table."""
    if not rows:
        return 0
    values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)
    last = rows[-1]["value"]
    same = int(((values == last) & ~atlas.is_dead.astype(bool)).sum())
    return same - sum(row["value"] == last for row in rows)


def unit_row(atlas: Atlas, unit: int) -> dict[str, Any]:
    """One row of the tables of extreme units."""
    index, channel = int(atlas.layer_index[unit]), int(atlas.channel[unit])
    name = atlas.layers[index].name
    columns = ranked_columns(atlas)
    numbers = [number_text(float(atlas.values[column.name][unit]), column.kind) for column in columns]
    address = urls.unit_address(name, channel)
    value = float(atlas.values[columns[0].name][unit])
    verdict = atlas.verdict[unit] if len(atlas.verdict) else ""
    unit_name = atlas.names[unit] if len(atlas.names) else ""
    row = {"unit": f"{name}:{channel}", "address": address, "numbers": numbers}
    second = {"second": second_verdict(atlas, unit), "strength": strength_text(strength(atlas, unit))}
    return row | {"value": value, "verdict": verdict, "name": unit_name} | second


def trended_columns(atlas: Atlas) -> list[MapColumn]:
    """The key columns that have a trend, and the shares; all columns with a trend if no column is key."""
    names = {point.column for point in atlas.trend}
    columns = [column for column in atlas.columns if column.name in names]
    return [column for column in columns if column.is_key] + list(atlas.shares) if is_chosen(atlas) else columns


def layer_table(atlas: Atlas, places: list[str]) -> list[dict[str, Any]]:
    """The rows of the tables of layers: for each layer the mean and interval of each trended column, and both tests."""
    points = {(point.layer, point.column): point for point in atlas.trend if point.n > 0}
    rows: list[dict[str, Any]] = []
    for layer, address in zip(atlas.layers, places, strict=True):
        cells: list[tuple[str, str]] = []
        for column in trended_columns(atlas):
            point = points.get((layer.name, column.name))
            numbers = (None, None, None) if point is None else (point.mean, point.low, point.high)
            mean, low, high = (number_text(number) for number in numbers)
            cells.append((mean, "" if point is None else f"{low} to {high}"))
        rows.append({"layer": layer, "second": layer.second or SecondRow(), "address": address, "cells": cells})
    return rows
