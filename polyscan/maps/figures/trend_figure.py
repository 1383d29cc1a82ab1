"""The depth trend for paper: the pages' own charts side by side, by vl-convert."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import vl_convert

from polyscan.maps.atlas import Atlas
from polyscan.maps.depth_trend import POINTS, trend_charts
from polyscan.maps.figures.paper import ENDINGS, PPI
from polyscan.maps.figures.pdf_order import in_order
from polyscan.maps.templating import VEGA_LITE

CHART_WIDTH, ALONE = 205, 420  # pixels of the pages' charts
ACROSS = 3
SCALE = 0.62  # points to a pixel: three charts are as wide as two columns of most journals, their type 7 points
TYPE = "DejaVu Sans, Helvetica, Arial, sans-serif"
SIZE = re.compile(r'width="([0-9.]+)" height="([0-9.]+)" viewBox=')
OF_THE_WHOLE = ("$schema", "config", "background", "padding", "autosize", "datasets")


def trend_figure(atlas: Atlas, names: Sequence[str], ending: str) -> bytes:
    """Means, and real minus control, of these columns against depth, three columns across.

    Raises:
        ValueError: if none of the columns has a trend, or the ending is none of `ENDINGS`.
    """
    if ending not in ENDINGS:
        raise ValueError(f"a figure ends in one of {', '.join(ENDINGS)}, got {ending!r}")
    charts = [chart for chart in trend_charts(atlas) if chart["name"] in names]
    if not charts:
        raise ValueError(f"none of {', '.join(names) or 'no column'} has a trend")
    spec = combined(charts, atlas.title)
    if ending == "png":
        return vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=SCALE, ppi=PPI)
    drawn = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    if ending == "svg":
        return sized(drawn, "pt").encode()
    return in_order(vl_convert.svg_to_pdf(sized(drawn, "")))  # which takes numbers without a unit for points


def sized(drawn: str, unit: str) -> str:
    """The SVG in its size on paper; what is drawn inside stays in the pages' pixels."""
    found = SIZE.search(drawn)
    assert found is not None  # Vega writes it
    width, height = (float(number) * SCALE for number in found.groups())
    return SIZE.sub(f'width="{width:g}{unit}" height="{height:g}{unit}" viewBox=', drawn, count=1)


def combined(charts: Sequence[dict[str, Any]], title: str) -> dict[str, Any]:
    """One Vega-Lite specification of all charts, each with rows of its own."""
    first = next(iter(charts[0]["specs"].values()))
    width = CHART_WIDTH if len(charts) > 1 else ALONE
    config = {**first["config"], "axis": {**first["config"]["axis"], "labelFont": TYPE, "titleFont": TYPE}}
    config["title"] = {"font": TYPE, "subtitleFont": TYPE, "subtitleColor": "#59626b", "subtitleFontSize": 10}
    helps = [wrapped(chart["help"], width // 5) for chart in charts]
    most = max(map(len, helps))  # each has as many lines, so that charts side by side begin at one height
    return {
        "$schema": first["$schema"],
        "config": config,
        "background": "white",
        "padding": 8,
        "title": {"text": title, "subtitle": key(charts), "fontSize": 15, "anchor": "start", "offset": 14},
        "columns": ACROSS,
        "spacing": 26,
        "concat": [
            part(chart, place, width, [*lines, *[""] * (most - len(lines))])
            for place, (chart, lines) in enumerate(zip(charts, helps, strict=True))
        ],
        "datasets": {f"{POINTS}-{place}": chart["rows"] for place, chart in enumerate(charts)},
    }


def key(charts: Sequence[dict[str, Any]]) -> str:
    """What the marks are: only those that occur."""
    words = ["point and bar: mean over a layer's live, scored units with its 95 % bootstrap interval"]
    if any(len(chart["specs"]) > 1 for chart in charts):
        words.append("grey, dashed: one-concept controls")
    if any(row["weak"] for chart in charts for row in chart["rows"]):
        words.append("faint: power below .5")
    return "; ".join(words)


def part(chart: dict[str, Any], place: int, width: int, words: Sequence[str]) -> dict[str, Any]:
    """One column's charts, one under the other, under its name and what it means."""
    specs = [renamed(spec, place) | {"width": width} for spec in chart["specs"].values()]
    head = {"text": chart["label"], "subtitle": words, "anchor": "start", "fontSize": 12, "offset": 6}
    if len(specs) > 1:
        under = "real minus control" + (": below 0 where the units' are smaller" if chart["kind"] == "p" else "")
        small = {"text": under, "anchor": "start", "fontSize": 10, "fontWeight": "normal", "color": "#59626b"}
        specs[1] |= {"title": small}
    return {"title": head, "vconcat": specs, "spacing": 8, "resolve": {"scale": {"x": "independent"}}}


def renamed(spec: Any, place: int) -> Any:
    """The specification as a part of a larger one: without what belongs to the whole, its rows under their own name."""
    if isinstance(spec, list):
        return [renamed(item, place) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if spec.get("name") == POINTS:
        return {"name": f"{POINTS}-{place}"}
    return {key: renamed(value, place) for key, value in spec.items() if key not in OF_THE_WHOLE}


def wrapped(words: str, length: int) -> list[str]:
    """The words in lines of at most so many letters, where they can be broken."""
    lines: list[str] = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > length:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
