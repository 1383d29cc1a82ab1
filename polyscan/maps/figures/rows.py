"""The map's rows as pixels, by the same rules as the page's script (`assets/map.js`, `assets/scale.js`).

Law: a live pixel has exactly one unit's colour, never a mix; dead and unscored units are hatched, in no colour of the
scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Where one part of a row lies, in pixels."""

    start: int
    width: int


@dataclass(frozen=True)
class Rows:
    """The rows' pixels and how to read them.

    Args:
        pixels: all rows, each `pitch` pixels high with the gap under it.
        row: pixels of each row's height without the gap.
        scale: what the colours mean, as `network_map.color_scale` says.
        counts: per layer its live and scored, its unscored and its dead units.
        spans: per layer where these lie.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    pitch: int
    row: int
    scale: Mapping[str, Any]
    counts: Sequence[tuple[int, int, int]]
    spans: Sequence[tuple[Span, Span, Span]]


def viridis() -> UInt8[np.ndarray, "256 3"]:
    """The colours of the scale, low to high."""
    return np.array([[int(color[at : at + 2], 16) for at in (0, 2, 4)] for color in viridis_table()], dtype=np.uint8)


def rounded(value: Float64[np.ndarray, ...]) -> Int64[np.ndarray, ...]:
    """To the nearest whole number, halves upward, as in the page's script."""
    return np.floor(value + 0.5).astype(np.int64)


def step_places(n_steps: int) -> Int64[np.ndarray, " s"]:
    """The colour of each step of a scale of counts."""
    return rounded(np.linspace(0, N_COLORS - 1, n_steps)) if n_steps > 1 else np.full(n_steps, N_COLORS >> 1)


def chance_shares(values: Float64[np.ndarray, " n"], ticks: Sequence[float]) -> Float64[np.ndarray, " n"]:
    """Where each p lies between the first tick, dark, and the last one, bright, on a logarithmic scale."""
    least = np.maximum(values, np.finfo(np.float64).tiny)  # a p of 0 is as bright as can be
    return np.log(least / ticks[0]) / np.log(ticks[-1] / ticks[0])


def color_places(column: MapColumn, scale: Mapping[str, Any], values: Float64[np.ndarray, " n"]) -> np.ndarray:
    """Each value's place in the table of colours.

    >>> scale = {"steps": [1, 2, 3], "open": False}
    >>> color_places(MapColumn("k", "clusters", "", "count"), scale, np.array([1.0, 3.0, 2.0])).tolist()
    [0, 255, 128]
    """
    if column.kind == "count":
        steps = np.array(scale["steps"])
        place = np.searchsorted(steps, values)  # what lies above the last step shares its colour
        return step_places(len(steps))[np.minimum(place, len(steps) - 1)]
    if column.kind == "p":
        shares = chance_shares(values, scale["ticks"])
    elif scale["low"] is None or not scale["high"] > scale["low"]:
        return np.full(len(values), N_COLORS >> 1)
    else:
        shares = (values - scale["low"]) / (scale["high"] - scale["low"])
    return np.clip(np.floor(shares * N_COLORS), 0, N_COLORS - 1).astype(np.int64)


def evenly(n_units: int, width: int) -> Int64[np.ndarray, " w"]:
    """Which of the sorted units each pixel shows: all where there is room, always both ends.

    >>> evenly(2, 4).tolist(), evenly(7, 3).tolist(), evenly(7, 1).tolist()
    ([0, 0, 1, 1], [0, 3, 6], [3])
    """
    x = np.arange(width)
    if n_units <= width:
        return x * n_units // width
    return rounded(x * (n_units - 1) / (width - 1)) if width > 1 else np.array([n_units >> 1])


def split(width: int, counts: Sequence[int]) -> tuple[Span, ...]:
    """Widths in proportion to the counts, none of them lost: a part that holds units gets a pixel.

    >>> split(10, (1, 0, 99))
    (Span(start=0, width=1), Span(start=1, width=0), Span(start=1, width=9))
    """
    if not sum(counts):
        return tuple(Span(0, 0) for _ in counts)
    widths = [max(1, int(np.floor(width * count / sum(counts) + 0.5))) if count else 0 for count in counts]
    widths[widths.index(max(widths))] += width - sum(widths)
    starts = np.cumsum([0, *widths[:-1]]).tolist()
    return tuple(Span(start, each) for start, each in zip(starts, widths, strict=True))


def hatching(height: int, width: int, ppi: int, *, falls: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """Slanted lines: rising for dead units, falling for unscored ones."""
    period = max(4, round(PERIOD_INCH * ppi))
    thick = max(1, round(THICK_INCH * ppi))
    y, x = np.mgrid[:height, :width]
    is_ink: Bool[np.ndarray, "h w"] = ((x - y) if falls else (x + y)) % period < thick
    return np.where(is_ink[..., None], HATCH_INK, HATCH_PAPER).astype(np.uint8)


def map_rows(atlas: Atlas, column: MapColumn, *, width: int, pitch: int, gap: int, ppi: int) -> Rows:
    """The rows of all layers, units sorted by the column.

    Args:
        atlas: what is drawn.
        column: what the units are coloured and sorted by.
        width: of each row, px.
        pitch: from row to row, px.
        gap: of these blank, px.
        ppi: pixels to the inch, which the hatching's width is measured by.
    """
    order = unit_order(atlas)
    layer, is_dead = atlas.layer_index[order], atlas.is_dead[order].astype(bool)
    values = np.asarray(atlas.values[column.name], dtype=np.float64)[order]
    if column.kind != "count":
        values = values.astype(np.float32).astype(np.float64)  # as the page gets them
    scale = color_scale(column, values[~is_dead])
    colors = viridis()
    pixels = np.full((len(atlas.layers) * pitch, width, 3), NOTHING, dtype=np.uint8)
    counts: list[tuple[int, int, int]] = []
    spans: list[tuple[Span, Span, Span]] = []
    for place in range(len(atlas.layers)):
        mine, dead = values[layer == place], is_dead[layer == place]
        live = np.sort(mine[~dead & np.isfinite(mine)])
        many = (len(live), int((~dead & ~np.isfinite(mine)).sum()), int(dead.sum()))
        shown, unscored, gone = split(width, many)
        band = pixels[place * pitch : (place + 1) * pitch - gap]
        if shown.width:
            chosen = live[evenly(len(live), shown.width)]
            band[:, : shown.width] = colors[color_places(column, scale, chosen)]
        for span, falls in ((unscored, True), (gone, False)):
            band[:, span.start : span.start + span.width] = hatching(len(band), span.width, ppi, falls=falls)
        counts.append(many)
        spans.append((shown, unscored, gone))
    return Rows(pixels, pitch, pitch - gap, scale, counts, spans)
