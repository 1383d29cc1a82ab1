"""Intervals, p-values and false discovery rates; every draw comes from a generator that the caller passes."""

from polyscan.stats.significance.binomial import wilson_interval
from polyscan.stats.significance.false_discovery import benjamini_hochberg, benjamini_yekutieli
from polyscan.stats.significance.p_values import Side, Tail, TailP, empirical_p, tail_p
from polyscan.stats.significance.resampling import (
    Correlation,
    Interval,
    resampled_means,
    spearman,
    spearman_test,
    times_drawn,
)

__all__ = [
    "Correlation",
    "Interval",
    "Side",
    "Tail",
    "TailP",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "empirical_p",
    "resampled_means",
    "spearman",
    "spearman_test",
    "tail_p",
    "times_drawn",
    "wilson_interval",
]
