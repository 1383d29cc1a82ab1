"""name: gives names to what a unit's exemplars, and the items of each cluster of both tests, have in common.

Law: beside each name stands how often chance gives one as good: for a label, whether more of these images have it than
images drawn at random would; for a word, whether it fits better than the best word of as many random crops.
"""

from __future__ import annotations

from dataclasses import replace

from polyscan.inputs import counts_labels
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Shard, split_ranges
from polyscan.stages.name.labels import LabelNames
from polyscan.stages.name.members import MemberReader
from polyscan.stages.name.rows import NAMES, columns_of, vector_columns
from polyscan.stages.name.words import open_word_names
from polyscan.tables import Columns

__all__ = ["NAMES", "Worker", "shards"]


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of real units, each within one layer; then, if a model names, what it knows of the images' classes."""
    order = run.unit_order()
    of_units = split_ranges("name", order.ranges(lambda layer: layer.is_judged), job.score.units_per_shard)
    if counts_labels(job):
        return of_units
    count = len(of_units) + 1
    check = Shard("name", count - 1, count, len(order), len(order) + 1)
    return [*(replace(shard, count=count) for shard in of_units), check]


class Worker:
    """Reads clusters through the run; holds the model that names, if there is one."""

    def __init__(self, job: Job, run: Run) -> None:
        self.order = run.unit_order()
        self.members = MemberReader(job, run)
        self.labels = LabelNames(job, run)
        self.words = None if counts_labels(job) else open_word_names(job, run)

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Names of one range of units; or what the model knows of the images' classes."""
        if shard.start >= len(self.order):
            return {"namers": self.words.knowledge()} if self.words else {}
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        members = self.members(layer.name, channels)
        space = self.members.space(layer.name)
        if self.words is None:
            return {"names": columns_of(layer.name, space, list(self.labels(layer.name, members)))}
        named = self.words(layer.name, members)
        vectors = vector_columns(layer.name, self.words.namer.name, named.vectors)
        return {"names": columns_of(layer.name, space, named.names), "cluster_vectors": vectors}
