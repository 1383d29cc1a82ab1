"""embed: the network's own features at the places of peaks, against the network's own maps."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy

from polyscan.errors import TableError
from polyscan.evidence import EvidenceReader
from polyscan.inputs.opening import open_images, open_reader
from polyscan.results import Results
from polyscan.run import Run
from polyscan.stages.embed.features import Features
from polyscan.tables.keys import position_keys


def neighbour(name: str):
    """A module beside this one; tests are no package, so it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


literal = neighbour("literal")


def at(maps: np.ndarray, image: int, y: int, x: int, own: tuple[int, int]) -> np.ndarray:
    """The vector of a map at a place of a map of size `own`; of one as fine, the mean of the 3 x 3 around it."""
    height, width = maps.shape[2:]
    if (height, width) == own:
        rows = [row for row in (y - 1, y, y + 1) if 0 <= row < height]
        columns = [column for column in (x - 1, x, x + 1) if 0 <= column < width]
        return np.mean([maps[image, :, row, column] for row in rows for column in columns], axis=0)
    # The position that the middle of the place falls into.
    return maps[image, :, int((y + 0.5) * height / own[0]), int((x + 0.5) * width / own[1])]


@pytest.mark.parametrize(
    ("toys", "layer", "space", "source"),
    [
        ("toy_results", "paint", "next", "mix"),
        ("toy_results", "mix", "own", "mix"),
        ("wide_results", "fine", "next", "coarse"),
        ("wide_results", "coarse", "own", "coarse"),
    ],
)
def test_the_vector_at_a_peak_is_the_networks_own(
    request: pytest.FixtureRequest, toys: str, layer: str, space: str, source: str
) -> None:
    results: Results = request.getfixturevalue(toys)
    job = toy.stored_job(results)
    maps = literal.maps_of(job, literal.TOY if toys == "toy_results" else literal.WIDE)
    own = maps[layer].shape[2:]
    keys, vectors = results.run.features(layer, space)
    assert len(set(keys.tolist())) == len(keys)
    place = {int(key): row for row, key in enumerate(keys)}
    peaks = pd.concat([results.table(name) for name in ("exemplars", "second_exemplars")])
    mine = peaks[peaks["parent"] == layer].drop_duplicates(["image", "y", "x"])
    # Exactly the distinct places of peaks, virtual units' among them.
    named = position_keys(*(mine[name].to_numpy() for name in ("image", "y", "x")))
    assert set(named.tolist()) == set(place)
    for key, row in zip(named.tolist(), mine.itertuples(), strict=True):
        expected = at(maps[source], row.image, row.y, row.x, own)
        assert vectors[place[key]] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_subjects_vectors_are_those_of_its_own_peaks_in_order_of_rank(wide_results: Results) -> None:
    job = toy.stored_job(wide_results)
    maps = literal.maps_of(job, literal.WIDE)
    reader = EvidenceReader(job, wide_results.run)
    exemplars = wide_results.table("exemplars")
    for layer in ("fine", "fine@planted"):
        for subject in reader.exemplars(layer, range(3), "next"):
            mine = exemplars[(exemplars["layer"] == layer) & (exemplars["channel"] == subject.channel)]
            expected = [at(maps["coarse"], row.image, row.y, row.x, (16, 16)) for row in mine.itertuples()]
            assert subject.sample.embeddings == pytest.approx(np.array(expected), rel=1e-4, abs=1e-4)
            assert subject.items.tolist() == mine["rank"].tolist() == list(range(job.k))
            assert np.array_equal(subject.sample.activations, mine["activation"])


def test_a_range_of_images_without_peaks_has_no_features(toy_results: Results) -> None:
    job = toy.stored_job(toy_results)
    shown = set(toy_results.table("exemplars")["image"])
    reader = open_reader(job)
    features = Features(job, toy_results.run, open_images(job), reader)
    for range_ in (range(60, 60), range(1000, 1001), range(60)):
        columns = features(range_)["features"]
        assert {len(values) for values in columns.values()} == {len(columns["item"])}
        assert (len(columns["item"]) > 0) == bool(shown & set(range_))


def test_any_range_of_images_gives_the_same_vectors(toy_results: Results) -> None:
    """Batches are other ones then: float32 sums may differ in the last digits, nothing more."""
    job = toy.stored_job(toy_results)
    features = Features(job, toy_results.run, open_images(job), open_reader(job))
    whole = features(range(60))["features"]
    parts = [features(range(start, min(start + 7, 60)))["features"] for start in range(0, 60, 7)]
    found = {
        (layer, item): vector
        for part in parts
        for layer, item, vector in zip(part["layer"], part["item"], part["embedding"], strict=True)
    }
    assert set(found) == set(zip(whole["layer"], whole["item"], strict=True))
    for layer, item, vector in zip(whole["layer"], whole["item"], whole["embedding"], strict=True):
        assert found[layer, item] == pytest.approx(vector, rel=1e-5, abs=1e-6)


def test_a_peak_whose_features_are_gone_is_named(toy_results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    job = toy.stored_job(toy_results)
    keys, vectors = toy_results.run.features("mix", "own")
    monkeypatch.setattr(Run, "features", lambda *_: (keys[1:], vectors[1:]))
    with pytest.raises(TableError, match="peaks without features in space `own`; make them by --redo embed"):
        list(EvidenceReader(job, Run(toy_results.run.address)).exemplars("mix@null", range(99), "own"))
