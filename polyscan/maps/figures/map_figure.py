"""The network map as a figure: rows of units in forward order, each with the distribution of its layer."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from polyscan.maps.atlas import Atlas, MapColumn, TrendPoint
from polyscan.maps.figures.legend import draw_legend
from polyscan.maps.figures.paper import (
    BAND,
    INK,
    PPI,
    QUARTILES,
    QUIET,
    RULE,
    SIZE,
    SMALL,
    TITLE,
    WIDTH,
    blank,
    fitted,
    paper,
    saved,
    width_of,
    written,
)
from polyscan.maps.figures.rows import Rows, map_rows
from polyscan.maps.numbers import count_text

# Inches.
EDGE, GUTTER = 0.08, 0.14
MOST_NAMES, STRIP = 1.9, 1.55
ROWS_HEIGHT, LEAST_PITCH, MOST_PITCH = 5.6, 0.085, 0.24
HEAD, LEGEND_AT, FOOT = 0.96, 0.54, 0.3
NAME_OF_PITCH = 0.8 * 72  # font size in points per inch of pitch
WEAK_INK = 0.4


def map_figure(atlas: Atlas, column: MapColumn, ending: str, *, ppi: int = PPI) -> bytes:
    """The map, coloured and sorted by one column.

    Args:
        atlas: the atlas to draw.
        column: one of its columns.
        ending: one of `ENDINGS`.
        ppi: pixels of the rows per inch, also in a vector file.

    Raises:
        ValueError: if the ending is not in `ENDINGS`.
    """
    with paper():
        pitch = pitch_px(len(atlas.layers), ppi)
        height = len(atlas.layers) * pitch / ppi
        figure = blank(HEAD + height + FOOT, ppi=ppi)
        left = EDGE + names_width(figure, atlas, pitch / ppi) + 0.06
        width = round((WIDTH - EDGE - STRIP - GUTTER - left) * ppi)
        gap = max(1, round(pitch * 0.07))
        rows = map_rows(atlas, column, width=width, pitch=pitch, gap=gap, ppi=ppi)
        left = round(left * ppi) / ppi
        draw_head(figure, atlas, column, rows, left)
        draw_rows(figure, rows, left)
        draw_names(figure, atlas, rows, left)
        draw_strip(figure, atlas, column, rows, left + width / ppi + GUTTER)
        return saved(figure, ending)


def pitch_px(n_layers: int, ppi: int) -> int:
    """Distance between rows: fills a page, within bounds; with very many layers the figure becomes higher."""
    return round(max(LEAST_PITCH, min(MOST_PITCH, ROWS_HEIGHT / max(1, n_layers))) * ppi)


def name_size(pitch: float) -> float:
    """Font size of the layer names in points; `pitch` in inches."""
    return min(SIZE, NAME_OF_PITCH * pitch)


def names_width(figure: Figure, atlas: Atlas, pitch: float) -> float:
    """Width of the space for layer names, in inches."""
    widest = 0.3
    for layer in atlas.layers:
        text = written(figure, 0, 0, layer.name, fontsize=name_size(pitch))
        widest = max(widest, width_of(text) + 0.02)  # a margin, so that rounding does not cut the name
        text.remove()
    return min(MOST_NAMES, widest)


def draw_head(figure: Figure, atlas: Atlas, column: MapColumn, rows: Rows, left: float) -> None:
    """Title, numbers of units, legend, and the texts above the rows."""
    width, height = figure.get_size_inches()
    title = written(figure, EDGE, height - 0.16, atlas.title, fontsize=TITLE, fontweight="bold")
    fitted(title, width - 2 * EDGE)
    live, unscored, dead = (sum(part) for part in zip(*rows.counts, strict=True)) if rows.counts else (0, 0, 0)
    counts = counts_text(len(atlas.layers), live, unscored, dead)
    subtitle = written(figure, EDGE, height - 0.345, f"{column.label}: {counts}", color=QUIET)
    fitted(subtitle, width - 2 * EDGE)
    draw_legend(figure, column, rows.scale, left, height - LEGEND_AT, unscored=unscored > 0, dead=dead > 0)
    draw_order(figure, column, left, left + rows.pixels.shape[1] / figure.dpi)


def counts_text(n_layers: int, live: int, unscored: int, dead: int) -> str:
    """Numbers of units and layers as a text."""
    parts = [
        f"{count_text(live + unscored + dead)} units",
        f"{count_text(n_layers)} layer{'' if n_layers == 1 else 's'}",
        f"{count_text(dead)} dead",
    ]
    return " · ".join([*parts, f"{count_text(unscored)} without a score"] if unscored else parts)


def draw_order(figure: Figure, column: MapColumn, left: float, right: float) -> None:
    """Writes above the rows how their units are sorted."""
    y = figure.get_size_inches()[1] - HEAD + 0.08
    for x, label, side in ((left, "low", "left"), (right, "high", "right")):
        written(figure, x, y, label, fontsize=SMALL, color=QUIET, ha=side)
    middle = written(figure, (left + right) / 2, y, f"units of each layer, by {column.label}")
    middle.set(fontsize=SMALL, color=QUIET, ha="center")
    fitted(middle, right - left - 0.6)


def draw_rows(figure: Figure, rows: Rows, left: float) -> None:
    """Draws the rows, one pixel of a row to one pixel of the figure."""
    axes = rows_axes(figure, rows, left, rows.pixels.shape[1] / figure.dpi)
    axes.set_axis_off()
    if rows.pixels.size:
        axes.imshow(rows.pixels, interpolation="none", aspect="auto")


def rows_axes(figure: Figure, rows: Rows, left: float, across: float) -> Axes:
    """Axes as high as all rows together."""
    width, height = figure.get_size_inches()
    down = rows.pixels.shape[0] / figure.dpi
    return figure.add_axes((left / width, (height - HEAD - down) / height, across / width, down / height))


def row_middle(figure: Figure, rows: Rows, place: int) -> float:
    """Vertical middle of a row, in inches from the lower edge of the figure."""
    return figure.get_size_inches()[1] - HEAD - (place * rows.pitch + rows.row / 2) / figure.dpi


def draw_names(figure: Figure, atlas: Atlas, rows: Rows, left: float) -> None:
    """Writes each layer's name to the left of its row, in grey if its power is low."""
    size = name_size(rows.pitch / figure.dpi)
    for place, layer in enumerate(atlas.layers):
        text = written(figure, left - 0.06, row_middle(figure, rows, place), layer.name, ha="right", fontsize=size)
        text.set(va="center_baseline", color=QUIET if layer.is_weak else INK, alpha=WEAK_INK if layer.is_weak else 1)
        fitted(text, left - 0.06 - EDGE)
    if any(layer.is_weak for layer in atlas.layers):
        written(figure, left, 0.15, "grey: fewer than half of the planted pairs are found", fontsize=5, color=QUIET)


def draw_strip(figure: Figure, atlas: Atlas, column: MapColumn, rows: Rows, left: float) -> None:
    """Per layer the 5 to 95 % band, the quartiles, and the mean with its 95 % interval, to the right of its row."""
    axes = rows_axes(figure, rows, left, figure.get_size_inches()[0] - EDGE - left)
    axes.set_ylim(max(1, len(atlas.layers)) * rows.pitch, 0)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    points = {p.layer: p for p in atlas.trend if p.column == column.name and p.n > 0 and math.isfinite(p.mean)}
    if not points:
        axes.set_xticks([])
        written(figure, left, row_middle(figure, rows, 0), "no distribution", fontsize=SMALL, color=QUIET)
        return
    draw_strip_axis(figure, axes, column, left)
    for place, layer in enumerate(atlas.layers):
        if point := points.get(layer.name):
            draw_layer(axes, point, place * rows.pitch + rows.row / 2, rows, is_weak=layer.is_weak)
    low, high = axes.get_xlim()
    axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    draw_strip_key(figure, left)


def draw_strip_axis(figure: Figure, axes: Axes, column: MapColumn, left: float) -> None:
    """Draws the axis of the strip above it, with the label of the column."""
    axes.grid(axis="x", color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.xaxis.tick_top()
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="x", length=0, labelsize=SMALL, pad=1)
    width, height = figure.get_size_inches()
    label = written(figure, left, height - HEAD + 0.24, column.label, fontsize=SMALL, fontweight="bold")
    fitted(label, width - EDGE - left)


def draw_layer(axes: Axes, point: TrendPoint, y: float, rows: Rows, *, is_weak: bool) -> None:
    """Draws the marks of one layer; `y` is in pixels of the rows."""
    q05, q25, _, q75, q95 = point.quantiles
    thick, alpha = rows.row * 0.86, WEAK_INK if is_weak else 1
    for low, high, color in ((q05, q95, BAND), (q25, q75, QUARTILES)):
        if math.isfinite(low) and math.isfinite(high):
            axes.barh(y, high - low, thick, left=low, color=color, alpha=alpha, linewidth=0)
    if math.isfinite(point.low) and math.isfinite(point.high):
        axes.plot([point.low, point.high], [y, y], color=INK, linewidth=0.9, alpha=alpha, solid_capstyle="butt")
    size = min(2.6, rows.row / axes.figure.dpi * 72 * 0.5)
    axes.plot([point.mean], [y], "o", color=INK, markersize=size, markeredgewidth=0, alpha=alpha)


def draw_strip_key(figure: Figure, left: float) -> None:
    """Draws the key of the strip's marks below it."""
    x, y = left, 0.15
    for color, thick, label in ((BAND, 4, "5 to 95 %"), (QUARTILES, 4, "quartiles"), (INK, 0.9, "mean, 95 %")):
        draw_line(figure, x, x + 0.11, y, color=color, linewidth=thick)
        if color == INK:
            draw_line(figure, x + 0.055, x + 0.055, y, color=INK, marker="o")
        text = written(figure, x + 0.14, y, label, fontsize=5, color=QUIET)
        x += 0.185 + width_of(text)


def draw_line(figure: Figure, start: float, end: float, y: float, **style: Any) -> None:
    """Draws a horizontal line; positions are in inches."""
    width, height = figure.get_size_inches()
    settings: dict[str, Any] = {"markersize": 2.6, "markeredgewidth": 0, "solid_capstyle": "butt"} | style
    figure.add_artist(
        Line2D([start / width, end / width], [y / height, y / height], transform=figure.transFigure, **settings)
    )
