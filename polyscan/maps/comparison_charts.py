"""Charts of a comparison: each run has its own colour, mark and dash, or a step of one colour ramp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import Comparison, LayerMean, NetworkMean
from polyscan.maps.depth_trend import GREY, NAME_LENGTH, NAMED_LAYERS, POINTS, SLANT, layered_spec, value_axis
from polyscan.maps.network_map import column_words, viridis_table
from polyscan.maps.numbers import interval_text

MOST_MARKED = 8
"""With more runs than this, marks and colours can't distinguish them; they are drawn as a series."""
# With mark and dash, distinguishable for all kinds of colour vision; readable on a light and on a dark page.
COLORS = ("#0b77b8", "#d55e00", "#0a8f6a", "#b5619a", "#a67c00", "#7c66c9", "#4b95a8", "#7f868d")
CIRCLE = "M-1,0A1,1,0,1,0,1,0A1,1,0,1,0,-1,0Z"
SHAPES = (
    CIRCLE,
    "M-.9,-.9H.9V.9H-.9Z",
    "M0,-1.1L1.1,.9H-1.1Z",
    "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
    "M0,1.1L1.1,-.9H-1.1Z",
    "M-.4,-1.2H.4V-.4H1.2V.4H.4V1.2H-.4V.4H-1.2V-.4H-.4Z",
    "M0,-1.2L1.2,-.35L.75,1.1H-.75L-1.2,-.35Z",
    "M-1.2,-.5H1.2V.5H-1.2Z",
)
DASHES = ((1, 0), (6, 3), (2, 2), (9, 2, 2, 2), (10, 4), (1, 3), (6, 2, 1, 2, 1, 2), (3, 6))
RAMP = (0.16, 0.88)
"""The part of viridis that is neither too dark for a dark page nor too light for a light page."""
HEIGHT = 170


@dataclass(frozen=True)
class Style:
    """Colour, mark and dash of one run; `shape` is a path within -1.25 .. 1.25."""

    color: str
    shape: str
    dash: Sequence[int]


def styles(n_runs: int) -> list[Style]:
    """One style per run, in the order of the runs.

    >>> len({(style.color, style.shape) for style in styles(8)}), styles(9)[0].shape == styles(9)[8].shape
    (8, True)
    """
    if n_runs <= MOST_MARKED:
        return [Style(*style) for style in zip(COLORS[:n_runs], SHAPES, DASHES, strict=False)]
    table, (low, high) = viridis_table(), RAMP
    shares = (low + (high - low) * place / (n_runs - 1) for place in range(n_runs))
    return [Style(f"#{table[round(share * (len(table) - 1))]}", CIRCLE, DASHES[0]) for share in shares]


def layer_charts(comparison: Comparison) -> list[dict[str, Any]]:
    """Texts and rows of a chart against depth for each column, in their order; `layer_spec` draws them all."""
    names = [run.name for run in comparison.runs]
    charts: list[dict[str, Any]] = []
    for column in comparison.columns:
        means = [mean for mean in comparison.means if mean.column == column.name]
        if means:
            rows = [
                mean_row(mean, names) | {"layer": mean.layer, "depth": mean.depth, "place": mean.place}
                for mean in means
            ]
            description = f"Mean of {column.label} with its 95 % interval for each layer of each run"
            charts.append(chart_words(column, description) | {"rows": rows})
    return charts


def network_charts(comparison: Comparison) -> list[dict[str, Any]]:
    """Texts and rows of a chart of network means for each column; `network_spec` draws them all."""
    names = [run.name for run in comparison.runs]
    charts: list[dict[str, Any]] = []
    for column in comparison.columns:
        rows = [mean_row(mean, names) for mean in comparison.network if mean.column == column.name]
        if rows:
            description = f"Network mean of {column.label} with its 95 % interval for each run"
            charts.append(chart_words(column, description) | {"rows": rows})
    return charts


def chart_words(column: MapColumn, description: str) -> dict[str, Any]:
    """The texts above a chart, and its description for screen readers."""
    return column_words(column) | {"description": description}


def mean_row(mean: LayerMean | NetworkMean, names: Sequence[str]) -> dict[str, Any]:
    """One point as the charts read it."""
    text = interval_text(mean.mean, mean.low, mean.high)
    numbers = {"mean": mean.mean, "low": mean.low, "high": mean.high, "n": mean.n}
    return {"run": names[mean.run], "at": mean.run, "text": text, **numbers}


def encodings(names: Sequence[str]) -> Mapping[str, Any]:
    """Encodings of colour, mark and dash by run."""
    run_styles = styles(len(names))
    domain = list(names)

    def scale(values: Sequence[Any]) -> alt.Scale:
        return alt.Scale(domain=domain, range=list(values))

    return {
        "color": alt.Color("run:N", scale=scale([style.color for style in run_styles]), legend=None),
        "shape": alt.Shape("run:N", scale=scale([style.shape for style in run_styles]), legend=None),
        "strokeDash": alt.StrokeDash("run:N", scale=scale([list(style.dash) for style in run_styles]), legend=None),
    }


def layer_spec(comparison: Comparison) -> dict[str, Any]:
    """Layer means with their intervals, one line per run; the same specification for every column."""
    names = [run.name for run in comparison.runs]
    tooltip = [
        alt.Tooltip("run:N", title="run"),
        alt.Tooltip("layer:N", title="layer"),
        alt.Tooltip("text:N", title="mean [95 %]"),
        alt.Tooltip("n:Q", title="units", format=",d"),
    ]
    base = alt.Chart(alt.NamedData(POINTS)).encode(x=layer_axis(comparison))
    if 0 < len(comparison.layers) <= NAMED_LAYERS:  # runs side by side
        offsets = alt.Scale(domain=list(names), paddingOuter=1, paddingInner=0)
        base = base.encode(xOffset=alt.XOffset("run:N", scale=offsets))
    return layered_spec(run_marks(base, names, tooltip), "", HEIGHT)


def network_spec(comparison: Comparison) -> dict[str, Any]:
    """Network means with their intervals against `x`, joined by a grey line; the page's script fills in `x`."""
    names = [run.name for run in comparison.runs]
    axis = alt.Axis(title=None, grid=False, tickCount=5)
    x = alt.X("x:Q", scale=alt.Scale(zero=False, nice=False, padding=12), axis=axis)
    tooltip = [
        alt.Tooltip("run:N", title="run"),
        alt.Tooltip("x:Q", title="x"),
        alt.Tooltip("text:N", title="mean [95 %]"),
        alt.Tooltip("n:Q", title="layers", format=",d"),
    ]
    base = alt.Chart(alt.NamedData(POINTS)).encode(x=x)
    line = base.mark_line(color=GREY, strokeWidth=1, opacity=0.6).encode(y=value_axis("mean"), order=alt.Order("x:Q"))
    return layered_spec([line, *run_marks(base, names, tooltip)[1:]], "", HEIGHT)


def run_marks(base: alt.Chart, names: Sequence[str], tooltip: Sequence[alt.Tooltip]) -> list[alt.Chart]:
    """A line, intervals and points for each run."""
    encoding = encodings(names)
    line = base.mark_line(strokeWidth=1.3, opacity=0.6).encode(
        y=value_axis("mean"), color=encoding["color"], strokeDash=encoding["strokeDash"], detail="run:N"
    )
    interval = base.mark_rule(strokeWidth=1.4, opacity=0.8).encode(
        y=alt.Y("low:Q", title=None), y2="high:Q", color=encoding["color"]
    )
    point = base.mark_point(filled=True, size=26, opacity=1).encode(
        y=value_axis("mean"), color=encoding["color"], shape=encoding["shape"], tooltip=list(tooltip)
    )
    return [line, interval, point]


def layer_axis(comparison: Comparison) -> alt.X:
    """Layer names if all runs share them and they fit, depth if they do not fit, relative depth for other layers."""
    if 0 < len(comparison.layers) <= NAMED_LAYERS:
        axis = alt.Axis(labelAngle=SLANT, labelLimit=NAME_LENGTH, title=None, grid=False)
        names = list(comparison.layers)
        return alt.X("layer:N", sort=names, scale=alt.Scale(domain=names, paddingInner=0.1), axis=axis)
    if comparison.layers:
        axis = alt.Axis(title="depth (layer's place in the forward order)", tickMinStep=1, format="d", grid=False)
        return alt.X("depth:Q", scale=alt.Scale(nice=False, zero=False, padding=6), axis=axis)
    axis = alt.Axis(title="relative depth: 0 first layer, 1 last layer", tickCount=5, grid=False)
    return alt.X("place:Q", scale=alt.Scale(domain=[0, 1], nice=False, padding=6), axis=axis)
