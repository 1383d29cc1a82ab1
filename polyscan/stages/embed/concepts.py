"""What clusters may mean: a vector for each concept, and the mean of all images in the same space."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from polyscan.images import ImageSource, Picture
from polyscan.job import Job
from polyscan.shards import seed
from polyscan.stages.embed.vectors import Crop, embedded
from polyscan.stats.whitening import Whitening
from polyscan.tables import Columns
from polyscan.vision.embedders import Embedder
from polyscan.vision.preprocessing import Preprocessing


class ConceptVectors:
    """Concepts of a job's images: names by the embedder's text tower where it has one, and label prototypes.

    A label's prototype is the mean embedding of its images among a seeded sample, the survey's size; whole images.
    """

    def __init__(self, job: Job, images: ImageSource, preprocessing: Preprocessing, embedder: Embedder) -> None:
        self.job = job
        self.images = images
        self.preprocessing = preprocessing
        self.embedder = embedder

    def __call__(self, _: range) -> dict[str, Columns]:
        """The table `concepts`."""
        pictures: list[Picture] = []
        vectors = embedded(self.embedder, self._views(pictures), self.job.embed.batch)
        rows: list[tuple[str, str, int, int, Float32[np.ndarray, " d"]]] = []
        if len(vectors):
            whitening = Whitening.of(vectors)
            rows.append(("mean of all images", "mean", -1, len(vectors), whitening.mean))
            rows += [(f"axis {j}", "axis", -1, len(vectors), axis) for j, axis in enumerate(whitening.axes.T)]
        labels = np.array([-1 if picture.label is None else picture.label for picture in pictures], dtype=np.int64)
        names = {picture.label: picture.label_name for picture in pictures}
        for label in np.unique(labels[labels >= 0]).tolist():
            its = vectors[labels == label]
            rows.append((names[label] or str(label), "label", label, len(its), _mean(its)))
        if self.embedder.words is not None:
            words = self._vocabulary(sorted({str(name) for name in names.values() if name}))
            rows += (
                [(word, "text", -1, 0, vector) for word, vector in zip(words, self.embedder.words(words), strict=True)]
                if words
                else []
            )
        return {
            "concepts": {
                "space": [self.embedder.name] * len(rows),
                "concept": [row[0] for row in rows],
                "kind": [row[1] for row in rows],
                "label": [row[2] for row in rows],
                "n": [row[3] for row in rows],
                "embedding": [row[4] for row in rows],
            }
        }

    def _vocabulary(self, class_names: list[str]) -> list[str]:
        """The words that clusters may be named by: those of `embed.vocabulary`, else the names of the classes."""
        if not self.job.embed.vocabulary:
            return class_names
        lines = Path(self.job.embed.vocabulary).read_text(encoding="utf-8").splitlines()
        return list(dict.fromkeys(line.strip() for line in lines if line.strip()))

    def _views(self, pictures: list[Picture]) -> Iterator[Crop]:
        """What the network sees of each image of the sample; `pictures` is given those that could be read."""
        generator = np.random.default_rng(seed(self.job.seed, "concepts' images"))
        count = min(self.job.survey.images, len(self.images))
        wanted = np.sort(generator.permutation(len(self.images))[:count]).tolist()
        for entry in self.images.read(wanted):
            if isinstance(entry, Picture):
                view = self.preprocessing.view(entry.pixels)
                pictures.append(entry)
                yield view


def _mean(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " d"]:
    return vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
