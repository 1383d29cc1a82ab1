"""Virtual units with known truth: linear read-outs tuned to one exemplar, and pairs of them that can be planted.

A unit of one concept is modelled as a read-out w = (C + lam I)^-1 (a - mu) that answers to one activation vector a of
its layer, against the mean mu and the covariance C of the layer's vectors: what a unit's evidence is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64
from scipy.linalg import cho_factor, cho_solve

_SALIENT_OF = 64
"""Random rows of which the most salient becomes an exemplar."""
_WHITENING_RIDGE = 1e-3
"""Share of the mean eigenvalue that keeps the whitening defined where C is singular; too small to show elsewhere."""
_AT_THE_MEAN = 1e-10
"""Squared distance from the mean, as a share of the total variance, up to which a row counts as lying at it."""
_CHOICE = 10
"""Fitting pairs to choose from for each control and each pair asked for; of hundreds of controls that is a part."""
_ROWS_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Activations:
    """A layer's activation vectors, as far as read-outs need them.

    Args:
        mean: of each channel.
        covariance: of the channels, as of a population (divided by p).
    """

    mean: Float64[np.ndarray, " c"]
    covariance: Float64[np.ndarray, "c c"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "p c"]) -> Activations:
        """Mean and covariance of vectors at p positions, taken in float64.

        Raises:
            ValueError: if there are fewer than 2 vectors, all are equal, or one is not finite.

        >>> Activations.of(np.array([[0.0, 1.0], [2.0, 1.0]])).covariance.tolist()
        [[1.0, 0.0], [0.0, 0.0]]
        """
        _check_vectors(vectors)
        mean = vectors.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((len(mean), len(mean)))
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            away = vectors[start : start + _ROWS_AT_ONCE] - mean
            covariance += away.T @ away
        return cls(mean, covariance / len(vectors))


@dataclass(frozen=True, eq=False)
class OneExemplar:
    """Read-outs tuned to one exemplar each; on a vector a such a unit is w.a + b = w.(a - mean).

    Args:
        weights: w, scaled so that the unit has sd 1 over the sample.
        bias: b.
        row: which row of the sample is the exemplar.
        ridge: lam, in mean eigenvalues of the covariance.
        is_salient: whether the exemplar was chosen for its salience.
    """

    weights: Float32[np.ndarray, "u c"]
    bias: Float32[np.ndarray, " u"]
    row: Int64[np.ndarray, " u"]
    ridge: Float64[np.ndarray, " u"]
    is_salient: Bool[np.ndarray, " u"]


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


def one_exemplar(
    vectors: Float[np.ndarray, "p c"],
    mean: Float64[np.ndarray, " c"],
    covariance: Float64[np.ndarray, "c c"],
    *,
    count: int,
    generator: np.random.Generator,
    ridges: Sequence[float] = (0.1, 1.0),
) -> OneExemplar:
    """Read-outs tuned to exemplars that are drawn from the sample.

    w = (C + lam I)^-1 (a - mu) / s, s so that w' C w = 1;  lam = ridge x mean eigenvalue of C

    Every other exemplar is a random row, the others are the row of largest whitened norm among 64 random ones; the
    ridges take turns within both kinds. Within a kind no row serves twice while another one is left in sight, and a row
    that lies at the mean never serves: nothing can be tuned to it.

    Args:
        vectors: the sample, seeded positions of one layer over the image set; 10,000 to 25,000 are usual, fewer than
            channels are allowed.
        mean: of the sample.
        covariance: of the sample.
        count: read-outs to make.
        generator: seeded by the caller.
        ridges: lam of the read-outs, in mean eigenvalues; above 0.

    Raises:
        ValueError: if there are fewer than 2 vectors, all are equal, one is not finite, mean and covariance are not
            those of the vectors, or `count` or a ridge is out of bounds.

    Source: ours: the matched filter of one signal in coloured noise, ridged. The whitening of the salient rows has a
    ridge of .001 mean eigenvalues, so that it exists for constant channels and for fewer positions than channels.
    """
    _check_vectors(vectors)
    scale = _mean_eigenvalue(vectors, mean, covariance)
    if count < 1 or not ridges or not min(ridges) > 0:
        raise ValueError(f"`count` must be at least 1 and ridges above 0, got {count} and {list(ridges)}")
    rows = np.flatnonzero(_squares(vectors, mean) > _AT_THE_MEAN * np.trace(covariance))
    is_salient = np.arange(count) % 2 == 1
    row = np.empty(count, dtype=np.int64)
    row[~is_salient] = np.resize(generator.permutation(rows), count - count // 2)
    candidates = rows[generator.integers(len(rows), size=(count // 2, _SALIENT_OF))]
    row[is_salient] = _most_salient(candidates, vectors, mean, _ridged(covariance, _WHITENING_RIDGE * scale))
    ridge = np.array([ridges[place // 2 % len(ridges)] for place in range(count)], dtype=np.float64)
    weights = _weights(vectors[row] - mean, covariance, ridge * scale)
    return OneExemplar(weights, (-(weights @ mean)).astype(np.float32), row, ridge, is_salient)


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
    _check_peaks(peaks, count, most_r, least_share, top)
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


def _check_vectors(vectors: Float[np.ndarray, "p c"]) -> None:
    if vectors.ndim != 2 or len(vectors) < 2 or vectors.shape[1] < 1:
        raise ValueError(f"`vectors` must be [p, c] with 2 rows or more, got {vectors.shape}; sample more positions")
    n_bad = int((~np.isfinite(vectors)).any(axis=1).sum())
    if n_bad:
        raise ValueError(f"{n_bad} of {len(vectors)} vectors are not finite; leave out their positions")
    if (vectors == vectors[0]).all():
        raise ValueError(f"all {len(vectors)} vectors are equal: the layer is dead on this sample and has no read-outs")


def _mean_eigenvalue(
    vectors: Float[np.ndarray, "p c"], mean: Float64[np.ndarray, " c"], covariance: Float64[np.ndarray, "c c"]
) -> float:
    c = vectors.shape[1]
    if mean.shape != (c,) or covariance.shape != (c, c):
        raise ValueError(f"{c} channels need a mean [{c}] and a covariance [{c}, {c}], got {mean.shape} and "
                         f"{covariance.shape}; take both from `Activations.of(vectors)`")  # fmt: skip
    scale = float(np.trace(covariance)) / c
    if not (scale > 0 and np.isfinite(covariance).all()):
        raise ValueError(f"the covariance must be finite with variance above 0, got a mean eigenvalue of {scale}")
    return scale


def _squares(vectors: Float[np.ndarray, "p c"], mean: Float64[np.ndarray, " c"]) -> Float64[np.ndarray, " p"]:
    """Squared distances from the mean."""
    parts = [vectors[start : start + _ROWS_AT_ONCE] - mean for start in range(0, len(vectors), _ROWS_AT_ONCE)]
    return np.concatenate([np.einsum("pc,pc->p", away, away) for away in parts])


def _ridged(covariance: Float64[np.ndarray, "c c"], ridge: float) -> Float64[np.ndarray, "c c"]:
    return covariance + ridge * np.eye(len(covariance))


def _most_salient(
    candidates: Int64[np.ndarray, "u s"],
    vectors: Float[np.ndarray, "p c"],
    mean: Float64[np.ndarray, " c"],
    covariance: Float64[np.ndarray, "c c"],
) -> Int64[np.ndarray, " u"]:
    """The candidate of largest (a - mu)' C^-1 (a - mu) of each line, without those chosen before where others are."""
    seen, place = np.unique(candidates, return_inverse=True)
    factor = cho_factor(covariance)
    norms: list[Float64[np.ndarray, " _"]] = []
    for start in range(0, len(seen), _ROWS_AT_ONCE):
        away = (vectors[seen[start : start + _ROWS_AT_ONCE]] - mean).T
        norms.append(np.einsum("cp,cp->p", away, cho_solve(factor, away)))
    norm = np.concatenate([*norms, np.empty(0)])
    is_taken = np.zeros(len(seen), dtype=bool)
    chosen: list[int] = []
    for line in place.reshape(candidates.shape):
        free = line[~is_taken[line]]
        best = free if len(free) else line
        chosen.append(int(best[np.argmax(norm[best])]))
        is_taken[chosen[-1]] = True
    return seen[np.array(chosen, dtype=np.int64)]


def _weights(
    away: Float64[np.ndarray, "u c"], covariance: Float64[np.ndarray, "c c"], ridge: Float64[np.ndarray, " u"]
) -> Float32[np.ndarray, "u c"]:
    weights = np.empty_like(away)
    for lam in np.unique(ridge):
        weights[ridge == lam] = cho_solve(cho_factor(_ridged(covariance, float(lam))), away[ridge == lam].T).T
    variance = np.einsum("uc,uc->u", weights @ covariance, weights)
    if not (variance > 0).all():
        raise ValueError(f"{int((~(variance > 0)).sum())} read-outs have no variance under `covariance`: it is not "
                         "that of these vectors; take it from `Activations.of(vectors)`")  # fmt: skip
    return (weights / np.sqrt(variance)[:, None]).astype(np.float32)


def _check_peaks(
    peaks: Float[np.ndarray, "images controls"], count: int, most_r: float, least_share: float, top: int
) -> None:
    if peaks.ndim != 2 or len(peaks) < 2:
        raise ValueError(f"`peaks` must be [images, controls] with 2 images or more, got {peaks.shape}")
    n_bad = int((~np.isfinite(peaks)).sum())
    if n_bad:
        raise ValueError(f"{n_bad} peaks are not finite; leave out their images")
    if not 1 <= top <= len(peaks):
        raise ValueError(f"`top` must be in [1, {len(peaks)}], the number of images, got {top}")
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
