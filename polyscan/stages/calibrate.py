"""calibrate: computes every score on null sets, exemplar sets that a single-concept unit could have produced."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32, Int64

from polyscan.errors import JobError
from polyscan.evidence import EvidenceReader, Subject, has_pool, whole_images
from polyscan.inputs import reaches
from polyscan.job import Job
from polyscan.nulls.null_sets import LAYER_NULL, POOLED
from polyscan.run import Run
from polyscan.run.memo import Memo
from polyscan.scores import separation
from polyscan.scores.sample import Sample, prepare, prepare_halves
from polyscan.scores.score import Score, values_of
from polyscan.shards import Shard, seed, split_within
from polyscan.tables import Columns
from polyscan.units import Layer

log = logging.getLogger("polyscan")

NullRow = tuple[Any, ...]
NullKey = tuple[str, str, str, str, int, int]
TEST_SCORES = ("clarity", *separation.PARTS)
"""The scores of the test "one concept or several", which more null sets make steadier."""


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of null sets: first each layer's null in turn, then the nulls drawn from the pool of all images."""
    sizes = _null_sizes(job, null_layers(job, run), _pooled(job, run))
    return split_within("calibrate", sizes, job.calibrate.sets_per_shard)


def _null_sizes(job: Job, layers: Sequence[Layer], pooled: Sequence[str]) -> list[int]:
    """Number of sets of each null: layers' nulls, then pooled ones."""
    return [*(layer.n_units for layer in layers), *(job.calibrate.embedding_sets for _ in pooled)]


def null_layers(job: Job, run: Run) -> list[Layer]:
    """The virtual layers whose units are the layer null."""
    return [layer for layer in run.layers() if layer.role == "null"] if LAYER_NULL in job.calibrate.nulls else []


def _pooled(job: Job, run: Run) -> list[str]:
    """Nulls that are drawn from embeddings of whole images."""
    names = [name for name in job.calibrate.nulls if name in POOLED]
    return names if has_pool(job, run) else []


class Worker:
    """Reads the evidence of null readouts, and the pool of all images if a null is drawn from it."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.evidence = EvidenceReader(job, run)
        # A score without a tail has no p and needs no null.
        self.scores = {name: score for name, score in job.score_functions().items() if score.tail != "none"}
        self.test_scores = {name: score for name, score in self.scores.items() if name in TEST_SCORES}
        self.layers = null_layers(job, run)
        self.pooled = _pooled(job, run)
        self.starts = [0, *accumulate(_null_sizes(job, self.layers, self.pooled))]
        self._reaches: Memo[str, Int32[np.ndarray, " u"]] = Memo(lambda layer: reaches(run, layer), 1)
        self._sets: dict[str, Int64[np.ndarray, "sets n"]] = {}
        for name in self.pooled:
            if not POOLED[name].holds_level:
                log.warning("calibrate.nulls names `%s`. %s", name, POOLED[name].level)

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Every score on a range of null sets."""
        index = next(i for i in range(len(self.starts) - 1) if self.starts[i] <= shard.start < self.starts[i + 1])
        sets = range(shard.start - self.starts[index], shard.stop - self.starts[index])
        if index < len(self.layers):
            rows = list(self._of_layer(self.layers[index], sets))
        else:
            rows = list(self._of_pool(self.pooled[index - len(self.layers)], sets))
        names = ("layer", "null", "evidence", "space", "set", "reach", "score", "value")
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return {"nulls": dict(zip(names, columns, strict=True))}

    def _of_layer(self, layer: Layer, channels: range) -> Iterator[NullRow]:
        reach = self._reaches(layer.name)
        space = self.evidence.main_space(layer.name)
        subjects: list[Subject] = [
            *self.evidence.exemplars(layer.name, channels, space),
            *self.evidence.deflated(layer.name, channels, space),
            *self.evidence.visualizations(layer.name, channels),
        ]
        keys = [
            (layer.parent, LAYER_NULL, of.evidence, of.space, of.channel, int(reach[of.channel])) for of in subjects
        ]
        yield from self._rows(keys, [subject.sample for subject in subjects])

    def _of_pool(self, null: str, sets: range) -> Iterator[NullRow]:
        # All sets of a null are drawn at once, the same for every shard; each worker draws them once.
        if null not in self._sets:
            self._sets[null] = self._drawn(null)
        samples = [self._sample(null, number, self._sets[null][number]) for number in sets]
        keys = [("", null, "exemplars", self.job.embed.model, number, 1) for number in sets]
        yield from self._rows(keys, samples)

    def _rows(self, keys: Sequence[NullKey], samples: Sequence[Sample]) -> Iterator[NullRow]:
        """Rows of sets: of every score for the first sets of a null, of the test's scores for further ones."""
        scores = [self._scores_of(key[4], sample) for key, sample in zip(keys, samples, strict=True)]
        prepare(sample for sample, of in zip(samples, scores, strict=True) if of is self.scores)
        prepare_halves(sample for sample, of in zip(samples, scores, strict=True) if of is self.test_scores)
        for key, sample, of in zip(keys, samples, scores, strict=True):
            yield from ((*key, name, value) for name, value in values_of(of, sample))

    def _scores_of(self, number: int, sample: Sample) -> dict[str, Score]:
        """The scores of a set: visualizations are few and have every score, deflated evidence has those of the test."""
        if sample.evidence == "deflated":
            return self.test_scores
        is_full = number < self.job.calibrate.full_sets or sample.evidence == "visualizations"
        return self.scores if is_full else self.test_scores

    def _sample(self, null: str, number: int, rows: Int64[np.ndarray, " n"]) -> Sample:
        images = self._pool["image"].to_numpy()[rows]
        return self.evidence.sample_of(
            self._vectors[rows],
            images,
            seed=seed(self.job.seed, f"clusters of {null} sets", "", number, self.job.score.seed),
        )

    @cached_property
    def _pool(self) -> pd.DataFrame:
        return whole_images(self.run)

    @cached_property
    def _vectors(self) -> Float32[np.ndarray, "p d"]:
        return self.run.vectors(self._pool["crop"].to_numpy())

    def _drawn(self, null: str) -> Int64[np.ndarray, "sets n"]:
        """All sets of a null that is drawn from the pool."""
        generator = np.random.default_rng(seed(self.job.seed, f"{null} sets", index=self.job.score.seed))
        count, threads = self.job.calibrate.embedding_sets, self.job.threads
        try:
            return POOLED[null].draw(self._vectors, self.evidence.n, count=count, generator=generator, threads=threads)
        except ValueError as error:
            raise JobError(f"calibrate.nulls: `{null}` can't be drawn: {error}") from error
