"""Sets of images that a single-concept unit could have produced, made from embeddings alone.

The null of a layer consists of readouts that go through the scan (see `readouts`). The nulls here are a second opinion
on whole-image evidence (`one_exemplar_sets`), and others in use that do not keep their level: `POOLED` says how often
each calls a single-concept set several. To add a null: a function here, an entry in POOLED.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from polyscan.stats.neighbors import nearest

LAYER_REACHES = (1, 1, 2, 4)
"""m, in turn: a set of a layer's null is drawn from its readout's top m n images. Most sets are plain tops, as those of
units are; looser ones extend the fit to less homogeneous units. With reaches of 16 the level is lost (docs/methods)."""
_BALLS = (1, 2, 4, 16)
_LEAST_POOL = 6
"""Pool items needed per item that a set is drawn from, so that the top is only a small part of the pool."""
_NEIGHBORS = (1, 5, 20)
_RIDGES = (0.1, 1.0, 10.0)
_COMPONENTS = 256
_ROWS_AT_ONCE = 4096


def reaches(
    cycle: tuple[int, ...], n: int, pool: int, *, count: int, generator: np.random.Generator
) -> Int64[np.ndarray, " count"]:
    """A reach for each of `count` readouts: those of the cycle that the pool allows, in equal parts, shuffled.

    Raises:
        ValueError: as `allowed`.
    """
    return generator.permutation(np.resize(np.array(allowed(cycle, n, pool), dtype=np.int64), count))


def allowed(cycle: tuple[int, ...], n: int, pool: int) -> tuple[int, ...]:
    """The m of the cycle with m n <= pool / 6: a null set may be drawn from m n items.

    Raises:
        ValueError: if the pool has fewer than 6 n items, or n is below 2.

    >>> allowed(LAYER_REACHES, 100, 1500)
    (1, 1, 2)
    """
    if n < 2:
        raise ValueError(f"`n` must be at least 2, got {n}: a set needs a pair of items")
    if pool < _LEAST_POOL * n:
        raise ValueError(
            f"a null for sets of {n} needs a pool of {_LEAST_POOL * n} items, got {pool}: the top of any readout "
            "would be a large part of it. Scan more images, or take a smaller k."
        )
    return tuple(m for m in cycle if _LEAST_POOL * m * n <= pool)


def one_exemplar_sets(
    pool: Float[np.ndarray, "p d"], n: int, *, count: int, generator: np.random.Generator, threads: int = 1
) -> Int64[np.ndarray, "count n"]:
    """Top sets of readouts tuned to one exemplar each, in the space of the embeddings.

    w = (C + lam I)^-1 (e - mu);  e: mean of the 1, 5 or 20 items nearest to a seed by cosine, the seed among them

    mu and C are mean and covariance of the pool in its top 256 principal components, lam is .1, 1 or 10 times the mean
    eigenvalue there. A readout gives one set, its top n; equal responses rank by row. Looser sets, drawn from the top
    2 n, do not keep the level: they are rounder than equally homogeneous tops. Seeds differ until the pool is used up;
    the nine kinds of readout take turns.

    Args:
        pool: raw embeddings of all scanned images; with fewer, the null does not keep its level.
        n: items per set.
        count: number of sets.
        generator: seeded by the caller.
        threads: OpenMP threads for FAISS.

    Returns:
        Rows of the pool, the readout's top item first.

    Raises:
        ValueError: if the pool has fewer than 6 n items, all are equal, one is not finite, or `count` is below 1.

    Source: ours.
    """
    pool = _checked(pool, n, count)
    seeds = np.resize(generator.permutation(len(pool)), count)
    projections, variances = _principal(pool)
    exemplars = _exemplars(pool, projections, seeds, threads)
    ridges = np.array([_RIDGES[place // len(_NEIGHBORS) % len(_RIDGES)] for place in range(count)])
    weights = exemplars / (variances + ridges[:, None] * variances.mean())
    return np.stack([_top(projections @ w, n) for w in weights])


def random_sets(
    pool: Float[np.ndarray, "p d"], n: int, *, count: int, generator: np.random.Generator, threads: int = 1
) -> Int64[np.ndarray, "count n"]:
    """Sets of random items, which are not a single-concept null: see `POOLED`.

    Raises:
        ValueError: as `one_exemplar_sets`.
    """
    pool = _checked(pool, n, count)
    return np.stack([generator.choice(len(pool), size=n, replace=False) for _ in range(count)])


def neighbourhoods(
    pool: Float[np.ndarray, "p d"],
    n: int,
    *,
    count: int,
    generator: np.random.Generator,
    threads: int = 1,
    reaches: tuple[int, ...] = _BALLS,
) -> Int64[np.ndarray, "count n"]:
    """Sets of a random item and n - 1 of its m n nearest by cosine, itself included; m cycles through `reaches`.

    Such sets are balls; a unit's set, cut out by a direction, is less round and looks split against them: see `POOLED`.

    Raises:
        ValueError: as `one_exemplar_sets`.
    """
    pool = _checked(pool, n, count)
    ms = allowed(reaches, n, len(pool))
    centres = np.resize(generator.permutation(len(pool)), count)
    units = _unit(pool)
    index = np.empty((count, n), dtype=np.int64)
    for turn, m in enumerate(ms):
        places = np.arange(turn, count, len(ms))
        near = nearest(units[centres[places]], units, m * n, threads=threads).index
        index[places] = [
            _subset(_led_by(centre, row), n, m, generator) for centre, row in zip(centres[places], near, strict=True)
        ]
    return index


def _checked(pool: Float[np.ndarray, "p d"], n: int, count: int) -> Float32[np.ndarray, "p d"]:
    """The pool in float32, after checks."""
    if pool.ndim != 2:
        raise ValueError(f"`pool` must be [p, d], got {pool.shape}")
    allowed((1,), n, len(pool))
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}")
    n_bad = int((~np.isfinite(pool)).any(axis=1).sum())
    if n_bad:
        raise ValueError(f"{n_bad} of {len(pool)} embeddings are not finite; reject their images")
    if (pool == pool[0]).all():
        raise ValueError(f"all {len(pool)} embeddings are equal: no readout can be made from them")
    return np.asarray(pool, dtype=np.float32)


def _principal(
    pool: Float32[np.ndarray, "p d"],
) -> tuple[Float64[np.ndarray, "p r"], Float64[np.ndarray, " r"]]:
    """The centred pool projected on its top principal components, and its variances along these."""
    mean = pool.mean(axis=0, dtype=np.float64)
    starts = range(0, len(pool), _ROWS_AT_ONCE)
    covariance = np.zeros((len(mean), len(mean)))
    for start in starts:
        centred = pool[start : start + _ROWS_AT_ONCE] - mean
        covariance += centred.T @ centred
    values, axes = np.linalg.eigh(covariance / len(pool))
    values, axes = values[::-1][:_COMPONENTS], axes[:, ::-1][:, :_COMPONENTS]
    projections = np.concatenate([(pool[start : start + _ROWS_AT_ONCE] - mean) @ axes for start in starts])
    return projections, np.maximum(values, 0)


def _exemplars(
    pool: Float32[np.ndarray, "p d"],
    projections: Float64[np.ndarray, "p r"],
    seeds: Int64[np.ndarray, " s"],
    threads: int,
) -> Float64[np.ndarray, "s r"]:
    """Mean of the 1, 5 or 20 nearest of each seed, along the principal components."""
    units = _unit(pool)
    near = nearest(units[seeds], units, min(max(_NEIGHBORS), len(pool)), threads=threads).index
    sizes = [_NEIGHBORS[place % len(_NEIGHBORS)] for place in range(len(seeds))]
    return np.stack(
        [projections[_led_by(s, row)[:size]].mean(axis=0) for s, row, size in zip(seeds, near, sizes, strict=True)]
    )


def _unit(pool: Float32[np.ndarray, "p d"]) -> Float32[np.ndarray, "p d"]:
    lengths = np.linalg.norm(pool, axis=1, keepdims=True)
    return np.divide(pool, lengths, out=np.zeros_like(pool), where=lengths > 0)


def _led_by(item: int, near: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
    """Neighbours of an item, itself first: its duplicates with lower numbers may precede it, or push it out."""
    return np.concatenate([[item], near[near != item]])[: len(near)]


def _top(responses: Float64[np.ndarray, " p"], size: int) -> Int64[np.ndarray, " size"]:
    """Rows of the largest responses, equal ones by row."""
    edge = np.partition(responses, len(responses) - size)[len(responses) - size]
    rows = np.flatnonzero(responses >= edge)
    return rows[np.argsort(-responses[rows], kind="stable")][:size]


def _subset(top: Int64[np.ndarray, " k"], n: int, m: int, generator: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """The first of the top and a random n - 1 of the next m n - 1."""
    return np.concatenate([top[:1], generator.choice(top[1 : m * n], size=n - 1, replace=False)])


class SetMaker(Protocol):
    """Draws null sets from the embeddings of all images; arguments and result are those of `one_exemplar_sets`."""

    def __call__(
        self,
        pool: Float[np.ndarray, "p d"],
        n: int,
        *,
        count: int,
        generator: np.random.Generator,
        threads: int = 1,
    ) -> Int64[np.ndarray, "count n"]:
        """`count` sets of n rows of the pool."""
        ...


@dataclass(frozen=True)
class PooledNull:
    """A null that is drawn from the pool of all images.

    Args:
        draw: draws its sets.
        holds_level: whether it calls single-concept sets several about as often as it should.
        level: how often it was measured to call single-concept sets several (our own study); shown in warnings.
    """

    draw: SetMaker
    holds_level: bool
    level: str


POOLED: dict[str, PooledNull] = {
    "embedding": PooledNull(
        one_exemplar_sets,
        True,
        "Single-concept readouts of the embeddings as the null: at p <= .05 it calls 1 to 6 % of single classes and up "
        "to 3 % of neighbourhoods several. Its pool must be all scanned images: of 20,000, pools of 6,000, 3,000 and "
        "1,500 gave 18, 21 and 29 % instead of 6 %. For crops it gave 55 to 83 %.",
    ),
    "random": PooledNull(
        random_sets,
        False,
        "Random images as the null: at p <= .05 the silhouette calls 90 to 98 % of single-concept sets several, the "
        "gap 67 to 84 % in deep layers.",
    ),
    "neighbourhoods": PooledNull(
        neighbourhoods,
        False,
        "Neighbourhoods matched on mean cosine as the null: at p <= .05 it calls 20 to 53 % of single classes several.",
    ),
}
"""The registry of nulls that are drawn from embeddings, by their name in `calibrate.nulls`."""
LAYER_NULL = "layer"
"""The name of the null that is scanned instead of drawn: the layer's single-concept readouts. At p <= .05 it calls 2 to
9 % of single-concept sets several."""
