"""Which units to plant together: pairs and triples that rarely respond together, and pairs that nearly always do.

The maximum over units that rarely respond together is a unit of several concepts; over units that respond together, of
one concept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

_TRIES = 50
"""Random triples that are tried for each one asked for."""
_CHOICE = 10
"""Suitable pairs to choose from, per control and per pair asked for; with hundreds of controls these are not all."""


@dataclass(frozen=True, eq=False)
class PairTable:
    """Pairs of controls whose maximum is a unit of two concepts.

    Args:
        a: number of the first control.
        b: number of the second control, above `a`.
        r: correlation of their peaks over the images.
        minor_share: share of the top images of max(z_a, z_b) on which the rarer of the two is the larger, at most .5.
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
    least_r: float = -0.2,
    least_share: float = 0.2,
    top: int = 100,
) -> PairTable:
    """Pairs of controls that rarely respond together, so that their maximum has two concepts.

    With z the z-scored peaks of each control: least_r <= r(z_a, z_b) <= most_r, and each of the two is the larger on at
    least `least_share` of the `top` images of max(z_a, z_b) (ties count for a). Equal values rank by image, the lower
    first. Pairs are chosen at random, such that no exchange of one control for another would make their use more even;
    with hundreds of controls not all pairs are considered.

    Args:
        peaks: each control's peak on each image of the sample; constant controls are in no pair.
        count: maximum number of pairs; fewer if no more are suitable.
        generator: seeded by the caller.
        most_r: largest correlation.
        least_r: smallest correlation; -1 for readouts of classes, which exclude each other.
        least_share: smallest share, at most .5.
        top: number of images that stand for a planted unit's exemplars; at most the number of images.

    Raises:
        ValueError: if there are fewer than 2 images, a peak is not finite, or a setting is out of bounds.
    """
    _check_peaks(peaks)
    _check_bounds(len(peaks), count, most_r, least_share, top)
    z, r, is_alive = _correlated(peaks)
    is_low = (r >= least_r) & (r <= most_r) & is_alive[:, None] & is_alive
    a, b = np.nonzero(np.triu(is_low, k=1))
    enough = _CHOICE * (count + peaks.shape[1])
    suitable, minor_shares = _suitable(z, a, b, top=top, least_share=least_share, enough=enough, generator=generator)
    a, b = a[suitable], b[suitable]
    chosen = _even_choice(a, b, peaks.shape[1], count, generator)
    a, b = a[chosen], b[chosen]
    return PairTable(a, b, r[a, b], minor_shares[chosen])


def plantable_triples(
    peaks: Float[np.ndarray, "images units"],
    *,
    count: int,
    generator: np.random.Generator,
    most_r: float = 0.2,
    least_share: float = 0.15,
    top: int = 100,
) -> Int64[np.ndarray, "m 3"]:
    """Triples with |r| <= most_r in each pair, each unit the largest on `least_share` of the maximum's top images.

    Args:
        peaks: each unit's peak on each image of a sample; constant units are in no triple.
        count: maximum number of triples; fewer if no more are found.
        generator: seeded by the caller.
        most_r: largest absolute correlation.
        least_share: smallest share, at most a third.
        top: number of images that stand for the planted unit's exemplars; at most the number of images.

    Raises:
        ValueError: if there are fewer than 2 images or a peak is not finite.
    """
    _check_peaks(peaks)
    z, r, is_alive = _correlated(peaks)
    is_low, alive = np.abs(r) <= most_r, np.flatnonzero(is_alive)
    triples: list[tuple[int, int, int]] = []
    for _ in range(_TRIES * count):
        if len(alive) < 3 or len(triples) == count:  # a triple
            break
        a, b, c = sorted(generator.choice(alive, size=3, replace=False).tolist())
        if (a, b, c) in triples or not (is_low[a, b] and is_low[a, c] and is_low[b, c]):
            continue
        if shares(z[:, [a, b, c]], top).min() >= least_share:
            triples.append((a, b, c))
    return np.array(triples, dtype=np.int64).reshape(-1, 3)


def alike_pairs(
    peaks: Float[np.ndarray, "images units"], *, count: int, least_r: float = 0.6
) -> Int64[np.ndarray, "m 2"]:
    """The `count` pairs of units with the largest correlation, at least `least_r`; no unit is in two pairs.

    Raises:
        ValueError: if there are fewer than 2 images or a peak is not finite.
    """
    _check_peaks(peaks)
    _, r, is_alive = _correlated(peaks)
    a, b = np.triu_indices(peaks.shape[1], k=1)
    is_alike = (r[a, b] >= least_r) & is_alive[a] & is_alive[b]
    a, b = a[is_alike], b[is_alike]
    used: set[int] = set()
    pairs: list[tuple[int, int]] = []
    for row in np.argsort(-r[a, b], kind="stable"):
        pair = (int(a[row]), int(b[row]))
        if len(pairs) < count and not used & set(pair):
            pairs.append(pair)
            used |= set(pair)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def shares(z: Float64[np.ndarray, "images m"], top: int) -> Float64[np.ndarray, " m"]:
    """Share of the top images of the columns' maximum on which each column is the largest; ties count for the first.

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


def _correlated(
    peaks: Float[np.ndarray, "images units"],
) -> tuple[Float64[np.ndarray, "images units"], Float64[np.ndarray, "units units"], Bool[np.ndarray, " units"]]:
    """z-scores, 0 for constant units; their correlations; and whether each unit varies."""
    centred = peaks - peaks.mean(axis=0, dtype=np.float64)
    is_alive = peaks.min(axis=0) < peaks.max(axis=0)
    sd = np.sqrt((centred * centred).mean(axis=0))
    z = np.divide(centred, sd, out=np.zeros_like(centred), where=is_alive)
    return z, z.T @ z / len(z), is_alive


def _top_images(values: Float64[np.ndarray, "images u"], top: int) -> Int64[np.ndarray, "top u"]:
    """Images of the `top` largest values of each column, ties by ascending image."""
    return np.argsort(-values, axis=0, kind="stable")[:top]


def _minor_share(
    z: Float64[np.ndarray, "images controls"], a: int, b: int, top_images: Int64[np.ndarray, "top controls"]
) -> float:
    # A top image of the maximum is a top image of the control that is the larger one there.
    images = np.union1d(top_images[:, a], top_images[:, b])
    of_a, of_b = z[images, a], z[images, b]
    of_maximum = _top_images(np.maximum(of_a, of_b)[:, None], len(top_images))[:, 0]
    share = float((of_a[of_maximum] >= of_b[of_maximum]).mean())
    return min(share, 1 - share)


def _suitable(
    z: Float64[np.ndarray, "images controls"],
    a: Int64[np.ndarray, " m"],
    b: Int64[np.ndarray, " m"],
    *,
    top: int,
    least_share: float,
    enough: int,
    generator: np.random.Generator,
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Pairs of two sources and the share of the rarer one; pairs are tried in random order, until there are enough."""
    top_images = _top_images(z, top)
    pairs: list[tuple[int, float]] = []
    for pair in generator.permutation(len(a)).tolist():
        if len(pairs) == enough:
            break
        share = _minor_share(z, int(a[pair]), int(b[pair]), top_images)
        if share >= least_share:
            pairs.append((pair, share))
    pairs.sort()
    return np.array([p for p, _ in pairs], dtype=np.int64), np.array([s for _, s in pairs], dtype=np.float64)


def _even_choice(
    a: Int64[np.ndarray, " m"], b: Int64[np.ndarray, " m"], n_controls: int, count: int, generator: np.random.Generator
) -> Int64[np.ndarray, " chosen"]:
    """At most `count` pairs, ascending; no exchange of one control for another would make their use more even."""
    unused_pairs = generator.permutation(len(a))
    used = np.zeros(n_controls, dtype=np.int64)
    partners = np.bincount(np.concatenate([a, b]), minlength=n_controls)
    is_free, is_chosen = np.zeros((2, n_controls, n_controls), dtype=bool)
    is_free[a, b] = is_free[b, a] = True
    while len(unused_pairs) and is_chosen.sum() < 2 * count:
        # Controls with few partners come first: later all their partners might be in use.
        ones, others = a[unused_pairs], b[unused_pairs]
        place = np.lexsort((partners[ones] + partners[others], used[ones] + used[others]))[0]
        one, other = int(ones[place]), int(others[place])
        _move(is_free, is_chosen, one, other)
        used[[one, other]] += 1
        unused_pairs = np.delete(unused_pairs, place)
    _even_out(is_free, is_chosen)
    return np.flatnonzero(is_chosen[a, b])


def _even_out(is_free: Bool[np.ndarray, "c c"], is_chosen: Bool[np.ndarray, "c c"]) -> None:
    """Moves partners from overused controls to underused ones while pairs allow it; in place."""
    while True:
        used = is_chosen.sum(axis=0)
        can_exchange = is_chosen.astype(np.float32) @ is_free.astype(np.float32) > 0
        much, little = np.nonzero(can_exchange & (used[:, None] - used >= 2))
        if not len(much):
            return
        partner = np.flatnonzero(is_chosen[much[0]] & is_free[little[0]])[0]
        _move(is_chosen, is_free, much[0], partner)
        _move(is_free, is_chosen, little[0], partner)


def _move(source: Bool[np.ndarray, "c c"], target: Bool[np.ndarray, "c c"], one: int, other: int) -> None:
    source[one, other] = source[other, one] = False
    target[one, other] = target[other, one] = True
