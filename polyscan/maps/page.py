"""The maps folder: every file of it, the index last."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np

from polyscan.maps import addresses
from polyscan.maps.atlas import Atlas, Column
from polyscan.maps.depth_trend import trend_charts, trend_csv
from polyscan.maps.layer_page import layer_files
from polyscan.maps.network_map import map_data, unit_order
from polyscan.maps.numbers import number_text
from polyscan.maps.shell import asset_files, page

MOST_RANKED = 20
RANKED_COLUMNS = 5


def pages(atlas: Atlas) -> Iterator[tuple[str, bytes]]:
    """Every file of the maps folder as its relative name and its content, `index.html` last.

    Files come one by one, so that no more than one unit's pictures are held at a time. Who writes them into a
    fresh folder and renames it never leaves half a map.

    Raises:
        ValueError: if the atlas contradicts itself (lengths, unknown layers, a layer or column named twice).
    """
    check(atlas)
    yield from asset_files()
    yield "trend.csv", trend_csv(atlas.trend, atlas.layers)
    for index in range(len(atlas.layers)):
        yield from layer_files(atlas, index)
    yield "index.html", index_page(atlas)


def check(atlas: Atlas) -> None:
    """Refuses what could only be drawn wrongly."""
    n_units = len(atlas.layer_index)
    names = [layer.name for layer in atlas.layers]
    keys = [column.name for column in atlas.columns]
    for what, given in (("layer", names), ("column", keys)):
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"the atlas names {what} {twice[0]!r} twice; each {what} has one name of its own.")
    if not keys:
        raise ValueError("the atlas has no column; the map needs at least one number per unit.")
    lists: dict[str, Sized] = {"channel": atlas.channel, "is_dead": atlas.is_dead}
    if len(atlas.verdict):
        lists["verdict"] = atlas.verdict
    lists |= {f"values[{key!r}]": atlas.values.get(key, ()) for key in keys}
    for what, one in lists.items():
        if len(one) != n_units:
            raise ValueError(f"`{what}` holds {len(one)} units, `layer_index` {n_units}; they must agree.")
    if n_units and not 0 <= atlas.layer_index.min() <= atlas.layer_index.max() < len(names):
        raise ValueError(f"`layer_index` must lie in 0..{len(names) - 1}, got {atlas.layer_index.max()}.")
    strangers = sorted(set(atlas.cards) - set(names))
    if strangers:
        raise ValueError(f"the atlas has cards of layer {strangers[0]!r}, which is not among its layers.")


def index_page(atlas: Atlas) -> bytes:
    """The front page."""
    names = [layer.name for layer in atlas.layers]
    places = addresses.layer_addresses(names)
    drawn = {name: {card.channel for card in cards} for name, cards in atlas.cards.items()}
    most, least = ranked(atlas, places)
    charts = trend_charts(atlas)
    words = {
        "atlas": atlas,
        "places": places,
        "ranks": [("most", most, ties(atlas, most)), ("least", least, ties(atlas, least))],
        "ranked_columns": ranked_columns(atlas),
        "trended": trended_columns(atlas),
        "table": layer_table(atlas, places),
        "charts": charts,
        "trends": [{"rows": chart["rows"], "specs": chart["specs"]} for chart in charts],
        "has_excess": any("excess" in chart["specs"] for chart in charts),
        "weak": any(layer.is_weak for layer in atlas.layers),
        "shown": {name: any(getattr(layer, name) for layer in atlas.layers) for name in ("space", "fpr", "power")},
        "data": map_data(atlas, places, drawn),
    }
    return page("index.html.j2", root="", title=f"{atlas.title} · polyscan", **words)


def ranked_columns(atlas: Atlas) -> list[Column]:
    """The columns that the tables of extreme units show, the default one first; a verdict takes the last one's room."""
    return list(atlas.columns[: RANKED_COLUMNS - bool(len(atlas.verdict))])


def ranked(atlas: Atlas, places: list[str]) -> tuple[list[Any], list[Any]]:
    """The live, scored units with the most and the least of the default column, ties in unit order.

    At most `MOST_RANKED` each, and never one unit in both.
    """
    order = unit_order(atlas)
    values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)[order]
    scored = np.flatnonzero(np.isfinite(values) & ~atlas.is_dead[order].astype(bool))
    count = min(MOST_RANKED, len(scored) // 2)
    rising = scored[np.argsort(values[scored], kind="stable")]
    falling = scored[np.argsort(-values[scored], kind="stable")]
    chosen_most = falling[:count]
    chosen_least = rising[~np.isin(rising, chosen_most)][:count]
    most, least = ([unit_row(atlas, places, int(order[at])) for at in best] for best in (chosen_most, chosen_least))
    return most, least


def ties(atlas: Atlas, rows: list[dict[str, Any]]) -> int:
    """How many live units share the last line's value but stand in no line; the table says so."""
    if not rows:
        return 0
    values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)
    last = rows[-1]["value"]
    same = int(((values == last) & ~atlas.is_dead.astype(bool)).sum())
    return same - sum(row["value"] == last for row in rows)


def unit_row(atlas: Atlas, places: list[str], unit: int) -> dict[str, Any]:
    """One line of the tables of extreme units."""
    index, channel = int(atlas.layer_index[unit]), int(atlas.channel[unit])
    name = atlas.layers[index].name
    columns = ranked_columns(atlas)
    numbers = [number_text(float(atlas.values[column.name][unit]), column.kind) for column in columns]
    address = f"{places[index]}#{addresses.anchor(channel)}"
    value = float(atlas.values[columns[0].name][unit])
    verdict = atlas.verdict[unit] if len(atlas.verdict) else ""
    return {"unit": f"{name}:{channel}", "address": address, "numbers": numbers, "value": value, "verdict": verdict}


def trended_columns(atlas: Atlas) -> list[Column]:
    """The columns that have a trend, in their order."""
    names = {point.column for point in atlas.trend}
    return [column for column in atlas.columns if column.name in names]


def layer_table(atlas: Atlas, places: list[str]) -> list[dict[str, Any]]:
    """The map in words: one line per layer with each trended column's mean and interval."""
    points = {(point.layer, point.column): point for point in atlas.trend if point.n > 0}
    rows: list[dict[str, Any]] = []
    for layer, address in zip(atlas.layers, places, strict=True):
        cells: list[tuple[str, str]] = []
        for column in trended_columns(atlas):
            point = points.get((layer.name, column.name))
            numbers = (None, None, None) if point is None else (point.mean, point.low, point.high)
            mean, low, high = (number_text(number) for number in numbers)
            cells.append((mean, "" if point is None else f"{low} to {high}"))
        rows.append({"layer": layer, "address": address, "cells": cells})
    return rows
