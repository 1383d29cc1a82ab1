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
DRAWS = 2000


def statements(job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]) -> Iterator[str]:
    """What may be said of the whole network."""
    if "p" in frame and frame["p"].notna().any():
        yield _verdicts(frame, job.show.fdr)
        yield from _proof(layers)
        yield from _excess(job, frame, layers)
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
    found = (
        f"{several:,} of {judged:,} judged units ({several / judged:.1%}) answer to several things at a false "
        f"discovery rate of {fdr:.0%}"
    )
    if several:
        return f"{found}, {certified:,} of them certified{rest}."
    return f"{found}; the smallest q is {_judged(frame)['q'].min():.2g}{rest}."


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


def _excess(job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow]) -> Iterator[str]:
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
    yield (
        f"At p <= .05 {share @ weights:.1%} of judged units are more split than one-concept read-outs, of controls in "
        f"the same layers {fpr @ weights:.1%}: an excess of {(share - fpr) @ weights:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}), whoever they are."
    )


def _judged(frame: pd.DataFrame) -> pd.DataFrame:
    """Units of which it is said that they are one or several."""
    return frame[frame["verdict"].str.startswith(("one", "several"))]


def _trend(job: Job, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]) -> str:
    """Whether the excess over controls goes with depth; layers are the unit of analysis."""
    able = {layer.name for layer in layers if layer.power and not layer.is_weak}
    points = [point for point in trend if point.column == FINDING and point.excess and point.layer in able]
    if len(points) < LEAST_LAYERS:
        return (
            f"No depth trend is claimed: {len(points)} layers have controls and are known to have power, "
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
