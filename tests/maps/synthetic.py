"""Atlases with planted numbers and drawn pictures, for tests and for looking at the pages."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from polyscan.maps import (
    Association,
    Atlas,
    Cluster,
    ElbowCurve,
    LayerRow,
    MapColumn,
    Mean,
    NoUnits,
    NullPlace,
    NullSets,
    Panel,
    Plane,
    Rate,
    Tile,
    TrendPoint,
    UnitCard,
)
from polyscan.maps.sprites import EncodedPicture, Sprite, cells, sprite

COLUMNS = (
    MapColumn(
        "n_clusters",
        "clusters",
        "Number of clusters of the unit's exemplars; 1 where one concept was not rejected.",
        "count",
    ),
    MapColumn("silhouette", "silhouette", "How well the clusters are set apart, -1 to 1; high means far apart."),
    MapColumn("psi", "PSI", "Polysemanticity index, 0 to 1; high means several distinct, well-separated concepts."),
    MapColumn(
        "gap_q", "q of the gap", "False discovery rate of the gap statistic; low means more than one cluster.", "p"
    ),
    MapColumn(
        "kurtosis",
        "kurtosis",
        "Excess kurtosis of the unit's activations over all images; high means rarely, strongly active.",
    ),
    MapColumn("constant", "constant", "The same number for every unit."),
)
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
    beside = {"random": Rate(0.2, 0.105, 0.348, 40), "p_05": Rate(0.3, 0.2, 0.42, layer.n_units), "at_least": 3}
    return replace(layer, space="features of the next stage", fpr=Rate(0.05, 0.014, 0.165, 40), power=power, **beside)


def verdicts(gap_q: np.ndarray, is_dead: np.ndarray) -> list[str]:
    """What is said of each unit: several at q <= .05, every third of these certified, every ninth unit off range."""
    words = np.select(
        [gap_q <= 0.05, gap_q <= 0.1, gap_q <= 0.2], ["several", "probably several", "suggestive"], "no split shown"
    ).astype(object)
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


def panel(evidence: str, sizes: list[int], boxes: list[tuple[int, int, int, int]], rng: np.random.Generator) -> Panel:
    """Evidence of a unit in clusters of these sizes; the boxes are dealt out to them in turn, strongest first."""
    strength = iter(np.sort(rng.uniform(5, 30, len(boxes)))[::-1])
    clusters: list[Cluster] = []
    for index, size in enumerate(sizes):
        tiles = [
            Tile(*box, f"{next(strength):.1f}", f"images/n{at:04d}.jpg")
            for at, box in enumerate(boxes)
            if at % len(sizes) == index
        ]
        names = (("striped <b>fabric</b>", ".81"), ("größe", ".44")) if index == 0 else ()
        clusters.append(Cluster(size, tiles, names))
    return Panel(evidence, sum(sizes), (("space", "mobilenet_v2"),), clusters)  # type: ignore[arg-type]


def cluster_sizes(n_clusters: int, size: int) -> list[int]:
    """So many sizes, falling, with that sum."""
    cuts = sorted((size * np.cumsum(1 / 2 ** np.arange(1, n_clusters))).astype(int).tolist())
    return sorted(np.diff([0, *cuts, size]).tolist(), reverse=True)


class SyntheticGallery:
    """Cards of an atlas' units, made when they are asked for; a third have no visualizations, dead ones nothing.

    The first picture of each sprite is plain, of the colour `marker(layer's place, channel)`.
    """

    def __init__(self, layers: dict[str, int], is_dead: np.ndarray, n_clusters: np.ndarray, broken: str = "") -> None:
        self.names = list(layers)
        self.widths = list(layers.values())
        self.starts = np.cumsum([0, *self.widths])
        self.is_dead, self.n_clusters, self.broken = is_dead, n_clusters, broken
        self.sheets: dict[int, Image.Image] = {}
        rng = np.random.default_rng(7)
        self.patterns = [picture(rng, concept) for concept in range(12)]
        self.squares = [picture(rng, concept, 128, 128, "PNG") for concept in range(6)]

    def cards(self, layer: str) -> list[UnitCard]:
        place = self.names.index(layer)
        return [self.card(place, channel) for channel in range(self.widths[place])]

    def sprite(self, layer: str, channel: int) -> bytes | None:
        place = self.names.index(layer)
        if channel >= self.widths[place] or self.is_dead[self.starts[place] + channel]:
            return None
        return self.drawn(place, channel)

    def drawn(self, place: int, channel: int) -> bytes:
        """One of twelve sheets with the unit's own colour in its first cell: of 2,000 units, in seconds."""
        turn = channel % 12  # and so has the same rest by 3
        if f"{self.names[place]}:{channel}" == self.broken:
            return self.whole(turn, b"no picture").content
        if turn not in self.sheets:
            content = self.whole(turn, plain(0, 0, 0)).content
            self.sheets[turn] = Image.open(io.BytesIO(content)).convert("RGB")
        sheet = self.sheets[turn].copy()
        sheet.paste(marker(place, channel), (0, 0, 64, 64))
        stream = io.BytesIO()
        sheet.save(stream, "JPEG", quality=85)
        return stream.getvalue()

    def whole(self, turn: int, first: bytes) -> Sprite:
        """A sheet with that picture first."""
        crops = [first, *(self.patterns[(turn + at) % 12] for at in range(11))]
        squares = [] if turn % 3 == 2 else [self.squares[(turn + at) % 6] for at in range(4)]
        return sprite([*(EncodedPicture(one, 64) for one in crops), *(EncodedPicture(one, 128) for one in squares)])

    def null(self, layer: str) -> NullSets | None:
        if layer == UNPROVED:
            return None
        counts = np.exp(-0.5 * (np.arange(-4, 8, 0.25) + 0.125) ** 2) * 80
        return NullSets("gap", -4.0, 0.25, counts.round().astype(int).tolist())

    def card(self, place: int, channel: int) -> UnitCard:
        layer = self.names[place]
        unit = self.starts[place] + channel
        if self.is_dead[unit]:
            return UnitCard(layer, channel, missing=("A dead unit: it never says anything, so nothing was scored.",))
        rng = np.random.default_rng((place, channel))
        n_clusters = int(self.n_clusters[unit])
        has_visualizations = channel % 3 != 2
        corners, width, height = cells([64] * 12 + [128] * (4 if has_visualizations else 0))
        crops = [(*corners[0], 64, 64), *((*corner, 64, 51) for corner in corners[1:12])]
        panels = [panel("exemplars", cluster_sizes(n_clusters, 24), crops, rng)]
        if has_visualizations:
            squares = [(*corner, 128, 128) for corner in corners[12:]]
            panels.append(panel("visualizations", [5, 3], squares, rng))
        sizes = cluster_sizes(n_clusters, 24)
        cluster = np.repeat(np.arange(len(sizes)), sizes)
        turn = 2 * np.pi * cluster / len(sizes)
        x, y = (0.6 * side + 0.12 * rng.normal(size=24) for side in (np.cos(turn), np.sin(turn)))
        elbow = ElbowCurve([float("nan"), 0.2, 0.3, 0.36, 0.38, 0.385, 0.387, 0.388], 8, "elbow")
        others = [other for other in range(self.widths[place]) if other != channel][:5]
        return UnitCard(
            layer,
            channel,
            facts=(("names", "striped fabric / no name above the null"),),
            panels=panels,
            elbow=elbow if has_visualizations else None,
            plane=Plane(np.clip(x, -1, 1), np.clip(y, -1, 1), cluster),
            null=None if layer == UNPROVED else NullPlace(0.21, 0.12, 0.03),
            nearest=[(layer, other, 0.9 - 0.1 * at) for at, other in enumerate(others)],
            sprite=(width, height),
            missing=() if has_visualizations else ("No visualizations: the job visualizes a sample of units.",),
        )


def marker(place: int, channel: int) -> tuple[int, int, int]:
    """A colour of its own for each unit, coarse enough for JPEG."""
    return (32 * (place % 8) + 16, 32 * (channel % 8) + 16, 32 * (channel // 8 % 8) + 16)


def plain(red: int, green: int, blue: int) -> bytes:
    """A picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (red, green, blue)).save(stream, "PNG")
    return stream.getvalue()


def atlas(layers: dict[str, int], *, seed: int = 0, dead_share: float = 0.02) -> Atlas:
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
    gallery = SyntheticGallery(layers, is_dead, np.nan_to_num(values["n_clusters"], nan=1.0))
    return replace(made, gallery=gallery, notes=notes, run="invented", associations=associations(made))


def associations(made: Atlas) -> list[Association]:
    """Invented ones of each layer."""
    columns = [column.name for column in made.columns if column.name not in ("kurtosis", "constant")]
    return [
        Association(layer.name, column, "kurtosis", layer.n_units - layer.n_dead, 0.31, 0.12, 0.48)
        for layer in made.layers
        for column in columns
    ]


def small_atlas() -> Atlas:
    """Six layers of 16 to 1,800 units with odd names, one picture broken, controls."""
    made = calibrated(atlas(SMALL_LAYERS))
    gallery = made.gallery
    assert isinstance(gallery, SyntheticGallery)
    gallery.broken = f"conv1:{int(np.flatnonzero(~made.is_dead)[0])}"
    return made


def large_atlas() -> Atlas:
    """30,000 units in 50 layers, none of which is looked at by itself."""
    return replace(calibrated(atlas(large_layers(), seed=1)), gallery=NoUnits())
