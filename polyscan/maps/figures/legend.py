"""The legend of the map: the colour scale, with ≤ and ≥ at its ends if units lie beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from polyscan.maps.atlas import MapColumn
from polyscan.maps.figures.paper import QUIET, SMALL, width_of, written
from polyscan.maps.figures.rows import N_COLORS, chance_shares, hatching, step_places, viridis
from polyscan.maps.numbers import MINUS, number_text

# Inches.
RAMP, HIGH = 1.7, 0.1
SWATCH, AFTER, APART = 0.17, 0.05, 0.16
SHORT_FROM, LONG_FROM = 1e-3, 1e6


def end_text(value: float) -> str:
    """The end of a scale in three digits.

    >>> end_text(0.12345), end_text(1234.5), end_text(0.00001234)
    ('0.123', '1230', '1.23e-5')
    """
    short = float(f"{value:.3g}")
    if value and not SHORT_FROM <= abs(value) < LONG_FROM:
        return number_text(short)
    return f"{short:g}".replace("-", MINUS)


def draw_legend(
    figure: Figure, column: MapColumn, scale: Mapping[str, Any], x: float, y: float, *, unscored: bool, dead: bool
) -> None:
    """Draws the scale, and the hatchings that the map uses.

    Args:
        figure: the figure to draw on.
        column: the column of the scale.
        scale: scale from `network_map.color_scale`.
        x: left end, in inches.
        y: vertical middle, in inches from the lower edge of the figure.
        unscored: whether the map shows units without this score.
        dead: whether the map shows dead units.
    """
    if column.kind == "p":
        x = draw_chances(figure, scale, x, y)
    elif column.kind == "count":
        x = draw_steps(figure, scale, x, y)
    else:
        x = draw_range(figure, scale, x, y)
    for is_used, label, falls in ((dead, "dead", False), (unscored, "no score", True)):
        if is_used:
            tile = hatching(round(HIGH * figure.dpi), round(SWATCH * figure.dpi), round(figure.dpi), falls=falls)
            picture(figure, tile, x, y)
            x = write_label(figure, x + SWATCH + AFTER, y, label) + APART


def draw_range(figure: Figure, scale: Mapping[str, Any], x: float, y: float) -> float:
    """Draws a ramp between two ends, or the one value of all units; returns the left end of the next item."""
    low, high = scale["low"], scale["high"]
    if low is None:
        return write_label(figure, x, y, "no live unit has this score") + APART
    if low == high:
        swatch(figure, N_COLORS >> 1, x, y)
        return write_label(figure, x + SWATCH + AFTER, y, f"all {end_text(low)}") + APART
    x = write_label(figure, x, y, ("≤ " if scale["below"] else "") + end_text(low)) + AFTER
    x = ramp(figure, x, y) + AFTER
    return write_label(figure, x, y, ("≥ " if scale["above"] else "") + end_text(high)) + APART


def draw_steps(figure: Figure, scale: Mapping[str, Any], x: float, y: float) -> float:
    """Draws one swatch for each count; returns the left end of the next item."""
    steps: Sequence[int] = scale["steps"]
    if not steps:
        return write_label(figure, x, y, "no live unit has this count") + APART
    for place, (value, color) in enumerate(zip(steps, step_places(len(steps)), strict=True)):
        swatch(figure, int(color), x, y)
        more = "≥ " if scale["open"] and place == len(steps) - 1 else ""
        x = write_label(figure, x + SWATCH + AFTER, y, more + number_text(value, "count")) + 0.1
    return x + APART - 0.1


def draw_chances(figure: Figure, scale: Mapping[str, Any], x: float, y: float) -> float:
    """Draws a ramp from 1 to .001 with its ticks below; returns the left end of the next item."""
    ticks: Sequence[float] = scale["ticks"]
    end = ramp(figure, x, y)
    for tick, share in zip(ticks, chance_shares(np.array(ticks), ticks), strict=True):
        below = "≤ " if scale["below"] and tick == ticks[-1] else ""
        text = written(figure, x + share * RAMP, y - 0.11, below + f"{tick:g}".removeprefix("0"))
        text.set(fontsize=5, color=QUIET, ha="center")
    return end + APART


def ramp(figure: Figure, x: float, y: float) -> float:
    """Draws all colours from low to high; returns the right end."""
    across = np.arange(round(RAMP * figure.dpi)) * N_COLORS // round(RAMP * figure.dpi)
    picture(figure, np.repeat(viridis()[across][None], round(HIGH * figure.dpi), axis=0), x, y)
    return x + RAMP


def swatch(figure: Figure, color: int, x: float, y: float) -> None:
    """Draws one colour of the scale."""
    size = (round(HIGH * figure.dpi), round(SWATCH * figure.dpi), 3)
    picture(figure, np.broadcast_to(viridis()[color], size), x, y)


def picture(figure: Figure, pixels: np.ndarray, x: float, y: float) -> None:
    """Draws pixels one to one; `x` is their left end, `y` their vertical middle, in inches."""
    width, height = figure.get_size_inches()
    down, across = (n / figure.dpi for n in pixels.shape[:2])
    bottom = round((y - down / 2) * figure.dpi) / figure.dpi
    left = round(x * figure.dpi) / figure.dpi
    axes = figure.add_axes((left / width, bottom / height, across / width, down / height))
    axes.set_axis_off()
    axes.imshow(pixels, interpolation="none", aspect="auto")


def write_label(figure: Figure, x: float, y: float, label: str) -> float:
    """Writes a label of the legend; returns its right end."""
    return x + width_of(written(figure, x, y, label, fontsize=SMALL, va="center_baseline"))
