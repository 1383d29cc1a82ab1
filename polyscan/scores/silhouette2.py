"""Silhouette of two: how well a unit's exemplars fall into two clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from polyscan.scores.sample import LEAST_ITEMS, Evidence, Sample
from polyscan.scores.score import Tail
from polyscan.stats import splits


@dataclass(frozen=True)
class SilhouetteOfTwo:
    """Mean cosine silhouette of the cut into two, on which the test of "one or several" rests, with `cut`.

        s_i = (b_i - a_i) / max(a_i, b_i)

    Clusters as in `gap`. Rank-like, so that a few far items do not decide.

    Range: [-1, 1].

    High means: most items are nearer to their own cluster than to the other.

    Blind to: by itself, whether there are two groups: every set is cut in two.

    Source: Rousseeuw 1987.
    """

    label: ClassVar[str] = "silhouette of two"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars", "visualizations")
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __call__(self, sample: Sample) -> float:
        """Silhouette of one unit; NaN for fewer than 2 items."""
        if len(sample) < LEAST_ITEMS:
            return math.nan
        return float(splits.silhouette(sample.cosines[None], sample.halves.labels, 2)[0])
