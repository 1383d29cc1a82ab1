"""Sentences made from the numbers: what they support, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.atlas import LayerRow, Statement, TrendPoint
from polyscan.report.depth_claim import LEAST_LAYERS, depth_claim
from polyscan.report.verdicts import LEVEL
from polyscan.shards import seed

FINDING = "gap"  # the label-free effect size whose excess over controls is tested against depth
DRAWS = 2000


def statements(
    job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]
) -> Iterator[Statement]:
    """What may be said of the whole network, each sentence with the numbers that it was made from."""
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
        checked = frame["visualization_beats_data"].dropna()
        yield Statement(
            f"Visualization finds a stronger image than the best of the data for {int(checked.sum()):,} of "
            f"{len(checked):,} visualized units ({checked.mean():.0%}).",
            {"stronger": int(checked.sum()), "visualized": len(checked)},
        )


def _counts(frame: pd.DataFrame) -> dict[str, int]:
    return {str(word): int(n) for word, n in frame["verdict"].value_counts().items()}


def _verdicts(frame: pd.DataFrame, fdr: float) -> str:
    counts = frame["verdict"].value_counts()
    certified = int(counts.get("several, certified", 0))
    several = int(counts.get("several", 0)) + certified
    judged = several + int(counts.get("one", 0))
    beside = [
        f"{int(counts[name]):,} {word}"
        for name, word in (("incoherent", "incoherent"), ("off_range", "off range"), ("saturated", "saturated"))
        if counts.get(name, 0)
    ]
    rest = f"; {', '.join(beside)} can't be judged" if beside else ""
    if not judged:
        return f"No unit can be judged{rest}."
    found = (
        f"{several:,} of {judged:,} judged units ({several / judged:.1%}) answer to several things at a false "
        f"discovery rate of {fdr:.0%}"
    )
    if several:
        return f"{found}, {certified:,} of them certified{rest}."
    return f"{found}; the smallest q is {_judged(frame)['q'].min():.2g}{rest}."


def _proof(layers: Sequence[LayerRow]) -> Iterator[Statement]:
    fprs = [layer.fpr.share for layer in layers if layer.fpr]
    powers = [layer.power.share for layer in layers if layer.power]
    if fprs:
        text = f"At p <= .05 the layers' one-concept controls are called several in {np.mean(fprs):.1%} of cases."
        yield Statement(text, {"false_positive_rates": fprs})
    if powers:
        weak = sum(layer.is_weak for layer in layers)
        beside = f"; {weak} of {len(layers)} layers find less than half of them and are greyed out." if weak else "."
        yield Statement(f"Planted pairs are found in {np.mean(powers):.0%}{beside}", {"powers": powers})


def _excess(job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow]) -> Iterator[Statement]:
    """How many more units than controls are split, which may be known where no single unit can be named."""
    p = {str(layer): rows.to_numpy() for layer, rows in _judged(frame).groupby("layer")["p"]}
    pairs = [(p[layer.name] <= LEVEL, layer.fpr) for layer in layers if layer.name in p and layer.fpr]
    if not pairs:
        return
    n = np.array([len(hits) for hits, _ in pairs])
    share = np.array([hits.mean() for hits, _ in pairs])
    fpr, n_controls = np.array([rate.share for _, rate in pairs]), np.array([rate.n for _, rate in pairs])
    generator = np.random.default_rng(seed(job.seed, "excess"))
    drawn = generator.binomial(n, share, (DRAWS, len(n))) / n
    drawn -= generator.binomial(n_controls, fpr, (DRAWS, len(n))) / n_controls
    weights = n / n.sum()
    low, high = np.quantile(drawn @ weights, (0.025, 0.975))
    yield Statement(
        f"At p <= .05 {share @ weights:.1%} of judged units are more split than one-concept readouts, of controls in "
        f"the same layers {fpr @ weights:.1%}: an excess of {(share - fpr) @ weights:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}), whoever they are.",
        {
            "judged": n.tolist(),
            "shares": share.tolist(),
            "false_positive_rates": fpr.tolist(),
            "controls": n_controls.tolist(),
            "interval": [float(low), float(high)],
        },
    )


def _judged(frame: pd.DataFrame) -> pd.DataFrame:
    """Units of which it is said that they are one or several."""
    return frame[frame["verdict"].str.startswith(("one", "several"))]


def _trend(job: Job, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]) -> Statement:
    """Whether the excess over controls goes with depth; layers are the unit of analysis."""
    able = {layer.name for layer in layers if layer.power and not layer.is_weak}
    points = [point for point in trend if point.column == FINDING and point.excess and point.layer in able]
    points.sort(key=lambda point: point.depth)
    if len(points) < LEAST_LAYERS:
        return Statement(
            f"No depth trend is claimed: {len(points)} layers have controls and are known to have power, "
            f"{LEAST_LAYERS} are needed.",
            {"layers": [point.layer for point in points], "needed": LEAST_LAYERS},
        )
    excess = np.array([point.excess.mean for point in points if point.excess])
    found = depth_claim(excess, generator=np.random.default_rng(seed(job.seed, "depth trend")))
    inputs = found.inputs([point.layer for point in points], excess)
    if not found.sign:
        text = f"No depth trend is claimed: units' gap less that of their layer's controls {found.why_not}"
    else:
        way = "rises" if found.sign > 0 else "falls"
        text = f"Units' gap less that of their layer's controls {way} with depth"
    return Statement(f"{text} ({found.numbers()}).", inputs)
