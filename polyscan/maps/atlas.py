"""What the pages are drawn from: plain numbers, words and encoded pictures, nothing that has to be looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Column:
    """One number per unit that the map can be coloured by.

    Args:
        name: its key in `Atlas.values`, as in `map.parquet`.
        label: what people call it.
        help: one sentence: range, what high means.
        kind: "real" for a continuous score, "count" for whole numbers (drawn in exact steps), "p" for p and q, of which
            small ones matter (drawn on a logarithmic scale, turned so that small is bright).
    """

    name: str
    label: str
    help: str
    kind: Literal["real", "count", "p"] = "real"


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
        read_out: where it is read, in words.
        space: where its evidence is compared, in words.
        fpr: share of its one-concept controls called several at p <= .05; None where none were scanned.
        power: share of its planted pairs found.
    """

    name: str
    depth: int
    n_units: int
    n_dead: int
    read_out: str
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
    """One small picture: encoded bytes (JPEG or PNG) and what stands under it."""

    picture: bytes
    caption: str
    title: str = ""


@dataclass(frozen=True)
class Cluster:
    """One cluster of one unit's evidence; strongest pictures first. `size` counts all members, shown or not."""

    size: int
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Panel:
    """One kind of evidence of one unit, grouped by cluster."""

    evidence: Literal["exemplars", "visualizations", "begun-from-exemplars"]
    size: int
    facts: Sequence[tuple[str, str]]
    clusters: Sequence[Cluster]


@dataclass(frozen=True)
class UnitCard:
    """One unit as it is looked at."""

    layer: str
    channel: int
    facts: Sequence[tuple[str, str]]
    panels: Sequence[Panel]


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
        cards: layer name to the units shown with pictures, most polysemantic first.
        notes: what is missing or must be known to read the page.
        verdict: for each unit what is said of it, in a word or phrase, empty where nothing can be; empty as a whole
            where nothing is said of any. Words that begin with "several" and the word "one" can be chosen on the map,
            all others are units that cannot be judged.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    statement: str
    layers: Sequence[LayerRow]
    layer_index: np.ndarray
    channel: np.ndarray
    is_dead: np.ndarray
    columns: Sequence[Column]
    values: Mapping[str, np.ndarray]
    trend: Sequence[TrendPoint]
    cards: Mapping[str, Sequence[UnitCard]] = field(default_factory=dict[str, Sequence[UnitCard]])
    notes: Sequence[str] = ()
    verdict: Sequence[str] = ()
