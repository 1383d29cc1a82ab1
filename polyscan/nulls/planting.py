"""Which units to plant together: pairs and triples that hardly go together, and pairs that nearly always do.

The largest of units that hardly go together is a unit of several concepts; of units that go together, of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

_TRIES = 50
"""Random thirds that are looked at for each pair."""
_CHOICE = 10
"""Fitting pairs to choose from for each control and each pair asked for; of hundreds of controls that is a part."""


@dataclass(frozen=True, eq=False)
class PairTable:
    """Pairs of controls whose maximum is a unit of two concepts.

    Args:
        a: number of the one control.
        b: number of the other, above `a`.
        r: correlation of their peaks over the images.
        minor_share: share of the top images of max(z_a, z_b) that the rarer of the two gives, at most .5.
    """

    a: Int64[np.ndarray, " m"]
    b: Int64[np.ndarray, " m"]
    r: Float64[np.ndarray, " m"]
    minor_share: Float64[np.ndarray, " m"]


def plantable_pairs(
    peaks: Float[np.ndarray, "images controls"],
    *,
    count: int,
    generator: np.random.Generator,
    most_r: float = 0.2,
    least_share: float = 0.2,
    top: int = 100,
) -> PairTable:
    """Pairs of controls whose maximum has two sources that hardly go together.

    With z the peaks of each control less their mean, in their own sd: |r(z_a, z_b)| <= most_r, and among the `top`
    images of max(z_a, z_b) each of the two is the larger one in `least_share` or more (equal ones count for a). Equal
    values rank by image, the lower first. Pairs are chosen at random, and so that the use of the controls is as even as
    exchanging one for another can make it; of hundreds of controls not all pairs are looked at.

    Args:
        peaks: each control's peak on each image of the sample; constant controls pair with none.
        count: most pairs to give; fewer where no more fit.
        generator: seeded by the caller.
        most_r: bound of the correlation.
        least_share: bound of the share, at most .5.
        top: images that stand for a planted unit; at most as many as there are.

    Raises:
        ValueError: if there are fewer than 2 images, a peak is not finite, or a setting is out of bounds.
    """
    _check_peaks(peaks)
    _check_bounds(len(peaks), count, most_r, least_share, top)
    z, is_alive = _standardised(peaks)
    r = z.T @ z / len(z)
    is_low = (np.abs(r) <= most_r) & is_alive[:, None] & is_alive
    a, b = np.nonzero(np.triu(is_low, k=1))
    enough = _CHOICE * (count + peaks.shape[1])
    seen, minor = _fitting(z, a, b, top=top, least_share=least_share, enough=enough, generator=generator)
    a, b = a[seen], b[seen]
    chosen = _evenly(a, b, peaks.shape[1], count, generator)
    a, b, minor = a[chosen], b[chosen], minor[chosen]
    return PairTable(a, b, r[a, b], minor)


def plantable_triples(
    peaks: Float[np.ndarray, "images units"],
    *,
    count: int,
    generator: np.random.Generator,
    most_r: float = 0.2,
    least_share: float = 0.15,
    top: int = 100,
) -> Int64[np.ndarray, "m 3"]:
    """Triples with |r| <= most_r between each two, each giving `least_share` of the top images of their maximum.

    Args:
        peaks: each unit's peak on each image of a sample; constant units join none.
        count: most triples to give; fewer where no more are found.
        generator: seeded by the caller.
        most_r: bound of the correlations.
        least_share: bound of the shares, at most a third.
        top: images that stand for the planted unit, at most as many as there are.

    Raises:
        ValueError: if there are fewer than 2 images or a peak is not finite.
    """
    _check_peaks(peaks)
    z, is_alive = _standardised(peaks)
    r, alive = z.T @ z / len(z), np.flatnonzero(is_alive)
    is_low = np.abs(r) <= most_r
    found: list[tuple[int, int, int]] = []
    for _ in range(_TRIES * count):
        if len(alive) < 3 or len(found) == count:  # a triple
            break
        a, b, c = sorted(generator.choice(alive, size=3, replace=False).tolist())
        if (a, b, c) in found or not (is_low[a, b] and is_low[a, c] and is_low[b, c]):
            continue
        if shares(z[:, [a, b, c]], top).min() >= least_share:
            found.append((a, b, c))
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def alike_pairs(
    peaks: Float[np.ndarray, "images units"], *, count: int, least_r: float = 0.6
) -> Int64[np.ndarray, "m 2"]:
    """The `count` pairs of units with the largest correlation, above `least_r`; no unit comes twice.

    Raises:
        ValueError: if there are fewer than 2 images or a peak is not finite.
    """
    _check_peaks(peaks)
    z, is_alive = _standardised(peaks)
    r = z.T @ z / len(z)
    a, b = np.triu_indices(peaks.shape[1], k=1)
    fits = (r[a, b] >= least_r) & is_alive[a] & is_alive[b]
    a, b = a[fits], b[fits]
    used: set[int] = set()
    found: list[tuple[int, int]] = []
    for row in np.argsort(-r[a, b], kind="stable"):
        pair = (int(a[row]), int(b[row]))
        if len(found) < count and not used & set(pair):
            found.append(pair)
            used |= set(pair)
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def shares(z: Float64[np.ndarray, "images m"], top: int) -> Float64[np.ndarray, " m"]:
    """Share of the top images of the largest column that each column gives; equal ones count for the first.

    >>> shares(np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]]), 2).tolist()
    [0.5, 0.5]
    """
    first = np.argsort(-z.max(axis=1), kind="stable")[:top]
    return np.bincount(z[first].argmax(axis=1), minlength=z.shape[1]) / len(first)


def _check_peaks(peaks: Float[np.ndarray, "images units"]) -> None:
    if peaks.ndim != 2 or len(peaks) < 2:
        raise ValueError(f"`peaks` must be [images, units] with 2 images or more, got {peaks.shape}")
    n_bad = int((~np.isfinite(peaks)).sum())
    if n_bad:
        raise ValueError(f"{n_bad} peaks are not finite; leave out their images")


def _check_bounds(n_images: int, count: int, most_r: float, least_share: float, top: int) -> None:
    if not 1 <= top <= n_images:
        raise ValueError(f"`top` must be in [1, {n_images}], the number of images, got {top}")
    if count < 0 or not 0 <= most_r <= 1 or not 0 <= least_share <= 0.5:
        got = f"{count}, {most_r} and {least_share}"
        raise ValueError(f"`count` must be >= 0, `most_r` in [0, 1] and `least_share` in [0, .5], got {got}")


def _standardised(
    peaks: Float[np.ndarray, "images controls"],
) -> tuple[Float64[np.ndarray, "images controls"], Bool[np.ndarray, " controls"]]:
    """z-scores, 0 for constant controls, and whether a control varies."""
    away = peaks - peaks.mean(axis=0, dtype=np.float64)
    is_alive = peaks.min(axis=0) < peaks.max(axis=0)
    sd = np.sqrt((away * away).mean(axis=0))
    return np.divide(away, sd, out=np.zeros_like(away), where=is_alive), is_alive


def _first(values: Float64[np.ndarray, "images u"], top: int) -> Int64[np.ndarray, "top u"]:
    """Images of the `top` largest values of each column, equal ones by rising image."""
    return np.argsort(-values, axis=0, kind="stable")[:top]


def _minor_share(
    z: Float64[np.ndarray, "images controls"], a: int, b: int, first: Int64[np.ndarray, "top controls"]
) -> float:
    # An image among the first of the maximum is among the first of the control that gives it.
    images = np.union1d(first[:, a], first[:, b])
    of_a, of_b = z[images, a], z[images, b]
    chosen = _first(np.maximum(of_a, of_b)[:, None], len(first))[:, 0]
    share = float((of_a[chosen] >= of_b[chosen]).mean())
    return min(share, 1 - share)


def _fitting(
    z: Float64[np.ndarray, "images controls"],
    a: Int64[np.ndarray, " m"],
    b: Int64[np.ndarray, " m"],
    *,
    top: int,
    least_share: float,
    enough: int,
    generator: np.random.Generator,
) -> tuple[Int64[np.ndarray, " found"], Float64[np.ndarray, " found"]]:
    """Pairs with two sources and the share of the rarer one; pairs are looked at in random order, until enough fit."""
    first = _first(z, top)
    found: list[tuple[int, float]] = []
    for pair in generator.permutation(len(a)).tolist():
        if len(found) == enough:
            break
        share = _minor_share(z, int(a[pair]), int(b[pair]), first)
        if share >= least_share:
            found.append((pair, share))
    found.sort()
    return np.array([p for p, _ in found], dtype=np.int64), np.array([s for _, s in found], dtype=np.float64)


def _evenly(
    a: Int64[np.ndarray, " m"], b: Int64[np.ndarray, " m"], n_controls: int, count: int, generator: np.random.Generator
) -> Int64[np.ndarray, " chosen"]:
    """At most `count` pairs, rising, so that no exchange of a control for another would even out their use."""
    left = generator.permutation(len(a))
    used = np.zeros(n_controls, dtype=np.int64)
    partners = np.bincount(np.concatenate([a, b]), minlength=n_controls)
    is_free, is_chosen = np.zeros((2, n_controls, n_controls), dtype=bool)
    is_free[a, b] = is_free[b, a] = True
    while len(left) and is_chosen.sum() < 2 * count:
        # Controls with few partners come first: later theirs might all be in use.
        place = np.lexsort((partners[a[left]] + partners[b[left]], used[a[left]] + used[b[left]]))[0]
        one, other = int(a[left[place]]), int(b[left[place]])
        _move(is_free, is_chosen, one, other)
        used[[one, other]] += 1
        left = np.delete(left, place)
    _even_out(is_free, is_chosen)
    return np.flatnonzero(is_chosen[a, b])


def _even_out(is_free: Bool[np.ndarray, "c c"], is_chosen: Bool[np.ndarray, "c c"]) -> None:
    """Gives partners of much used controls to little used ones while that is allowed; in place."""
    while True:
        used = is_chosen.sum(axis=0)
        has_way = is_chosen.astype(np.float32) @ is_free.astype(np.float32) > 0
        much, little = np.nonzero(has_way & (used[:, None] - used >= 2))
        if not len(much):
            return
        partner = np.flatnonzero(is_chosen[much[0]] & is_free[little[0]])[0]
        _move(is_chosen, is_free, much[0], partner)
        _move(is_free, is_chosen, little[0], partner)


def _move(source: Bool[np.ndarray, "c c"], target: Bool[np.ndarray, "c c"], one: int, other: int) -> None:
    source[one, other] = source[other, one] = False
    target[one, other] = target[other, one] = True
