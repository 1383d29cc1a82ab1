"""The folder of a comparison: a `Comparison` in, its files out, `index.html` last."""

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
    MOST_MARKED,
    layer_charts,
    layer_spec,
    network_charts,
    network_spec,
    styles,
)
from polyscan.maps.numbers import NONE, number_text
from polyscan.maps.templating import asset_files, page

DEEPEST = 0.75
"""Opacity of a colour at the end of the scale: text stays readable on it, on a light and on a dark page."""
NEGATIVE, POSITIVE = "33 102 172", "179 88 6"  # blue and orange: told apart with any colour vision
ORDER = "place in the order given"

CellKey = tuple[int, str, str]


def comparison_files(comparison: Comparison) -> Iterator[tuple[str, bytes]]:
    """Every file of the folder as its relative name and its content, `index.html` last.

    Raises:
        ValueError: if there are fewer than two runs, or two have one name.
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
    choices = {**comparison.metrics, ORDER: [float(place + 1) for place in range(len(comparison.runs))]}
    words = {
        "its": comparison,
        "styles": styles(len(comparison.runs)),
        "is_series": len(comparison.runs) > MOST_MARKED,
        "over_layers": over_layers,
        "over_runs": over_runs,
        "choices": list(choices),
        "data": {
            "layers": chart_data(over_layers),
            "network": chart_data(over_runs),
            "specs": {"layers": layer_spec(comparison), "network": network_spec(comparison)},
            "choices": choices,
        },
        "limit": limit(comparison),
        "ramp": [tint(share, 1.0) for share in (-1.0, -0.5, 0.0, 0.5, 1.0)],
        "grids": [grid(comparison, run) for run in range(1, len(comparison.runs))],
        "network_rows": network_rows(comparison),
        "overall_rows": overall_rows(comparison),
    }
    return page("compare.html.j2", root="", title=f"{comparison.title} · polyscan", **words)


def chart_data(charts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the page's script reads of each chart."""
    return [{"rows": chart["rows"], "description": chart["description"]} for chart in charts]


def limit(comparison: Comparison) -> float:
    """The largest difference of all runs, layers and columns in standard deviations: the end of every scale."""
    sizes = [abs(each.in_sd) for each in comparison.differences if math.isfinite(each.in_sd)]
    return max(sizes, default=0.0)


def tint(value: float, end: float) -> str:
    """Colour of a difference: none at 0, orange above and blue below, deeper towards the end of the scale.

    >>> tint(0.0, 2.0), tint(2.0, 2.0), tint(-1.0, 2.0)
    ('', 'rgb(179 88 6 / .75)', 'rgb(33 102 172 / .38)')
    """
    if not math.isfinite(value) or value == 0 or end == 0:
        return ""
    opacity = f"{DEEPEST * min(1.0, abs(value) / end):.2f}".removeprefix("0")
    return f"rgb({POSITIVE if value > 0 else NEGATIVE} / {opacity})"


def grid(comparison: Comparison, run: int) -> dict[str, Any]:
    """One run's differences: a row a layer, a cell a column."""
    found: dict[CellKey, LayerDifference] = {(d.run, d.layer, d.column): d for d in comparison.differences}
    layers = list(dict.fromkeys(d.layer for d in comparison.differences if d.run == run))
    columns = [c for c in comparison.columns if any((run, layer, c.name) in found for layer in layers)]
    end = limit(comparison)
    rows = [(layer, [cell(found.get((run, layer, c.name)), c, end) for c in columns]) for layer in layers]
    return {"run": comparison.runs[run].name, "columns": columns, "rows": rows}


def cell(found: LayerDifference | None, column: MapColumn, end: float) -> dict[str, Any]:
    """A difference with its interval, its colour, and whether the interval excludes 0."""
    if found is None:
        return {"text": NONE, "interval": "", "tint": "", "is_clear": False, "title": ""}
    how = "units in both" if found.is_paired else "units"
    sd = f", {number_text(found.in_sd)} sd" if math.isfinite(found.in_sd) else ""
    return {
        "text": number_text(found.mean),
        "interval": interval(found.low, found.high),
        "tint": tint(found.in_sd, end),
        "is_clear": found.low > 0 or found.high < 0,
        "title": f"{column.label} of {found.layer}: {number_text(found.mean)}{sd}, {found.n} {how}",
    }


def interval(low: float, high: float) -> str:
    """Both ends, or nothing where there is no interval."""
    return f"{number_text(low)} to {number_text(high)}" if math.isfinite(low) and math.isfinite(high) else ""


def network_rows(comparison: Comparison) -> list[tuple[MapColumn, list[tuple[str, str]]]]:
    """Each column's network mean and interval, run by run."""
    found = {(mean.run, mean.column): mean for mean in comparison.network}
    return [
        (column, [pair(found.get((run, column.name))) for run in places(comparison)])
        for column in _shown(found, comparison)
    ]


def overall_rows(comparison: Comparison) -> list[tuple[MapColumn, list[tuple[str, str, OverallDifference | None]]]]:
    """Each column's mean difference over layers with its interval, run by run."""
    found = {(each.run, each.column): each for each in comparison.overall}
    return [
        (column, [(*pair(its := found.get((run, column.name))), its) for run in places(comparison)[1:]])
        for column in _shown(found, comparison)
    ]


def places(comparison: Comparison) -> Sequence[int]:
    """Of all runs."""
    return range(len(comparison.runs))


def pair(found: NetworkMean | OverallDifference | None) -> tuple[str, str]:
    """A mean and its interval in words."""
    return (NONE, "") if found is None else (number_text(found.mean), interval(found.low, found.high))


def _shown(found: Mapping[tuple[int, str], Any], comparison: Comparison) -> list[MapColumn]:
    names = {column for _, column in found}
    return [column for column in comparison.columns if column.name in names]
