"""The depth trend: small charts per column, and the same numbers as a CSV file.

The upper chart of a column shows the mean over the units of each layer with the mean over its single-concept controls;
the lower chart shows the result, real minus control.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt

from polyscan.maps.atlas import LEAST_POWER, Atlas, LayerRow, MapColumn, Rate, SecondRow, TrendPoint
from polyscan.maps.network_map import column_words, ends
from polyscan.maps.numbers import NONE, number_text, share_text

NAMED_LAYERS = 12  # with more layers than this the axis shows their depth instead of their names
CHART_HEIGHT = 170
ABOVE_HEIGHT, BELOW_HEIGHT = 130, 115  # of the chart of means, and of real minus control, which names the layers
POINTS = "points"
FONT = "system-ui, sans-serif"
INK = "#3089aa"  # readable on a light and on a dark page
GREY = "#8a929a"
FAINT = 0.3
SOLID, DASHED = (1, 0), (4, 3)
ASIDE = 5  # pixels between a layer's units and its controls
# Layer names are slanted and cut off so that they reach no further to the left than the numbers of the other axis.
# A layer is then at the same place in both charts.
SLANT, NAME_LENGTH, LEFT = -60, 84, 46
FIELDS = (
    *("column", "layer", "depth", "n", "mean", "low", "high", "q05", "q25", "q50", "q75", "q95"),
    *("control", "control_low", "control_high", "excess", "excess_low", "excess_high"),
    *("fpr_05", "power_05", "random_05", "at_least"),
    *("second_fpr_05", "second_power_05", "second_random_05", "second_at_least"),
)


def trend_csv(points: Sequence[TrendPoint], layers: Sequence[LayerRow]) -> bytes:
    """All points, one line each, numbers in full; a missing number is an empty field."""
    rows = {layer.name: layer for layer in layers}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for point in points:
        layer = rows.get(point.layer)
        shares = [*layer_numbers(layer), *layer_numbers(layer.second if layer else None)]
        numbers = (point.mean, point.low, point.high, *point.quantiles, *ends(point.control), *ends(point.excess))
        known = [repr(float(number)) if math.isfinite(number) else "" for number in (*numbers, *shares)]
        writer.writerow([point.column, as_text(point.layer), point.depth, point.n, *known])
    return text.getvalue().encode()


def layer_numbers(layer: LayerRow | SecondRow | None) -> tuple[float, ...]:
    """What one test says of a layer: shares of controls, planted pairs and random directions, and the bound."""
    if layer is None:
        return (math.nan,) * 4
    shares = (rate.share if rate else math.nan for rate in (layer.fpr, layer.power, layer.random))
    return (*shares, math.nan if layer.at_least is None else layer.at_least)


def as_text(name: str) -> str:
    """The name, with an apostrophe in front if a spreadsheet would read it as a formula.

    >>> as_text("layer1.0.conv"), as_text("=HYPERLINK(1)")
    ('layer1.0.conv', "'=HYPERLINK(1)")
    """
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def is_chosen(atlas: Atlas) -> bool:
    """Whether some columns are key columns, so that not all columns have a chart."""
    return any(column.is_key for column in atlas.columns)


def charted_columns(atlas: Atlas) -> list[MapColumn]:
    """The columns with a chart: real key columns, then shares; all columns if no column is key."""
    if not is_chosen(atlas):
        return [*atlas.columns, *atlas.shares]
    return [*(column for column in atlas.columns if column.is_key and column.kind == "real"), *atlas.shares]


def is_flat(points: Sequence[TrendPoint]) -> bool:
    """Whether all units of all layers have the same number, so that a chart would show nothing."""
    return all(point.low == point.high == points[0].mean for point in points)


def flat_words(atlas: Atlas) -> str:
    """A sentence on the charts that are left out because they are flat; "" if there are none."""
    flat: list[str] = []
    for column in charted_columns(atlas):
        points = known_points(atlas, column)
        if points and is_flat(points):
            flat.append(f"{column.label} is {number_text(points[0].mean, column.kind)} in every layer")
    return f"Not drawn: {'; '.join(flat)}." if flat else ""


def known_points(atlas: Atlas, column: MapColumn) -> list[TrendPoint]:
    """The points of this column that have a mean, for layers of channels: directions of one's own are no depth."""
    aside = {layer.name for layer in atlas.layers if layer.parent}
    points = (point for point in atlas.trend if point.column == column.name and point.layer not in aside)
    return [point for point in points if math.isfinite(point.mean)]


def trend_charts(atlas: Atlas) -> list[dict[str, Any]]:
    """Name, label, help, kind, rows and specifications of each column that has a trend, in the order of the columns.

    `specs` holds `mean`, and `excess` if the column has controls: Vega-Lite charts of the same `rows`. They refer to
    the rows as `POINTS`; the page's script fills them in.
    """
    layers = {layer.name: layer for layer in atlas.layers}
    charted = [layer for layer in atlas.layers if not layer.parent]
    specs_of = cache(lambda has_excess: trend_specs(charted, has_excess=has_excess))
    charts: list[dict[str, Any]] = []
    for column in charted_columns(atlas):
        points = known_points(atlas, column)
        if points and not is_flat(points):
            points.sort(key=lambda point: point.depth)
            rows = [point_row(point, layers.get(point.layer)) for point in points]
            specs = specs_of(any("excess" in row for row in rows))
            texts = descriptions(column, has_excess=len(specs) > 1)
            described = {name: spec | {"description": texts[name]} for name, spec in specs.items()}
            charts.append(column_words(column) | {"rows": rows, "specs": described})
    return charts


def trend_specs(layers: Sequence[LayerRow], *, has_excess: bool) -> dict[str, dict[str, Any]]:
    """Means, and real minus control, with their 95 % intervals against depth, each as wide as its container.

    The specifications serve every column, because all rows have the same fields and Altair is slow.
    """
    tooltip = tooltips(has_excess, any(layer.power for layer in layers))
    base = alt.Chart(alt.NamedData(POINTS)).encode(x=depth_axis(layers, is_named=not has_excess))
    marks = series(base, "mean", INK, tooltip)
    if has_excess:
        marks = series(base, "control", GREY, tooltip, offset=ASIDE, dash=DASHED) + marks
    specs = {"mean": layered_spec(marks, "", ABOVE_HEIGHT if has_excess else CHART_HEIGHT)}
    if has_excess:
        zero = alt.Chart(alt.Data(values=[{}])).mark_rule(color=GREY, strokeWidth=1, aria=False).encode(y=alt.YDatum(0))
        below = base.encode(x=depth_axis(layers, is_named=True))
        specs["excess"] = layered_spec([zero, *series(below, "excess", INK, tooltip)], "", BELOW_HEIGHT)
    return specs


def descriptions(column: MapColumn, *, has_excess: bool) -> dict[str, str]:
    """The descriptions of the charts for screen readers."""
    return {
        "mean": f"Mean of {column.label} with its 95 % interval for each layer"
        + (", and of its single-concept controls" if has_excess else ""),
        "excess": f"{column.label}: real minus control for each layer",
    }


def series(
    base: alt.Chart,
    name: str,
    color: str,
    tooltip: Sequence[alt.Tooltip],
    *,
    offset: int = 0,
    dash: Sequence[int] = SOLID,
) -> list[alt.Chart]:
    """A line through the layers' numbers of that name, intervals and points; faint for weak layers."""
    y, low = value_axis(name), alt.Y(f"{name}_low:Q", title=None)
    style: dict[str, Any] = {"color": color, "xOffset": offset, "strokeDash": list(dash)}
    opacity = alt.condition("datum.weak", alt.value(FAINT), alt.value(1.0))
    valued = base.transform_filter(f"isValid(datum.{name})")
    line = valued.mark_line(strokeWidth=1, opacity=0.45, **style)
    interval = base.transform_filter(f"isValid(datum.{name}_low)").mark_rule(strokeWidth=1.6, **style)
    point = valued.mark_point(color=color, filled=True, size=34, xOffset=offset)
    return [
        line.encode(y=y),
        interval.encode(y=low, y2=f"{name}_high:Q", opacity=opacity),
        point.encode(y=y, tooltip=list(tooltip), opacity=opacity),
    ]


def value_axis(name: str) -> alt.Y:
    """The vertical axis of the numbers of that name, which need not begin at 0."""
    axis = alt.Axis(tickCount=5, gridOpacity=0.25, domain=False, minExtent=LEFT)
    return alt.Y(f"{name}:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=axis)


def tooltips(has_controls: bool, has_power: bool) -> list[alt.Tooltip]:
    """The tooltip of a point; it has only lines for which the run has numbers."""
    lines = [
        alt.Tooltip("layer:N", title="layer"),
        alt.Tooltip("depth:Q", title="depth", format="d"),
        alt.Tooltip("text:N", title="mean [95 %]"),
        alt.Tooltip("n:Q", title="units", format=",d"),
    ]
    if has_controls:
        lines.append(alt.Tooltip("control_text:N", title="single-concept controls"))
        lines.append(alt.Tooltip("excess_text:N", title="real minus control"))
    if has_power:
        lines.append(alt.Tooltip("power:N", title="planted pairs found"))
    return lines


def layered_spec(marks: Sequence[alt.Chart], description: str, height: int) -> dict[str, Any]:
    """The marks as one specification, in the font and greys of the pages."""
    chart = alt.layer(*marks).properties(
        width="container", height=height, background="transparent", padding=4, description=description
    )
    fonts: dict[str, Any] = {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelFont": FONT}
    axes: dict[str, Any] = {**fonts, "titleFont": FONT, "tickColor": GREY, "domainColor": GREY, "gridColor": GREY}
    return chart.configure_view(stroke=None).configure_axis(**axes).to_dict()


def depth_axis(layers: Sequence[LayerRow], *, is_named: bool) -> alt.X:
    """Layer names if they fit, else their depth; only ticks if the chart below has the labels."""
    if len(layers) <= NAMED_LAYERS:
        names = [layer.name for layer in layers]
        axis = alt.Axis(labelAngle=SLANT, labelLimit=NAME_LENGTH, labels=is_named, title=None, grid=False)
        return alt.X("layer:N", sort=names, scale=alt.Scale(domain=names), axis=axis)
    extent = [min(layer.depth for layer in layers), max(layer.depth for layer in layers)]
    title = "depth (layer's place in the forward order)" if is_named else None
    axis = alt.Axis(title=title, tickMinStep=1, format="d", grid=False, labels=is_named)
    return alt.X("depth:Q", scale=alt.Scale(domain=extent, nice=False, padding=6), axis=axis)


def point_row(point: TrendPoint, layer: LayerRow | None) -> dict[str, Any]:
    """One point as the charts read it; the page's script adds the texts of its tooltip (`trend.js`)."""
    numbers = {"mean": point.mean, "mean_low": point.low, "mean_high": point.high}
    for name, mean in (("control", point.control), ("excess", point.excess)):
        numbers |= dict(zip((name, f"{name}_low", f"{name}_high"), ends(mean), strict=True))
    texts = {
        "layer": point.layer,
        "controls": point.control.n if point.control else 0,
        "power": power_text(layer.power if layer else None),
    }
    known = {name: float(f"{number:.7g}") for name, number in numbers.items() if math.isfinite(number)}
    return {"depth": point.depth, "n": point.n, "weak": bool(layer and layer.is_weak), **texts, **known}


def power_text(power: Rate | None) -> str:
    """The share of planted pairs that are found, and a remark if it is less than half."""
    if power is None:
        return NONE
    share, low, high = (share_text(number) for number in (power.share, power.low, power.high))
    weak = "power below .5: " if power.share < LEAST_POWER else ""
    return f"{weak}{share} [{low}, {high}], {power.n}"
