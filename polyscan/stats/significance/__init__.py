"""Intervals, p-values and false discovery rates; every draw comes from a generator that the caller passes."""

from polyscan.stats.significance.adaptive import group_benjamini_hochberg, null_share, storey_by_group
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
from polyscan.stats.significance.sign_flips import block_means, mean_interval, sign_flip_p, signs
from polyscan.stats.significance.true_discoveries import Envelope, Group, closed_testing

__all__ = [
    "Correlation",
    "Envelope",
    "Group",
    "Interval",
    "Side",
    "Tail",
    "TailP",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "block_means",
    "closed_testing",
    "empirical_p",
    "group_benjamini_hochberg",
    "mean_interval",
    "null_share",
    "resampled_means",
    "sign_flip_p",
    "signs",
    "spearman",
    "spearman_test",
    "storey_by_group",
    "tail_p",
    "times_drawn",
    "wilson_interval",
]
