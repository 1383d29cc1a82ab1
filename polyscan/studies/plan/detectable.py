"""What a job can find at best: the smallest p of its null, and how many units must have it before one is called."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from polyscan.job import Job, k_warning
from polyscan.nulls.null_sets import LAYER_NULL
from polyscan.run import Run

FEW_UNITS = 10
SHARES = (0.01, 0.1, 0.3)
"""Supposed shares of units that answer to several things."""


def detectable(job: Job, *, n_units: int, n_images: int, run: Run | None = None) -> Iterator[str]:
    """Sentences on what a job's k, null sets and number of units let it find, and on what would help.

    Args:
        job: with k as a number.
        n_units: number of units that are tested together.
        n_images: number of images.
        run: a finished run of a similar job, whose planted pairs show how clear two concepts are.
    """
    yield f"Each unit has k = {job.k:,} exemplars, {job.k / n_images:.2%} of {n_images:,} images."
    if warning := k_warning(job.k, n_images):
        yield f"{warning}."
    n_sets = _n_sets(job)
    if not n_sets:
        yield "The job has no null, so no unit has a p and none can be called several."
        return
    yield from _on_null_sets(job, n_sets, n_units)
    if run is not None:
        yield _on_planted(run, job.show.fdr)


def _n_sets(job: Job) -> int:
    """Sets of a layer's first null; 0 if it has none."""
    first = next(iter(job.calibrate.nulls), None)
    if first is None or not job.survey.readouts:
        return 0
    return job.survey.readouts if first == LAYER_NULL else job.calibrate.embedding_sets


def _on_null_sets(job: Job, n_sets: int, n_units: int) -> Iterator[str]:
    fdr = job.show.fdr
    needed = units_needed(n_sets, n_units=n_units, fdr=fdr)
    yield (
        f"With {n_sets:,} null sets a counted p is at least {1 / (n_sets + 1):.2g}. So Benjamini-Hochberg at {fdr:g} "
        f"over {n_units:,} units calls a unit by counted p only if at least {needed:,} have so small a p"
        f"{', or by the fitted tail' if job.calibrate.match == 'regression' else ''}."
    )
    if needed > FEW_UNITS:
        few, one = (sets_needed(n, n_units=n_units, fdr=fdr) for n in (FEW_UNITS, 1))
        yield (
            f"For {FEW_UNITS} such units to be enough it takes {few:,} null sets per layer (`survey.readouts`), for a "
            f"single one {one:,}; or fewer units, as of some layers alone (`network.layers`). More images help only "
            "if k grows with them."
        )


def units_needed(n_sets: int, *, n_units: int, fdr: float) -> int:
    """Units that must have the smallest counted p before Benjamini-Hochberg calls one: m with 1 / (B + 1) <= q m / n.

    >>> units_needed(800, n_units=2760, fdr=0.05)
    69
    """
    return max(1, math.ceil(n_units / (fdr * (n_sets + 1)) * (1 - 1e-12)))


def sets_needed(n_called: int, *, n_units: int, fdr: float) -> int:
    """Null sets with which so many units of the smallest counted p are called.

    >>> units_needed(sets_needed(10, n_units=2760, fdr=0.05), n_units=2760, fdr=0.05)
    10
    """
    return max(1, math.ceil(n_units / (fdr * n_called) * (1 - 1e-12)) - 1)


def _on_planted(run: Run, fdr: float) -> str:
    rows = run.read("scores", ["is_main", "score", "p"], where={"role": "planted", "score": "separation"})
    p = rows["p"][rows["is_main"] & rows["p"].notna()].to_numpy(np.float64)
    if not len(p):
        return f"{run.address} has no planted units with a p, so it can't say how much would be found."
    found = ", ".join(f"{share_called(p, share=share, fdr=fdr):.0%} if they are {share:.0%}" for share in SHARES)
    return (
        f"In {run.address}, {(p <= fdr).mean():.0%} of {len(p):,} planted pairs have p <= {fdr:g}. Of units that are "
        f"as clearly two things as these, Benjamini-Hochberg would call {found} of all units."
    )


def share_called(p: Float64[np.ndarray, " n"], *, share: float, fdr: float) -> float:
    """Share of the units of several concepts that Benjamini-Hochberg calls among very many units.

    Args:
        p: of units of several concepts, such as planted ones; those of one concept are uniform.
        share: of units of several concepts among all.
        fdr: the false discovery rate.

    >>> p = np.array([0.001, 0.002, 0.5, 0.9])
    >>> share_called(p, share=0.1, fdr=0.05), share_called(p, share=0.01, fdr=0.05)
    (0.5, 0.0)
    """
    ordered = np.sort(p)
    found = np.arange(1, len(p) + 1) / len(p)
    is_called = ordered <= fdr * (share * found + (1 - share) * ordered)
    return float(found[is_called].max(initial=0.0))
