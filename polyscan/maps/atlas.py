"""What the pages are drawn from: plain numbers, words and encoded pictures, nothing that has to be looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np


@dataclass(frozen=True)
class MapColumn:
    """One number per unit that the map can be coloured by.

    Args:
        name: its key in `Atlas.values`, as in `map.parquet`.
        label: what people call it.
        help: one sentence: range, what high means.
        kind: "real" for a continuous score, "count" for whole numbers (drawn in exact steps), "p" for p and q, of which
            small ones matter (drawn on a logarithmic scale, turned so that small is bright).
        is_key: whether the front page has it at once: in its charts, in its tables and where one points at a unit.
    """

    name: str
    label: str
    help: str
    kind: Literal["real", "count", "p"] = "real"
    is_key: bool = False


LEAST_POWER = 0.5
"""Layers with less power are greyed out: what is not found there is not absent."""


@dataclass(frozen=True)
class Rate:
    """A measured share with its 95 % binomial interval, and of how many."""

    share: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Mean:
    """A mean over units with its 95 % bootstrap interval, and of how many."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class LayerRow:
    """One row of the map.

    Args:
        name: dotted module name.
        depth: place in the forward order.
        n_units: how many units it has.
        n_dead: how many of them are dead.
        readout: where it is read, in words.
        space: where its evidence is compared, in words.
        fpr: share of its one-concept controls called several at p <= .05; None where none were scanned.
        power: share of its planted pairs found.
    """

    name: str
    depth: int
    n_units: int
    n_dead: int
    readout: str
    space: str = ""
    fpr: Rate | None = None
    power: Rate | None = None

    @property
    def is_weak(self) -> bool:
        """Whether it is known to find less than half of the pairs planted in it; it is then greyed out."""
        return self.power is not None and self.power.share < LEAST_POWER


@dataclass(frozen=True)
class TrendPoint:
    """One column's distribution over one layer's live, scored units.

    `low` and `high` are the 95 % bootstrap interval of the mean over units; NaN where there is no unit. `control` is
    the same mean over the layer's one-concept controls, `excess` real minus control: the finding, where there are any.
    """

    column: str
    layer: str
    depth: int
    n: int
    mean: float
    low: float
    high: float
    quantiles: tuple[float, float, float, float, float]  # .05, .25, .5, .75, .95
    control: Mean | None = None
    excess: Mean | None = None


@dataclass(frozen=True)
class Tile:
    """One picture of a unit: where it lies in the unit's sprite (px) and what is said of it.

    `caption` stands under it (an activation), `title` is told where one points at it (where it comes from).
    """

    left: int
    top: int
    width: int
    height: int
    caption: str
    title: str = ""


@dataclass(frozen=True)
class Cluster:
    """One cluster of one unit's evidence, strongest pictures first.

    Args:
        size: of all members, shown or not.
        tiles: of those that have a picture in the sprite.
        names: what they have in common, best first, each with how well it fits; none where no name is above chance.
    """

    size: int
    tiles: Sequence[Tile]
    names: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Panel:
    """One kind of evidence of one unit, grouped by cluster, largest first."""

    evidence: Literal["exemplars", "visualizations", "begun-from-exemplars"]
    size: int
    facts: Sequence[tuple[str, str]]
    clusters: Sequence[Cluster]


@dataclass(frozen=True)
class ElbowCurve:
    """How a unit's visualizations spread as there are more of them.

    Args:
        distances: mean pairwise perceptual distance of images 0..i; NaN for the first.
        count: I, how many there are.
        stop: why there are no more: "elbow", "max images", "stalled" or "dead".
    """

    distances: Sequence[float]
    count: int
    stop: str


@dataclass(frozen=True)
class Plane:
    """A unit's exemplars in two dimensions: the two axes along which their cosines differ most.

    Args:
        x: along the first, in -1..1; one number per exemplar, strongest first.
        y: along the second, on the same scale.
        cluster: of each; place in the exemplars' panel, 0 for the largest.
    """

    x: np.ndarray
    y: np.ndarray
    cluster: np.ndarray


@dataclass(frozen=True)
class NullPlace:
    """Where a unit's score lies among the null sets that are as homogeneous: z = (value - mean) / sd."""

    value: float
    mean: float
    sd: float

    @property
    def z(self) -> float:
        """Distance from the null's mean in its standard deviations."""
        return (self.value - self.mean) / self.sd if self.sd > 0 else float("nan")


@dataclass(frozen=True)
class NullSets:
    """A layer's null as a histogram of z, each set's distance from the mean at its clarity in standard deviations.

    Args:
        score: label of the score.
        low: left end of the first bin.
        width: of each bin.
        counts: sets in each bin; what lies beyond the ends is counted in the outermost bins.
    """

    score: str
    low: float
    width: float
    counts: Sequence[int]


@dataclass(frozen=True)
class UnitCard:
    """One unit as it is looked at.

    Args:
        layer: its layer's name.
        channel: its index there.
        facts: label and value pairs beyond the map's columns.
        panels: exemplars first; none of a dead unit.
        elbow: None where it was not visualized.
        plane: None where its exemplars were not compared.
        null: None where there is no null for it.
        nearest: (layer, channel, cosine) of the units whose exemplars lie nearest, nearest first.
        sprite: width and height in px of the image that holds its tiles; None where it has none.
        missing: sentences on what it does not have, and why.
    """

    layer: str
    channel: int
    facts: Sequence[tuple[str, str]] = ()
    panels: Sequence[Panel] = ()
    elbow: ElbowCurve | None = None
    plane: Plane | None = None
    null: NullPlace | None = None
    nearest: Sequence[tuple[str, int, float]] = ()
    sprite: tuple[int, int] | None = None
    missing: Sequence[str] = ()


@dataclass(frozen=True)
class Statement:
    """A sentence and the numbers that it was made from, by name."""

    text: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Association:
    """Spearman's rank correlation of two columns over one layer's live units that have both.

    Args:
        layer: which one.
        column: a score.
        beside: what it is held against.
        n: units.
        rho: the correlation.
        low: lower end of its 95 % bootstrap interval over units.
        high: upper end.
    """

    layer: str
    column: str
    beside: str
    n: int
    rho: float
    low: float
    high: float


class Gallery(Protocol):
    """Where the pages get single units from, a layer at a time: a run's units are more than memory holds."""

    def cards(self, layer: str) -> Sequence[UnitCard]:
        """One card for each unit of the layer, by channel."""
        ...

    def sprite(self, layer: str, channel: int) -> bytes | None:
        """The unit's sprite as it is encoded (JPEG or PNG); None where it has none."""
        ...

    def null(self, layer: str) -> NullSets | None:
        """The layer's null; None where it has none."""
        ...


class NoUnits:
    """The gallery of an atlas that is only looked at from afar."""

    def cards(self, layer: str) -> Sequence[UnitCard]:
        """None."""
        return ()

    def sprite(self, layer: str, channel: int) -> bytes | None:
        """None."""
        return None

    def null(self, layer: str) -> NullSets | None:
        """None."""
        return None


@dataclass(frozen=True)
class Atlas:
    """Everything that the pages show.

    Args:
        title: the network, as in "torchvision:mobilenet_v2 · IMAGENET1K_V1".
        facts: head line: label and value pairs (units, layers, dead, images, embedder, version ...).
        statement: the sentence on the depth trend, made from the raw columns.
        layers: in forward order.
        layer_index: for each unit the index of its layer in `layers`, in unit order.
        channel: for each unit its channel.
        is_dead: for each unit whether it is dead.
        columns: what the map can be coloured by; the first one is the default.
        values: column name to one number per unit, NaN where the unit has none.
        trend: one point per column and layer.
        shares: what has a trend and no value per unit: a share of each layer's units, with its interval.
        gallery: gives each unit's page its contents.
        notes: what is missing or must be known to read the page.
        verdict: for each unit what is said of it, in a word or phrase, empty where nothing can be; empty as a whole
            where nothing is said of any. Words that begin with "several" and the word "one" can be chosen on the map,
            all others are units that cannot be judged.
        run: what tells this run's files from another's.
        associations: of scores with other columns, layer by layer.
        claims: the sentences that `statement` is made of.
        meanings: what each verdict means, in half a sentence; "" is what it means that there is none.
        names: for each unit what it is called, to be found by; empty as a whole where nothing is named.
        q: for each unit its false discovery rate, NaN where it has none; empty as a whole in a run without a null.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    statement: str
    layers: Sequence[LayerRow]
    layer_index: np.ndarray
    channel: np.ndarray
    is_dead: np.ndarray
    columns: Sequence[MapColumn]
    values: Mapping[str, np.ndarray]
    trend: Sequence[TrendPoint]
    gallery: Gallery = field(default_factory=NoUnits)
    notes: Sequence[str] = ()
    verdict: Sequence[str] = ()
    run: str = ""
    associations: Sequence[Association] = ()
    shares: Sequence[MapColumn] = ()
    claims: Sequence[Statement] = ()
    meanings: Mapping[str, str] = field(default_factory=dict[str, str])
    names: Sequence[str] = ()
    q: Sequence[float] | np.ndarray = ()
