"""Concepts that clusters are compared with: a vector for each, and the mean of all images in the same space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from polyscan.images import Picture
from polyscan.inputs import CollectedImages, Crop, embedded, words_of
from polyscan.inputs.views import views
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import seed
from polyscan.stats.whitening import Whitening
from polyscan.tables import Columns
from polyscan.vision.embedders import Embedder
from polyscan.vision.preprocessing import Preprocessing

ConceptRow = tuple[str, str, int, int, Float32[np.ndarray, " d"]]
"""Concept, kind, label, number of images and vector."""


class ConceptVectors:
    """Concepts of a job's images: label prototypes, and words if the embedder has a text tower.

    A label's prototype is the mean embedding of its whole images in a seeded sample as large as the survey's.
    """

    def __init__(
        self, job: Job, run: Run, images: CollectedImages, preprocessing: Preprocessing, embedder: Embedder
    ) -> None:
        self.job = job
        self.rejects = set(run.read("rejects", ["image"])["image"].tolist())
        self.images = images
        self.preprocessing = preprocessing
        self.embedder = embedder

    def __call__(self, _: range) -> dict[str, Columns]:
        """The table `concepts`."""
        pictures: list[Picture] = []
        vectors = embedded(self.embedder, self._views(pictures), self.job.embed.batch)
        names = {picture.label: picture.label_name for picture in pictures}
        rows = [*_whitening_rows(vectors), *_label_rows(pictures, vectors, names), *self._word_rows(names.values())]
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

    def _word_rows(self, names: Iterable[str | None]) -> Iterator[ConceptRow]:
        """Words, embedded by the embedder's text tower; empty if it has none."""
        if self.embedder.words is None:
            return
        class_names = sorted({str(name) for name in names if name})
        words = words_of(self.embedder, self.job.embed.vocabulary, class_names)
        if words:
            for word, vector in zip(words, self.embedder.words(words), strict=True):
                yield word, "text", -1, 0, vector

    def _views(self, pictures: list[Picture]) -> Iterator[Crop]:
        """What the network sees of each image of the sample; appends those that could be read to `pictures`."""
        generator = np.random.default_rng(seed(self.job.seed, "concepts' images"))
        count = min(self.job.survey.images, len(self.images))
        sample: list[int] = np.sort(generator.permutation(len(self.images))[:count]).tolist()
        ids = [image for image in sample if image not in self.rejects]
        for picture, view in views(self.preprocessing, self.images.read(ids)):
            pictures.append(picture)
            yield view


def _whitening_rows(vectors: Float32[np.ndarray, "n d"]) -> Iterator[ConceptRow]:
    """The whitening of the space: the mean of all images, and the axes."""
    if len(vectors):
        whitening = Whitening.of(vectors)
        yield "mean of all images", "mean", -1, len(vectors), whitening.mean
        for index, axis in enumerate(whitening.axes.T):
            yield f"axis {index}", "axis", -1, len(vectors), axis


def _label_rows(
    pictures: Sequence[Picture], vectors: Float32[np.ndarray, "n d"], names: Mapping[int | None, str | None]
) -> Iterator[ConceptRow]:
    """The prototype of each label."""
    labels = np.array([-1 if picture.label is None else picture.label for picture in pictures], dtype=np.int64)
    for label in np.unique(labels[labels >= 0]).tolist():
        of_label = vectors[labels == label]
        yield names[label] or str(label), "label", label, len(of_label), _mean(of_label)


def _mean(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " d"]:
    return vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
