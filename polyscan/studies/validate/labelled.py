"""Sets of whole images with known labels, scored against the embedding null.

The types are one class, mixtures of classes, neighbourhoods in the embedding, and noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from polyscan.evidence import EvidenceReader, has_pool, whole_images
from polyscan.job import Job
from polyscan.nulls.null_sets import neighbourhoods
from polyscan.run import Run
from polyscan.scores.sample import Sample, prepare
from polyscan.scores.score import Score, values_of
from polyscan.shards import seed
from polyscan.stages.score import nulls_of
from polyscan.stages.score.against import against

IMAGES = "images"
SETS = 200
MIXTURES = {"50/50": (0.5, 0.5), "70/30": (0.7, 0.3), "85/15": (0.85, 0.15), "three classes": (1 / 3, 1 / 3, 1 / 3)}
SETS_AT_ONCE = 100

Draw = Callable[[np.random.Generator], Int64[np.ndarray, " n"]]
Classes = Mapping[int, Int64[np.ndarray, " m"]]
"""label -> places of its images in the pool."""


class LabelledPool(NamedTuple):
    """All images embedded whole: their indices, their labels (None where the source has none) and their vectors."""

    images: Int64[np.ndarray, " p"]
    labels: Int64[np.ndarray, " p"] | None
    vectors: Float32[np.ndarray, "p d"]


def labelled_rows(job: Job, run: Run) -> pd.DataFrame:
    """Rows like those of planted units, with the layer `images`; empty without a pool, an embedding null or labels."""
    evidence = EvidenceReader(job, run)
    nulls = [null for null in nulls_of(job, run, IMAGES, "exemplars", job.embed.model) if null.name == "embedding"]
    if not nulls or not has_pool(job, run):
        return pd.DataFrame()
    table = whole_images(run)
    images = table["image"].to_numpy()
    pool = LabelledPool(images, evidence.labels_of(images), run.vectors(table["crop"].to_numpy()))
    scores = job.score_functions()
    rows: list[pd.DataFrame] = []
    for name, concepts, samples in _sets(job, evidence, pool):
        values = _values(samples, scores)
        rows.append(
            against(values, nulls, scores, match=job.calibrate.match).assign(
                layer=IMAGES, type=name, concepts=concepts, is_artefact=False
            )
        )
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _values(samples: list[Sample], scores: Mapping[str, Score]) -> pd.DataFrame:
    """Every score of every sample: a row per sample, numbered as `channel`."""
    for start in range(0, len(samples), SETS_AT_ONCE):
        prepare(samples[start : start + SETS_AT_ONCE])
    return pd.DataFrame([dict(values_of(scores, sample)) for sample in samples]).rename_axis("channel")


def _sets(job: Job, evidence: EvidenceReader, pool: LabelledPool) -> Iterator[tuple[str, int, list[Sample]]]:
    """The name of each type, how many concepts its sets hold, and the sets."""

    def sample(name: str, number: int, places: Int64[np.ndarray, " n"]) -> Sample:
        set_seed = seed(job.seed, f"validate {name}", "", number, job.score.seed)
        return evidence.sample_of(pool.vectors[places], pool.images[places], seed=set_seed)

    for name, concepts, draw in _draws(pool.labels, evidence.n):
        generator = np.random.default_rng(seed(job.seed, f"validate {name}"))
        yield name, concepts, [sample(name, number, draw(generator)) for number in range(SETS)]
    generator = np.random.default_rng(seed(job.seed, "validate neighbourhoods"))
    near = neighbourhoods(pool.vectors, evidence.n, count=SETS, generator=generator, reaches=(1,))
    yield "neighbourhood", 1, [sample("neighbourhood", number, places) for number, places in enumerate(near)]
    yield "noise", 1, list(_noise(job, evidence, pool, generator))


def _noise(job: Job, evidence: EvidenceReader, pool: LabelledPool, generator: np.random.Generator) -> Iterator[Sample]:
    """Sets of Gaussian vectors, whose lengths are on average those of the pool."""
    vectors = generator.standard_normal((SETS, evidence.n, pool.vectors.shape[1])).astype(np.float32)
    vectors *= np.linalg.norm(pool.vectors, axis=1).mean() / np.linalg.norm(vectors, axis=2, keepdims=True)
    any_images = pool.images[: evidence.n]
    for number, noise in enumerate(vectors):
        yield evidence.sample_of(noise, any_images, seed=seed(job.seed, "validate noise", "", number))


def _draws(labels: Int64[np.ndarray, " p"] | None, n: int) -> Iterator[tuple[str, int, Draw]]:
    """The types that are drawn by label, if there are classes of enough images for sets of n."""
    if labels is None:
        return
    classes = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])}
    large = [label for label, members in classes.items() if len(members) >= n]
    if large:
        turns = cycle(large)  # each class as often as any other
        yield "one class", 1, lambda generator: generator.permutation(classes[next(turns)])[:n]
    for name, shares in MIXTURES.items():
        sizes = [round(share * n) for share in shares[:-1]]
        sizes.append(n - sum(sizes))
        fitting = [label for label, members in classes.items() if len(members) >= max(sizes)]
        if len(fitting) >= len(sizes):
            yield name, len(sizes), partial(_mixture, classes, fitting, sizes)


def _mixture(
    classes: Classes, fitting: list[int], sizes: list[int], generator: np.random.Generator
) -> Int64[np.ndarray, " n"]:
    """Images of as many different classes as there are sizes, and of each class as many as its size."""
    chosen = generator.choice(fitting, size=len(sizes), replace=False)
    parts = [generator.permutation(classes[int(label)])[:size] for label, size in zip(chosen, sizes, strict=True)]
    return np.concatenate(parts)
