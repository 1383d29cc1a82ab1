"""One layer as a figure: the distribution of a score over its units and null sets, and the score against kurtosis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from polyscan.maps.atlas import MapColumn
from polyscan.maps.figures.paper import (
    ACCENT,
    CLUSTER_COLORS,
    INK,
    QUIET,
    SMALL,
    TITLE,
    WIDTH,
    blank,
    fitted,
    paper,
    saved,
    written,
)
from polyscan.maps.network_map import SEVERAL, verdict_group
from polyscan.maps.numbers import MINUS, NONE, count_text
from polyscan.stats.significance import spearman

HEIGHT, BELOW, ABOVE = 2.9, 0.46, 0.82  # inches
MOST_BINS = 32
GREY = "#8a929a"
NOTHING = np.empty(0)


@dataclass(frozen=True, eq=False)
class LayerSample:
    """The live units of one layer, with its null sets and controls.

    Args:
        name: name of the layer.
        column: the score.
        values: the score of each live unit, NaN if it has none.
        kurtosis: the kurtosis of each live unit, NaN if it has none.
        verdicts: the verdict of each live unit; empty without verdicts.
        null: the score of each null set of the layer; empty without a null.
        controls: the score of each single-concept control of the layer; empty without controls.
        n_dead: number of dead units of the layer.
    """

    name: str
    column: MapColumn
    values: Float64[np.ndarray, " u"]
    kurtosis: Float64[np.ndarray, " u"]
    verdicts: Sequence[str] = ()
    null: Float64[np.ndarray, " n"] = field(default_factory=lambda: NOTHING)
    controls: Float64[np.ndarray, " c"] = field(default_factory=lambda: NOTHING)
    n_dead: int = 0


def layer_figure(title: str, sample: LayerSample, ending: str) -> bytes:
    """The distribution of the score in one layer, and the score against kurtosis to its right.

    Raises:
        ValueError: if no live unit of the layer has the score, or the ending is not in `ENDINGS`.
    """
    known = np.isfinite(sample.values)
    if not known.any():
        raise ValueError(f"no live unit of {sample.name} has `{sample.column.name}`")
    with paper():
        figure = blank(HEIGHT)
        draw_head(figure, title, sample)
        in_both = known & np.isfinite(sample.kurtosis)
        has_second = bool(in_both.sum() > 1) and sample.column.name != "kurtosis"
        draw_histogram(panel(figure, 0.55, 3.75 if has_second else WIDTH - 0.7), sample)
        if has_second:
            draw_kurtosis(panel(figure, 4.75, WIDTH - 4.75 - 0.12), sample, in_both)
        return saved(figure, ending)


def panel(figure: Figure, left: float, across: float) -> Axes:
    """Axes that begin at `left` and are `across` wide, in inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, BELOW / height, across / width, (height - BELOW - ABOVE) / height))


def draw_head(figure: Figure, title: str, sample: LayerSample) -> None:
    """The names of the layer and of the network, and the numbers of units."""
    width, height = figure.get_size_inches()
    fitted(written(figure, 0.08, height - 0.16, sample.name, fontsize=TITLE, fontweight="bold"), width - 0.16)
    scored = int(np.isfinite(sample.values).sum())
    parts = [f"{count_text(len(sample.values) + sample.n_dead)} units", f"{count_text(sample.n_dead)} dead"]
    if scored < len(sample.values):
        parts.append(f"{count_text(len(sample.values) - scored)} without a score")
    parts.append(title)
    fitted(written(figure, 0.08, height - 0.345, " · ".join(parts), color=QUIET), width - 0.16)


def bin_edges(sample: LayerSample) -> Float64[np.ndarray, " e"]:
    """Edges of bins: one bin per whole number, twenty bins for p, else equal bins, with more bins for more units."""
    n_bins = int(np.clip(round(2 * np.isfinite(sample.values).sum() ** (1 / 3)), 6, MOST_BINS))  # Rice's rule
    values = np.concatenate([sample.values, sample.null, sample.controls])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    if sample.column.kind == "count" and high - low < 10 * MOST_BINS:
        return np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
    if sample.column.kind == "p":
        return np.linspace(0, 1, 21)
    return np.linspace(low, high, n_bins + 1) if high > low else np.array([low - 0.5, low + 0.5])


def draw_histogram(axes: Axes, sample: LayerSample) -> None:
    """Draws the share of units in each bin as bars, and of null sets and controls as outlines."""
    edges = bin_edges(sample)
    values = sample.values[np.isfinite(sample.values)]
    shares = np.histogram(values, edges)[0] / len(values)
    axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color=ACCENT, alpha=0.75, linewidth=0)
    key = [(ACCENT, f"{count_text(len(values))} units"), *draw_outlines(axes, sample, edges)]
    if sample.column.kind == "p" and not sample.column.name.endswith("q"):  # only a p is uniform under its null
        axes.axhline(0.05, color=INK, linewidth=0.9)
        key.append((INK, "uniform"))
    axes.set_xlabel(sample.column.label, parse_math=False)
    axes.set_ylabel("share")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=sample.column.kind == "count"))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=SMALL)
    draw_key(axes, key)


def draw_outlines(axes: Axes, sample: LayerSample, edges: Float64[np.ndarray, " e"]) -> Iterator[tuple[str, str]]:
    """Draws the shares of null sets and of controls as outlines; yields the colour and the text of each."""
    outlines = ((sample.null, INK, "-", "null sets, any homogeneity"), (sample.controls, GREY, "--", "controls"))
    for values, color, dash, label in outlines:
        known = values[np.isfinite(values)]
        if len(known):
            axes.stairs(np.histogram(known, edges)[0] / len(known), edges, color=color, linewidth=0.9, linestyle=dash)
            yield color, f"{count_text(len(known))} {label}"


def draw_kurtosis(axes: Axes, sample: LayerSample, in_both: np.ndarray) -> None:
    """Draws each unit's score against its kurtosis; units called several have another colour and mark."""
    kurtosis, values = sample.kurtosis[in_both], sample.values[in_both]
    several = np.array([verdict_group(verdict) == SEVERAL for verdict in sample.verdicts], dtype=bool)
    several = several[in_both] if len(sample.verdicts) else np.zeros(len(values), dtype=bool)
    for units, mark, color in ((~several, "o", GREY), (several, "^", CLUSTER_COLORS[1])):
        size = max(1.4, min(3.4, 60 / math.sqrt(len(values))))
        axes.plot(kurtosis[units], values[units], mark, color=color, markersize=size, markeredgewidth=0, alpha=0.8)
    if kurtosis.max() > 100 * max(1.0, float(np.median(np.abs(kurtosis)))) or kurtosis.max() > 50:
        axes.set_xscale("symlog", linthresh=1)
    axes.set_xlabel("kurtosis of the peaks" + (" (log from 1)" if axes.get_xscale() == "symlog" else ""))
    axes.set_ylabel(sample.column.label, parse_math=False)
    axes.tick_params(labelsize=SMALL)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=sample.column.kind == "count"))
    key = [(QUIET, f"Spearman rho {rho_text(kurtosis, values)}, n = {count_text(len(values))}")]
    if several.any():
        key.append((CLUSTER_COLORS[1], f"▲ {count_text(int(several.sum()))} called several"))
    draw_key(axes, key)


def rho_text(first: Float64[np.ndarray, " n"], second: Float64[np.ndarray, " n"]) -> str:
    """Spearman's rank correlation as a text, a dash if it is not defined."""
    rho = spearman(first, second)
    return f"{round(rho, 2) + 0.0:.2f}".replace("-", MINUS) if math.isfinite(rho) else NONE


def draw_key(axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
    """Writes texts above the axes, each in its colour."""
    x = 0.0
    for color, label in entries:
        text = axes.annotate(label, (x, 1), xytext=(0, 8), xycoords="axes fraction", textcoords="offset points")
        text.set(fontsize=SMALL, color=color, va="center", parse_math=False)
        figure = axes.get_figure(root=True)
        assert isinstance(figure, Figure)  # these axes were added to one
        renderer = figure.canvas.get_renderer()  # pyright: ignore
        x += (text.get_window_extent(renderer).width + 0.12 * figure.dpi) / axes.get_window_extent(renderer).width
