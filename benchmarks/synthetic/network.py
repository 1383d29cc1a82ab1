"""An invented network: layers of all widths with plain and odd names, and what is true of each unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyscan.units import REAL, parent_and_role, virtual_layer

Trend = Literal["up", "down", "none", "dead-only"]
EMBEDDER = "torchvision:resnet18/IMAGENET1K_V1"
NULLS, CONTROLS, PLANTED = 200, 40, 40
"""Virtual units of a layer, by role."""
DEAD_SHARE, SEVERAL_SHARE = 0.02, 0.08
NARROWEST, WIDEST = 80, 2000
ODD_NAMES = ("schicht/größe <b>&</b>", "第三层.conv", "=1+1", '"><img src=x onerror=alert(1)>', "stage 2 <script>")
ALL_DEAD, ONE_UNIT = "layer3.dead", "gate.scalar"


@dataclass(frozen=True)
class Plan:
    """What a synthetic run is like.

    Args:
        units: of all layers together.
        layers: how many, 4 at least.
        trend: of the gap and of PSI with depth: planted in all units, in none, or in dead units alone.
        sprites: so many units of each layer have pictures, and all of the widest layer if any has; None: all units.
        seed: of everything.
    """

    units: int = 30_000
    layers: int = 50
    trend: Trend = "up"
    sprites: int | None = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.layers < 4 or self.units < 20 * self.layers:
            raise ValueError(
                f"a run has 4 layers of 20 units at least, got {self.layers} layers and {self.units} units"
            )


@dataclass(frozen=True)
class Place:
    """One layer, real or virtual: its parent's place, its name, role, units and space."""

    place: int
    name: str
    role: str
    n_units: int
    space: str

    @property
    def is_real(self) -> bool:
        """Whether its units are channels of the network."""
        return self.role == REAL

    @property
    def parent(self) -> str:
        """The layer that it is read from."""
        return parent_and_role(self.name)[0]


def widths(plan: Plan) -> list[int]:
    """Units of each layer, mostly more in later ones; one layer has one unit, one the most, one is all dead."""
    widest = min(WIDEST, plan.units // 5)
    ordinary = plan.layers - 2
    mean = (plan.units - 1 - widest) / ordinary
    low = min(NARROWEST, int(mean / 2))
    ramp = np.linspace(low, 2 * mean - low, ordinary).round().astype(int)
    ramp[-1] += plan.units - 1 - widest - ramp.sum()
    made = ramp.tolist()
    made.insert(one_unit_place(plan), 1)
    made.insert(widest_place(plan), widest)
    return made


def one_unit_place(plan: Plan) -> int:
    """Where the layer of one unit stands."""
    return plan.layers // 3


def widest_place(plan: Plan) -> int:
    """Where the widest layer stands."""
    return plan.layers - 2


def dead_place(plan: Plan) -> int:
    """Where the layer stands of which every unit is dead."""
    return plan.layers // 2


def names(plan: Plan) -> list[str]:
    """A ResNet's names, odd ones among them."""
    made = list(plain_names(plan.layers))
    special = {one_unit_place(plan): ONE_UNIT, dead_place(plan): ALL_DEAD}
    free = [place for place in range(1, plan.layers) if place not in (*special, widest_place(plan))]
    special |= dict(zip(free[1::2], ODD_NAMES, strict=False))
    return [special.get(place, name) for place, name in enumerate(made)]


def plain_names(n: int) -> Iterator[str]:
    """`conv1`, `layer1.0.conv1` and so on, in four stages."""
    yield "conv1"
    per_stage = -(-(n - 1) // 4)
    for at in range(n - 1):
        stage, within = divmod(at, per_stage)
        yield f"layer{stage + 1}.{within // 3}.conv{within % 3 + 1}"


def places(plan: Plan) -> list[Place]:
    """All layers in the run's order: each real one, then its virtual ones."""
    made: list[Place] = []
    roles = {"null": NULLS, "control": CONTROLS, "planted": PLANTED}
    for place, (name, width) in enumerate(zip(names(plan), widths(plan), strict=True)):
        space = "next" if place < 0.8 * plan.layers else "image" if place == plan.layers - 1 else "own"
        made.append(Place(place, name, REAL, width, space))
        made += [Place(place, virtual_layer(name, role), role, n, space) for role, n in roles.items()]
    return made


def depth_of(plan: Plan, place: int) -> float:
    """0 for the first layer, 1 for the last."""
    return place / (plan.layers - 1)


def generator(plan: Plan, place: Place, purpose: str) -> np.random.Generator:
    """The random numbers of one layer for one purpose."""
    words = [plan.seed, place.place, *purpose.encode(), *("" if place.is_real else place.role).encode()]
    return np.random.default_rng(words)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of a layer's units, by channel.

    Args:
        is_dead: [n]
        is_scored: [n]; live ones, and dead ones where the trend is in these alone.
        is_several: [n]
        n_clusters: [n]; 2 to 4, also of units of one concept.
        rise: [n]; what the trend adds to the unit's gap and PSI.
        classes: [n, 4, 3]; what each cluster is of, best first.
    """

    is_dead: np.ndarray
    is_scored: np.ndarray
    is_several: np.ndarray
    n_clusters: np.ndarray
    rise: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, plan: Plan, place: Place, n_classes: int) -> Truth:
        """The truth of one layer; virtual units are alive, controls of one concept, planted pairs of two."""
        rng, n = generator(plan, place, "truth"), place.n_units
        is_real = place.is_real
        is_dead = (rng.random(n) < DEAD_SHARE) & is_real & (n > 1)
        if is_real and place.place == dead_place(plan):
            is_dead[:] = True
        is_several = rng.random(n) < (SEVERAL_SHARE if is_real else 0.3 if place.place == 1 else 0.9)
        if place.role == "control":
            is_several[:] = False
        depth = depth_of(plan, place.place)
        slope = {"up": 0.15, "down": -0.15}.get(plan.trend, 0.0)
        rise = np.full(n, 0.2 + slope * depth + 0.02 * rng.normal() if is_real else 0.0)
        if plan.trend == "dead-only":
            rise[is_dead] += 20 * depth
        n_clusters = np.where(is_several, 2 + (rng.random(n) < 0.4) + (rng.random(n) < 0.2), 2)
        is_scored = np.ones(n, dtype=bool) if plan.trend == "dead-only" else ~is_dead
        classes = rng.integers(n_classes, size=(n, 4, 3))
        return cls(is_dead, is_scored, is_several, n_clusters, rise, classes)
