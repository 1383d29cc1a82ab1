"""Splits of many sets into clusters, and how far apart the clusters lie, from cosine matrices alone.

A set of n vectors is given by the n x n matrix of its cosines, made once by `cosines`. Works on numpy arrays and on
torch tensors.

Law: as in `clustering`, a set's numbers are the same whatever other sets share its batch.
"""

from polyscan.stats.splits.cosines import clarity, cosines
from polyscan.stats.splits.partitions import BestSplit, Split, best_split, two_means
from polyscan.stats.splits.separation import cut, gap, silhouette

__all__ = ["BestSplit", "Split", "best_split", "clarity", "cosines", "cut", "gap", "silhouette", "two_means"]
