"""The page of one layer: its numbers in charts and tables, and a row with pictures for each of its units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from polyscan.maps import urls
from polyscan.maps.atlas import Association, Atlas, UnitCard
from polyscan.maps.network_map import ends, layer_data, packed, trend_rows
from polyscan.maps.numbers import MINUS, count_text, interval_text, number_text
from polyscan.maps.templating import page
from polyscan.maps.unit_data import null_entry

COMPARED_WITH = ("kurtosis", "sparsity")
"""Columns that the page plots each score against, if the map has them."""


def layer_page(atlas: Atlas, index: int, cards: Sequence[UnitCard] = ()) -> bytes:
    """The page of the layer at this place.

    Args:
        atlas: the atlas to draw.
        index: place of the layer.
        cards: cards of the layer's units, for the chart of their scores against the null; without cards, no chart.
    """
    layer = atlas.layers[index]
    names = [other.name for other in atlas.layers]
    places = urls.layer_addresses(names)
    trend = trend_table(atlas, layer.name)
    context = {
        "atlas": atlas,
        "layer": layer,
        "count": int((atlas.layer_index == index).sum()),
        "before": link(names, places, index - 1),
        "after": link(names, places, index + 1),
        "trend": trend,
        "has_controls": any(row["controls"] for row in trend),
        "q_column": q_column(atlas),
        "data": layer_data(atlas, index) | charts_data(atlas, index, cards),
    }
    return page("layer.html.j2", root="../", title=f"{layer.name} · {atlas.title}", **context)


def link(names: Sequence[str], places: Sequence[str], index: int) -> tuple[str, str] | None:
    """Name of a layer and its address relative to a layer page; None if there is no layer at this place."""
    if not 0 <= index < len(names):
        return None
    return names[index], places[index].removeprefix("layer/")


def q_column(atlas: Atlas) -> dict[str, str] | None:
    """Name and label of the first column with a false discovery rate; None without such a column."""
    for column in atlas.columns:
        if column.kind == "p" and (column.name == "q" or column.name.endswith("_q")):
            return {"name": column.name, "label": column.label}
    return None


def charts_data(atlas: Atlas, index: int, cards: Sequence[UnitCard]) -> dict[str, Any]:
    """The data of the page's script other than the numbers of the units.

    `means` has the row of each column from `trend_rows`; `place`, `n_layers` and `run` locate the data of the units.
    """
    layer = atlas.layers[index].name
    points = [point for point in atlas.trend if point.layer == layer]
    associations = [association for association in atlas.associations if association.layer == layer]
    return {
        "place": index,
        "n_layers": len(atlas.layers),
        "run": atlas.run,
        "q": q_column(atlas),
        "beside": [column.name for name in COMPARED_WITH for column in atlas.columns if column.name == name],
        "associations": [{"column": a.column, "beside": a.beside, "words": rho_text(a)} for a in associations],
        "means": {name: rows[0] for name, rows in trend_rows(points, [layer]).items()},
        "null": null_data(atlas, index, cards),
    }


def rho_text(association: Association) -> str:
    """Spearman's rank correlation as a text.

    >>> rho_text(Association("conv1", "psi", "kurtosis", 1800, 0.314, 0.12, 0.48))
    "Spearman's rank correlation 0.31 [0.12 to 0.48], 1,800 units"
    """
    units = f"{count_text(association.n)} units"
    if not math.isfinite(association.rho):
        return f"Spearman's rank correlation is not defined over these {units}"
    numbers = (association.rho, association.low, association.high)
    rho, low, high = (f"{number:.2f}".replace("-", MINUS) for number in numbers)
    interval = f" [{low} to {high}]" if all(map(math.isfinite, numbers)) else ""
    return f"Spearman's rank correlation {rho}{interval}, {units}"


def null_data(atlas: Atlas, index: int, cards: Sequence[UnitCard]) -> dict[str, Any] | None:
    """The layer's null as a histogram, and the z of each of these units; None without a null or a z."""
    null = null_entry(atlas.gallery.null(atlas.layers[index].name))
    z = np.array([card.null.z for card in cards if card.null is not None], dtype=np.float32)
    z = z[np.isfinite(z)]
    if null is None or not z.size:
        return None
    return null | {"z": packed(z)}


def quantile_text(value: float, kind: str) -> str:
    """A quantile as a text; a quantile of counts is a whole number unless it lies between two counts."""
    return number_text(value, kind if value.is_integer() else "real")


def trend_table(atlas: Atlas, layer: str) -> list[dict[str, Any]]:
    """For each column the mean over the layer with its interval and quantiles, and the mean of the controls."""
    points = {point.column: point for point in atlas.trend if point.layer == layer and point.n > 0}
    rows: list[dict[str, Any]] = []
    for column in atlas.columns:
        point = points.get(column.name)
        if point is not None:
            numbers = [number_text(number) for number in (point.mean, point.low, point.high)]
            numbers += [quantile_text(number, column.kind) for number in point.quantiles]
            controls = [interval_text(*ends(mean)) for mean in (point.control, point.excess)] if point.control else []
            texts = {"label": column.label, "help": column.help}
            rows.append(texts | {"n": point.n, "numbers": numbers, "controls": controls})
    return rows
