"""The network map for paper: rows of units in forward order, and on the same rows each layer's distribution."""

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
NAME_OF_PITCH = 0.8 * 72  # points of type to an inch of pitch
WEAK_INK = 0.4


def map_figure(atlas: Atlas, column: MapColumn, ending: str, *, ppi: int = PPI) -> bytes:
    """The map coloured and sorted by one column.

    Args:
        atlas: what is drawn.
        column: one of its columns.
        ending: one of `ENDINGS`.
        ppi: pixels of the rows to the inch, in a vector file, too.

    Raises:
        ValueError: if the ending is none of `ENDINGS`.
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
    """From row to row: what fills a page, within bounds; the sheet grows with very many layers."""
    return round(max(LEAST_PITCH, min(MOST_PITCH, ROWS_HEIGHT / max(1, n_layers))) * ppi)


def name_size(pitch: float) -> float:
    """Points of the layers' names; `pitch` in inches."""
    return min(SIZE, NAME_OF_PITCH * pitch)


def names_width(figure: Figure, atlas: Atlas, pitch: float) -> float:
    """Room for the layers' names, in inches."""
    widest = 0.3
    for layer in atlas.layers:
        text = written(figure, 0, 0, layer.name, fontsize=name_size(pitch))
        widest = max(widest, width_of(text) + 0.02)  # which must not be cut for want of a rounding error
        text.remove()
    return min(MOST_NAMES, widest)


def draw_head(figure: Figure, atlas: Atlas, column: MapColumn, rows: Rows, left: float) -> None:
    """Title, numbers of units, and the legend."""
    width, height = figure.get_size_inches()
    title = written(figure, EDGE, height - 0.16, atlas.title, fontsize=TITLE, fontweight="bold")
    fitted(title, width - 2 * EDGE)
    live, unscored, dead = (sum(each) for each in zip(*rows.counts, strict=True)) if rows.counts else (0, 0, 0)
    n_layers = len(atlas.layers)
    words = [
        f"{count_text(live + unscored + dead)} units",
        f"{count_text(n_layers)} layer{'' if n_layers == 1 else 's'}",
        f"{count_text(dead)} dead",
        *([f"{count_text(unscored)} without a score"] if unscored else []),
    ]
    under = written(figure, EDGE, height - 0.345, f"{column.label}: {' · '.join(words)}", color=QUIET)
    fitted(under, width - 2 * EDGE)
    draw_legend(figure, column, rows.scale, left, height - LEGEND_AT, unscored=unscored > 0, dead=dead > 0)
    right = left + rows.pixels.shape[1] / figure.dpi
    for x, words_, side in ((left, "low", "left"), (right, "high", "right")):
        written(figure, x, height - HEAD + 0.08, words_, fontsize=SMALL, color=QUIET, ha=side)
    middle = written(figure, (left + right) / 2, height - HEAD + 0.08, f"units of each layer, by {column.label}")
    middle.set(fontsize=SMALL, color=QUIET, ha="center")
    fitted(middle, right - left - 0.6)


def draw_rows(figure: Figure, rows: Rows, left: float) -> None:
    """The rows, one pixel of theirs to one of the sheet."""
    axes = rows_axes(figure, rows, left, rows.pixels.shape[1] / figure.dpi)
    axes.set_axis_off()
    if rows.pixels.size:
        axes.imshow(rows.pixels, interpolation="none", aspect="auto")


def rows_axes(figure: Figure, rows: Rows, left: float, across: float) -> Axes:
    """Axes as high as the rows."""
    width, height = figure.get_size_inches()
    down = rows.pixels.shape[0] / figure.dpi
    return figure.add_axes((left / width, (height - HEAD - down) / height, across / width, down / height))


def row_middle(figure: Figure, rows: Rows, place: int) -> float:
    """Height of a row's middle over the sheet's lower edge, in inches."""
    return figure.get_size_inches()[1] - HEAD - (place * rows.pitch + rows.row / 2) / figure.dpi


def draw_names(figure: Figure, atlas: Atlas, rows: Rows, left: float) -> None:
    """Each layer's name left of its row, grey where little would be found there."""
    size = name_size(rows.pitch / figure.dpi)
    for place, layer in enumerate(atlas.layers):
        text = written(figure, left - 0.06, row_middle(figure, rows, place), layer.name, ha="right", fontsize=size)
        text.set(va="center_baseline", color=QUIET if layer.is_weak else INK, alpha=WEAK_INK if layer.is_weak else 1)
        fitted(text, left - 0.06 - EDGE)
    if any(layer.is_weak for layer in atlas.layers):
        written(figure, left, 0.15, "grey: less than half of planted pairs are found there", fontsize=5, color=QUIET)


def draw_strip(figure: Figure, atlas: Atlas, column: MapColumn, rows: Rows, left: float) -> None:
    """Per layer the 5 to 95 % band, the quartiles, and the mean with its 95 % interval, by position."""
    axes = rows_axes(figure, rows, left, figure.get_size_inches()[0] - EDGE - left)
    axes.set_ylim(max(1, len(atlas.layers)) * rows.pitch, 0)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    points = {p.layer: p for p in atlas.trend if p.column == column.name and p.n > 0 and math.isfinite(p.mean)}
    if not points:
        axes.set_xticks([])
        written(figure, left, row_middle(figure, rows, 0), "no distribution known", fontsize=SMALL, color=QUIET)
        return
    axes.grid(axis="x", color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.xaxis.tick_top()
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="x", length=0, labelsize=SMALL, pad=1)
    height = figure.get_size_inches()[1]
    label = written(figure, left, height - HEAD + 0.24, column.label, fontsize=SMALL, fontweight="bold")
    fitted(label, figure.get_size_inches()[0] - EDGE - left)
    for place, layer in enumerate(atlas.layers):
        if point := points.get(layer.name):
            draw_layer(axes, point, place * rows.pitch + rows.row / 2, rows, is_weak=layer.is_weak)
    low, high = axes.get_xlim()
    axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    draw_strip_key(figure, left)


def draw_layer(axes: Axes, point: TrendPoint, y: float, rows: Rows, *, is_weak: bool) -> None:
    """One layer's marks; `y` in pixels of the rows."""
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
    """What the strip's marks are, under it."""
    x, y = left, 0.15
    for color, thick, words in ((BAND, 4, "5 to 95 %"), (QUARTILES, 4, "quartiles"), (INK, 0.9, "mean, 95 %")):
        draw_line(figure, x, x + 0.11, y, color=color, linewidth=thick)
        if color == INK:
            draw_line(figure, x + 0.055, x + 0.055, y, color=INK, marker="o")
        text = written(figure, x + 0.14, y, words, fontsize=5, color=QUIET)
        x += 0.185 + width_of(text)


def draw_line(figure: Figure, start: float, end: float, y: float, **how: Any) -> None:
    """A level line on the sheet, in inches."""
    width, height = figure.get_size_inches()
    settings: dict[str, Any] = {"markersize": 2.6, "markeredgewidth": 0, "solid_capstyle": "butt"} | how
    figure.add_artist(
        Line2D([start / width, end / width], [y / height, y / height], transform=figure.transFigure, **settings)
    )
