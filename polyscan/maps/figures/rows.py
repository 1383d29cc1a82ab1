"""Draws the rows of the map as pixels, by the same rules as the page's script (`assets/map.js`, `assets/scale.js`).

Law: a live pixel has the colour of exactly one unit, never a mix; dead and unscored units are hatched in greys that the
scale does not contain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from polyscan.maps.atlas import Atlas, MapColumn
from polyscan.maps.network_map import color_scale, unit_order, viridis_table

N_COLORS = 256
HATCH_INK, HATCH_PAPER, NOTHING = (141, 149, 157), (255, 255, 255), (255, 255, 255)
PERIOD_INCH, THICK_INCH = 5 / 110, 1.3 / 110  # of the hatching


@dataclass(frozen=True)
class Span:
    """Position of one part of a row, in pixels."""

    start: int
    width: int


@dataclass(frozen=True)
class Rows:
    """The pixels of the rows, and what they mean.

    Args:
        pixels: pixels of all rows.
        pitch: height of a row with the gap below it, px.
        row: height of a row without the gap, px.
        scale: scale of the colours from `network_map.color_scale`.
        counts: per layer the number of live and scored, unscored and dead units.
        spans: per layer the positions of these three parts.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    pitch: int
    row: int
    scale: Mapping[str, Any]
    counts: Sequence[tuple[int, int, int]]
    spans: Sequence[tuple[Span, Span, Span]]


def viridis() -> UInt8[np.ndarray, "256 3"]:
    """The colours of the scale, from low to high."""
    rgb = [[int(color[start : start + 2], 16) for start in (0, 2, 4)] for color in viridis_table()]
    return np.array(rgb, dtype=np.uint8)


def rounded(value: Float64[np.ndarray, ...]) -> Int64[np.ndarray, ...]:
    """The nearest whole numbers, with halves rounded up, as in the page's script."""
    return np.floor(value + 0.5).astype(np.int64)


def step_places(n_steps: int) -> Int64[np.ndarray, " s"]:
    """The index of the colour of each step of a scale of counts."""
    return rounded(np.linspace(0, N_COLORS - 1, n_steps)) if n_steps > 1 else np.full(n_steps, N_COLORS >> 1)


def chance_shares(values: Float64[np.ndarray, " n"], ticks: Sequence[float]) -> Float64[np.ndarray, " n"]:
    """Position of each p between the first tick (0, dark) and the last tick (1, bright) on a logarithmic scale."""
    positive = np.maximum(values, np.finfo(np.float64).tiny)  # p = 0 gets the brightest colour
    return np.log(positive / ticks[0]) / np.log(ticks[-1] / ticks[0])


def color_places(column: MapColumn, scale: Mapping[str, Any], values: Float64[np.ndarray, " n"]) -> np.ndarray:
    """The index of each value's colour in the table of colours.

    >>> scale = {"steps": [1, 2, 3], "open": False}
    >>> color_places(MapColumn("k", "clusters", "", "count"), scale, np.array([1.0, 3.0, 2.0])).tolist()
    [0, 255, 128]
    """
    if column.kind == "count":
        steps = np.array(scale["steps"])
        place = np.searchsorted(steps, values)  # values above the last step share its colour
        return step_places(len(steps))[np.minimum(place, len(steps) - 1)]
    if column.kind == "p":
        shares = chance_shares(values, scale["ticks"])
    elif scale["low"] is None or not scale["high"] > scale["low"]:
        return np.full(len(values), N_COLORS >> 1)
    else:
        shares = (values - scale["low"]) / (scale["high"] - scale["low"])
    return np.clip(np.floor(shares * N_COLORS), 0, N_COLORS - 1).astype(np.int64)


def evenly(n_units: int, width: int) -> Int64[np.ndarray, " w"]:
    """The index of the sorted unit that each pixel shows: all units if there is room, always the first and the last.

    >>> evenly(2, 4).tolist(), evenly(7, 3).tolist(), evenly(7, 1).tolist()
    ([0, 0, 1, 1], [0, 3, 6], [3])
    """
    x = np.arange(width)
    if n_units <= width:
        return x * n_units // width
    return rounded(x * (n_units - 1) / (width - 1)) if width > 1 else np.array([n_units >> 1])


def split(width: int, counts: Sequence[int]) -> tuple[Span, ...]:
    """Splits the width in proportion to the counts; a part that has units gets at least one pixel.

    >>> split(10, (1, 0, 99))
    (Span(start=0, width=1), Span(start=1, width=0), Span(start=1, width=9))
    """
    if not sum(counts):
        return tuple(Span(0, 0) for _ in counts)
    widths = [max(1, int(np.floor(width * count / sum(counts) + 0.5))) if count else 0 for count in counts]
    widths[widths.index(max(widths))] += width - sum(widths)
    starts = np.cumsum([0, *widths[:-1]]).tolist()
    return tuple(Span(start, part) for start, part in zip(starts, widths, strict=True))


def hatching(height: int, width: int, ppi: int, *, falls: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """Slanted lines: rising for dead units, falling for unscored units."""
    period = max(4, round(PERIOD_INCH * ppi))
    thick = max(1, round(THICK_INCH * ppi))
    y, x = np.mgrid[:height, :width]
    is_ink: Bool[np.ndarray, "h w"] = ((x - y) if falls else (x + y)) % period < thick
    return np.where(is_ink[..., None], HATCH_INK, HATCH_PAPER).astype(np.uint8)


def map_rows(atlas: Atlas, column: MapColumn, *, width: int, pitch: int, gap: int, ppi: int) -> Rows:
    """The rows of all layers, units sorted by the column.

    Args:
        atlas: the atlas to draw.
        column: the column that colours and sorts the units.
        width: width of each row, px.
        pitch: height of each row with its gap, px.
        gap: height of the gap below each row, px.
        ppi: pixels per inch, which sets the width of the hatching.
    """
    order = unit_order(atlas)
    layer, is_dead = atlas.layer_index[order], atlas.is_dead[order].astype(bool)
    precision = np.float64 if column.kind == "count" else np.float32  # as the page reads them
    values = np.asarray(atlas.values[column.name], dtype=np.float64)[order].astype(precision).astype(np.float64)
    scale = color_scale(column, values[~is_dead])
    pixels = np.full((len(atlas.layers) * pitch, width, 3), NOTHING, dtype=np.uint8)
    counts: list[tuple[int, int, int]] = []
    spans: list[tuple[Span, Span, Span]] = []
    for place in range(len(atlas.layers)):
        in_layer, dead = values[layer == place], is_dead[layer == place]
        live = np.sort(in_layer[~dead & np.isfinite(in_layer)])
        counts.append((len(live), int((~dead & ~np.isfinite(in_layer)).sum()), int(dead.sum())))
        band = pixels[place * pitch : (place + 1) * pitch - gap]
        spans.append(draw_row(band, live, counts[-1], partial(color_places, column, scale), ppi=ppi))
    return Rows(pixels, pitch, pitch - gap, scale, counts, spans)


def draw_row(
    band: UInt8[np.ndarray, "h w 3"],
    live: Float64[np.ndarray, " n"],
    counts: tuple[int, int, int],
    places: Callable[[Float64[np.ndarray, " n"]], np.ndarray],
    *,
    ppi: int,
) -> tuple[Span, Span, Span]:
    """Draws one row into its pixels; returns the positions of its live and scored, unscored and dead units.

    Args:
        band: pixels of the row.
        live: values of its live, scored units, sorted.
        counts: number of its live and scored, unscored and dead units.
        places: gives the index of each value's colour.
        ppi: pixels per inch.
    """
    scored, unscored, dead = split(band.shape[1], counts)
    if scored.width:
        band[:, : scored.width] = viridis()[places(live[evenly(len(live), scored.width)])]
    for span, falls in ((unscored, True), (dead, False)):
        band[:, span.start : span.start + span.width] = hatching(len(band), span.width, ppi, falls=falls)
    return scored, unscored, dead
