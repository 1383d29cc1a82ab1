"""One layer's page: its numbers in charts and tables, and a line with pictures for each of its units."""

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

BESIDE = ("kurtosis", "sparsity")
"""Columns that each score is held against, where the map has them."""


def layer_page(atlas: Atlas, index: int, cards: Sequence[UnitCard] = ()) -> bytes:
    """The page of the layer with that place.

    Args:
        atlas: what is drawn.
        index: the layer's place.
        cards: of the layer's units, for how each one's score stands to the null; none where that is not drawn.
    """
    layer = atlas.layers[index]
    names = [other.name for other in atlas.layers]
    places = urls.layer_addresses(names)
    trend = trend_table(atlas, layer.name)
    words = {
        "atlas": atlas,
        "layer": layer,
        "count": int((atlas.layer_index == index).sum()),
        "before": link(names, places, index - 1),
        "after": link(names, places, index + 1),
        "trend": trend,
        "has_controls": any(row["beside"] for row in trend),
        "q_column": q_column(atlas),
        "data": layer_data(atlas, index) | charts_data(atlas, index, cards),
    }
    return page("layer.html.j2", root="../", title=f"{layer.name} · {atlas.title}", **words)


def link(names: Sequence[str], places: Sequence[str], index: int) -> tuple[str, str] | None:
    """Name and address of a neighbouring layer, as seen from a layer page; None beyond the ends."""
    if not 0 <= index < len(names):
        return None
    return names[index], places[index].removeprefix("layer/")


def q_column(atlas: Atlas) -> dict[str, str] | None:
    """Name and label of the first column that holds a false discovery rate; None where there is none."""
    for column in atlas.columns:
        if column.kind == "p" and (column.name == "q" or column.name.endswith("_q")):
            return {"name": column.name, "label": column.label}
    return None


def charts_data(atlas: Atlas, index: int, cards: Sequence[UnitCard]) -> dict[str, Any]:
    """What the page needs beside the units' numbers.

    `means` hold each column's row as `trend_rows` has them; `place`, `n_layers` and `run` lead to the units' data.
    """
    layer = atlas.layers[index].name
    points = [point for point in atlas.trend if point.layer == layer]
    found = [one for one in atlas.associations if one.layer == layer]
    return {
        "place": index,
        "n_layers": len(atlas.layers),
        "run": atlas.run,
        "q": q_column(atlas),
        "beside": [column.name for name in BESIDE for column in atlas.columns if column.name == name],
        "associations": [{"column": one.column, "beside": one.beside, "words": rho_text(one)} for one in found],
        "means": {name: rows[0] for name, rows in trend_rows(points, [layer]).items()},
        "null": null_data(atlas, index, cards),
    }


def rho_text(found: Association) -> str:
    """Spearman's rank correlation as it is read.

    >>> rho_text(Association("conv1", "psi", "kurtosis", 1800, 0.314, 0.12, 0.48))
    "Spearman's rank correlation 0.31 [0.12 to 0.48], 1,800 units"
    """
    if not math.isfinite(found.rho):
        return f"Spearman's rank correlation is not defined over these {count_text(found.n)} units"
    rho, low, high = (f"{end:.2f}".replace("-", MINUS) for end in (found.rho, found.low, found.high))
    interval = f" [{low} to {high}]" if math.isfinite(found.low) and math.isfinite(found.high) else ""
    return f"Spearman's rank correlation {rho}{interval}, {count_text(found.n)} units"


def null_data(atlas: Atlas, index: int, cards: Sequence[UnitCard]) -> dict[str, Any] | None:
    """The layer's null as a histogram, and the z of each of these units; None where either is not known."""
    null = atlas.gallery.null(atlas.layers[index].name)
    z = np.array([card.null.z for card in cards if card.null is not None], dtype=np.float32)
    z = z[np.isfinite(z)]
    if null is None or not z.size:
        return None
    sets = {"score": null.score, "low": null.low, "width": null.width, "counts": list(null.counts)}
    return sets | {"z": packed(z)}


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
