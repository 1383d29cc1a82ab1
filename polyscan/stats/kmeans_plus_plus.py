"""Initial centres for k-means from Gram matrices: greedy k-means++ for all runs of all sets at once."""

from __future__ import annotations

from typing import Any

import array_api_compat
from jaxtyping import Float, Int

_CANDIDATES = 3


def kmeans_plus_plus(gram: Float[Any, "s n n"], uniforms: Float[Any, "s r k"]) -> Int[Any, "s k r"]:
    """Items that serve as initial centres.

    Each further centre is drawn with probability proportional to its squared distance from the nearest centre so far.
    Of three candidates, the one that leaves the smallest sum of squared distances wins; they come from one draw u as u,
    u + 1/3 and u + 2/3 modulo 1, each of which has the right distribution by itself.

    Args:
        gram: inner products of the items of each set.
        uniforms: draws in [0, 1), one per run and centre, of gram's dtype.

    Returns:
        Item numbers; an item can occur twice only if fewer than k are distinct (or by rounding).

    Source: Arthur & Vassilvitskii 2007, "k-means++: the advantages of careful seeding"; the greedy variant is theirs,
    too. Departure: candidates are spread evenly instead of drawn one by one, so one draw per centre is enough.
    """
    xp = array_api_compat.array_namespace(gram, uniforms)
    n, k = gram.shape[1], uniforms.shape[2]
    squares = xp.linalg.diagonal(gram)
    chosen = [_within(xp, xp.astype(xp.floor(uniforms[:, :, 0] * n), xp.int64), n)]
    nearest = _distances(xp, gram, squares, chosen[0][:, :, None])[:, :, 0, :]  # [s, r, n]
    for centre in range(1, k):
        candidates = _candidates(xp, nearest, uniforms[:, :, centre])  # [s, r, c]
        remaining = xp.minimum(nearest[:, :, None, :], _distances(xp, gram, squares, candidates))  # [s, r, c, n]
        best = xp.argmin(xp.sum(remaining, axis=-1), axis=-1)[:, :, None]
        chosen.append(xp.take_along_axis(candidates, best, axis=2)[:, :, 0])
        nearest = xp.take_along_axis(remaining, best[:, :, :, None], axis=2)[:, :, 0, :]
    return xp.stack(chosen, axis=1)


def _within(xp: Any, items: Any, n: int) -> Any:
    return xp.where(items < n, items, xp.full_like(items, n - 1))


def _distances(xp: Any, gram: Any, squares: Any, items: Any) -> Any:
    """Squared distances of all items to some: [s, r, c] -> [s, r, c, n]."""
    sets = xp.arange(gram.shape[0], device=array_api_compat.device(gram))[:, None, None]  # pyright: ignore[reportUnknownMemberType]
    distances = squares[:, None, None, :] + squares[sets, items][:, :, :, None] - 2 * gram[sets, items]
    return xp.where(distances > 0, distances, xp.zeros_like(distances))


def _candidates(xp: Any, nearest: Any, draws: Any) -> Any:
    """Items where the cumulated distance passes each of the spread draws: [s, r, n], [s, r] -> [s, r, c]."""
    spread = xp.stack([(draws + c / _CANDIDATES) % 1 for c in range(_CANDIDATES)], axis=-1)
    cumulated = xp.cumulative_sum(nearest, axis=-1)
    targets = spread * cumulated[:, :, -1:]
    is_passed = cumulated[:, :, None, :] <= targets[:, :, :, None]
    return _within(xp, xp.sum(xp.astype(is_passed, xp.int64), axis=-1), nearest.shape[2])
