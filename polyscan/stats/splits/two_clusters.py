"""Two clusters of many sets by moves of single items: what `hartigan` does for two clusters, in half the time.

Vectors are centred, so the sum of one cluster is minus that of the other: one number per item and run takes the place
of two. An item moves if its product with the sum of its own cluster is below a limit, which is linear in its squared
length and changes only when the run moves an item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat
from jaxtyping import Bool, Float, Int

from polyscan.stats.arrays import Array, integers

LEAST_FALL = 1e-6
"""A move must lower the sum of squares by more; rounding is about 1e-13, so it never causes or undoes a move."""
_ITEMS_AT_ONCE = 20
"""Items whose products with the sums are made by one matrix product, then kept up to date."""


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The state of m runs, r for each of s sets; its arrays change in place.

    Args:
        is_second: whether each item is in the second cluster.
        size: items of the second cluster.
        square: squared length of the sum of either cluster.
        slope: of the limit for the items of either cluster.
        height: of the limit.
        terms: slope and the two terms of the height by size, as `_terms` makes them.
    """

    is_second: Bool[Array, "n m"]
    size: Int[Array, " m"]
    square: Float[Array, " m"]
    slope: Float[Array, "2 m"]
    height: Float[Array, "2 m"]
    terms: Float[Array, "3 2 n+1"]

    def only(self, which: Bool[Array, " m"]) -> _Pairs:
        """Copies of some of the runs."""
        return _Pairs(
            self.is_second[:, which],
            self.size[which],
            self.square[which],
            self.slope[:, which],
            self.height[:, which],
            self.terms,
        )


def two_clusters(products: Float[Array, "s n n"], labels: Int[Array, "s r n"], sweeps: int) -> Int[Array, "s r n"]:
    """Labels after the moves that `hartigan` makes from these labels.

    Args:
        products: inner products of each set's vectors, which sum to 0.
        labels: 0 or 1; each occurs in every run.
        sweeps: maximum number of times that each item is considered.
    """
    xp = array_api_compat.array_namespace(products)
    (s, r, n), final = labels.shape, xp.asarray(labels, copy=True)
    pairs, live = _pairs(xp, products, labels), integers(xp, s, labels)
    for _ in range(sweeps):
        has_moved = xp.any(xp.reshape(_sweep(xp, products, pairs), (live.shape[0], r)), axis=-1)  # any run of each set
        final[live] = xp.astype(xp.moveaxis(xp.reshape(pairs.is_second, (n, live.shape[0], r)), 0, 2), labels.dtype)
        if not xp.any(has_moved):
            break
        if not xp.all(has_moved):
            live, products, pairs = live[has_moved], products[has_moved], pairs.only(xp.repeat(has_moved, r))
    return final


def _pairs(xp: Any, products: Array, labels: Array) -> _Pairs:
    """The state of runs that start at labels [s, r, n]."""
    s, r, n = labels.shape
    second = xp.astype(labels, products.dtype)
    square = xp.reshape(xp.vecdot(xp.matmul(second, products), second), (s * r,))
    size = xp.reshape(xp.sum(xp.astype(labels, xp.int64), axis=-1), (s * r,))
    is_second = xp.asarray(xp.moveaxis(labels, 2, 0) == 1, copy=True)
    terms = _terms(xp, n, products)
    slope, height = _limit(terms, size, square)
    return _Pairs(xp.reshape(is_second, (n, s * r)), size, square, slope, height, terms)


def _terms(xp: Any, n: int, like: Array) -> Array:
    """Of the limit under which a product with the own sum must be, by the size of the second cluster: [3, 2, n + 1].

    fall = a / (a - 1) (l - 2 t / a + q / a^2) - b / (b + 1) (l + 2 t / b + q / b^2), as in `hartigan`

    for an item of squared length l and product t with the sum of its own cluster; a and b are the sizes of this and the
    other cluster, q is the squared length of their sums. fall > LEAST_FALL is t < slope l + (q by_square - least).

    Returns:
        slope, by_square and least, for items of the first and of the second cluster.
    """
    second = xp.astype(integers(xp, n + 1, like), like.dtype)
    own, other = xp.stack([n - second, second]), xp.stack([second, n - second])
    own, other = xp.where(own > 1, own, 2.0), xp.where(other > 0, other, 1.0)
    per_product = 2 / (own - 1) + 2 / (other + 1)
    slope = (own / (own - 1) - other / (other + 1)) / per_product
    by_square = (1 / (own * (own - 1)) - 1 / (other * (other + 1))) / per_product
    # A single item is its cluster's mean, so its move saves nothing: no cluster becomes empty.
    is_alone = xp.stack([n - second, second]) <= 1
    return xp.stack([slope, by_square, xp.where(is_alone, xp.inf, LEAST_FALL / per_product)])


def _limit(terms: Array, size: Array, square: Array) -> tuple[Array, Array]:
    """Slope and height of the limit for items of either cluster, each [2, m]."""
    return terms[0][:, size], terms[1][:, size] * square - terms[2][:, size]


def _sweep(xp: Any, products: Array, pairs: _Pairs) -> Array:
    """Considers each item of each run once; which runs moved an item, [m]."""
    (n, m), s = pairs.is_second.shape, products.shape[0]
    sets = xp.repeat(integers(xp, s, products), m // max(1, s))
    lengths, has_moved = xp.linalg.diagonal(products), sets < 0
    for start in range(0, n, _ITEMS_AT_ONCE):
        few = slice(start, min(start + _ITEMS_AT_ONCE, n))
        among, of_few = products[:, few, few], xp.matrix_transpose(lengths[sets, few])
        to_second = _to_second(xp, products[:, :, few], pairs)
        for place in range(few.stop - start):
            movers = _movers(xp, pairs, start + place, of_few[place], to_second[place])
            if movers.shape[0]:
                of_movers = of_few[place, movers], to_second[place, movers]
                sign = _move(xp, pairs, (start + place, movers), *of_movers)
                rows = among[sets[movers], place, place + 1 :] * sign[:, None]
                to_second[place + 1 :, movers] += xp.matrix_transpose(rows)
                has_moved[movers] = True
    return has_moved


def _to_second(xp: Any, products: Array, pairs: _Pairs) -> Array:
    """Inner products of a few items with the sum of the second cluster: from products [s, n, f] to [f, m]."""
    s, n, few = products.shape
    second = xp.reshape(
        xp.astype(xp.matrix_transpose(pairs.is_second), products.dtype), (s, pairs.is_second.shape[1] // max(1, s), n)
    )
    return xp.asarray(
        xp.matrix_transpose(xp.reshape(xp.matmul(second, products), (pairs.is_second.shape[1], few))), copy=True
    )


def _movers(xp: Any, pairs: _Pairs, item: int, length: Array, to_second: Array) -> Array:
    """Runs that move an item."""
    limits = pairs.slope * length + pairs.height
    return xp.nonzero(xp.where(pairs.is_second[item], to_second < limits[1], -to_second < limits[0]))[0]


def _move(xp: Any, pairs: _Pairs, which: tuple[int, Array], length: Array, to_second: Array) -> Array:
    """Moves an item of some runs, `which`; 1 where it joins the second cluster, -1 where it leaves it."""
    joins = ~pairs.is_second[which]
    sign = xp.where(joins, 1.0, -1.0)
    square = pairs.square[which[1]] + length + 2 * sign * to_second
    size = pairs.size[which[1]] + xp.where(joins, 1, -1)
    pairs.square[which[1]], pairs.size[which[1]] = square, size
    pairs.slope[:, which[1]], pairs.height[:, which[1]] = _limit(pairs.terms, size, square)
    pairs.is_second[which] = joins
    return sign
