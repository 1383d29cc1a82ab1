"""First centres for k-means in Gram space: greedy k-means++, all runs of all sets at once."""

from __future__ import annotations

from typing import Any

import array_api_compat
from jaxtyping import Float, Int

_CANDIDATES = 3


def kmeans_plus_plus(gram: Float[Any, "s n n"], uniforms: Float[Any, "s r k"]) -> Int[Any, "s k r"]:
    """Items that serve as first centres.

    Each next centre is drawn with a chance in proportion to its squared distance from those chosen so far. Three
    candidates are weighed and the one that leaves the least squared distance wins; they come from one draw u as u, u +
    1/3 and u + 2/3 modulo 1, each of which has the right distribution by itself.

    Args:
        gram: inner products of the items of each set.
        uniforms: draws in [0, 1), one a run and centre, of gram's own type.

    Returns:
        Item numbers; an item can come twice only where fewer than k are distinct (or by rounding).

    Source: Arthur & Vassilvitskii 2007, "k-means++: the advantages of careful seeding"; the greedy variant is theirs,
    too. Departure: candidates are spread evenly, not drawn one by one, so one number a centre is enough.
    """
    xp = array_api_compat.array_namespace(gram, uniforms)
    n, k = gram.shape[1], uniforms.shape[2]
    squares = xp.linalg.diagonal(gram)
    chosen = [_within(xp, xp.astype(xp.floor(uniforms[:, :, 0] * n), xp.int64), n)]
    nearest = _distances(xp, gram, squares, chosen[0][:, :, None])[:, :, 0, :]  # [s, r, n]
    for centre in range(1, k):
        tried = _candidates(xp, nearest, uniforms[:, :, centre])  # [s, r, c]
        left = xp.minimum(nearest[:, :, None, :], _distances(xp, gram, squares, tried))  # [s, r, c, n]
        best = xp.argmin(xp.sum(left, axis=-1), axis=-1)[:, :, None]
        chosen.append(xp.take_along_axis(tried, best, axis=2)[:, :, 0])
        nearest = xp.take_along_axis(left, best[:, :, :, None], axis=2)[:, :, 0, :]
    return xp.stack(chosen, axis=1)


def _within(xp: Any, items: Any, n: int) -> Any:
    return xp.where(items < n, items, xp.full_like(items, n - 1))


def _distances(xp: Any, gram: Any, squares: Any, items: Any) -> Any:
    """Squared distances of all items to the given ones: [s, r, c] -> [s, r, c, n]."""
    sets = xp.arange(gram.shape[0], device=array_api_compat.device(gram))[:, None, None]  # pyright: ignore[reportUnknownMemberType]
    away = squares[:, None, None, :] + squares[sets, items][:, :, :, None] - 2 * gram[sets, items]
    return xp.where(away > 0, away, xp.zeros_like(away))


def _candidates(xp: Any, nearest: Any, draws: Any) -> Any:
    """Items where the cumulated distance passes each of the spread draws: [s, r, n], [s, r] -> [s, r, c]."""
    spread = xp.stack([(draws + c / _CANDIDATES) % 1 for c in range(_CANDIDATES)], axis=-1)
    cumulated = xp.cumulative_sum(nearest, axis=-1)
    aims = spread * cumulated[:, :, -1:]
    passed = cumulated[:, :, None, :] <= aims[:, :, :, None]
    return _within(xp, xp.sum(xp.astype(passed, xp.int64), axis=-1), nearest.shape[2])
