"""The depth trend: one small chart per column, and the same numbers as a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from polyscan.maps.atlas import Atlas, Column, LayerRow, TrendPoint
from polyscan.maps.numbers import number_text

NAMED_LAYERS = 12  # up to so many layers the axis names them; beyond, it counts their depth
CHART_HEIGHT = 170
FONT = "system-ui, sans-serif"
INK = "#3089aa"  # readable on a light and on a dark page
FIELDS = ("column", "layer", "depth", "n", "mean", "low", "high", "q05", "q25", "q50", "q75", "q95")


def trend_csv(points: Sequence[TrendPoint]) -> bytes:
    """All points, one line each, numbers in full; an empty field where there is no number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for point in points:
        numbers = (point.mean, point.low, point.high, *point.quantiles)
        known = [repr(float(number)) if math.isfinite(number) else "" for number in numbers]
        writer.writerow([point.column, point.layer, point.depth, point.n, *known])
    return text.getvalue().encode()


def trend_charts(atlas: Atlas) -> list[dict[str, Any]]:
    """For each column that has a trend: its name, label, help and Vega-Lite specification, in the columns' order."""
    charts: list[dict[str, Any]] = []
    for column in atlas.columns:
        points = [point for point in atlas.trend if point.column == column.name and math.isfinite(point.mean)]
        if points:
            spec = trend_spec(column, points, atlas.layers)
            charts.append({"name": column.name, "label": column.label, "help": column.help, "spec": spec})
    return charts


def trend_spec(column: Column, points: Sequence[TrendPoint], layers: Sequence[LayerRow]) -> dict[str, Any]:
    """Mean with its 95 % interval against depth, as a Vega-Lite specification as wide as its container."""
    rows = [point_row(point) for point in sorted(points, key=lambda point: point.depth)]
    x = depth_axis(layers)
    tooltip = [
        alt.Tooltip("layer:N", title="layer"),
        alt.Tooltip("depth:Q", title="depth", format="d"),
        alt.Tooltip("text:N", title="mean [95 %]"),
        alt.Tooltip("n:Q", title="units", format=",d"),
    ]
    scale = alt.Scale(zero=False, nice=True)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=5, gridOpacity=0.25, domain=False))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    line = base.mark_line(color=INK, strokeWidth=1, opacity=0.45).encode(y=y)
    interval = base.mark_rule(color=INK, strokeWidth=1.6).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    mean = base.mark_point(color=INK, filled=True, size=34, opacity=1).encode(y=y, tooltip=tooltip)
    chart = alt.layer(line, interval, mean).properties(
        width="container",
        height=CHART_HEIGHT,
        background="transparent",
        padding=4,
        description=f"Mean of {column.label} with its 95 % interval, layer by layer",
    )
    words: dict[str, Any] = {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelFont": FONT}
    axes: dict[str, Any] = {
        **words,
        "titleFont": FONT,
        "tickColor": "#8a929a",
        "domainColor": "#8a929a",
        "gridColor": "#8a929a",
    }
    return chart.configure_view(stroke=None).configure_axis(**axes).to_dict()


def depth_axis(layers: Sequence[LayerRow]) -> alt.X:
    """Layer names where they fit, their depth where they do not."""
    if len(layers) <= NAMED_LAYERS:
        names = [layer.name for layer in layers]
        axis = alt.Axis(labelAngle=-40, labelLimit=92, title=None, grid=False)
        return alt.X("layer:N", sort=names, scale=alt.Scale(domain=names), axis=axis)
    ends = [min(layer.depth for layer in layers), max(layer.depth for layer in layers)]
    axis = alt.Axis(title="depth (layer's place in the forward order)", tickMinStep=1, format="d", grid=False)
    return alt.X("depth:Q", scale=alt.Scale(domain=ends, nice=False, padding=6), axis=axis)


def point_row(point: TrendPoint) -> dict[str, Any]:
    """One point as the chart reads it."""
    known = {name: value for name in ("mean", "low", "high") if math.isfinite(value := getattr(point, name))}
    text = number_text(point.mean)
    if "low" in known and "high" in known:
        text += f" [{number_text(point.low)} to {number_text(point.high)}]"
    return {"layer": point.layer, "depth": point.depth, "n": point.n, "text": text, **known}
