"""collect: exemplars of channels and of virtual units against a sort of all images by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy

from polyscan import pipeline
from polyscan.nulls.thinning import reads
from polyscan.results import Results
from polyscan.run import Run
from polyscan.shards import Shard, seed
from polyscan.stages import collect, combine, survey


def neighbour(name: str):
    """A module beside this one; tests are no package, so it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


literal = neighbour("literal")


def unit_maps(maps: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """Maps [image, unit, y, x] of a virtual layer by its rows of `readouts`: the largest of a unit's directions."""
    parts = rows.sort_values(["channel", "part"])
    weights, bias = np.stack(parts["weights"].to_list()), parts["bias"].to_numpy(np.float32)
    answers = np.einsum("bcyx,uc->buyx", maps, weights) + bias[:, None, None]
    per_unit = int(rows["part"].max()) + 1
    return answers.reshape(len(maps), -1, per_unit, *maps.shape[2:]).max(axis=2)


def test_exemplars_of_channels_are_a_sort_of_all_images(toy_results: Results) -> None:
    maps = literal.maps_of(toy.stored_job(toy_results), literal.TOY)
    exemplars = toy_results.table("exemplars")
    for layer, own in maps.items():
        peaks = own.max(axis=(2, 3))
        for channel in range(own.shape[1]):
            found = exemplars[(exemplars["layer"] == layer) & (exemplars["channel"] == channel)]
            assert found["image"].tolist() == literal.top(peaks[:, channel], toy.K)
            assert np.array_equal(found["activation"], peaks[found["image"], channel])
            at_places = own[found["image"], channel, found["y"], found["x"]]
            assert np.array_equal(at_places, found["activation"])


@pytest.mark.parametrize("role", ["null", "control", "planted"])
def test_exemplars_of_virtual_units_are_a_sort_of_the_images_they_read(wide_results: Results, role: str) -> None:
    job = toy.stored_job(wide_results)
    maps = literal.maps_of(job, {layer: literal.READ[layer] for layer in literal.WIDE})
    readouts, exemplars = wide_results.table("readouts"), wide_results.table("exemplars")
    ids = np.arange(toy.N_WIDE)
    for layer, own in maps.items():
        name = f"{layer}@{role}"
        rows = readouts[readouts["layer"] == name]
        peaks = unit_maps(own, rows).max(axis=(2, 3))
        reach = rows[rows["part"] == 0].sort_values("channel")["reach"].to_numpy()
        is_read = reads(seed(job.seed, "thinning", name), np.arange(len(reach)), ids, reach)
        assert is_read[reach == 1].all()
        assert role == "null" or (reach == 1).all()
        for channel in range(peaks.shape[1]):
            found = exemplars[(exemplars["layer"] == name) & (exemplars["channel"] == channel)]
            best = literal.top(peaks[:, channel], job.k, ids[is_read[channel]])
            # Sums in another order: the last digits differ, and so may images that are all but tied.
            assert found["activation"].to_numpy() == pytest.approx(peaks[best, channel], rel=1e-4, abs=1e-4)
            assert len(set(found["image"]) ^ set(best)) <= 2
            assert found["image"].isin(ids[is_read[channel]]).all()
        assert (role == "null") == bool((reach > 1).any())


def test_moments_of_a_thinned_unit_are_of_all_images(wide_results: Results) -> None:
    units = wide_results.table("units")
    assert (units["n_images"] == toy.N_WIDE).all()
    readouts = wide_results.table("readouts")
    maps = literal.maps_of(toy.stored_job(wide_results), literal.WIDE)["coarse"]
    peaks = unit_maps(maps, readouts[readouts["layer"] == "coarse@null"]).max(axis=(2, 3))
    found = units[units["layer"] == "coarse@null"].sort_values("channel")
    assert found["mean"].to_numpy() == pytest.approx(peaks.mean(axis=0), rel=1e-4, abs=1e-4)
    assert found["max"].to_numpy() == pytest.approx(peaks.max(axis=0), rel=1e-4)
    assert found["min"].to_numpy() == pytest.approx(peaks.min(axis=0), rel=1e-3, abs=1e-4)


def test_shards_of_any_size_give_the_same_exemplars_thinned_ones_too(tmp_path: Path) -> None:
    toy.paint(tmp_path / "images", n=100)
    found: list[pd.DataFrame] = []
    for size in (100, 33, 7):
        job = toy.job(tmp_path / "images", collect__images_per_shard=size)
        run = Run(str(tmp_path / str(size)))
        pipeline.settle(job, run)
        for stage in (survey, collect, combine):
            worker = stage.Worker(job, run)
            for shard in stage.shards(job, run):
                run.write(shard, worker(shard), fingerprint="by hand", seconds=0)
            run.forget_tables()
        found.append(run.read("exemplars"))
        readouts = run.read("readouts")
        assert set(readouts.loc[readouts["layer"] == "mix@null", "reach"]) == {1, 2}
    assert found[0]["layer"].nunique() == 15  # three layers: channels, null, controls, planted pairs, random directions
    for other in found[1:]:
        pd.testing.assert_frame_equal(found[0], other)


@pytest.fixture(scope="module")
def by_hand(toy_results: Results, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is surveyed by hand, then collected and combined: `paint` and `mix` with readouts of our own."""
    job, source = toy.stored_job(toy_results), toy_results.run
    run = Run(str(tmp_path_factory.mktemp("by hand") / "run"))
    pipeline.settle(job, run)
    layers, readouts = (source.read(name) for name in ("layers", "readouts"))
    layers = layers[layers["layer"] == layers["parent"]].set_index("layer", drop=False)
    nothing = readouts.iloc[0].to_dict() | {"part": 0, "kind": "linear", "reach": 1, "source": -1}
    generator = np.random.default_rng(0)
    virtual, rows = [], []
    for layer in ("paint", "mix"):
        own = layers.loc[layer].to_dict()
        n = own["n_units"]
        three = generator.standard_normal((3, n)).astype(np.float32)
        directions = {
            "hot": [(unit, 0, np.eye(n, dtype=np.float32)[unit]) for unit in range(n)],
            "largest": [(0, part, three[part]) for part in range(3)],
        }
        for role, parts in directions.items():
            units = len({unit for unit, _, _ in parts})
            virtual.append(
                {**own, "layer": f"{layer}@{role}", "parent": layer, "n_units": units, "relu_follows": False}
            )
            rows += [
                {**nothing, "layer": f"{layer}@{role}", "channel": unit, "part": part, "weights": w, "bias": 0.0}
                for unit, part, w in parts
            ]
        virtual.append({**own, "layer": f"{layer}@down", "parent": layer, "relu_follows": False})
    tables = {"layers": pd.concat([layers, pd.DataFrame(virtual)]), "readouts": pd.DataFrame(rows)}
    columns = {name: {column: frame[column].tolist() for column in frame} for name, frame in tables.items()}
    run.write(Shard("survey", 0, 1, 0, 3), columns, fingerprint="by hand", seconds=0)
    for stage in (collect, combine):
        worker = stage.Worker(job, run)
        for shard in stage.shards(job, run):
            run.write(shard, worker(shard), fingerprint="by hand", seconds=0)
        run.forget_tables()
    return run


@pytest.mark.parametrize("layer", ["paint", "mix"])
def test_a_one_hot_direction_has_the_channels_exemplars_and_moments(by_hand: Run, layer: str) -> None:
    exemplars, units = by_hand.read("exemplars"), by_hand.read("units")
    for frame, columns in (
        (exemplars, ["channel", "rank", "image", "activation", "y", "x", "top", "left", "bottom", "right", "crop"]),
        (units, ["channel", "n_images", "mean", "sd", "min", "max", "sparsity", "saturated"]),
    ):
        own, hot = (
            frame[frame["layer"] == name].sort_values(columns[:2])[columns].reset_index(drop=True)
            for name in (layer, f"{layer}@hot")
        )
        assert len(own)
        pd.testing.assert_frame_equal(own, hot)


@pytest.mark.parametrize("layer", ["paint", "mix"])
def test_downward_exemplars_are_the_smallest_peaks_the_other_way(
    by_hand: Run, toy_results: Results, layer: str
) -> None:
    maps = literal.maps_of(toy.stored_job(toy_results), literal.TOY)[layer]
    exemplars = by_hand.read("exemplars")
    for channel in range(maps.shape[1]):
        found = exemplars[(exemplars["layer"] == f"{layer}@down") & (exemplars["channel"] == channel)]
        lowest = maps[:, channel].min(axis=(1, 2))
        assert found["image"].tolist() == literal.top(-lowest, toy.K)
        assert np.array_equal(found["activation"], -lowest[found["image"]])
        assert np.array_equal(-maps[found["image"], channel, found["y"], found["x"]], found["activation"])


@pytest.mark.parametrize("layer", ["paint", "mix"])
def test_a_largest_unit_has_the_exemplars_of_the_maximum(by_hand: Run, toy_results: Results, layer: str) -> None:
    maps = literal.maps_of(toy.stored_job(toy_results), literal.TOY)[layer]
    rows = by_hand.read("readouts", where={"layer": f"{layer}@largest"})
    peaks = unit_maps(maps, rows).max(axis=(2, 3))[:, 0]
    exemplars = by_hand.read("exemplars", where={"layer": f"{layer}@largest"})
    assert exemplars["activation"].to_numpy() == pytest.approx(np.sort(peaks)[::-1][: toy.K], rel=1e-4)
    assert exemplars["image"].tolist() == literal.top(peaks, toy.K)
