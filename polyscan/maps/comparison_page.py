"""Draws the files of a comparison's folder from a `Comparison`, `index.html` last."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import (
    Comparison,
    LayerDifference,
    NetworkMean,
    OverallDifference,
    comparison_csv,
    comparison_json,
)
from polyscan.maps.comparison_charts import (
    layer_charts,
    layer_spec,
    network_charts,
    network_spec,
    styles,
)
from polyscan.maps.numbers import NONE, number_text
from polyscan.maps.templating import asset_files, page

DEEPEST = 0.75
"""Opacity of a colour at the end of the scale; text on it stays readable on a light and on a dark page."""
NEGATIVE, POSITIVE = "33 102 172", "179 88 6"  # blue and orange, distinguishable for all kinds of colour vision
ORDER = "place in the order given"

CellKey = tuple[int, str, str]


def comparison_files(comparison: Comparison) -> Iterator[tuple[str, bytes]]:
    """Every file of the folder as its relative name and its content, `index.html` last.

    Raises:
        ValueError: if there are fewer than two runs, or two runs have the same name.
    """
    names = [run.name for run in comparison.runs]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"a comparison needs two runs or more, each with a name of its own, got {names}.")
    folder = files("polyscan.maps") / "assets"
    yield from ((name, content) for name, content in asset_files() if name != "assets/polyscan.js")
    for name in ("compare.css", "compare.js"):
        yield f"assets/{name}", (folder / name).read_bytes()
    yield "comparison.csv", comparison_csv(comparison)
    yield "comparison.json", comparison_json(comparison)
    yield "index.html", comparison_page(comparison)


def comparison_page(comparison: Comparison) -> bytes:
    """`index.html` of the folder."""
    over_layers, over_runs = layer_charts(comparison), network_charts(comparison)
    data = page_data(comparison, over_layers, over_runs)
    context = {
        "comparison": comparison,
        "styles": styles(len(comparison.runs)),
        "over_layers": over_layers,
        "over_runs": over_runs,
        "choices": list(data["choices"]),
        "data": data,
        "limit": limit(comparison),
        "ramp": [tint(share, 1.0) for share in (-1.0, -0.5, 0.0, 0.5, 1.0)],
        "grids": [grid(comparison, run) for run in range(1, len(comparison.runs))],
        "network_rows": network_rows(comparison),
        "overall_rows": overall_rows(comparison),
    }
    return page("compare.html.j2", root="", title=f"{comparison.title} · polyscan", **context)


def page_data(
    comparison: Comparison, over_layers: Sequence[Mapping[str, Any]], over_runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The data of the page's script: rows and specifications of the charts, and the choices of the horizontal axis."""
    return {
        "layers": chart_data(over_layers),
        "network": chart_data(over_runs),
        "specs": {"layers": layer_spec(comparison), "network": network_spec(comparison)},
        "choices": {**comparison.metrics, ORDER: [float(place + 1) for place in range(len(comparison.runs))]},
    }


def chart_data(charts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The part of each chart that the page's script reads."""
    return [{"rows": chart["rows"], "description": chart["description"]} for chart in charts]


def limit(comparison: Comparison) -> float:
    """The largest difference of all runs, layers and columns in standard deviations: the end of the colour scale."""
    sizes = [abs(difference.in_sd) for difference in comparison.differences if math.isfinite(difference.in_sd)]
    return max(sizes, default=0.0)


def tint(value: float, end: float) -> str:
    """The colour of a difference: "" at 0, orange above and blue below, stronger towards the end of the scale.

    >>> tint(0.0, 2.0), tint(2.0, 2.0), tint(-1.0, 2.0)
    ('', 'rgb(179 88 6 / .75)', 'rgb(33 102 172 / .38)')
    """
    if not math.isfinite(value) or value == 0 or end == 0:
        return ""
    opacity = f"{DEEPEST * min(1.0, abs(value) / end):.2f}".removeprefix("0")
    return f"rgb({POSITIVE if value > 0 else NEGATIVE} / {opacity})"


def grid(comparison: Comparison, run: int) -> dict[str, Any]:
    """The differences of one run: one row per layer, one cell per column."""
    differences: dict[CellKey, LayerDifference] = {(d.run, d.layer, d.column): d for d in comparison.differences}
    layers = list(dict.fromkeys(d.layer for d in comparison.differences if d.run == run))
    columns = [c for c in comparison.columns if any((run, layer, c.name) in differences for layer in layers)]
    end = limit(comparison)
    rows = [(layer, [cell(differences.get((run, layer, c.name)), c, end) for c in columns]) for layer in layers]
    return {"run": comparison.runs[run].name, "columns": columns, "rows": rows}


def cell(difference: LayerDifference | None, column: MapColumn, end: float) -> dict[str, Any]:
    """A difference with its interval, its colour, and whether the interval excludes 0."""
    if difference is None:
        return {"text": NONE, "interval": "", "tint": "", "is_clear": False, "title": ""}
    mean = number_text(difference.mean)
    units = "units of both runs" if difference.is_paired else "units"
    sd = f", {number_text(difference.in_sd)} sd" if math.isfinite(difference.in_sd) else ""
    return {
        "text": mean,
        "interval": interval(difference.low, difference.high),
        "tint": tint(difference.in_sd, end),
        "is_clear": difference.low > 0 or difference.high < 0,
        "title": f"{column.label} of {difference.layer}: {mean}{sd}, {difference.n} {units}",
    }


def interval(low: float, high: float) -> str:
    """Both ends of an interval, or "" if there is no interval."""
    return f"{number_text(low)} to {number_text(high)}" if math.isfinite(low) and math.isfinite(high) else ""


def network_rows(comparison: Comparison) -> list[tuple[MapColumn, list[tuple[str, str]]]]:
    """For each column the network mean and its interval in each run."""
    means = {(mean.run, mean.column): mean for mean in comparison.network}
    return [
        (column, [mean_and_interval(means.get((run, column.name))) for run in range(len(comparison.runs))])
        for column in _columns_of(means, comparison)
    ]


def overall_rows(comparison: Comparison) -> list[tuple[MapColumn, list[tuple[str, str, OverallDifference | None]]]]:
    """For each column the mean difference over layers, with its interval, of each run but the first."""
    differences = {(difference.run, difference.column): difference for difference in comparison.overall}
    rows: list[tuple[MapColumn, list[tuple[str, str, OverallDifference | None]]]] = []
    for column in _columns_of(differences, comparison):
        of_column = [differences.get((run, column.name)) for run in range(1, len(comparison.runs))]
        rows.append((column, [(*mean_and_interval(difference), difference) for difference in of_column]))
    return rows


def mean_and_interval(row: NetworkMean | OverallDifference | None) -> tuple[str, str]:
    """A mean and its interval as texts."""
    return (NONE, "") if row is None else (number_text(row.mean), interval(row.low, row.high))


def _columns_of(rows: Mapping[tuple[int, str], Any], comparison: Comparison) -> list[MapColumn]:
    names = {column for _, column in rows}
    return [column for column in comparison.columns if column.name in names]
