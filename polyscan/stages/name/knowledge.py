"""Whether the model that names knows the words at all: how often it finds the class name of a whole image."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Int64
from scipy.stats import binom

from polyscan.run import Run
from polyscan.scores import naming
from polyscan.stages.name.crops import CropVectors
from polyscan.tables import Columns
from polyscan.vision.embedders import Embedder

IMAGES = 500
FEWEST = 2


class Knowledge:
    """Zero-shot classification of a sample of the run's labelled images."""

    def __init__(self, run: Run, namer: Embedder, crops: CropVectors) -> None:
        self.run = run
        self.namer = namer
        self.crops = crops

    def columns(self, n_words: int) -> Columns:
        """The table `namers`: one row."""
        right, given = self._classified()
        n, n_classes = len(right), len(np.unique(right))
        chance = naming.chance_agreement(right, given) if n else math.nan
        hits = int((right == given).sum())
        row = {
            "model": self.namer.name,
            "n_words": n_words,
            "n_images": n,
            "n_classes": n_classes,
            "accuracy": hits / n if n else math.nan,
            "chance": chance,
            "p": float(binom.sf(hits - 1, n, chance)) if n else math.nan,
        }
        return {name: [value] for name, value in row.items()}

    def _classified(self) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """The class of each image, and the class whose name is nearest; both empty where no name is known."""
        images = self.run.read("images", ["image", "label", "label_name"]).dropna(subset="label")
        phrases = self._phrases(images)
        images = images[images["label"].isin(phrases.keys())]
        rows = self.crops.sampled(len(self.crops.images), "images of known classes").merge(images, on="image")
        rows = rows.iloc[np.sort(_spread(len(rows)))].reset_index(drop=True)
        if rows["label"].nunique() < FEWEST or self.namer.words is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        labels = np.array(sorted(phrases), dtype=np.int64)
        words, vectors = self.namer.words([phrases[label] for label in labels.tolist()]), self.crops(rows)
        seen = (naming.unit_rows(array, array.mean(axis=0, dtype=np.float64)) for array in (vectors, words))
        return rows["label"].to_numpy(np.int64), labels[np.argmax(np.matmul(next(seen), next(seen).T), axis=1)]

    def _phrases(self, images: pd.DataFrame) -> Mapping[int, str]:
        """What each label is called: its name, or the first of its synonyms that the model knows."""
        known = None if self.namer.known is None else {word.casefold(): word for word in self.namer.known}
        named = images.drop_duplicates("label")
        phrases: dict[int, str] = {}
        for label, name in zip(named["label"].astype(np.int64), named["label_name"], strict=True):
            synonyms = [part.strip().replace("_", " ") for part in str(name or "").split(",")]
            if known is not None:
                synonyms = [known[synonym.casefold()] for synonym in synonyms if synonym.casefold() in known]
            if synonyms and synonyms[0]:
                phrases[int(label)] = synonyms[0]
        return phrases


def _spread(n: int) -> Int64[np.ndarray, " m"]:
    """At most as many places as images are looked at, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, IMAGES)).astype(np.int64)) if n else np.empty(0, dtype=np.int64)
