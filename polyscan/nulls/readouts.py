"""Single-concept units: linear readouts of a layer, each tuned to one exemplar.

A single-concept unit is modelled as a readout w = (C + lam I)^-1 (a - mu) that responds to one activation vector a of
its layer, given the mean mu and the covariance C of the layer's vectors. A unit's evidence is compared with that of
such readouts.
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
"""Share of the mean eigenvalue that keeps the whitening defined if C is singular; too small to matter otherwise."""
_AT_THE_MEAN = 1e-10
"""Squared distance from the mean, as a share of the total variance, up to which a row counts as equal to it."""
_ROWS_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Activations:
    """The moments of a layer's activation vectors that readouts need.

    Args:
        mean: mean of each channel.
        covariance: covariance of the channels, of a population (divided by p).
    """

    mean: Float64[np.ndarray, " c"]
    covariance: Float64[np.ndarray, "c c"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "p c"]) -> Activations:
        """Mean and covariance of vectors at p positions, computed in float64.

        Raises:
            ValueError: if there are fewer than 2 vectors, all are equal, or one is not finite.

        >>> Activations.of(np.array([[0.0, 1.0], [2.0, 1.0]])).covariance.tolist()
        [[1.0, 0.0], [0.0, 0.0]]
        """
        _check_vectors(vectors)
        mean = vectors.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((len(mean), len(mean)))
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            centred = vectors[start : start + _ROWS_AT_ONCE] - mean
            covariance += centred.T @ centred
        return cls(mean, covariance / len(vectors))


@dataclass(frozen=True, eq=False)
class OneExemplar:
    """Readouts tuned to one exemplar each; on a vector a, such a unit gives w.a + b = w.(a - mean).

    Args:
        weights: w, scaled so that the unit has sd 1 over the sample.
        bias: b.
        row: row of the exemplar in the sample.
        ridge: lam, as a multiple of the covariance's mean eigenvalue.
        is_salient: whether the exemplar was chosen for its salience.
    """

    weights: Float32[np.ndarray, "u c"]
    bias: Float32[np.ndarray, " u"]
    row: Int64[np.ndarray, " u"]
    ridge: Float64[np.ndarray, " u"]
    is_salient: Bool[np.ndarray, " u"]


def one_exemplar(
    vectors: Float[np.ndarray, "p c"],
    mean: Float64[np.ndarray, " c"],
    covariance: Float64[np.ndarray, "c c"],
    *,
    count: int,
    generator: np.random.Generator,
    ridges: Sequence[float] = (0.1, 1.0),
) -> OneExemplar:
    """Readouts tuned to exemplars drawn from the sample.

    w = (C + lam I)^-1 (a - mu) / s, s so that w' C w = 1;  lam = ridge x mean eigenvalue of C

    Every other exemplar is a random row, each of the rest the row of largest whitened norm among 64 random ones; the
    ridges take turns within both kinds. Within a kind no row is used twice while another candidate is left, and a row
    that equals the mean is never used: no readout can be tuned to it.

    Args:
        vectors: the sample, seeded positions of one layer over the image set; 10,000 to 25,000 are usual, fewer than
            channels are allowed.
        mean: mean of the sample.
        covariance: covariance of the sample.
        count: number of readouts.
        generator: seeded by the caller.
        ridges: lam of the readouts, as multiples of the mean eigenvalue; above 0.

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


def _check_vectors(vectors: Float[np.ndarray, "p c"]) -> None:
    if vectors.ndim != 2 or len(vectors) < 2 or vectors.shape[1] < 1:
        raise ValueError(f"`vectors` must be [p, c] with 2 rows or more, got {vectors.shape}; sample more positions")
    n_bad = int((~np.isfinite(vectors)).any(axis=1).sum())
    if n_bad:
        raise ValueError(f"{n_bad} of {len(vectors)} vectors are not finite; leave out their positions")
    if (vectors == vectors[0]).all():
        raise ValueError(f"all {len(vectors)} vectors are equal: the layer is dead on this sample and has no readouts")


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
    return np.concatenate([np.einsum("pc,pc->p", part, part) for part in parts])


def _ridged(covariance: Float64[np.ndarray, "c c"], ridge: float) -> Float64[np.ndarray, "c c"]:
    return covariance + ridge * np.eye(len(covariance))


def _most_salient(
    candidates: Int64[np.ndarray, "u s"],
    vectors: Float[np.ndarray, "p c"],
    mean: Float64[np.ndarray, " c"],
    covariance: Float64[np.ndarray, "c c"],
) -> Int64[np.ndarray, " u"]:
    """The candidate of largest (a - mu)' C^-1 (a - mu) in each line, without those chosen before if others are left."""
    distinct, place = np.unique(candidates, return_inverse=True)
    factor = cho_factor(covariance)
    norms: list[Float64[np.ndarray, " _"]] = []
    for start in range(0, len(distinct), _ROWS_AT_ONCE):
        centred = (vectors[distinct[start : start + _ROWS_AT_ONCE]] - mean).T
        norms.append(np.einsum("cp,cp->p", centred, cho_solve(factor, centred)))
    norm = np.concatenate([*norms, np.empty(0)])
    is_used = np.zeros(len(distinct), dtype=bool)
    chosen: list[int] = []
    for line in place.reshape(candidates.shape):
        unused = line[~is_used[line]]
        choices = unused if len(unused) else line
        chosen.append(int(choices[np.argmax(norm[choices])]))
        is_used[chosen[-1]] = True
    return distinct[np.array(chosen, dtype=np.int64)]


def _weights(
    exemplars: Float64[np.ndarray, "u c"], covariance: Float64[np.ndarray, "c c"], ridge: Float64[np.ndarray, " u"]
) -> Float32[np.ndarray, "u c"]:
    """Weights w for each centred exemplar, scaled to variance 1."""
    weights = np.empty_like(exemplars)
    for lam in np.unique(ridge):
        weights[ridge == lam] = cho_solve(cho_factor(_ridged(covariance, float(lam))), exemplars[ridge == lam].T).T
    variance = np.einsum("uc,uc->u", weights @ covariance, weights)
    if not (variance > 0).all():
        raise ValueError(f"{int((~(variance > 0)).sum())} readouts have no variance under `covariance`: it is not "
                         "that of these vectors; take it from `Activations.of(vectors)`")  # fmt: skip
    return (weights / np.sqrt(variance)[:, None]).astype(np.float32)
