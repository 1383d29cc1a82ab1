"""What is looked for, in the space of the model that named a run."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32

from polyscan.errors import JobError, ModelError, TableError, suggestion
from polyscan.images import ImageOptions
from polyscan.images.single import read_picture
from polyscan.inputs import check_worker, embedded, open_namer, open_network, pinned_threads
from polyscan.results import Results
from polyscan.scores.naming import unit_rows
from polyscan.vision.embedders import Embedder
from polyscan.vision.networks import Network

Query = Float32[np.ndarray, "1 d"]


class NamingSpace:
    """The model that named a run, which is loaded when it is first needed, and the centres that it is seen from.

    Args:
        results: a run that has vectors of clusters.

    Raises:
        TableError: if the run does not say what words and images are seen from.
    """

    def __init__(self, results: Results) -> None:
        self.job = results.job
        self.run = results.run
        rows = self.run.read("namers", ["model", "image_centre", "word_centre"])
        if rows.empty:
            raise TableError(
                f"{self.run.address} has names, but not what they are seen from (table `namers`): its scan is not "
                "finished. Repeat the same `polyscan scan`"
            )
        self._about = rows.iloc[0]

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self._about["model"])

    @property
    def has_text(self) -> bool:
        """Whether the model gives vectors of words."""
        return bool(len(self._about["word_centre"]))

    def text(self, phrase: str) -> Query:
        """The vector of a phrase, seen from the mean of the vocabulary.

        Raises:
            JobError: if the model has a table of words, and the phrase is not in it.
            ModelError: if the model is another than the run's.
        """
        embedder = self._opened[1]
        if embedder.words is None:
            raise ModelError(f"{embedder.name} named {self.run.address} by words, but has none now; restore its table")
        phrase = phrase if embedder.known is None else self._known(phrase, embedder.known)
        with pinned_threads(self.job):
            return unit_rows(embedder.words([phrase]), self._centre("word_centre"))

    def _known(self, phrase: str, known: tuple[str, ...]) -> str:
        """The table's word that is the phrase, upper and lower case aside."""
        by_case = {word.casefold(): word for word in reversed(known)}
        word = phrase if phrase in known else by_case.get(phrase.casefold())
        if word is None:
            raise JobError(
                f'"{phrase}" is not among the {len(known):,} words of the table that names {self.run.address}; '
                f"{suggestion(phrase, known)}. Only these words have vectors; look for one of them, or for an image"
            )
        return word

    def image(self, address: str) -> Query:
        """The vector of an image as the network sees it, seen from the mean of whole images.

        Raises:
            ImagesError: if it can't be read, or has not the network's channels.
            ModelError: if the model is another than the run's.
        """
        pixels = read_picture(address, ImageOptions(**self.job.images.model_dump(exclude={"source"})))
        network, embedder = self._opened
        with pinned_threads(self.job):
            vectors = embedded(embedder, [network.preprocessing.view(pixels)], 1)
            return unit_rows(vectors, self._centre("image_centre"))

    def _centre(self, name: str) -> np.ndarray[Any, Any]:
        return np.asarray(self._about[name], dtype=np.float64)

    @cached_property
    def _opened(self) -> tuple[Network, Embedder]:
        network = open_network(self.job)
        check_worker(self.job, self.run, network)
        embedder = open_namer(self.job, network)
        if embedder is None:
            raise ModelError(f"{self.model} named {self.run.address}, but its words are gone; restore them")
        return network, embedder
