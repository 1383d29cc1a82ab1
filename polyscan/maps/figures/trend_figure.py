"""The depth trend as a figure: the charts of the pages side by side, drawn by vl-convert."""

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
SCALE = 0.62  # points per pixel: three charts fill two columns of most journals, with a font of 7 points
TYPE = "DejaVu Sans, Helvetica, Arial, sans-serif"
SIZE = re.compile(r'width="([0-9.]+)" height="([0-9.]+)" viewBox=')
OF_THE_WHOLE = ("$schema", "config", "background", "padding", "autosize", "datasets")


def trend_figure(atlas: Atlas, names: Sequence[str], ending: str) -> bytes:
    """Means, and real minus control, of these columns against depth, three charts in a row.

    Raises:
        ValueError: if none of the columns has a trend, or the ending is not in `ENDINGS`.
    """
    if ending not in ENDINGS:
        raise ValueError(f"a figure ends in one of {', '.join(ENDINGS)}, got {ending!r}")
    charts = [chart for chart in trend_charts(atlas) if chart["name"] in names]
    if not charts:
        raise ValueError(f"none of {', '.join(names) or 'no column'} has a trend")
    spec = combined(charts, atlas.title)
    if ending == "png":
        return vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=SCALE, ppi=PPI)
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    if ending == "svg":
        return with_paper_size(svg, "pt").encode()
    return in_order(
        vl_convert.svg_to_pdf(with_paper_size(svg, ""))
    )  # svg_to_pdf reads numbers without a unit as points


def with_paper_size(svg: str, unit: str) -> str:
    """The SVG with its size on paper; its contents stay in the pixels of the pages."""
    match = SIZE.search(svg)
    assert match is not None  # Vega writes it
    width, height = (float(number) * SCALE for number in match.groups())
    return SIZE.sub(f'width="{width:g}{unit}" height="{height:g}{unit}" viewBox=', svg, count=1)


def combined(charts: Sequence[dict[str, Any]], title: str) -> dict[str, Any]:
    """One Vega-Lite specification of all charts, each with its own rows."""
    first = next(iter(charts[0]["specs"].values()))
    width = CHART_WIDTH if len(charts) > 1 else ALONE
    helps = [wrapped_lines(chart["help"], width // 5) for chart in charts]
    most = max(map(len, helps))  # all charts get this number of lines, so that neighbours begin at the same height
    return {
        "$schema": first["$schema"],
        "config": figure_config(first["config"]),
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


def figure_config(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a chart of the pages with the font of the figure, and with a style for titles."""
    axis = {**config["axis"], "labelFont": TYPE, "titleFont": TYPE}
    title = {"font": TYPE, "subtitleFont": TYPE, "subtitleColor": "#59626b", "subtitleFontSize": 10}
    return {**config, "axis": axis, "title": title}


def key(charts: Sequence[dict[str, Any]]) -> str:
    """The meaning of the marks that the charts use."""
    parts = ["point and bar: mean over a layer's live, scored units, 95 % bootstrap interval"]
    if any(len(chart["specs"]) > 1 for chart in charts):
        parts.append("grey, dashed: single-concept controls")
    if any(row["weak"] for chart in charts for row in chart["rows"]):
        parts.append("faint: power below .5")
    return "; ".join(parts)


def part(chart: dict[str, Any], place: int, width: int, help_lines: Sequence[str]) -> dict[str, Any]:
    """The charts of one column, one below the other, with its label and help above them."""
    specs = [nested_spec(spec, place) | {"width": width} for spec in chart["specs"].values()]
    head = {"text": chart["label"], "subtitle": help_lines, "anchor": "start", "fontSize": 12, "offset": 6}
    if len(specs) > 1:
        subtitle = "real minus control" + (": below 0 if units have lower values" if chart["kind"] == "p" else "")
        small = {"text": subtitle, "anchor": "start", "fontSize": 10, "fontWeight": "normal", "color": "#59626b"}
        specs[1] |= {"title": small}
    return {"title": head, "vconcat": specs, "spacing": 8, "resolve": {"scale": {"x": "independent"}}}


def nested_spec(spec: Any, place: int) -> Any:
    """The specification as part of a larger one: without the keys of the whole, and with its own name for its rows."""
    if isinstance(spec, list):
        return [nested_spec(item, place) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if spec.get("name") == POINTS:
        return {"name": f"{POINTS}-{place}"}
    return {key: nested_spec(value, place) for key, value in spec.items() if key not in OF_THE_WHOLE}


def wrapped_lines(words: str, length: int) -> list[str]:
    """The text in lines of at most `length` letters; a longer word has its own line."""
    lines: list[str] = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > length:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
