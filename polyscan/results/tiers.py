"""The verdicts on units that can be judged, by how surely they say that a unit answers to several things."""

from __future__ import annotations

import pandas as pd

SEVERAL, CERTIFIED = "several", "several, certified"
PROBABLY, SUGGESTIVE, NO_SPLIT = "probably several", "suggestive", "no split shown"
TIERS = (CERTIFIED, SEVERAL, PROBABLY, SUGGESTIVE, NO_SPLIT)
"""The surest first; every other verdict is a reason why a unit cannot be judged."""


def is_judged(verdict: pd.Series) -> pd.Series:
    """Whether each verdict is one of the tiers."""
    return verdict.isin(TIERS)


def is_called(verdict: pd.Series) -> pd.Series:
    """Whether each verdict is `several`, certified or not."""
    return verdict.isin([SEVERAL, CERTIFIED])
