"""Sentences about a run; they claim no more than the numbers support."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from polyscan.job import Job
from polyscan.maps.atlas import LEAST_POWER, LayerRow, Rate, Statement, TrendPoint
from polyscan.report.depth_claim import LEAST_LAYERS, DepthClaim, depth_claim
from polyscan.report.rates import Bounds
from polyscan.report.verdicts import LEVEL
from polyscan.results.tiers import CERTIFIED, NO_SPLIT, PROBABLY, SEVERAL, SUGGESTIVE, TIERS, is_judged
from polyscan.shards import seed

FINDING = "gap"  # the effect size, which needs no labels, whose excess over controls is tested against depth
DRAWS = 2000
NO_BOUNDS = Bounds(None, None, None)
Counts = Int64[np.ndarray, " l"]
Shares = Float64[np.ndarray, " l"]


def statements(
    job: Job,
    frame: pd.DataFrame,
    layers: Sequence[LayerRow],
    trend: Sequence[TrendPoint],
    bounds: Bounds = NO_BOUNDS,
) -> Iterator[Statement]:
    """Sentences about the whole network, each with the numbers that it was made from."""
    if "p" in frame and frame["p"].notna().any():
        rates = {"fdr": job.show.fdr, "probable_fdr": job.show.probable_fdr, "probable_by": job.show.probable_by}
        yield Statement(_verdicts(frame, job), {"verdicts": _counts(frame), **rates})
        yield from _bounds(bounds, layers)
        yield from _proof(layers)
        yield from _excess(job, frame, layers)
        yield _trend(job, layers, trend)
    else:
        yield Statement(
            "No unit is judged, and no depth trend is claimed: this run has no null, or too few null sets.",
            {"nulls": 0},
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


def _verdicts(frame: pd.DataFrame, job: Job) -> str:
    counts = frame["verdict"].value_counts()
    n = {tier: int(counts.get(tier, 0)) for tier in TIERS}
    judged, called = sum(n.values()), n[SEVERAL] + n[CERTIFIED]
    not_judged = not_judged_words(counts)
    if not judged:
        return f"No unit can be judged{f' ({not_judged})' if not_judged else ''}."
    of_called = f"{n[CERTIFIED]:,} of them certified" if called else f"the smallest q is {_smallest_q(frame)}"
    rest = f"; units that can't be judged: {not_judged}." if not_judged else "."
    return (
        f"Of {judged:,} judged units, {called:,} ({called / judged:.1%}) are called several at a false discovery rate "
        f"of {job.show.fdr:.0%} ({of_called}); {n[PROBABLY]:,} more are probably several, at "
        f"{job.show.probable_fdr:.0%} if the estimate holds of how many units of each layer answer to one thing; "
        f"{n[SUGGESTIVE]:,} more are suggestive (p <= .05), and {n[NO_SPLIT]:,} show no split{rest}"
    )


def _smallest_q(frame: pd.DataFrame) -> str:
    return f"{judged_units(frame)['q'].min():.2g}"


def _bounds(bounds: Bounds, layers: Sequence[LayerRow]) -> Iterator[Statement]:
    """At least how many units are several, and the same for virtual units of the same layers."""
    units = bounds.units
    if units is None:
        return
    beside = [
        f"{found.n:,} of {found.of:,} {name} ({found.share:.0%})"
        for name, found in (("random directions", bounds.random), ("single-concept controls", bounds.controls))
        if found
    ]
    same = f" The same bound for virtual units of these layers: {', '.join(beside)}." if beside else ""
    of_channels = (
        " A share that random directions reach as well says nothing special about channels." if bounds.random else ""
    )
    yield Statement(
        f"At least {units.n:,} of these {units.of:,} units ({units.share:.0%}) are several (95 %): they split more "
        f"than single-concept readouts do.{same}{of_channels}",
        {
            **asdict(bounds),
            "layers": {layer.name: layer.at_least for layer in layers},
        },
    )


def not_judged_words(counts: pd.Series) -> str:
    """Numbers of units that can't be judged, by the reason."""
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
    """How many more units than virtual units have a small p; this may be known although no single unit can be named."""
    p = {str(layer): rows.to_numpy() for layer, rows in judged_units(frame).groupby("layer")["p"]}
    of_controls = [(p[layer.name] <= LEVEL, layer.fpr) for layer in layers if layer.name in p and layer.fpr]
    if of_controls:
        found = _compared(of_controls, np.random.default_rng(seed(job.seed, "excess")))
        yield Statement(
            f"{found.share:.1%} of judged units have p <= .05, against {found.beside:.1%} of single-concept controls "
            f"in the same layers: an excess of {found.excess:.1%} (95 % interval {found.low:.1%} to {found.high:.1%}). "
            "It does not say which units these are.",
            found.inputs("false_positive_rates", "controls"),
        )
    of_random = [(p[layer.name] <= LEVEL, layer.random) for layer in layers if layer.name in p and layer.random]
    if of_random:
        found = _compared(of_random, np.random.default_rng(seed(job.seed, "excess over random directions")))
        yield Statement(f"{_over_random(found)}.", found.inputs("shares_of_random_directions", "random_directions"))


def _over_random(found: Excess) -> str:
    """What channels have more or less than random directions."""
    numbers = f"{found.excess:+.1%} (95 % interval {found.low:+.1%} to {found.high:+.1%})"
    beside = f"against {found.beside:.1%} of random directions of the same layers"
    if found.low > 0:
        return f"Channels split more often than random directions: {found.share:.1%} have p <= .05, {beside}: {numbers}"
    if found.high < 0:
        return f"Channels split less often than random directions: {found.share:.1%} have p <= .05, {beside}: {numbers}"
    return (
        f"Channels are not shown to differ from random directions: {found.share:.1%} have p <= .05, {beside}: {numbers}"
    )


@dataclass(frozen=True, eq=False)
class Excess:
    """Shares with p <= .05, layers weighted by their units, and their difference with its 95 % interval.

    Args:
        n: judged units of each layer.
        shares: of each layer's units.
        n_beside: virtual units of each layer.
        shares_beside: of each layer's virtual units.
        low: lower end of the interval of the excess.
        high: upper end.
    """

    n: Counts
    shares: Shares
    n_beside: Counts
    shares_beside: Shares
    low: float
    high: float

    @property
    def share(self) -> float:
        """Share of all judged units of these layers."""
        return float(self.shares @ self.n / self.n.sum())

    @property
    def beside(self) -> float:
        """Share of virtual units."""
        return float(self.shares_beside @ self.n / self.n.sum())

    @property
    def excess(self) -> float:
        """The first share minus the second."""
        return self.share - self.beside

    def inputs(self, shares_beside: str, n_beside: str) -> dict[str, Any]:
        """Everything that the numbers were computed from, those of virtual units under these names."""
        return {
            "judged": self.n.tolist(),
            "shares": self.shares.tolist(),
            shares_beside: self.shares_beside.tolist(),
            n_beside: self.n_beside.tolist(),
            "interval": [self.low, self.high],
        }


def _compared(pairs: Sequence[tuple[Bool[np.ndarray, " u"], Rate]], generator: np.random.Generator) -> Excess:
    """The excess over layers, each with whether its judged units have a small p, and the rate of its virtual units."""
    n = np.array([len(hits) for hits, _ in pairs])
    shares = np.array([hits.mean() for hits, _ in pairs])
    beside, n_beside = np.array([rate.share for _, rate in pairs]), np.array([rate.n for _, rate in pairs])
    drawn = _drawn_excess(n, shares, n_beside, beside, generator) @ (n / n.sum())
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Excess(n, shares, n_beside, beside, float(low), float(high))


def _drawn_excess(
    n: Counts, share: Shares, n_controls: Counts, fpr: Shares, generator: np.random.Generator
) -> Float64[np.ndarray, "draws l"]:
    """Each layer's share minus that of its controls, for redrawn binomial counts."""
    drawn = generator.binomial(n, share, (DRAWS, len(n))) / n
    drawn -= generator.binomial(n_controls, fpr, (DRAWS, len(n))) / n_controls
    return drawn


def judged_units(frame: pd.DataFrame, prefix: str = "") -> pd.DataFrame:
    """Units of a map that the test of this prefix can judge; none in a run without a null."""
    name = f"{prefix}verdict"
    return frame[is_judged(frame[name])] if name in frame else frame[:0]


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
