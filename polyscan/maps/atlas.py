"""The contents of the pages: plain numbers, texts and encoded pictures."""

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
        label: its name on the pages.
        help: one sentence: its range and the meaning of high values.
        kind: "real" for a continuous score, "count" for whole numbers (drawn in exact steps), "p" for p and q, where
            small values matter (drawn on a logarithmic scale on which small values are bright).
        is_key: whether the front page shows it from the start: in its charts, tables and tooltips.
    """

    name: str
    label: str
    help: str
    kind: Literal["real", "count", "p"] = "real"
    is_key: bool = False


LEAST_POWER = 0.5
"""Layers with less power are greyed out: units with several concepts may be missed there."""


@dataclass(frozen=True)
class Rate:
    """A measured share of n cases with its 95 % binomial interval."""

    share: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Mean:
    """A mean over n units with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class SecondRow:
    """What the second test says of one layer: each number as the one of this name in `LayerRow`."""

    fpr: Rate | None = None
    power: Rate | None = None
    random: Rate | None = None
    p_05: Rate | None = None
    at_least: int | None = None


@dataclass(frozen=True)
class LayerRow:
    """One row of the map.

    Args:
        name: dotted module name.
        depth: place in the forward order.
        n_units: number of its units.
        n_dead: number of its dead units.
        readout: description of the point where it is read.
        space: description of the space in which its evidence is compared.
        fpr: share of its single-concept controls called several at p <= .05; None if no controls were scanned.
        power: share of its planted pairs called several at p <= .05; None if no pairs were scanned.
        random: share of its random directions called several at p <= .05; None if none were scanned.
        p_05: share of its units with p <= .05, among those that can be judged; None if there are none.
        at_least: lower bound at 95 % on the number of these units that answer to several things; None if unknown.
        second: the same numbers of the second test; None if no unit of the layer has one.
        parent: for directions of one's own, the layer that they read; "" for a layer's channels.
    """

    name: str
    depth: int
    n_units: int
    n_dead: int
    readout: str
    space: str = ""
    fpr: Rate | None = None
    power: Rate | None = None
    random: Rate | None = None
    p_05: Rate | None = None
    at_least: int | None = None
    second: SecondRow | None = None
    parent: str = ""

    @property
    def is_weak(self) -> bool:
        """Whether fewer than half of its planted pairs are found; if so, the pages grey it out."""
        return self.power is not None and self.power.share < LEAST_POWER


@dataclass(frozen=True)
class TrendPoint:
    """The distribution of one column over the live, scored units of one layer.

    `low` and `high` are the 95 % bootstrap interval of the mean over units; NaN if there are no units. `control` is the
    same mean over the single-concept controls of the layer, `excess` is real minus control; None without controls.
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
    """One picture of a unit: its box in the unit's sprite (px) and its texts.

    `caption` is shown under it (an activation), `title` is its tooltip (where the picture comes from).
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
        size: number of its members, shown or not.
        tiles: tiles of the members that have a picture in the sprite.
        names: names of the concept that its members share, best first, each with a text that says how well it fits;
            empty if no name is above chance.
    """

    size: int
    tiles: Sequence[Tile]
    names: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Panel:
    """One kind of evidence of one unit, grouped by cluster, largest first."""

    evidence: Literal["exemplars", "deflated", "swaps", "visualizations", "begun-from-exemplars"]
    size: int
    facts: Sequence[tuple[str, str]]
    clusters: Sequence[Cluster]


@dataclass(frozen=True)
class ElbowCurve:
    """How the spread of a unit's visualizations grows with their number.

    Args:
        distances: mean pairwise perceptual distance of images 0..i; NaN for the first.
        count: number of visualizations.
        stop: why there are no more: "elbow", "max images", "stalled" or "dead".
    """

    distances: Sequence[float]
    count: int
    stop: str


@dataclass(frozen=True)
class Plane:
    """A unit's exemplars in two dimensions: the two axes along which their cosines differ most.

    Args:
        x: coordinates on the first axis, in -1..1; one number per exemplar, strongest first.
        y: coordinates on the second axis, on the same scale.
        cluster: cluster of each exemplar, as its place in the panel of exemplars; 0 is the largest.
    """

    x: np.ndarray
    y: np.ndarray
    cluster: np.ndarray


@dataclass(frozen=True)
class NullPlace:
    """A unit's score against null sets of similar homogeneity: z = (value - mean) / sd."""

    value: float
    mean: float
    sd: float

    @property
    def z(self) -> float:
        """Distance from the mean of the null in its standard deviations."""
        return (self.value - self.mean) / self.sd if self.sd > 0 else float("nan")


@dataclass(frozen=True)
class NullSets:
    """A layer's null as a histogram of z: distances of sets from the mean at their clarity, in standard deviations.

    Args:
        score: label of the score.
        low: left end of the first bin.
        width: width of each bin.
        counts: number of sets in each bin; the outermost bins also count the sets beyond the ends.
    """

    score: str
    low: float
    width: float
    counts: Sequence[int]


@dataclass(frozen=True)
class UnitCard:
    """Everything that the pages show of one unit beyond the columns of the map.

    Args:
        layer: name of its layer.
        channel: its channel in the layer.
        facts: label and value pairs.
        panels: its evidence, exemplars first; empty for a dead unit.
        elbow: None if it was not visualized.
        plane: None if its exemplars were not compared.
        null: None if there is no null for it.
        nearest: (layer, channel, cosine) of the units with the nearest mean exemplar embeddings, nearest first.
        sprite: width and height in px of the image with its tiles; None if it has no sprite.
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
        layer: name of the layer.
        column: a score.
        beside: the column that it is correlated with.
        n: number of units.
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
    """Gives the pages single units, one layer at a time, because all units of a run do not fit into memory."""

    def cards(self, layer: str) -> Sequence[UnitCard]:
        """One card for each unit of the layer, by channel."""
        ...

    def sprite(self, layer: str, channel: int) -> bytes | None:
        """The unit's sprite, encoded (JPEG or PNG); None if it has no sprite."""
        ...

    def null(self, layer: str) -> NullSets | None:
        """The layer's null; None if it has no null."""
        ...


class NoUnits:
    """The gallery of an atlas without data of single units."""

    def cards(self, layer: str) -> Sequence[UnitCard]:
        """No cards."""
        return ()

    def sprite(self, layer: str, channel: int) -> bytes | None:
        """No sprite."""
        return None

    def null(self, layer: str) -> NullSets | None:
        """No null."""
        return None


@dataclass(frozen=True)
class Atlas:
    """Everything that the pages show.

    Args:
        title: the network, as in "torchvision:mobilenet_v2 · IMAGENET1K_V1".
        facts: label and value pairs at the top of the front page (units, layers, dead, images, embedder, version ...).
        statement: the sentence on the depth trend, made from the raw columns.
        layers: the layers in forward order.
        layer_index: for each unit the index of its layer in `layers`, in unit order.
        channel: for each unit its channel.
        is_dead: for each unit whether it is dead.
        columns: the columns that the map can be coloured by; the first one is the default.
        values: column name -> one number per unit, NaN if the unit has no number.
        trend: one point per column and layer.
        shares: columns that have a trend but no value per unit: a share of each layer's units, with its interval.
        gallery: gives the contents of the unit pages.
        notes: what is missing, and what readers of the page must know.
        verdict: for each unit its verdict, a word or phrase, or "" if it has none; empty if no unit has a verdict.
            Those of `network_map.GROUPS` can be chosen on the map; units with any other verdict cannot be judged.
        run: distinguishes the files of this run from those of other runs.
        associations: correlations of scores with other columns, layer by layer.
        claims: the sentences that `statement` consists of.
        meanings: the meaning of each verdict, in half a sentence; "" is the meaning of no verdict.
        names: for each unit its name, for the search; empty if no unit has a name.
        q: for each unit its false discovery rate, NaN if it has none; empty in a run without a null.
        warning: what every page must say first; "" for nothing.
        second_verdict: for each unit its verdict by the second test, "" if it has none; empty in a run without it.
        second_meanings: the meaning of each of these verdicts, as `meanings`.
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
    warning: str = ""
    second_verdict: Sequence[str] = ()
    second_meanings: Mapping[str, str] = field(default_factory=dict[str, str])
