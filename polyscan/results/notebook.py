"""A run in a notebook: the map of its front page in a frame, and a picture for viewers that strip scripts.

Law: the output contains everything. The frame may run its own scripts and nothing else; it sends no requests.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from polyscan.maps.atlas import LEAST_POWER, Atlas, LayerRow, MapColumn, Rate, TrendPoint
from polyscan.maps.figures import map_figure
from polyscan.maps.numbers import number_text, verdict_with_strength
from polyscan.results.front_page import FrontPage

PICTURE_PPI = 150
# Pixels: height above and below the rows, height of all rows, and the least and largest height of a row.
AROUND, ROWS, LEAST, MOST = 560, 610, 12, 34
COLUMNS = 5  # of the map, in the table of top units
WEAK = Rate(0.0, 0.0, LEAST_POWER, 0)  # the page knows of a layer's power only that it is less than half


def map_html(page: FrontPage, picture: bytes) -> str:
    """The page in a frame, over the picture, which shows if frames or scripts are stripped."""
    n_layers = len(page.data.get("layers", ()))
    height = AROUND + round(n_layers * max(LEAST, min(MOST, ROWS / max(1, n_layers))))
    n, total = len(page.data["columns"]), len(page.columns)
    fewer = f"<p>{n} of {total} scores can be chosen here; maps/index.html has all.</p>" if n < total else ""
    alt = "Network map: one row per layer in forward order, its units sorted and coloured by their score."
    return (
        '<div style="display:grid">'
        f'<img style="grid-area:1/1;max-width:100%" alt="{alt}" src="{data_uri(picture)}">'
        f'<iframe style="grid-area:1/1;z-index:1;width:100%;height:{height}px;border:0" title="Network map" '
        f'sandbox="allow-scripts" srcdoc="{escape(page.html)}"></iframe></div>{fewer}'
    )


def map_picture(page: FrontPage, frame: pd.DataFrame) -> bytes:
    """The map as a PNG, drawn from `map.parquet` by the front page's first column."""
    data = page.data["columns"][0]
    column = MapColumn(data["name"], data["label"], data["help"], data["kind"])
    layers = _layer_rows(page, frame)
    index = {layer.name: layer.depth for layer in layers}
    units = frame[frame["layer"].isin(list(index))]
    atlas = Atlas(
        title=page.title,
        facts=(),
        statement="",
        layers=layers,
        layer_index=units["layer"].map(index).to_numpy(np.int32),
        channel=units["channel"].to_numpy(np.int32),
        is_dead=units["is_dead"].to_numpy(bool),
        columns=[column],
        values={column.name: units[column.name].to_numpy(np.float64)},
        trend=_points(data.get("trend") or (), column.name, list(index)),
    )
    return map_figure(atlas, column, "png", ppi=PICTURE_PPI)


def _layer_rows(page: FrontPage, frame: pd.DataFrame) -> list[LayerRow]:
    """The page's layers in their order."""
    dead = frame.groupby("layer")["is_dead"].sum()
    return [
        LayerRow(
            layer["name"],
            depth,
            layer["count"],
            int(dead.get(layer["name"], 0)),
            "",
            power=WEAK if layer["weak"] else None,
        )
        for depth, layer in enumerate(page.data["layers"])
    ]


def _points(rows: Sequence[Sequence[float | None] | None], column: str, layers: Sequence[str]) -> list[TrendPoint]:
    """The trend in the page's data."""
    points: list[TrendPoint] = []
    for depth, (layer, row) in enumerate(zip(layers, rows, strict=False)):
        if row is not None:
            n, mean, low, high, *quantiles = (np.nan if number is None else number for number in row[:9])
            points.append(TrendPoint(column, layer, depth, int(n), mean, low, high, tuple(quantiles)))  # pyright: ignore
    return points


def top_table(frame: pd.DataFrame, page: FrontPage | None, n: int = 10) -> str:
    """The `n` units with the largest values in the page's first column."""
    columns = [MapColumn(c["name"], c["label"], "", c["kind"]) for c in page.columns[:COLUMNS]] if page else []
    if not columns:
        return ""
    top = frame.dropna(subset=[columns[0].name]).sort_values(columns[0].name, ascending=False, kind="stable").head(n)
    heads = ["unit", *(column.label for column in columns)]
    lines = [
        [f"{row['layer']}:{row['channel']}", *(number_text(row[c.name], c.kind) for c in columns)]
        for row in top.to_dict("records")
    ]
    if "verdict" in top:
        heads.append("verdict")
        for line, verdict in zip(lines, top["verdict"], strict=True):
            line.append(str(verdict).replace("_", " "))
    if "second_verdict" in top:
        heads.append("second test")
        for line, (_, row) in zip(lines, top.iterrows(), strict=True):
            line.append(second_words(row))
    return table(heads, lines, f"The {len(top)} units with the largest {columns[0].label}")


def second_words(row: pd.Series) -> str:
    """The second test's verdict on a row of the map, with the strength of the second part; "" without one."""
    verdict = str(row.get("second_verdict") or "").replace("_", " ")
    return verdict_with_strength(verdict, float(row.get("second_strength", np.nan)))


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], caption: str) -> str:
    """A table in which every cell is escaped."""
    head = "".join(f"<th>{escape(label)}</th>" for label in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def data_uri(picture: bytes) -> str:
    """The picture as a `data:` address."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
