"""How well the clusters of a given partition are separated."""

from __future__ import annotations

from typing import Any

import array_api_compat
from jaxtyping import Float, Int

from polyscan.stats.arrays import Array
from polyscan.stats.splits.cosines import shape_of

_ZERO_DISTANCE = 1e-12
"""A mean distance up to this counts as 0; rounding of cosines leaves 1e-15."""


def gap(cosines: Float[Array, "s n n"], labels: Int[Array, "s n"]) -> Float[Array, " s"]:
    """How much closer items are within the two clusters than across them.

    gap = a_0 w_0 + a_1 w_1 - b, a_c the share of items in cluster c, w_c the mean cosine of the pairs within it, b that
    of the pairs across the clusters

    Weighted by shares, since a small clump has a large w only because it is small: without weights, a better split cuts
    off such clumps more often, and the gap no longer distinguishes two concepts from one.

    Args:
        cosines: as `cosines` makes them.
        labels: 0 or 1 for each item.

    Returns:
        The gap, in [-1, 2]; NaN where a cluster has no pair.

    Raises:
        ValueError: if shapes disagree, or a label is neither 0 nor 1.
    """
    xp = array_api_compat.array_namespace(cosines, labels)
    members = _members(xp, cosines, labels, 2)  # [s, 2, n]
    to_clusters = xp.matmul(members, cosines)
    total = xp.vecdot(to_clusters, members)
    own = xp.vecdot(members, xp.linalg.diagonal(cosines)[:, None, :])
    sizes = xp.sum(members, axis=-1)
    within = _ratio(xp, total - own, sizes * (sizes - 1))
    across = _ratio(xp, xp.vecdot(to_clusters[:, 0, :], members[:, 1, :]), sizes[:, 0] * sizes[:, 1])
    return xp.vecdot(sizes / labels.shape[1], within) - across


def cut(cosines: Float[Array, "s n n"], labels: Int[Array, "s n"], k: int = 8) -> Float[Array, " s"]:
    """Share of the edges from each item to its k nearest that cross between two clusters, as a multiple of chance.

    cut = crossing / (n k) / (2 a (1 - a)), a the share of items in one of the clusters

    Args:
        cosines: as `cosines` makes them. Nearest means largest cosine, without the item itself; ties go to the lower
            index.
        labels: 0 or 1 for each item.
        k: neighbours of an item, 1 to n - 1.

    Returns:
        0 if no edge crosses, about 1 if neighbours ignore the clusters; NaN if there is only one cluster.

    Raises:
        ValueError: if shapes disagree, a label is neither 0 nor 1, or `k` is out of bounds.
    """
    xp = array_api_compat.array_namespace(cosines, labels)
    members = _members(xp, cosines, labels, 2)
    n = labels.shape[1]
    if not 1 <= k < n:
        raise ValueError(f"`k` must be in [1, {n - 1}], below the number of items, got {k}")
    share = xp.mean(members[:, 0, :], axis=-1)
    return _ratio(xp, _crossing(xp, cosines, members[:, 1, :], k), n * k * 2 * share * (1 - share))


def silhouette(cosines: Float[Array, "s n n"], labels: Int[Array, "s n"], k: int) -> Float[Array, " s"]:
    """Mean silhouette of each set at the distance 1 - cosine.

    s_i = (b_i - a_i) / max(a_i, b_i), a_i the mean distance to the rest of the item's cluster, b_i the least mean
    distance to another; 0 for an item that is alone in its cluster, or at distance 0 from all

    Args:
        cosines: as `cosines` makes them.
        labels: cluster of each item, 0 to k - 1; not every number need occur.
        k: bound of the labels.

    Returns:
        Mean over items, in [-1, 1]; NaN if there is only one cluster.

    Raises:
        ValueError: if shapes disagree, or a label is out of bounds.

    Source: Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis".
    """
    return silhouettes(cosines, labels[:, None, :], k)[:, 0]


def silhouettes(cosines: Float[Array, "s n n"], labels: Int[Array, "s r n"], k: int) -> Float[Array, "s r"]:
    """`silhouette` for several partitions of each set."""
    xp = array_api_compat.array_namespace(cosines, labels)
    s, r, n = labels.shape
    members = _members(xp, cosines, labels, k)  # [s, r, k, n]
    sizes = xp.sum(members, axis=-1)[..., None]
    own_size = xp.sum(members * sizes, axis=2)  # [s, r, n]
    products = xp.reshape(xp.matmul(xp.reshape(members, (s, r * k, n)), cosines), (s, r, k, n))
    # Summed distances to each cluster; an item is at distance 0 from itself even where it is a zero vector.
    self_distance = members * (1 - xp.linalg.diagonal(cosines))[:, None, None, :]
    distances = sizes - products - self_distance
    inside = xp.sum(members * distances, axis=2) / xp.where(own_size > 1, own_size - 1, 1.0)
    is_other = (members == 0) & (sizes > 0)
    outside = xp.min(xp.where(is_other, distances / xp.where(sizes > 0, sizes, 1.0), xp.inf), axis=2)
    is_known = xp.isfinite(outside)
    outside = xp.where(is_known, outside, 0.0)
    larger = xp.maximum(inside, outside)
    is_apart = (own_size > 1) & (larger > _ZERO_DISTANCE)
    values = xp.where(is_apart, (outside - inside) / xp.where(is_apart, larger, 1.0), 0.0)
    return xp.mean(xp.where(is_known, values, xp.nan), axis=-1)


def _crossing(xp: Any, cosines: Array, in_second: Array, k: int) -> Array:
    """Number of edges from each item to its k nearest that cross the clusters, [s]; `in_second` is 1 or 0, [s, n]."""
    n = in_second.shape[-1]
    crossing = 0.0
    remaining = xp.where(xp.eye(n, dtype=xp.bool, device=array_api_compat.device(cosines)), -xp.inf, cosines)
    places = xp.arange(n, device=array_api_compat.device(cosines))
    for _ in range(k):
        nearest = xp.argmax(remaining, axis=-1, keepdims=True)
        of_nearest = xp.take_along_axis(xp.broadcast_to(in_second[:, None, :], cosines.shape), nearest, axis=-1)
        crossing = crossing + xp.sum(xp.abs(of_nearest[:, :, 0] - in_second), axis=-1)
        remaining = xp.where(places == nearest, -xp.inf, remaining)
    return crossing


def _ratio(xp: Any, part: Array, whole: Array) -> Array:
    """Quotient, NaN where the divisor is 0."""
    return xp.where(whole > 0, part, xp.nan) / xp.where(whole > 0, whole, 1.0)


def _members(xp: Any, cosines: Array, labels: Array, k: int) -> Array:
    """[s, ..., k, n], 1 where the item is in the cluster, for labels [s, ..., n]."""
    shape = shape_of(cosines)
    if (labels.shape[0], labels.shape[-1]) != shape:
        raise ValueError(f"`labels` must be [s, n] = {shape}, got {tuple(labels.shape)}")
    if labels.shape[0] and not xp.all((labels >= 0) & (labels < k)):
        raise ValueError(f"labels must be in [0, {k - 1}], got {int(xp.min(labels))} to {int(xp.max(labels))}")
    clusters = xp.arange(k, dtype=labels.dtype, device=array_api_compat.device(labels))
    return xp.astype(labels[..., None, :] == clusters[:, None], cosines.dtype)
