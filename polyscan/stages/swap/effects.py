"""What a cluster's patches do to a unit: effects by condition, and whether the cluster's own come out above each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from polyscan.stats.significance import Interval, block_means, mean_interval, sign_flip_p, signs

ALIGNED = "aligned"
CONTROLS = ("other_unit", "random", "elsewhere", "ablated_elsewhere")
CONDITIONS = (ALIGNED, *CONTROLS)
OF_DONORS = frozenset((ALIGNED, "elsewhere"))
"""Conditions in which recipients share donors."""


@dataclass(frozen=True)
class ClusterEffect:
    """The swaps of one cluster.

    Args:
        changes: mean change of the unit in each condition, in its sd, with the interval over donors; over recipients
            where these share no donors.
        margins: mean of `aligned` less each control, with the interval over donors.
        p: of `aligned` not above each control; NaN for a control that says nothing of this unit.
        n_donors: number of donors.
    """

    changes: Mapping[str, Interval]
    margins: Mapping[str, Interval]
    p: Mapping[str, float]
    n_donors: int

    @property
    def largest_p(self) -> float:
        """The p of `aligned` not above every control.

        The largest p of the controls: `aligned` is above all of them only if it is above each, and no correction is
        needed (intersection-union test).

        Source: Berger 1982, "Multiparameter hypothesis testing and acceptance sampling".
        """
        return max((p for p in self.p.values() if not math.isnan(p)), default=math.nan)

    @property
    def margin(self) -> Interval:
        """`aligned` less the control with the largest effect, among those that count."""
        strongest = max((name for name in CONTROLS if not math.isnan(self.p[name])), key=lambda n: self.changes[n].mean)
        return self.margins[strongest]


def cluster_effect(
    values: Mapping[str, Float[np.ndarray, " r"]],
    before: Float[np.ndarray, " r"],
    donors: Int64[np.ndarray, " r"],
    *,
    sd: float,
    draws: int,
    generator: np.random.Generator,
    counted: Sequence[str] = CONTROLS,
) -> ClusterEffect:
    """Effects of one cluster's patches on one unit.

    Recipients that share a donor are one observation: their mean. So the test and the intervals speak of other donors,
    not only of other recipients.

    Args:
        values: the unit in each condition, one number per recipient.
        before: the unit on the unchanged recipients, read at the same places.
        donors: for each recipient the donor of its patch, counted from 0.
        sd: the unit's standard deviation over images, above 0.
        draws: sign flips that are drawn where there are more.
        generator: seeded by the caller.
        counted: the controls that say something of this unit.
    """
    changes = {name: ((values[name] - before) / sd).astype(np.float64) for name in CONDITIONS}
    by_donor = dict(zip(CONDITIONS, block_means(np.stack(list(changes.values())), donors), strict=True))
    above = {name: by_donor[ALIGNED] - by_donor[name] for name in CONTROLS}
    flips = signs(len(by_donor[ALIGNED]), draws=draws, generator=generator)
    p = sign_flip_p(np.stack(list(above.values())), flips).tolist()
    return ClusterEffect(
        {name: mean_interval((by_donor if name in OF_DONORS else changes)[name]) for name in CONDITIONS},
        {name: mean_interval(difference) for name, difference in above.items()},
        {name: one if name in counted else math.nan for name, one in zip(CONTROLS, p, strict=True)},
        len(by_donor[ALIGNED]),
    )
