"""False discovery rates that use an estimate of how many tests of each group are null."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from polyscan.stats.significance.false_discovery import benjamini_hochberg

LAMBDA = 0.5
"""p-values above it are taken to be those of nulls."""

PValues = Float[np.ndarray, " u"]
Groups = Shaped[np.ndarray, " u"]


def null_share(p: PValues, *, above: float = LAMBDA) -> float:
    """Estimated share of nulls among tests, from the number of large p-values.

    pi0 = min(1, (1 + #{p > above}) / (m (1 - above)))

    The 1 makes it too large rather than too small. On average it is at least the true share, whatever the other tests
    are, if p of nulls are uniform or larger; with few tests, or p that depend on each other, a single estimate may be
    far too small.

    Args:
        p: p-values; NaN marks what was not tested and does not count.
        above: must be in (0, 1).

    Returns:
        A share in (0, 1]; 1 if nothing was tested.

    Raises:
        ValueError: if a p-value is out of [0, 1], or `above` is out of (0, 1).

    Source: Storey, Taylor & Siegmund 2004, "Strong control, conservative point estimation and simultaneous conservative
    consistency of false discovery rates".

    >>> null_share(np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 0.9]))
    0.5
    """
    if not 0 < above < 1:
        raise ValueError(f"`above` must be in (0, 1), got {above}")
    p = tested(p)
    return min(1.0, (1 + int((p > above).sum())) / (len(p) * (1 - above))) if len(p) else 1.0


def storey_by_group(p: PValues, groups: Groups) -> Float64[np.ndarray, " u"]:
    """Storey's q within each group: that of Benjamini & Hochberg among the group's tests, times its share of nulls.

    Calling all with q <= a keeps the expected share of false calls within a group at about a. Over all groups together
    there is no such guarantee; see the page on methods for what was measured.

    Args:
        p: p-values; NaN marks what was not tested.
        groups: the group of each test, such as the layer of a unit.

    Returns:
        q in [0, 1]; in a group they are in the order of p. NaN where p is.

    Raises:
        ValueError: if a p-value is out of [0, 1], or lengths differ.

    Source: Storey, Taylor & Siegmund 2004.

    >>> storey_by_group(np.array([0.01, 0.02, 0.04, 0.9]), np.array([0, 0, 0, 0])).round(3).tolist()
    [0.04, 0.04, 0.053, 0.9]
    """
    q = np.full(np.shape(p), np.nan)
    for members in _members(p, groups):
        q[members] = null_share(p[members]) * benjamini_hochberg(p[members])
    return q


def group_benjamini_hochberg(p: PValues, groups: Groups) -> Float64[np.ndarray, " u"]:
    """Group-adaptive false discovery rate over all groups: groups with fewer nulls get more of it.

    p of group g is weighted by pi0_g / (1 - pi0_g); q = (1 - pi0) x that of Benjamini & Hochberg over all weighted p,
    pi0 the share of nulls over all tests, pi0_g that of the group, both estimated by `null_share`

    In a group that seems to hold nulls alone (pi0_g = 1) no test is called. The level holds for a growing number of
    tests per group; with few it is not guaranteed.

    Args:
        p: p-values; NaN marks what was not tested.
        groups: the group of each test.

    Returns:
        q in [0, 1]; in a group they are in the order of p. NaN where p is.

    Raises:
        ValueError: if a p-value is out of [0, 1], or lengths differ.

    Source: Hu, Zhao & Zhou 2010, "False discovery rate control with groups", definition 3, with Storey's estimate.

    >>> group_benjamini_hochberg(np.array([0.01, 0.02, 0.03, 0.7]), np.array([0, 0, 0, 1])).round(3).tolist()
    [0.02, 0.02, 0.02, 1.0]
    """
    p = np.asarray(p, dtype=np.float64)
    weighted, n_nulls = np.full(p.shape, np.nan), 0.0
    for members in _members(p, groups):
        share = null_share(p[members])
        n_nulls += share * np.count_nonzero(members)
        weighted[members] = p[members] * share / (1 - share) if share < 1 else np.inf
    called_share = 1 - n_nulls / max(1, np.count_nonzero(~np.isnan(p)))
    if called_share <= 0:
        return np.where(np.isnan(p), np.nan, 1.0)
    return np.minimum(1.0, called_share * _unbounded(weighted))


def _unbounded(p: Float64[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
    """As `benjamini_hochberg` before results are cut at 1, of weighted p-values, which may be above 1 or infinite.

    scipy's refuses p-values above 1, and results above 1 matter here: a small share multiplies them.
    """
    q = np.full(p.shape, np.nan)
    tested_at = np.flatnonzero(~np.isnan(p))
    order = tested_at[np.argsort(p[tested_at], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return q


def tested(p: PValues) -> Float64[np.ndarray, " t"]:
    """The p-values that are not NaN.

    Raises:
        ValueError: if one is out of [0, 1].
    """
    p = np.asarray(p, dtype=np.float64)
    p = p[~np.isnan(p)]
    is_wrong = (p < 0) | (p > 1)
    if is_wrong.any():
        raise ValueError(f"p-values must be in [0, 1], got {p[is_wrong][0]}; NaN marks what was not tested")
    return p


def _members(p: PValues, groups: Groups) -> Iterator[Bool[np.ndarray, " u"]]:
    """The tested members of each group that has any."""
    if np.shape(p) != np.shape(groups):
        raise ValueError(f"each p-value needs a group, got {np.shape(p)} and {np.shape(groups)}")
    tested(p)
    groups = np.asarray(groups)
    for group in dict.fromkeys(groups.tolist()):
        members = (groups == group) & ~np.isnan(p)
        if members.any():
            yield members
