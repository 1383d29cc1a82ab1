"""How well each score and each test tells outputs of two merged classes from outputs of one class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from polyscan.run import Run
from polyscan.stats.significance import Interval, times_drawn, wilson_interval
from polyscan.studies.validate.measures import LEVEL, beyond
from polyscan.studies.validate.trained.design import ONE_CLASS, SHARES
from polyscan.studies.validate.trained.networks import output_layer
from polyscan.studies.validate.trained.truth import OutputTruth
from polyscan.units import REAL

MERGED = "merged"
KINDS = (MERGED, *SHARES, ONE_CLASS)
"""`merged`: all strengths together."""
BETTER = "better of both"
"""The evidence that is the better of several: its p is the smallest one, times their number."""
DRAWS = 1000
KEY = ["layer", "channel", "score"]


@dataclass(frozen=True)
class OutputRate:
    """What one score says of one kind of outputs, by one kind of evidence.

    Args:
        score: its name.
        evidence: `exemplars`, any other evidence of the run, or `better of both`.
        kind: of `KINDS`.
        n: number of these outputs.
        auroc: area under the curve against the outputs of one class, by distance beyond the null; None for these
            themselves, and if a number is missing.
        found: share with p <= .05, of those with a p: power, or of one class the error; None without p.
    """

    score: str
    evidence: str
    kind: str
    n: int
    auroc: Interval | None
    found: Interval | None


def scored_outputs(run: Run, truths: Sequence[OutputTruth], null: str) -> pd.DataFrame:
    """A row per output, evidence and score: `p`, `beyond` (its null) and `kind`.

    Of each evidence the row in the layer's own space and against the first null is taken, if there is one.

    Args:
        run: the scan of the outputs.
        truths: of all outputs.
        null: the job's first null.
    """
    rows = run.read("scores", where={"role": REAL})
    rows = rows.assign(is_first=rows["null"] == null).sort_values(
        ["is_main", "is_first"], ascending=False, kind="stable"
    )
    rows = rows.drop_duplicates([*KEY, "evidence"])
    kinds = pd.DataFrame(
        [(output_layer(truth.network), truth.channel, truth.kind) for truth in truths],
        columns=["layer", "channel", "kind"],
    )
    rows = rows.merge(kinds, on=["layer", "channel"])
    if rows.empty:
        return rows.assign(beyond=np.nan)
    groups = [
        group.assign(beyond=beyond(group, str(score))) for (score, _), group in rows.groupby(["score", "evidence"])
    ]
    return pd.concat([*groups, *_better(pd.concat(groups))], ignore_index=True)


def _better(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The better of the evidence that has p, where several have."""
    tested = rows[rows["p"].notna()]
    counts = tested.groupby("score")["evidence"].nunique()
    for score in counts[counts > 1].index:
        of_score = tested[tested["score"] == score]
        best = of_score.groupby([*KEY, "kind"], as_index=False).agg(
            p=("p", "min"), beyond=("beyond", "max"), n=("p", "size")
        )
        yield best.assign(p=np.minimum(1.0, best["p"] * best["n"]), evidence=BETTER).drop(columns="n")


def rates_of(rows: pd.DataFrame) -> list[OutputRate]:
    """The rates of each score and evidence, for each kind of outputs that there is."""
    found: list[OutputRate] = []
    for (score, evidence), group in rows.groupby(["score", "evidence"], sort=False):
        one = group.loc[group["kind"] == ONE_CLASS, "beyond"].dropna().to_numpy(np.float64)
        for kind in KINDS:
            units = group[group["kind"] != ONE_CLASS if kind == MERGED else group["kind"] == kind]
            if units.empty:
                continue
            several = units["beyond"].dropna().to_numpy(np.float64)
            p = units["p"].dropna().to_numpy(np.float64)
            area = auroc(one, several) if kind != ONE_CLASS and len(one) and len(several) else None
            share = wilson_interval(int((p <= LEVEL).sum()), len(p)) if len(p) else None
            if area or share:
                found.append(OutputRate(str(score), str(evidence), kind, len(units), area, share))
    return found


def auroc(one: Float64[np.ndarray, " u"], several: Float64[np.ndarray, " v"]) -> Interval:
    """Share of pairs of which the output of several classes has the larger number, ties as half, with an interval.

    The interval is the bootstrap's, over the outputs of either kind.

    Source: Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic curve".

    >>> auroc(np.array([0.0, 1.0]), np.array([1.0, 2.0])).mean
    0.875
    """
    pairs = (several[:, None] > one) + 0.5 * (several[:, None] == one)
    generator = np.random.default_rng(0)
    above, below = (times_drawn(n, generator=generator, draws=DRAWS) / n for n in (len(several), len(one)))
    draws = np.einsum("dv,vu,du->d", above, pairs, below, optimize=True)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(pairs.mean()), float(low), float(high))
