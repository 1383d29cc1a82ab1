"""Whitening of an embedding space, so that its common directions do not dominate cosines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64

COMPONENTS = 256
RIDGE = 3.0
PLACE_SHARE = 0.8
PLACE_LIMIT = 8


@dataclass(frozen=True, eq=False)
class Whitening:
    """x -> (x - mean) axes: principal components, each scaled down by its spread.

    Args:
        mean: mean of the sample.
        axes: column j is u_j / sqrt(ev_j + lam), u_j and ev_j the j-th eigenvector and eigenvalue of the sample's
            covariance.
    """

    mean: Float32[np.ndarray, " d"]
    axes: Float32[np.ndarray, "d r"]

    def __call__(self, vectors: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n r"]:
        """The whitened vectors."""
        return (vectors.astype(np.float64) - self.mean) @ self._axes

    @cached_property
    def _axes(self) -> Float64[np.ndarray, "d r"]:
        return self.axes.astype(np.float64)

    @classmethod
    def of(
        cls,
        vectors: Float[np.ndarray, "p d"],
        *,
        without: Float[np.ndarray, "d q"] | None = None,
        components: int = COMPONENTS,
        ridge: float = RIDGE,
    ) -> Whitening:
        """Whitening fitted to a sample of the space.

        Images that share a concept are close in a few directions, but directions in which all images differ dominate
        their distances. Shrinking the latter brings out the former; full whitening would bring out noise, too. So lam
        is the mean of the kept eigenvalues times `ridge`.

        Args:
            vectors: the sample; finite.
            without: orthonormal directions to remove, such as those of `place_directions`.
            components: maximum number of components; fewer if the sample has fewer dimensions.
            ridge: lam as a multiple of the mean eigenvalue; above 0.

        Raises:
            ValueError: if there are fewer than 2 vectors, one is not finite, or a setting is out of bounds.

        >>> whitening = Whitening.of(np.array([[1.0, 0.0], [-1.0, 0.0]]))
        >>> whitening(np.array([[2.0, 5.0]])).shape
        (1, 1)
        """
        if vectors.ndim != 2 or len(vectors) < 2 or not np.isfinite(vectors).all():  # a covariance
            raise ValueError(f"`vectors` must be finite, [p, d] with 2 rows or more, got {vectors.shape}")
        if components < 1 or not ridge > 0:
            raise ValueError(f"`components` must be 1 or more and `ridge` above 0, got {components} and {ridge}")
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean
        if without is not None:
            centred = centred - (centred @ without) @ without.T
        values, directions = _principal(centred.T @ centred / len(centred), components)
        lam = ridge * float(values.mean()) if len(values) else 1.0
        axes = directions / np.sqrt(values + lam)
        return cls(mean.astype(np.float32), axes.astype(np.float32))


def _principal(
    covariance: Float64[np.ndarray, "d d"], most: int
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, "d r"]]:
    """The largest eigenvalues that are not rounding, in descending order, and their eigenvectors."""
    values, directions = np.linalg.eigh(covariance)
    order = np.argsort(-values)[:most]
    order = order[values[order] > max(values[order[0]], 0) * 1e-9]
    directions = directions[:, order]
    # The sign of an eigenvector is arbitrary; its largest entry is made positive, whatever the library gives.
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(len(order))])
    return values[order], directions * signs


def place_directions(means: Float[np.ndarray, "places d"]) -> Float64[np.ndarray, "d q"]:
    """Directions in which a feature map's mean vector varies with the place: borders have features of their own.

    A readout that peaks in a corner on some images and inside on others is not a unit of two concepts for that reason.

    Args:
        means: mean vector at each place of the map.

    Returns:
        Orthonormal directions that hold 80 % of the means' variance, at most d / 8; no direction for a single place.
    """
    centred = means - means.mean(axis=0)
    values, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(-values)
    values = values[order].clip(min=0)
    total = float(values.sum())
    if not total > 0:
        return np.empty((means.shape[1], 0))
    needed = int(np.searchsorted(np.cumsum(values), PLACE_SHARE * total)) + 1
    return directions[:, order[: min(needed, means.shape[1] // PLACE_LIMIT)]]
