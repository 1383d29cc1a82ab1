"""The depth trend: small charts per column, and the same numbers as a CSV file.

Each column has its units' mean, layer by layer, beside that of the layer's one-concept controls, and under it real
minus control, the finding.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt

from polyscan.maps.atlas import LEAST_POWER, Atlas, LayerRow, MapColumn, Rate, TrendPoint
from polyscan.maps.network_map import ends
from polyscan.maps.numbers import NONE, number_text, share_text

NAMED_LAYERS = 12  # up to so many layers the axis names them; beyond, it counts their depth
CHART_HEIGHT = 170
ABOVE_HEIGHT, BELOW_HEIGHT = 130, 115  # of the means, and of real minus control under them, which names the layers
POINTS = "points"
FONT = "system-ui, sans-serif"
INK = "#3089aa"  # readable on a light and on a dark page
GREY = "#8a929a"
FAINT = 0.3
SOLID, DASHED = (1, 0), (4, 3)
ASIDE = 5  # pixels between a layer's units and its controls
# The layers' names, slanted and cut off, reach no further to the left than the numbers of the other axis, so that the
# same layer stands at the same place in both charts.
SLANT, NAME_LENGTH, LEFT = -60, 84, 46
FIELDS = (
    *("column", "layer", "depth", "n", "mean", "low", "high", "q05", "q25", "q50", "q75", "q95"),
    *("control", "control_low", "control_high", "excess", "excess_low", "excess_high", "fpr_05", "power_05"),
)


def trend_csv(points: Sequence[TrendPoint], layers: Sequence[LayerRow]) -> bytes:
    """All points, one line each, numbers in full; an empty field where there is no number."""
    rows = {layer.name: layer for layer in layers}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for point in points:
        layer = rows.get(point.layer)
        rates = (layer.fpr, layer.power) if layer else (None, None)
        shares = [rate.share if rate else math.nan for rate in rates]
        numbers = (point.mean, point.low, point.high, *point.quantiles, *ends(point.control), *ends(point.excess))
        known = [repr(float(number)) if math.isfinite(number) else "" for number in (*numbers, *shares)]
        writer.writerow([point.column, as_text(point.layer), point.depth, point.n, *known])
    return text.getvalue().encode()


def as_text(name: str) -> str:
    """The name such that no spreadsheet takes it for a formula: an apostrophe before what would begin one.

    >>> as_text("layer1.0.conv"), as_text("=HYPERLINK(1)")
    ('layer1.0.conv', "'=HYPERLINK(1)")
    """
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def is_chosen(atlas: Atlas) -> bool:
    """Whether some columns are key, so that not all of them have a chart."""
    return any(column.is_key for column in atlas.columns)


def charted(atlas: Atlas) -> list[MapColumn]:
    """The columns that have a chart: real ones that are key, then shares; all where none is key."""
    if not is_chosen(atlas):
        return [*atlas.columns, *atlas.shares]
    return [*(column for column in atlas.columns if column.is_key and column.kind == "real"), *atlas.shares]


def is_flat(points: Sequence[TrendPoint]) -> bool:
    """Whether all layers' units have one and the same number: there is nothing to be drawn."""
    return all(point.low == point.high == points[0].mean for point in points)


def flat_words(atlas: Atlas) -> str:
    """A sentence on the charts that are left out for it; empty where there is none."""
    flat: list[str] = []
    for column in charted(atlas):
        points = [point for point in atlas.trend if point.column == column.name and math.isfinite(point.mean)]
        if points and is_flat(points):
            flat.append(f"{column.label} is {number_text(points[0].mean, column.kind)} in every layer")
    return f"Not drawn: {'; '.join(flat)}." if flat else ""


def trend_charts(atlas: Atlas) -> list[dict[str, Any]]:
    """Name, label, help, kind, rows and specifications of each column that has a trend, in the columns' order.

    `specs` holds `mean`, and `excess` where the column has controls: Vega-Lite charts of one and the same `rows`, which
    they call `POINTS` and which the page's script gives them.
    """
    known = {layer.name: layer for layer in atlas.layers}
    specs = cache(lambda has_excess: trend_specs(atlas.layers, has_excess=has_excess))
    charts: list[dict[str, Any]] = []
    for column in charted(atlas):
        points = [point for point in atlas.trend if point.column == column.name and math.isfinite(point.mean)]
        if points and not is_flat(points):
            points.sort(key=lambda point: point.depth)
            rows = [point_row(point, known.get(point.layer)) for point in points]
            words = {"name": column.name, "label": column.label, "help": column.help, "kind": column.kind}
            drawn = specs(any("excess" in row for row in rows))
            told = described(column, has_excess=len(drawn) > 1)
            its = {name: spec | {"description": told[name]} for name, spec in drawn.items()}
            charts.append(words | {"rows": rows, "specs": its})
    return charts


def trend_specs(layers: Sequence[LayerRow], *, has_excess: bool) -> dict[str, dict[str, Any]]:
    """Means, and real minus control, with their 95 % intervals against depth, each as wide as its container.

    They name no column: all columns' rows have the same fields, and Altair takes its time.
    """
    tooltip = tooltips(has_excess, any(layer.power for layer in layers))
    base = alt.Chart(alt.NamedData(POINTS)).encode(x=depth_axis(layers, is_named=not has_excess))
    marks = series(base, "mean", INK, tooltip)
    if has_excess:
        marks = series(base, "control", GREY, tooltip, aside=ASIDE, dash=DASHED) + marks
    specs = {"mean": finished(marks, "", ABOVE_HEIGHT if has_excess else CHART_HEIGHT)}
    if has_excess:
        zero = alt.Chart(alt.Data(values=[{}])).mark_rule(color=GREY, strokeWidth=1, aria=False).encode(y=alt.YDatum(0))
        below = base.encode(x=depth_axis(layers, is_named=True))
        specs["excess"] = finished([zero, *series(below, "excess", INK, tooltip)], "", BELOW_HEIGHT)
    return specs


def described(column: MapColumn, *, has_excess: bool) -> dict[str, str]:
    """What a screen reader says of each chart."""
    words = f"Mean of {column.label} with its 95 % interval, layer by layer"
    return {
        "mean": words + (", and of one-concept controls" if has_excess else ""),
        "excess": f"{column.label}: real minus control, layer by layer",
    }


def series(
    base: alt.Chart,
    name: str,
    color: str,
    tooltip: Sequence[alt.Tooltip],
    *,
    aside: int = 0,
    dash: Sequence[int] = SOLID,
) -> list[alt.Chart]:
    """A line through the layers' numbers of that name, intervals and points; faint where a layer is weak."""
    axis = alt.Axis(tickCount=5, gridOpacity=0.25, domain=False, minExtent=LEFT)
    y = alt.Y(f"{name}:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=axis)
    low = alt.Y(f"{name}_low:Q", title=None)
    opacity = alt.condition("datum.weak", alt.value(FAINT), alt.value(1.0))
    with_number = base.transform_filter(f"isValid(datum.{name})")
    line = with_number.mark_line(color=color, strokeWidth=1, opacity=0.45, xOffset=aside, strokeDash=list(dash)).encode(
        y=y
    )
    interval = base.transform_filter(f"isValid(datum.{name}_low)").mark_rule(
        color=color, strokeWidth=1.6, xOffset=aside, strokeDash=list(dash)
    )
    point = with_number.mark_point(color=color, filled=True, size=34, xOffset=aside)
    return [
        line,
        interval.encode(y=low, y2=f"{name}_high:Q", opacity=opacity),
        point.encode(y=y, tooltip=list(tooltip), opacity=opacity),
    ]


def tooltips(has_controls: bool, has_power: bool) -> list[alt.Tooltip]:
    """What a point tells: only lines that the run has numbers for."""
    lines = [
        alt.Tooltip("layer:N", title="layer"),
        alt.Tooltip("depth:Q", title="depth", format="d"),
        alt.Tooltip("text:N", title="mean [95 %]"),
        alt.Tooltip("n:Q", title="units", format=",d"),
    ]
    if has_controls:
        lines.append(alt.Tooltip("control_text:N", title="one-concept controls"))
        lines.append(alt.Tooltip("excess_text:N", title="real minus control"))
    if has_power:
        lines.append(alt.Tooltip("power:N", title="planted pairs found"))
    return lines


def finished(marks: Sequence[alt.Chart], description: str, height: int) -> dict[str, Any]:
    """The marks as one specification, in the pages' type and greys."""
    chart = alt.layer(*marks).properties(
        width="container", height=height, background="transparent", padding=4, description=description
    )
    words: dict[str, Any] = {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelFont": FONT}
    axes: dict[str, Any] = {**words, "titleFont": FONT, "tickColor": GREY, "domainColor": GREY, "gridColor": GREY}
    return chart.configure_view(stroke=None).configure_axis(**axes).to_dict()


def depth_axis(layers: Sequence[LayerRow], *, is_named: bool) -> alt.X:
    """Layer names where they fit, their depth where they do not; ticks alone where the chart below names them."""
    if len(layers) <= NAMED_LAYERS:
        names = [layer.name for layer in layers]
        axis = alt.Axis(labelAngle=SLANT, labelLimit=NAME_LENGTH, labels=is_named, title=None, grid=False)
        return alt.X("layer:N", sort=names, scale=alt.Scale(domain=names), axis=axis)
    extent = [min(layer.depth for layer in layers), max(layer.depth for layer in layers)]
    title = "depth (layer's place in the forward order)" if is_named else None
    axis = alt.Axis(title=title, tickMinStep=1, format="d", grid=False, labels=is_named)
    return alt.X("depth:Q", scale=alt.Scale(domain=extent, nice=False, padding=6), axis=axis)


def point_row(point: TrendPoint, layer: LayerRow | None) -> dict[str, Any]:
    """One point as the charts read it; the page's script adds what its tooltip says (`trend.js`)."""
    numbers = {"mean": point.mean, "mean_low": point.low, "mean_high": point.high}
    for name, mean in (("control", point.control), ("excess", point.excess)):
        numbers |= dict(zip((name, f"{name}_low", f"{name}_high"), ends(mean), strict=True))
    words = {
        "layer": point.layer,
        "controls": point.control.n if point.control else 0,
        "power": power_text(layer.power if layer else None),
    }
    known = {name: float(f"{number:.7g}") for name, number in numbers.items() if math.isfinite(number)}
    return {"depth": point.depth, "n": point.n, "weak": bool(layer and layer.is_weak), **words, **known}


def power_text(power: Rate | None) -> str:
    """The share of planted pairs that are found, and a word where it is less than half."""
    if power is None:
        return NONE
    share, low, high = (share_text(number) for number in (power.share, power.low, power.high))
    weak = "power below .5: " if power.share < LEAST_POWER else ""
    return f"{weak}{share} [{low}, {high}], {power.n}"
