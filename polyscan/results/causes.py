"""Which clusters drive their unit: q over all clusters of a run, from the p of their patch swaps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from polyscan.run import Run
from polyscan.stats.significance import benjamini_hochberg

NO_PICTURES = (
    *("layer", "parent", "role", "channel", "evidence", "cluster", "n_donors", "n_recipients", "patch_y", "patch_x"),
    *("margin", "margin_low", "margin_high", "p", "absent"),
)
"""Columns of `causes` without its pictures."""


def causes_of(run: Run, fdr: float) -> pd.DataFrame:
    """The table `causes` without pictures, with `q` and `is_causal`.

    q is that of Benjamini & Hochberg over units and clusters, by role: controls and planted units, which are there as
    proof, do not count among the network's own. A cluster without a p is no cause and none of the tests.

    Args:
        run: a run with swaps; without them there are no rows.
        fdr: false discovery rate at which a cluster is a cause.
    """
    rows = run.read("causes", NO_PICTURES)
    q = pd.Series(np.nan, index=rows.index)
    for _, of_role in rows.groupby("role"):
        q[of_role.index] = benjamini_hochberg(of_role["p"].to_numpy(np.float64))
    return rows.assign(q=q, is_causal=q <= fdr)


def causal_shares(causes: pd.DataFrame) -> pd.DataFrame:
    """For each unit and kind of evidence: the share of its tested clusters that are causes, and how many were tested.

    Args:
        causes: from `causes_of`.

    Returns:
        `layer`, `channel`, `evidence`, `causal_share`, `n_tested`.
    """
    tested = causes[causes["p"].notna()]
    groups = tested.groupby(["layer", "channel", "evidence"], sort=False)["is_causal"]
    return groups.agg(causal_share="mean", n_tested="size").reset_index()
