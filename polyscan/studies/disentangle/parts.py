"""What a unit is taken apart into: readouts of its layer, each with the images that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64

from polyscan.units import Unit, parent_and_role


@dataclass(frozen=True)
class Wishes:
    """What a user can choose of how units are taken apart.

    Args:
        separation: how far apart the means of two clusters of equal size must be to be two parts; see `hows.vectors`.
        shared: for channel splits: an input serves one part alone if it gives the other less than this share.
        carried: for circuits: share of what drives a cluster that the inputs kept must carry.
        seed: of clusterings.
    """

    separation: float = 0.55
    shared: float = 0.5
    carried: float = 0.8
    seed: int = 0


@dataclass(frozen=True, eq=False)
class UnitPart:
    """One part of a unit.

    Args:
        unit: the whole.
        how: which method made it; a key of `HOWS`.
        number: 0 for the first part of the unit.
        weights: a readout of the layer's vectors, or of those that it reads.
        bias: added to it.
        images: the images that it was found on.
        separation: how far the unit's two best halves lie apart, in the measure of the wished threshold; NaN if the
            method has none.
        sharing: for channel splits, which inputs serve: 1 the first part, 2 the second, 3 both; else empty.
    """

    unit: Unit
    how: str
    number: int
    weights: Float32[np.ndarray, " c"]
    bias: float
    images: Int64[np.ndarray, " n"]
    separation: float = float("nan")
    sharing: Int64[np.ndarray, " c"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def name(self) -> str:
        """What its page calls it: `layer4:17, part 0 by vectors`."""
        return f"{self.unit}, part {self.number} by {self.how}"


def by_layer(parts: Sequence[UnitPart]) -> dict[str, list[UnitPart]]:
    """The parts by the real layer that they read, in the order of their directions there."""
    found: dict[str, list[UnitPart]] = {}
    for part in parts:
        found.setdefault(parent_and_role(part.unit.layer)[0], []).append(part)
    return found
