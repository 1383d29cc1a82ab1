"""At least how many units of a set answer to several things, at 95 %, however the set was chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool

from polyscan.shards import seed
from polyscan.stats.significance import Envelope, Group, closed_testing


@dataclass(frozen=True)
class AtLeast:
    """Two lower bounds on the number of units of a set that are not as single-concept readouts are; each holds at 95 %.

    Args:
        n: the bound by the envelope of p-values of nulls; stronger where many units have a smallish p.
        of: number of units of the set that have an exact p.
        by_closed_testing: the bound by closed testing; stronger where few units have a very small p. Do not take the
            larger of the two: it would not hold at 95 %.
    """

    n: int
    of: int
    by_closed_testing: int

    @property
    def share(self) -> float:
        """The bound as a share of the set; NaN for an empty set."""
        return self.n / self.of if self.of else float("nan")


def at_least(units: pd.DataFrame, among: Bool[np.ndarray, " u"] | None = None) -> AtLeast:
    """The bounds for a set of units.

    The bounds of all sets of the same `units` hold together, so a set may be chosen after looking at p. A layer's own
    bound, with its units as `units`, is larger than that for the layer as a set among all units; but it holds at 95 %
    for a layer that was named beforehand, not for the most striking one.

    Args:
        units: those that can be judged, with `layer`, `p_exact` and `n_exact`, the number of null sets of the layer
            that `p_exact` was counted among; units without p_exact do not count.
        among: the set; default: all.
    """
    is_tested = units["p_exact"].notna().to_numpy(np.bool_)
    sizes = units[is_tested].groupby("layer", sort=False)["n_exact"].agg(["size", "max"])
    groups = [Group(int(n), int(n_exact)) for n, n_exact in sizes.itertuples(index=False)]
    p = units["p_exact"].to_numpy(np.float64)
    in_set = is_tested if among is None else is_tested & among
    if not in_set.any():
        return AtLeast(0, 0, 0)
    # The envelope depends on the numbers of units alone, so the same numbers get the same envelope.
    envelope = Envelope.simulate(groups, generator=np.random.default_rng(seed(0, "envelope of null p-values")))
    return AtLeast(envelope.at_least(p, in_set), int(in_set.sum()), closed_testing(p, in_set))
