"""Atlases with planted numbers and drawn pictures, for tests and for looking at the pages."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from polyscan.maps import Atlas, Cluster, Column, LayerRow, Mean, Panel, Rate, Tile, TrendPoint, UnitCard

COLUMNS = (
    Column(
        "n_clusters",
        "clusters",
        "Number of clusters of the unit's exemplars; 1 where one concept was not rejected.",
        "count",
    ),
    Column("silhouette", "silhouette", "How well the clusters are set apart, -1 to 1; high means far apart."),
    Column("psi", "PSI", "Polysemanticity index, 0 to 1; high means several distinct, well-separated concepts."),
    Column("gap_q", "q of the gap", "False discovery rate of the gap statistic; low means more than one cluster.", "p"),
    Column(
        "kurtosis",
        "kurtosis",
        "Excess kurtosis of the unit's activations over all images; high means rarely, strongly active.",
    ),
    Column("constant", "constant", "The same number for every unit."),
)
N_VISUALIZED = 2  # of the units with pictures in a layer
TRENDED = ("n_clusters", "silhouette", "psi", "gap_q", "kurtosis")
CONTROLLED = ("silhouette", "psi", "gap_q")  # of these, what has controls
UNPROVED = "第三层.conv"  # a layer without virtual units: no rates, no controls
WEAK = "conv1"
SMALL_LAYERS = {
    "conv1": 16,
    "layer1.0.conv2": 32,
    "layer2.0.conv2": 64,
    "schicht/größe <b>&</b>": 96,
    "第三层.conv": 300,
    "layer4.1.conv2@pca": 1800,
}


def large_layers() -> dict[str, int]:
    """50 layers with 30,000 units in all, 80 to some 1,900 each."""
    widths = np.linspace(80, 1060, 50).round().astype(int)
    widths[20], widths[-1] = 1960, 0
    widths[-1] = 30_000 - widths.sum()
    blocks = (3, 4, 6, 3)
    names = ["conv1"]
    for stage, count in enumerate(blocks, start=1):
        names += [f"layer{stage}.{block}.conv{conv}" for block in range(count) for conv in (1, 2, 3)]
        names.append(f"layer{stage}.0.downsample.0")
    return dict(zip(names[:50], widths.tolist(), strict=True))


def scores(rng: np.random.Generator, depth: np.ndarray) -> dict[str, np.ndarray]:
    """One value per unit and column; `depth` runs from 0 to 1."""
    psi = 1 / (1 + np.exp(-(rng.normal(size=len(depth)) * 0.9 - 1.6 + 2.1 * depth)))
    clusters = 1 + rng.poisson(2.2 * psi)
    return {
        "n_clusters": clusters.astype(np.float64),
        "silhouette": np.where(
            clusters > 1, np.clip(0.15 + 0.5 * psi + 0.08 * rng.normal(size=len(depth)), -1, 1), np.nan
        ),
        "psi": psi,
        "gap_q": np.clip(rng.beta(0.4, 3.0, size=len(depth)) * (1.1 - psi), 1e-6, 1),
        "kurtosis": rng.gamma(1.2, 4.0, size=len(depth)) ** 1.6,
        "constant": np.full(len(depth), 0.5),
    }


def trend_point(rng: np.random.Generator, column: str, layer: str, depth: int, values: np.ndarray) -> TrendPoint:
    """The layer's distribution with a bootstrap interval of its mean."""
    known = values[np.isfinite(values)]
    if not known.size:
        nothing = float("nan")
        return TrendPoint(column, layer, depth, 0, nothing, nothing, nothing, (nothing,) * 5)
    means = known[rng.integers(known.size, size=(200, known.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    quantiles = tuple(float(value) for value in np.percentile(known, [5, 25, 50, 75, 95]))
    return TrendPoint(column, layer, depth, known.size, float(known.mean()), float(low), float(high), quantiles)  # type: ignore[arg-type]


def with_controls(point: TrendPoint, excess: float) -> TrendPoint:
    """The point beside controls that lie lower by `excess`, each interval a tenth wide on either side."""
    mean = point.mean - excess
    control = Mean(mean, mean - 0.1, mean + 0.1, 40)
    return replace(point, control=control, excess=Mean(excess, excess - 0.1, excess + 0.1, 40))


def proved(layer: LayerRow) -> LayerRow:
    """The layer with rates from 40 controls and 40 planted pairs; one layer finds few of them, one has none."""
    if layer.name == UNPROVED:
        return layer
    power = Rate(0.3, 0.181, 0.454, 40) if layer.name == WEAK else Rate(0.9, 0.769, 0.96, 40)
    return replace(layer, space="features of the next stage", fpr=Rate(0.05, 0.014, 0.165, 40), power=power)


def verdicts(gap_q: np.ndarray, is_dead: np.ndarray) -> list[str]:
    """What is said of each unit: several at q <= .05, every third of these certified, every ninth unit off range."""
    words = np.where(gap_q <= 0.05, "several", "one").astype(object)
    words[np.flatnonzero(gap_q <= 0.05)[::3]] = "several, certified"
    words[::9] = "off range"
    words[is_dead] = "dead"
    return words.tolist()


def calibrated(made: Atlas) -> Atlas:
    """The atlas with controls, rates and verdicts; the excess grows by a hundredth a layer."""
    trend = [
        with_controls(point, 0.01 * point.depth) if point.column in CONTROLLED and point.layer != UNPROVED else point
        for point in made.trend
    ]
    rows = [proved(layer) for layer in made.layers]
    return replace(made, layers=rows, trend=trend, verdict=verdicts(made.values["gap_q"], made.is_dead))


def picture(rng: np.random.Generator, concept: int, width: int = 120, height: int = 96, kind: str = "JPEG") -> bytes:
    """A picture of one of six patterns in its own colour, with noise."""
    y, x = np.mgrid[:height, :width] / 96.0
    turn, phase = rng.normal(0, 0.35) + concept, rng.uniform(0, 6)
    wave = np.sin(26 * (x * np.cos(turn) + y * np.sin(turn)) + phase)
    blob = np.exp(-(((x - rng.uniform(0.3, 0.9)) ** 2 + (y - rng.uniform(0.2, 0.8)) ** 2) / 0.05))
    checks = np.sign(np.sin(14 * x + phase) * np.sin(14 * y + phase))
    rings = np.sin(60 * np.hypot(x - 0.6, y - 0.5) + phase)
    pattern = (wave, 2 * blob - 1, checks, rings, wave * blob, checks * rings)[concept % 6]
    hue = np.array(
        [(0.9, 0.6, 0.2), (0.3, 0.6, 0.8), (0.5, 0.8, 0.4), (0.8, 0.4, 0.6), (0.8, 0.8, 0.3), (0.6, 0.6, 0.7)]
    )
    base = (0.5 + 0.42 * pattern)[..., None] * hue[concept % 6] + rng.normal(0, 0.05, (height, width, 1))
    stream = io.BytesIO()
    Image.fromarray((255 * np.clip(base, 0, 1)).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def panel(rng: np.random.Generator, evidence: str, n_clusters: int, size: int) -> Panel:
    """Evidence of a unit in that many clusters, the largest first."""
    cuts = sorted((size * np.cumsum(1 / 2 ** np.arange(1, n_clusters))).astype(int).tolist())
    sizes = np.diff([0, *cuts, size]).tolist()
    clusters: list[Cluster] = []
    for index, count in enumerate(sizes):
        shown = min(count, 8)
        strength = np.sort(rng.uniform(5, 30, shown))[::-1]
        square = {"width": 96} if evidence == "visualizations" else {}
        tiles = [
            Tile(picture(rng, index + n_clusters, **square), f"{value:.1f}", f"images/n{at:04d}.jpg")
            for at, value in enumerate(strength)
        ]
        clusters.append(Cluster(count, tiles))
    return Panel(evidence, size, (("silhouette", f"{rng.uniform(0.1, 0.6):.2f}"), ("space", "mobilenet_v2")), clusters)  # type: ignore[arg-type]


def card(rng: np.random.Generator, layer: str, channel: int, n_clusters: int, visualized: bool) -> UnitCard:
    """A unit with exemplars and, where asked, visualizations."""
    panels = [panel(rng, "exemplars", n_clusters, 24)]
    if visualized:
        panels.append(panel(rng, "visualizations", max(1, n_clusters - 1), 12))
    facts = (
        ("clusters", str(n_clusters)),
        ("PSI", f"{rng.uniform(0.2, 0.9):.3f}"),
        ("q", "0.0060"),
        ("names", "striped fabric / no name above the null"),
    )
    return UnitCard(layer, channel, facts, panels)


def atlas(layers: dict[str, int], *, seed: int = 0, cards_per_layer: int = 0, dead_share: float = 0.02) -> Atlas:
    """An atlas of these layers (name to number of units) with a planted rise of PSI and clusters with depth."""
    rng = np.random.default_rng(seed)
    names, widths = list(layers), list(layers.values())
    layer_index = np.repeat(np.arange(len(names)), widths)
    channel = np.concatenate([np.arange(width) for width in widths])
    is_dead = rng.random(len(layer_index)) < dead_share
    values = scores(rng, layer_index / max(1, len(names) - 1))
    for column in ("silhouette", "psi", "n_clusters", "gap_q"):
        values[column][is_dead] = np.nan
    rows = [
        LayerRow(name, depth, widths[depth], int(is_dead[layer_index == depth].sum()), f"{name}, after its batch norm")
        for depth, name in enumerate(names)
    ]
    trend = [
        trend_point(rng, column, name, depth, values[column][(layer_index == depth) & ~is_dead])
        for column in TRENDED
        for depth, name in enumerate(names)
    ]
    cards: dict[str, list[UnitCard]] = {}
    for depth, name in enumerate(names if cards_per_layer else []):
        alive = np.flatnonzero((layer_index == depth) & ~is_dead)
        best = alive[np.argsort(-values["psi"][alive])][:cards_per_layer]
        cards[name] = [
            card(rng, name, int(channel[unit]), int(values["n_clusters"][unit]), visualized=at < N_VISUALIZED)
            for at, unit in enumerate(best)
        ]
    facts = (
        ("units", f"{len(channel):,}"),
        ("layers", str(len(names))),
        ("dead", f"{int(is_dead.sum()):,}"),
        ("images", "50,000"),
        ("embedder", "mobilenet_v2"),
        ("polyscan", "0.1.0"),
    )
    statement = (
        f"Mean number of clusters rises with depth over the {len(names)} layers "
        f"(Spearman rank correlation 0.97, permutation p = 0.001; {len(channel):,} units)."
    )
    notes = ("Invented data.", "Visualizations were made for two of three units that have pictures.")
    made = Atlas(
        "torchvision:resnet50 · IMAGENET1K_V2",
        facts,
        statement,
        rows,
        layer_index,
        channel,
        is_dead,
        COLUMNS,
        values,
        trend,
    )
    return replace(made, cards=cards, notes=notes)


def small_atlas() -> Atlas:
    """Six layers of 16 to 1,800 units with odd names, three units of each with pictures, one tile broken, controls."""
    made = calibrated(atlas(SMALL_LAYERS, cards_per_layer=3))
    first = made.cards["conv1"][0]
    cluster = first.panels[0].clusters[0]
    broken = replace(cluster.tiles[0], picture=b"no picture")
    clusters = [replace(cluster, tiles=[broken, *cluster.tiles[1:]]), *first.panels[0].clusters[1:]]
    panels = [replace(first.panels[0], clusters=clusters), *first.panels[1:]]
    return replace(made, cards={**made.cards, "conv1": [replace(first, panels=panels), *made.cards["conv1"][1:]]})


def large_atlas() -> Atlas:
    """30,000 units in 50 layers, no pictures."""
    return calibrated(atlas(large_layers(), seed=1))
