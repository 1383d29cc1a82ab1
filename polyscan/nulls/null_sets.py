"""Sets of images that a unit of one concept could have produced, made from embeddings alone.

The null of a layer is made of readouts that go through the scan (see `readouts`). Those here are a second opinion on
whole-image evidence (`one_exemplar_sets`) and, by name, what others use and what does not hold its level: `POOLED` says
how often each calls a set of one concept several. To add one: a function here, an entry in POOLED.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from polyscan.stats.neighbors import nearest

LAYER_REACHES = (1, 1, 2, 4)
"""m: a set of a layer's null is drawn from its readout's top m n, m taking turns. Most sets are plain tops, as units'
are; looser ones carry the fit to less homogeneous units. Reaches of 16 among them cost the level (docs/methods)."""
_BALLS = (1, 2, 4, 16)
_LEAST_POOL = 6
"""Pool items needed for each that a set is drawn from, so that its top is no large part of the pool."""
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
    """Those m of the cycle with m n <= pool / 6: how many times n items a null set may be drawn from.

    Raises:
        ValueError: if the pool has fewer than 6 n items, or n is below 2.

    >>> allowed(LAYER_REACHES, 100, 1500)
    (1, 1, 2)
    """
    if n < 2:
        raise ValueError(f"`n` must be at least 2, got {n}: one item is no set")
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
    eigenvalue there. A readout gives one set, its top n; equal answers rank by row. Looser sets among them, drawn from
    the top 2 n, cost the level: they are rounder than tops as homogeneous. Seeds differ while the pool lasts; the nine
    kinds of readout take turns.

    Args:
        pool: raw embeddings of all scanned images; of fewer, the null does not hold its level.
        n: items of a set.
        count: sets.
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
    away, variances = _principal(pool)
    exemplars = _exemplars(pool, away, seeds, threads)
    ridges = np.array([_RIDGES[place // len(_NEIGHBORS) % len(_RIDGES)] for place in range(count)])
    weights = exemplars / (variances + ridges[:, None] * variances.mean())
    return np.stack([_top(away @ w, n) for w in weights])


def random_sets(
    pool: Float[np.ndarray, "p d"], n: int, *, count: int, generator: np.random.Generator, threads: int = 1
) -> Int64[np.ndarray, "count n"]:
    """Random items, which is no null of one concept: see `POOLED`.

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
    """A random item and n - 1 of its m n nearest by cosine, itself among them; m takes turns over `reaches`.

    Balls have no shape: a unit's set, cut out by a direction, is less round and looks split against them. See `POOLED`.

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
            _drawn(_led_by(centre, row), n, m, generator) for centre, row in zip(centres[places], near, strict=True)
        ]
    return index


def _checked(pool: Float[np.ndarray, "p d"], n: int, count: int) -> Float32[np.ndarray, "p d"]:
    """The pool in float32."""
    if pool.ndim != 2:
        raise ValueError(f"`pool` must be [p, d], got {pool.shape}")
    allowed((1,), n, len(pool))
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}")
    n_bad = int((~np.isfinite(pool)).any(axis=1).sum())
    if n_bad:
        raise ValueError(f"{n_bad} of {len(pool)} embeddings are not finite; reject their images")
    if (pool == pool[0]).all():
        raise ValueError(f"all {len(pool)} embeddings are equal: nothing can be read out of them")
    return np.asarray(pool, dtype=np.float32)


def _principal(
    pool: Float32[np.ndarray, "p d"],
) -> tuple[Float64[np.ndarray, "p r"], Float64[np.ndarray, " r"]]:
    """The centred pool along its top principal components, and its variances there."""
    mean = pool.mean(axis=0, dtype=np.float64)
    starts = range(0, len(pool), _ROWS_AT_ONCE)
    covariance = np.zeros((len(mean), len(mean)))
    for start in starts:
        away = pool[start : start + _ROWS_AT_ONCE] - mean
        covariance += away.T @ away
    values, axes = np.linalg.eigh(covariance / len(pool))
    values, axes = values[::-1][:_COMPONENTS], axes[:, ::-1][:, :_COMPONENTS]
    placed = np.concatenate([(pool[start : start + _ROWS_AT_ONCE] - mean) @ axes for start in starts])
    return placed, np.maximum(values, 0)


def _exemplars(
    pool: Float32[np.ndarray, "p d"], away: Float64[np.ndarray, "p r"], seeds: Int64[np.ndarray, " s"], threads: int
) -> Float64[np.ndarray, "s r"]:
    """Mean of the 1, 5 or 20 nearest of each seed, along the principal components."""
    units = _unit(pool)
    near = nearest(units[seeds], units, min(max(_NEIGHBORS), len(pool)), threads=threads).index
    sizes = [_NEIGHBORS[place % len(_NEIGHBORS)] for place in range(len(seeds))]
    return np.stack(
        [away[_led_by(s, row)[:size]].mean(axis=0) for s, row, size in zip(seeds, near, sizes, strict=True)]
    )


def _unit(pool: Float32[np.ndarray, "p d"]) -> Float32[np.ndarray, "p d"]:
    lengths = np.linalg.norm(pool, axis=1, keepdims=True)
    return np.divide(pool, lengths, out=np.zeros_like(pool), where=lengths > 0)


def _led_by(item: int, near: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
    """Neighbours of an item with itself first: copies of it with a lower number may precede it, or push it out."""
    return np.concatenate([[item], near[near != item]])[: len(near)]


def _top(answers: Float64[np.ndarray, " p"], size: int) -> Int64[np.ndarray, " size"]:
    """Rows of the largest answers, equal ones by row."""
    edge = np.partition(answers, len(answers) - size)[len(answers) - size]
    rows = np.flatnonzero(answers >= edge)
    return rows[np.argsort(-answers[rows], kind="stable")][:size]


def _drawn(top: Int64[np.ndarray, " k"], n: int, m: int, generator: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """The first of the top and n - 1 of the next m n - 1."""
    return np.concatenate([top[:1], generator.choice(top[1 : m * n], size=n - 1, replace=False)])


class Draw(Protocol):
    """Draws null sets from the embeddings of all images: see `one_exemplar_sets` for what it takes and gives."""

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
        draw: gives its sets.
        holds_level: whether it calls sets of one concept several about as often as it should.
        level: what it was measured to call several among sets of one concept: our own study, for warnings.
    """

    draw: Draw
    holds_level: bool
    level: str


POOLED: dict[str, PooledNull] = {
    "embedding": PooledNull(
        one_exemplar_sets,
        True,
        "One-exemplar readouts of the embeddings as the null: at p <= .05 it calls 1 to 6 % of single classes and up "
        "to 3 % of neighbourhoods several. Its pool must be all scanned images: of 20,000, pools of 6,000, 3,000 and "
        "1,500 gave 18, 21 and 29 % instead of 6 %. For crops it gave 55 to 83 %.",
    ),
    "random": PooledNull(
        random_sets,
        False,
        "Random images as the null: at p <= .05 the silhouette calls 90 to 98 % of one-concept sets several, the gap "
        "67 to 84 % in deep layers.",
    ),
    "neighbourhoods": PooledNull(
        neighbourhoods,
        False,
        "Neighbourhoods matched on mean cosine as the null: at p <= .05 it calls 20 to 53 % of single classes several.",
    ),
}
"""The registry of nulls that are drawn from embeddings, by their name in `calibrate.nulls`."""
LAYER_NULL = "layer"
"""The name of the null that is not drawn but scanned: the layer's one-exemplar readouts. At p <= .05 it calls 2 to 9 %
of one-concept sets several."""
