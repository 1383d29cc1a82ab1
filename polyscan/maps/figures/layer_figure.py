"""One layer for paper: how a score is distributed among its units and its null sets, and the score against kurtosis."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """One layer's live units and what they are seen against.

    Args:
        name: of the layer.
        column: the score.
        values: of the live units, NaN where one has none.
        kurtosis: of the same units, NaN where one has none.
        verdicts: of the same units, or none.
        null: the score of the layer's null sets; empty where it has none.
        controls: the score of its one-concept controls; empty where it has none.
        n_dead: units of the layer that are dead.
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
    """The score's distribution in one layer, beside it the score against kurtosis.

    Raises:
        ValueError: if no live unit of the layer has the score, or the ending is none of `ENDINGS`.
    """
    known = np.isfinite(sample.values)
    if not known.any():
        raise ValueError(f"no live unit of {sample.name} has `{sample.column.name}`")
    with paper():
        figure = blank(HEIGHT)
        draw_head(figure, title, sample)
        both = known & np.isfinite(sample.kurtosis)
        has_second = bool(both.sum() > 1) and sample.column.name != "kurtosis"
        draw_histogram(panel(figure, 0.55, 3.75 if has_second else WIDTH - 0.7), sample)
        if has_second:
            draw_kurtosis(panel(figure, 4.75, WIDTH - 4.75 - 0.12), sample, both)
        return saved(figure, ending)


def panel(figure: Figure, left: float, across: float) -> Axes:
    """Axes from `left`, `across` inches wide."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, BELOW / height, across / width, (height - BELOW - ABOVE) / height))


def draw_head(figure: Figure, title: str, sample: LayerSample) -> None:
    """The layer, its network, and how many units are drawn."""
    width, height = figure.get_size_inches()
    fitted(written(figure, 0.08, height - 0.16, sample.name, fontsize=TITLE, fontweight="bold"), width - 0.16)
    scored = int(np.isfinite(sample.values).sum())
    words = [f"{count_text(len(sample.values) + sample.n_dead)} units", f"{count_text(sample.n_dead)} dead"]
    if scored < len(sample.values):
        words.append(f"{count_text(len(sample.values) - scored)} without a score")
    words.append(title)
    fitted(written(figure, 0.08, height - 0.345, " · ".join(words), color=QUIET), width - 0.16)


def bin_edges(sample: LayerSample) -> Float64[np.ndarray, " e"]:
    """One bin to a whole number; twenty of .05 for p; else equal ones over all that is drawn, more for more units."""
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
    """Share of units in each bin, and of null sets as an outline."""
    edges = bin_edges(sample)
    values = sample.values[np.isfinite(sample.values)]
    shares = np.histogram(values, edges)[0] / len(values)
    axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color=ACCENT, alpha=0.75, linewidth=0)
    key: list[tuple[str | None, str]] = [(ACCENT, f"{count_text(len(values))} units")]
    beside = ((sample.null, INK, "-", "null sets, of every homogeneity"), (sample.controls, GREY, "--", "controls"))
    for values, color, dash, words in beside:
        known = values[np.isfinite(values)]
        if len(known):
            axes.stairs(np.histogram(known, edges)[0] / len(known), edges, color=color, linewidth=0.9, linestyle=dash)
            key.append((color, f"{count_text(len(known))} {words}"))
    if sample.column.kind == "p" and not sample.column.name.endswith("q"):  # only a p is uniform under its null
        axes.axhline(0.05, color=INK, linewidth=0.9)
        key.append((INK, "uniform"))
    axes.set_xlabel(sample.column.label, parse_math=False)
    axes.set_ylabel("share")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=sample.column.kind == "count"))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=SMALL)
    draw_key(axes, key)


def draw_kurtosis(axes: Axes, sample: LayerSample, both: np.ndarray) -> None:
    """Each unit's score against its kurtosis, those called several apart by colour and mark."""
    kurtosis, values = sample.kurtosis[both], sample.values[both]
    several = np.zeros(len(values), dtype=bool)
    if len(sample.verdicts):
        words = np.array([verdict_group(word) for word in sample.verdicts])
        several = (words == SEVERAL)[both]
    for chosen, mark, color in ((~several, "o", GREY), (several, "^", CLUSTER_COLORS[1])):
        size = max(1.4, min(3.4, 60 / math.sqrt(len(values))))
        axes.plot(kurtosis[chosen], values[chosen], mark, color=color, markersize=size, markeredgewidth=0, alpha=0.8)
    if kurtosis.max() > 100 * max(1.0, float(np.median(np.abs(kurtosis)))) or kurtosis.max() > 50:
        axes.set_xscale("symlog", linthresh=1)
    axes.set_xlabel("kurtosis of the peaks" + (" (log from 1)" if axes.get_xscale() == "symlog" else ""))
    axes.set_ylabel(sample.column.label, parse_math=False)
    axes.tick_params(labelsize=SMALL)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=sample.column.kind == "count"))
    rho = spearman(kurtosis, values)
    words = f"{round(rho, 2) + 0.0:.2f}".replace("-", MINUS) if math.isfinite(rho) else NONE
    key: list[tuple[str | None, str]] = [(None, f"Spearman rho {words}, n = {count_text(len(values))}")]
    if several.any():
        key.append((CLUSTER_COLORS[1], f"▲ {count_text(int(several.sum()))} called several"))
    draw_key(axes, key)


def draw_key(axes: Axes, lines: Sequence[tuple[str | None, str]]) -> None:
    """Words over the axes, each in its colour."""
    x = 0.0
    for color, words in lines:
        text = axes.annotate(words, (x, 1), xytext=(0, 8), xycoords="axes fraction", textcoords="offset points")
        text.set(fontsize=SMALL, color=color or QUIET, va="center", parse_math=False)
        figure = axes.get_figure(root=True)
        assert isinstance(figure, Figure)  # these axes were added to one
        renderer = figure.canvas.get_renderer()  # pyright: ignore
        x += (text.get_window_extent(renderer).width + 0.12 * figure.dpi) / axes.get_window_extent(renderer).width
