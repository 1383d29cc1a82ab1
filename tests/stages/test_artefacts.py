"""Artefacts of units whose clusters are known: peaks in a corner, copies of an image, letterboxes, and real splits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from polyscan.evidence import Subject
from polyscan.job import Job
from polyscan.scores.sample import Sample
from polyscan.stages.score.artefacts import ArtefactFinder
from polyscan.tables import TABLES
from polyscan.units import Layer

N, N_FIRST, SIDE = 40, 26, 8
JOB = Job(network={"name": "torchvision:resnet18"}, images={"source": "photos"}, collect={"k": N})
HALF = JOB.n_half


@dataclass
class Tables:
    """Stands in for a run: only these tables, unfiltered, as there is one layer."""

    frames: dict[str, pd.DataFrame] = field(default_factory=dict[str, pd.DataFrame])

    def read(self, name: str, columns: list[str], **_: Any) -> pd.DataFrame:
        return self.frames[name][columns]

    def layer_table(self) -> pd.DataFrame:
        return pd.DataFrame({"layer": ["conv"], "map_y": [SIDE], "map_x": [SIDE]})


def found(
    *, y: Any = None, x: Any = None, frame: Any = 0.0, checksums: Any = None, hashes: Any = None, side: int = 64
) -> dict[str, Any]:
    """The row of a unit whose first 26 exemplars are one cluster and whose last 14 another."""
    generator = np.random.default_rng(1)
    is_first = np.arange(N) < N_FIRST
    places = generator.integers(1, SIDE - 1, size=(2, N))
    exemplars = pd.DataFrame({"channel": 5, "rank": range(N), "image": np.arange(N) + 100})
    exemplars = exemplars.assign(y=places[0] if y is None else y, x=places[1] if x is None else x)
    images = pd.DataFrame({"image": exemplars["image"], "frame": frame})
    images["checksum"] = [f"{i}" for i in range(N)] if checksums is None else checksums
    images["hash"] = generator.integers(1, 2**62, size=N) if hashes is None else hashes
    images = images.assign(height=side, width=side + 8)
    vectors = generator.standard_normal((N, 6)) * 0.2 + np.where(
        is_first[:, None], [4, 0, 0, 0, 0, 0], [0, 4, 0, 0, 0, 0]
    )
    sample = Sample(vectors.astype(np.float32), np.ones(N, dtype=np.float32), 0.0, 1.0)
    subject = Subject("conv", 5, "exemplars", "own", np.arange(N, dtype=np.int32), sample)
    run: Any = Tables({"exemplars": exemplars, "images": images})
    columns = ArtefactFinder(JOB, run)(Layer("conv", 0, 9), [subject])
    assert list(columns) == [column.name for column in TABLES["artefacts"].columns]
    return {name: values[0] for name, values in columns.items()}


def test_two_concepts_at_all_places_are_no_artefact() -> None:
    row = found()
    assert (row["artefact"], row["mark"], row["share"], row["elsewhere"]) == ("", "", None, None)
    assert (row["layer"], row["role"], row["channel"]) == ("conv", "unit", 5)


def test_letterboxes_in_one_cluster_are_an_artefact_and_in_both_they_are_not() -> None:
    is_second = np.arange(N) >= N_FIRST
    assert found(frame=np.where(is_second, 0.2, 0.0))["artefact"] == "letterbox"
    assert found(frame=0.2)["artefact"] == ""
    assert found(frame=np.where(is_second, 0.02, 0.0))["artefact"] == ""


def test_frames_that_most_images_have_and_looks_of_tiny_images_are_no_artefact() -> None:
    is_second = np.arange(N) >= N_FIRST
    assert found(frame=np.where(is_second, 0.0, 0.2))["artefact"] == ""  # 26 of these 40 images
    assert found(frame=np.where(is_second, 0.2, 0.0), side=31)["artefact"] == ""
    hashes = np.where(is_second, 7, np.arange(1, N + 1) * 2**40 + 2**20 - 1)
    assert found(hashes=hashes)["artefact"] == "repeated image"
    assert found(hashes=hashes, side=31)["artefact"] == ""


def test_a_cluster_of_one_image_is_an_artefact_by_checksum_or_by_hash() -> None:
    copies = np.where((np.arange(N) >= N_FIRST) & (np.arange(N) < N - 2), -1, np.arange(N))
    row = found(checksums=copies.astype(str))
    assert (row["artefact"], row["mark"], row["elsewhere"]) == ("repeated image", f"exemplar {N_FIRST}", 0.0)
    assert found(hashes=np.where(copies < 0, 12345, (np.arange(N) + 1) * 0x0123456789AB).astype(np.int64))["artefact"]
    spread = np.where(np.arange(N) % 3 == 0, "same", np.arange(N).astype(str))
    assert found(checksums=spread)["artefact"] == ""


def test_a_caption_at_one_place_is_an_artefact() -> None:
    at = np.where(np.arange(N) >= N_FIRST, 4, np.arange(N) % 6 + 1)
    row = found(y=at, x=np.where(np.arange(N) >= N_FIRST, 3, np.arange(N) // 6 % 6 + 1))
    assert (row["artefact"], row["mark"]) == ("one place", "row 4, column 3")


def test_a_padded_convolution_answers_to_corners_of_plain_images() -> None:
    """A unit for darkness peaks at the dark spot of an image, and on plain images where the padding is: in a corner."""
    weight, images = torch.full((1, 1, 3, 3), -1.0), torch.full((N, 1, SIDE, SIDE), 1.0)
    generator = np.random.default_rng(0)
    for image in range(N_FIRST):
        row, column = generator.integers(2, SIDE - 2, size=2)
        images[image, 0, row - 1 : row + 2, column - 1 : column + 2] = 0.1
    peak = torch.nn.functional.conv2d(images, weight, padding=1).flatten(1).argmax(dim=1).numpy()
    y, x = np.divmod(peak, SIDE)
    row = found(y=y, x=x)
    assert (row["artefact"], row["mark"], row["share"], row["elsewhere"]) == ("border", "row 0, column 0", 1.0, 0.0)


def found_of_both(first: np.ndarray, second: np.ndarray) -> dict[str, dict[str, Any]]:
    """The rows of a unit by kind of evidence: its exemplars are of one kind, the least explained images of another.

    Args:
        first: whether the peak of each of its 40 exemplars is in the top left corner; the others lie anywhere inside.
        second: the same for each of its 20 least explained images.
    """
    generator = np.random.default_rng(2)
    is_corner = np.concatenate([first, second])
    places = generator.integers(1, SIDE - 1, size=(2, len(is_corner)))
    y, x = np.where(is_corner, 0, places)
    rows = pd.DataFrame({"channel": 5, "image": np.arange(len(is_corner)) + 100, "y": y, "x": x})
    images = pd.DataFrame({"image": rows["image"], "checksum": rows["image"].astype(str), "frame": 0.0})
    images = images.assign(height=64, width=64)
    images["hash"] = generator.integers(1, 2**62, size=len(rows))
    tables = {"exemplars": rows[:N].assign(rank=range(N)), "second_exemplars": rows[N:].assign(rank=range(HALF))}
    noise = generator.standard_normal((N, 6)) * 0.2
    centre = np.where(np.arange(N)[:, None] < HALF, [4, 0, 0, 0, 0, 0], [0, 4, 0, 0, 0, 0])
    ones, items = np.ones(N, dtype=np.float32), np.arange(N, dtype=np.int32)
    subjects = [
        Subject("conv", 5, kind, "own", items, Sample(vectors.astype(np.float32), ones, 0.0, 1.0, evidence=kind))
        for kind, vectors in (("exemplars", noise + centre[0]), ("deflated", noise + centre))
    ]
    run: Any = Tables(tables | {"images": images})
    columns = ArtefactFinder(JOB, run)(Layer("conv", 0, 9), subjects)
    rows_of = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return {row["evidence"]: row for row in rows_of}


def test_what_the_least_explained_images_have_in_common_is_an_artefact_of_deflated_evidence_alone() -> None:
    found = found_of_both(np.zeros(N, dtype=bool), np.arange(HALF) < HALF - 2)
    row = found["deflated"]
    assert (row["artefact"], row["mark"]) == ("border", "row 0, column 0")
    assert (row["share"], row["elsewhere"]) == (1 - 2 / HALF, 0.0)
    assert found["exemplars"]["artefact"] == ""


def test_exemplars_that_deflated_evidence_lacks_are_no_artefact_of_it() -> None:
    """It holds the stronger half of the exemplars alone, so what the weaker half has in common is not in it."""
    found = found_of_both(np.arange(N) >= HALF, np.zeros(HALF, dtype=bool))
    assert found["deflated"]["artefact"] == ""
