"""One layer's page: its numbers, and all its units with their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyscan.maps import addresses
from polyscan.maps.atlas import Atlas
from polyscan.maps.network_map import ends, layer_data
from polyscan.maps.numbers import interval_text, number_text
from polyscan.maps.shell import page


def layer_page(atlas: Atlas, index: int) -> bytes:
    """The page of the layer with that place."""
    layer = atlas.layers[index]
    names = [other.name for other in atlas.layers]
    places = addresses.layer_addresses(names)
    trend = trend_table(atlas, layer.name)
    words = {
        "atlas": atlas,
        "layer": layer,
        "count": int((atlas.layer_index == index).sum()),
        "before": link(names, places, index - 1),
        "after": link(names, places, index + 1),
        "trend": trend,
        "has_controls": any(row["beside"] for row in trend),
        "data": layer_data(atlas, index),
    }
    return page("layer.html.j2", root="../", title=f"{layer.name} · {atlas.title}", **words)


def link(names: Sequence[str], places: Sequence[str], index: int) -> tuple[str, str] | None:
    """Name and address of a neighbouring layer, as seen from a layer page; None beyond the ends."""
    if not 0 <= index < len(names):
        return None
    return names[index], places[index].removeprefix("layer/")


def quantile_text(value: float, kind: str) -> str:
    """A quantile of counts is a whole number unless it fell between two."""
    return number_text(value, kind if value.is_integer() else "real")


def trend_table(atlas: Atlas, layer: str) -> list[dict[str, Any]]:
    """The layer's mean of each column with its interval, in the columns' order, and what its controls have."""
    points = {point.column: point for point in atlas.trend if point.layer == layer and point.n > 0}
    rows: list[dict[str, Any]] = []
    for column in atlas.columns:
        point = points.get(column.name)
        if point is not None:
            numbers = [number_text(number) for number in (point.mean, point.low, point.high)]
            numbers += [quantile_text(number, column.kind) for number in point.quantiles]
            beside = [interval_text(*ends(mean)) for mean in (point.control, point.excess)] if point.control else []
            words = {"label": column.label, "help": column.help}
            rows.append(words | {"n": point.n, "numbers": numbers, "beside": beside})
    return rows
