"""Sentences about a run; they claim no more than the numbers support."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from polyscan.job import Job
from polyscan.maps.atlas import LEAST_POWER, LayerRow, Statement, TrendPoint
from polyscan.report.depth_claim import LEAST_LAYERS, DepthClaim, depth_claim
from polyscan.report.verdicts import LEVEL
from polyscan.shards import seed

FINDING = "gap"  # the effect size, which needs no labels, whose excess over controls is tested against depth
DRAWS = 2000
Counts = Int64[np.ndarray, " l"]
Shares = Float64[np.ndarray, " l"]


def statements(
    job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]
) -> Iterator[Statement]:
    """Sentences about the whole network, each with the numbers that it was made from."""
    if "p" in frame and frame["p"].notna().any():
        yield Statement(_verdicts(frame, job.show.fdr), {"verdicts": _counts(frame), "fdr": job.show.fdr})
        yield from _proof(layers)
        yield from _excess(job, frame, layers)
        yield _trend(job, layers, trend)
    else:
        yield Statement(
            "No unit is called one or several, and no depth trend is claimed: this run has no null.", {"nulls": 0}
        )
    if "visualization_beats_data" in frame:
        yield _visualization(frame["visualization_beats_data"].dropna())


def _visualization(is_stronger: pd.Series) -> Statement:
    return Statement(
        f"For {int(is_stronger.sum()):,} of {len(is_stronger):,} visualized units ({is_stronger.mean():.0%}), "
        "visualization finds an image that activates the unit more than any image of the data.",
        {"stronger": int(is_stronger.sum()), "visualized": len(is_stronger)},
    )


def _counts(frame: pd.DataFrame) -> dict[str, int]:
    return {str(word): int(n) for word, n in frame["verdict"].value_counts().items()}


def _verdicts(frame: pd.DataFrame, fdr: float) -> str:
    counts = frame["verdict"].value_counts()
    certified = int(counts.get("several, certified", 0))
    several = int(counts.get("several", 0)) + certified
    judged = several + int(counts.get("one", 0))
    not_judged = _not_judged(counts)
    if not judged:
        return f"No unit can be judged{f' ({not_judged})' if not_judged else ''}."
    rest = f"; units that can't be judged: {not_judged}." if not_judged else "."
    share = (
        f"{several:,} of {judged:,} judged units ({several / judged:.1%}) answer to several things at a false "
        f"discovery rate of {fdr:.0%}"
    )
    if several:
        return f"{share}, {certified:,} of them certified{rest}"
    return f"{share}; the smallest q is {_judged(frame)['q'].min():.2g}{rest}"


def _not_judged(counts: pd.Series) -> str:
    """Numbers of units that are neither one nor several, by the reason."""
    reasons = (
        ("incoherent", "incoherent"),
        ("off_range", "off range"),
        ("artefact", "split by an artefact"),
        ("saturated", "saturated"),
    )
    return ", ".join(f"{int(counts[verdict]):,} {reason}" for verdict, reason in reasons if counts.get(verdict, 0))


def _proof(layers: Sequence[LayerRow]) -> Iterator[Statement]:
    """Error rate and power, as measured on virtual units."""
    fprs = [layer.fpr.share for layer in layers if layer.fpr]
    powers = [layer.power.share for layer in layers if layer.power]
    if fprs:
        text = f"At p <= .05, {np.mean(fprs):.1%} of single-concept controls are called several (mean over layers)."
        yield Statement(text, {"false_positive_rates": fprs})
    if powers:
        n_weak = sum(layer.is_weak for layer in layers)
        weak = f"; {n_weak} of {len(layers)} layers find fewer than half of them and are greyed out." if n_weak else "."
        text = f"{np.mean(powers):.0%} of planted pairs of concepts are found (mean over layers){weak}"
        yield Statement(text, {"powers": powers})


def _excess(job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow]) -> Iterator[Statement]:
    """How many more units than controls have a small p; this may be known although no single unit can be named."""
    p = {str(layer): rows.to_numpy() for layer, rows in _judged(frame).groupby("layer")["p"]}
    pairs = [(p[layer.name] <= LEVEL, layer.fpr) for layer in layers if layer.name in p and layer.fpr]
    if not pairs:
        return
    n = np.array([len(hits) for hits, _ in pairs])
    share = np.array([hits.mean() for hits, _ in pairs])
    fpr, n_controls = np.array([rate.share for _, rate in pairs]), np.array([rate.n for _, rate in pairs])
    weights = n / n.sum()
    generator = np.random.default_rng(seed(job.seed, "excess"))
    low, high = np.quantile(_drawn_excess(n, share, n_controls, fpr, generator) @ weights, (0.025, 0.975))
    yield Statement(
        f"{share @ weights:.1%} of judged units have p <= .05, against {fpr @ weights:.1%} of single-concept controls "
        f"in the same layers: an excess of {(share - fpr) @ weights:.1%} (95 % interval {low:.1%} to {high:.1%}). "
        "It does not say which units these are.",
        {
            "judged": n.tolist(),
            "shares": share.tolist(),
            "false_positive_rates": fpr.tolist(),
            "controls": n_controls.tolist(),
            "interval": [float(low), float(high)],
        },
    )


def _drawn_excess(
    n: Counts, share: Shares, n_controls: Counts, fpr: Shares, generator: np.random.Generator
) -> Float64[np.ndarray, "draws l"]:
    """Each layer's share minus that of its controls, for redrawn binomial counts."""
    drawn = generator.binomial(n, share, (DRAWS, len(n))) / n
    drawn -= generator.binomial(n_controls, fpr, (DRAWS, len(n))) / n_controls
    return drawn


def _judged(frame: pd.DataFrame) -> pd.DataFrame:
    """Units that are called one or several."""
    return frame[frame["verdict"].str.startswith(("one", "several"))]


def _trend(job: Job, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]) -> Statement:
    """Whether the excess over controls follows depth; the observations are layers."""
    able = {layer.name for layer in layers if layer.power and not layer.is_weak}
    points = [point for point in trend if point.column == FINDING and point.excess and point.layer in able]
    points.sort(key=lambda point: point.depth)
    if len(points) < LEAST_LAYERS:
        return Statement(
            f"No depth trend is claimed: {len(points)} layers have controls and a power of at least {LEAST_POWER:g}, "
            f"{LEAST_LAYERS} are needed.",
            {"layers": [point.layer for point in points], "needed": LEAST_LAYERS},
        )
    excess = np.array([point.excess.mean for point in points if point.excess])
    claim = depth_claim(excess, generator=np.random.default_rng(seed(job.seed, "depth trend")))
    return Statement(f"{_trend_text(claim)} ({claim.numbers()}).", claim.inputs([p.layer for p in points], excess))


def _trend_text(claim: DepthClaim) -> str:
    if not claim.sign:
        return f"No depth trend is claimed: units' gap minus that of their layer's controls {claim.why_not}"
    return f"Units' gap minus that of their layer's controls {'rises' if claim.sign > 0 else 'falls'} with depth"
