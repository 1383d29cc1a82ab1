"""Sentences made from the numbers: what they support, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.atlas import LayerRow, TrendPoint
from polyscan.shards import seed
from polyscan.stages.show.verdicts import LEVEL
from polyscan.stats.significance import spearman_test

FINDING = "gap"  # the label-free effect size whose excess over controls is tested against depth
LEAST_LAYERS = 5


def statements(job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]) -> Iterator[str]:
    """What may be said of the whole network."""
    if "p" in frame and frame["p"].notna().any():
        yield _verdicts(frame, job.show.fdr)
        yield from _proof(layers)
        yield _trend(job, layers, trend)
    else:
        yield "No unit is called one or several, and no depth trend is claimed: this run has no null."
    if "visualization_beats_data" in frame:
        checked = frame["visualization_beats_data"].dropna()
        yield (
            f"Visualization finds a stronger image than the best of the data for {int(checked.sum()):,} of "
            f"{len(checked):,} visualized units ({checked.mean():.0%})."
        )


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
    return (
        f"{several:,} of {judged:,} judged units ({several / judged:.1%}) answer to several things at a false "
        f"discovery rate of {fdr:.0%}, {certified:,} of them certified{rest}."
    )


def _proof(layers: Sequence[LayerRow]) -> Iterator[str]:
    fprs = [layer.fpr.share for layer in layers if layer.fpr]
    powers = [layer.power.share for layer in layers if layer.power]
    if fprs:
        yield f"At p <= .05 the layers' one-concept controls are called several in {np.mean(fprs):.1%} of cases."
    if powers:
        weak = sum(layer.is_weak for layer in layers)
        yield (
            f"Planted pairs are found in {np.mean(powers):.0%}"
            + (f"; {weak} of {len(layers)} layers find less than half of them and are greyed out." if weak else ".")
        )


def _trend(job: Job, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]) -> str:
    """Whether the excess over controls goes with depth; layers are the unit of analysis."""
    weak = {layer.name for layer in layers if layer.is_weak}
    points = [point for point in trend if point.column == FINDING and point.excess and point.layer not in weak]
    if len(points) < LEAST_LAYERS:
        return (
            f"No depth trend is claimed: {len(points)} layers have controls and enough power, "
            f"{LEAST_LAYERS} are needed."
        )
    depth = np.array([point.depth for point in points], dtype=np.float64)
    excess = np.array([point.excess.mean for point in points if point.excess])
    generator = np.random.default_rng(seed(job.seed, "depth trend"))
    found = spearman_test(depth, excess, generator=generator)
    numbers = f"Spearman's rho {found.rho:.2f}, permutation p {found.p:.2g}, {len(points)} layers"
    if not found.p <= LEVEL:
        return (
            "No depth trend is claimed: units' gap less that of their layer's controls does not follow depth "
            f"({numbers})."
        )
    way = "grows" if found.rho > 0 else "falls"
    return f"Units' gap less that of their layer's controls {way} with depth ({numbers})."
