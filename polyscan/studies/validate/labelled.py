"""Sets of whole images with known labels, against the embedding null: one class, mixtures, neighbourhoods, noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from polyscan.evidence import EvidenceReader, has_pool, whole_images
from polyscan.job import Job
from polyscan.nulls.null_sets import neighbourhoods
from polyscan.run import Run
from polyscan.scores.sample import Sample, prepare
from polyscan.scores.score import values_of
from polyscan.shards import seed
from polyscan.stages.score import nulls_of
from polyscan.stages.score.against import against

IMAGES = "images"
SETS = 200
MIXTURES = {"50/50": (0.5, 0.5), "70/30": (0.7, 0.3), "85/15": (0.85, 0.15), "three classes": (1 / 3, 1 / 3, 1 / 3)}
SETS_AT_ONCE = 100

Draw = Callable[[np.random.Generator], Int64[np.ndarray, " n"]]


def labelled_rows(job: Job, run: Run) -> pd.DataFrame:
    """Rows like those of planted units, with the layer `images`; none without a pool, an embedding null or labels."""
    evidence = EvidenceReader(job, run)
    nulls = [null for null in nulls_of(job, run, IMAGES, "exemplars", job.embed.model) if null.name == "embedding"]
    if not nulls or not has_pool(job, run):
        return pd.DataFrame()
    pool = whole_images(run)
    labels = evidence.labels_of(pool["image"].to_numpy())
    vectors = run.vectors(pool["crop"].to_numpy())
    rows: list[pd.DataFrame] = []
    for name, concepts, samples in _sets(job, evidence, pool, labels, vectors):
        for start in range(0, len(samples), SETS_AT_ONCE):
            prepare(samples[start : start + SETS_AT_ONCE])
        scores = job.score_functions()
        values = pd.DataFrame([dict(values_of(scores, sample)) for sample in samples])
        found = against(values.rename_axis("channel"), nulls, scores, match=job.calibrate.match)
        rows.append(found.assign(layer=IMAGES, type=name, concepts=concepts))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _sets(
    job: Job,
    evidence: EvidenceReader,
    pool: pd.DataFrame,
    labels: Int64[np.ndarray, " p"] | None,
    vectors: Float32[np.ndarray, "p d"],
) -> Iterator[tuple[str, int, list[Sample]]]:
    """Each type's name, how many things its sets hold, and the sets."""
    images = pool["image"].to_numpy()
    n = evidence.n

    def sample(name: str, number: int, places: Int64[np.ndarray, " n"]) -> Sample:
        return evidence.sample_of(
            vectors[places], images[places], seed=seed(job.seed, f"validate {name}", "", number, job.score.seed)
        )

    for name, concepts, draw in _draws(labels, n):
        generator = np.random.default_rng(seed(job.seed, f"validate {name}"))
        yield name, concepts, [sample(name, number, draw(generator)) for number in range(SETS)]
    generator = np.random.default_rng(seed(job.seed, "validate neighbourhoods"))
    near = neighbourhoods(vectors, n, count=SETS, generator=generator, reaches=(1,))
    yield "neighbourhood", 1, [sample("neighbourhood", number, places) for number, places in enumerate(near)]
    noise = generator.standard_normal((SETS, n, vectors.shape[1])).astype(np.float32)
    noise *= np.linalg.norm(vectors, axis=1).mean() / np.linalg.norm(noise, axis=2, keepdims=True)
    anywhere = images[:n]
    yield (
        "noise",
        1,
        [
            evidence.sample_of(each, anywhere, seed=seed(job.seed, "validate noise", "", number))
            for number, each in enumerate(noise)
        ],
    )


def _draws(labels: Int64[np.ndarray, " p"] | None, n: int) -> Iterator[tuple[str, int, Draw]]:
    """Types made of labels, where there are classes of n images."""
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

            def draw(
                generator: np.random.Generator, sizes: list[int] = sizes, fitting: list[int] = fitting
            ) -> Int64[np.ndarray, " n"]:
                chosen = generator.choice(fitting, size=len(sizes), replace=False)
                parts = [generator.permutation(classes[int(c)])[:size] for c, size in zip(chosen, sizes, strict=True)]
                return np.concatenate(parts)

            yield name, len(sizes), draw
