"""The three small charts of a unit: its score against its null, its elbow, and its exemplars in two dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from polyscan.maps.atlas import ElbowCurve, NullPlace, NullSets, Plane, UnitCard
from polyscan.maps.figures.paper import ACCENT, CLUSTER_COLORS, CLUSTER_MARKS, QUARTILES, QUIET, RULE, SMALL, WIDTH
from polyscan.maps.numbers import count_text, number_text

LEFT, BELOW, ABOVE, BETWEEN = 0.48, 0.4, 0.24, 0.62  # inches
THIRD = (WIDTH - LEFT - 2 * BETWEEN - 0.12) / 3
DrawChart = Callable[[Axes], None]


def draw_charts(figure: Figure, card: UnitCard, null: NullSets | None, top: float, height: float) -> None:
    """Draws the charts that the unit has, from the left.

    Args:
        figure: the figure to draw on.
        card: the unit.
        null: the null of its layer.
        top: upper edge, in inches from the lower edge of the figure.
        height: height of the charts with their texts, in inches.
    """
    width, whole = figure.get_size_inches()
    for place, draw in enumerate(charts_of(card, null)):
        left = LEFT + place * (THIRD + BETWEEN)
        box = (left / width, (top - height + BELOW) / whole, THIRD / width, (height - BELOW - ABOVE) / whole)
        axes = figure.add_axes(box)
        axes.tick_params(labelsize=SMALL)
        draw(axes)
        axes.xaxis.label.set_fontsize(SMALL)
        axes.yaxis.label.set_fontsize(SMALL)


def charts_of(card: UnitCard, null: NullSets | None) -> Iterator[DrawChart]:
    """The functions that draw the charts that the unit has."""
    if card.null is not None and null is not None:
        yield partial(draw_null, place=card.null, null=null)
    if card.elbow is not None:
        yield partial(draw_elbow, elbow=card.elbow)
    if card.plane is not None:
        yield partial(draw_plane, plane=card.plane)


def write_heading(axes: Axes, heading: str) -> None:
    """Writes a heading above the axes."""
    axes.set_title(heading, fontsize=SMALL, loc="left", color=QUIET, parse_math=False)


def draw_null(axes: Axes, place: NullPlace, null: NullSets) -> None:
    """Draws z of the null sets as a histogram, and z of the unit as a line."""
    counts = np.asarray(null.counts)
    edges = [null.low + null.width * index for index in range(len(counts) + 1)]
    axes.bar(edges[:-1], counts, null.width, align="edge", color=QUARTILES, linewidth=0)
    axes.axvline(place.z, color=CLUSTER_COLORS[1], linewidth=1.2)
    filled = np.flatnonzero(counts).tolist()
    low, high = (edges[filled[0]], edges[filled[-1] + 1]) if filled else (edges[0], edges[-1])
    pad = 0.04 * (max(high, place.z) - min(low, place.z))
    axes.set_xlim(min(low, place.z) - pad, max(high, place.z) + pad)
    axes.set_xlabel(f"{null.score} against the null, in sd", parse_math=False)
    axes.set_ylabel("null sets")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    write_heading(
        axes, f"{null.score} {number_text(place.value)}: {place.z:.1f} sd; {count_text(int(counts.sum()))} sets"
    )


def draw_elbow(axes: Axes, elbow: ElbowCurve) -> None:
    """Draws the mean pairwise perceptual distance of the first 2, 3, ... visualizations."""
    distances = np.asarray(elbow.distances, dtype=np.float64)
    counts = np.arange(1, len(distances) + 1)
    axes.plot(counts, distances, "-o", color=ACCENT, linewidth=0.9, markersize=2.4, markeredgewidth=0)
    axes.set_xlim(0.5, max(2, len(counts)) + 0.5)
    axes.set_xlabel("visualizations")
    axes.set_ylabel("mean distance")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    write_heading(axes, f"{elbow.count} visualizations; stop: {elbow.stop}")


def draw_plane(axes: Axes, plane: Plane) -> None:
    """Draws the exemplars in two dimensions, each with the colour and mark of its cluster."""
    for cluster in sorted(set(np.asarray(plane.cluster).tolist()), reverse=True):
        members = np.asarray(plane.cluster) == cluster
        mark, color = CLUSTER_MARKS[cluster % 5], CLUSTER_COLORS[cluster % 5]
        axes.plot(plane.x[members], plane.y[members], mark, color=color, markersize=3, markeredgewidth=0, alpha=0.85)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=RULE)
    write_heading(axes, f"{len(plane.x)} exemplars in two dimensions")
