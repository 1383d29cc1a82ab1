"""survey: what a layer is, where it is compared, and its virtual units, made again by hand from the network's maps."""

from __future__ import annotations

import importlib.util
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy

from polyscan import pipeline
from polyscan.errors import JobError, ModelError
from polyscan.inputs.opening import open_images
from polyscan.nulls.null_sets import LAYER_REACHES
from polyscan.results import Results
from polyscan.run import Run
from polyscan.stages import survey


def neighbour(name: str):
    """A module beside this one; tests are no package, so it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


literal = neighbour("literal")


def surveyed(folder: Path, **changes: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables, by the worker alone."""
    job, run = toy.job(folder / "images", **changes), Run(str(folder / "run"))
    parts = [survey.Worker(job, run)(shard) for shard in survey.shards(job, run)]
    tables = (pd.concat([pd.DataFrame(part[name]) for part in parts]) for name in ("layers", "readouts"))
    layers, readouts = tables
    return layers.set_index("layer"), readouts


# ---- layers --------------------------------------------------------------------------------------------------------


def test_layers_are_followed_by_their_virtual_ones(toy_results: Results) -> None:
    layers = toy_results.table("layers")
    job = toy.stored_job(toy_results).survey
    sizes = layers.set_index("layer")["n_units"]
    for layer, n_units in (("paint", 5), ("mix", 4), ("head", 3)):
        assert sizes[layer] == n_units
        assert sizes[f"{layer}@null"] == job.readouts
        assert sizes[f"{layer}@control"] == job.controls
        assert 1 <= sizes[f"{layer}@planted"] <= job.planted
    assert layers["parent"].tolist() == [name.split("@")[0] for name in layers["layer"]]
    assert layers.groupby("parent")["depth"].nunique().eq(1).all()
    assert layers.groupby("parent", sort=False)["layer"].first().tolist() == ["paint", "mix", "head"]
    virtual = layers["layer"].str.contains("@")
    assert not layers.loc[virtual, "relu_follows"].any(), "what a ReLU lets through is not said of a virtual unit"
    same = ["map_y", "map_x", "stride_y", "field_y", "first_y", "next", "space", "effective_field", "random_clarity"]
    for _, rows in layers.groupby("parent"):
        assert len(rows[same].fillna("none").drop_duplicates()) == 1


def test_geometry_is_that_of_the_convolutions(toy_results: Results) -> None:
    layers = toy_results.table("layers").set_index("layer")
    columns = ["map_y", "stride_y", "field_y", "first_y", "effective_field"]
    assert layers.loc["paint", columns].tolist() == [16, 1, 1, 0, 1]
    assert layers.loc["mix", columns].tolist() == [16, 1, 3, -1, 3]
    assert layers.loc["head", columns].tolist() == [1, math.inf, math.inf, -math.inf, math.inf]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("auto", ["next", "own", "image"]),  # the last map has no next stage, the vector no place
        ("own", ["own", "own", "own"]),
        ("next", ["next", "own", "own"]),
        ("image", ["image", "image", "image"]),
    ],
)
def test_each_layer_is_compared_where_the_job_says(tmp_path: Path, wanted: str, expected: list[str]) -> None:
    layers, _ = surveyed(tmp_path, survey__space=wanted, survey__readouts=0)
    assert layers["space"].tolist() == expected
    assert layers["next"].tolist() == ["mix", "", ""]


def test_a_last_map_whose_every_position_sees_the_whole_image_is_compared_as_an_image(tmp_path: Path) -> None:
    layers, _ = surveyed(tmp_path, network__name="toy:seeing_all", survey__readouts=0)
    assert layers["space"].to_dict() == {"near": "next", "far": "image"}
    assert layers.loc["far", "field_y"] == 31


# ---- virtual units -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory):
    """A survey of all positions of all images, so that means and covariances can be taken from the maps themselves."""
    folder = tmp_path_factory.mktemp("survey")
    changes = {"survey__positions": 256 * toy.N_IMAGES, "survey__controls": 12}
    layers, readouts = surveyed(folder, **changes)
    read = {layer: literal.READ[layer] for layer in literal.TOY}
    return layers, readouts, literal.maps_of(toy.job(folder / "images", **changes), read)


@pytest.mark.parametrize("layer", ["paint", "mix", "head"])
@pytest.mark.parametrize("role", ["null", "control"])
def test_readouts_are_matched_filters_of_one_exemplar(everywhere, layer: str, role: str) -> None:
    _, readouts, maps = everywhere
    own = maps[layer].astype(np.float64)
    vectors = own.transpose(0, 2, 3, 1).reshape(-1, own.shape[1])
    mean, covariance = vectors.mean(axis=0), np.cov(vectors.T, bias=True)
    scale = np.trace(covariance) / len(covariance)
    rows = readouts[readouts["layer"] == f"{layer}@{role}"]
    assert rows["channel"].tolist() == list(range(len(rows)))
    assert set(rows["of"]) == {"inputs" if layer == "head" else "own"}
    for row in rows.itertuples():
        y, x = divmod(row.position, own.shape[3])
        exemplar = own[row.image, :, y, x]
        w = np.linalg.solve(covariance + row.ridge * scale * np.eye(len(mean)), exemplar - mean)
        w /= math.sqrt(w @ covariance @ w)
        assert row.weights == pytest.approx(w, rel=1e-3, abs=1e-4)
        assert row.bias == pytest.approx(-w @ mean, rel=1e-3, abs=1e-3)
    assert set(rows["ridge"]) == {0.1, 1.0}
    assert rows["is_salient"].mean() == 0.5
    assert (rows["source"] == -1).all()
    # Salient exemplars lie farther out than random ones, in the layer's own measure.
    inverse = np.linalg.pinv(covariance + 1e-3 * scale * np.eye(len(mean)))
    places = [(row.image, *divmod(row.position, own.shape[3])) for row in rows.itertuples()]
    away = np.array([own[image, :, y, x] - mean for image, y, x in places])
    far = np.einsum("uc,cd,ud->u", away, inverse, away)
    is_salient = rows["is_salient"].to_numpy()
    assert np.median(far[is_salient]) > np.median(far[~is_salient])


def test_nulls_and_controls_are_different_readouts(everywhere) -> None:
    _, readouts, _ = everywhere
    for layer in ("paint", "mix", "head"):
        null, control = (np.stack(readouts.loc[readouts["layer"] == f"{layer}@{role}", "weights"].to_list())
                         for role in ("null", "control"))  # fmt: skip
        assert not (np.abs(null[:, None] - control[None]).max(axis=2) < 1e-6).all(axis=1).any()


@pytest.mark.parametrize("layer", ["paint", "mix", "head"])
def test_planted_units_are_two_controls_in_their_own_sd(everywhere, layer: str) -> None:
    layers, readouts, maps = everywhere
    controls = readouts[readouts["layer"] == f"{layer}@control"].set_index("channel")
    weights, bias = np.stack(controls["weights"].to_list()).astype(np.float64), controls["bias"].to_numpy()
    peaks = (np.einsum("bcyx,uc->buyx", maps[layer], weights) + bias[:, None, None]).max(axis=(2, 3))
    planted = readouts[readouts["layer"] == f"{layer}@planted"]
    assert layers.loc[f"{layer}@planted", "n_units"] == planted["channel"].nunique() >= 1
    for _, parts in planted.groupby("channel"):
        assert parts["part"].tolist() == [0, 1]
        assert set(parts["kind"]) == {"max"}
        assert set(parts["source_layer"]) == {f"{layer}@control"}
        a, b = parts["source"]
        assert a != b
        assert abs(np.corrcoef(peaks[:, a], peaks[:, b])[0, 1]) <= 0.2 + 1e-6
        z = (peaks - peaks.mean(axis=0)) / peaks.std(axis=0)
        # 20 of the sample's images stand for its exemplars; each source is the larger one in a fifth of them or more.
        best = literal.top(z[:, [a, b]].max(axis=1), 20)
        assert 4 <= int((z[best, a] >= z[best, b]).sum()) <= 16
        for part in parts.itertuples():
            s = part.source
            assert part.weights == pytest.approx(weights[s] / peaks[:, s].std(), rel=1e-3)
            assert part.bias == pytest.approx((bias[s] - peaks[:, s].mean()) / peaks[:, s].std(), rel=1e-3, abs=1e-3)


def test_reaches_are_as_wide_as_the_images_allow(tmp_path: Path) -> None:
    """k 8: reach m needs 48 m images."""
    for n in (60, 97, 200):
        folder = tmp_path / str(n)
        toy.paint(folder / "images", n=n)
        _, readouts = surveyed(folder, survey__images=20, survey__readouts=200)
        reach = readouts[readouts["layer"] == "paint@null"]["reach"]
        expected = [m for m in LAYER_REACHES if 48 * m <= n]
        found = reach.value_counts(normalize=True).to_dict()
        assert found == pytest.approx({m: expected.count(m) / len(expected) for m in expected}, abs=0.05)
        assert (readouts.loc[readouts["layer"] == "paint@control", "reach"] == 1).all()
    # Thinning goes with neither the exemplars' kinds nor the ridges.
    null = readouts[readouts["layer"] == "paint@null"]
    assert pd.crosstab(null["reach"], [null["is_salient"], null["ridge"]]).gt(0).all(axis=None)


def test_too_few_images_for_a_null_are_refused_with_both_numbers(tmp_path: Path) -> None:
    toy.paint(tmp_path / "images", n=47)
    with pytest.raises(JobError, match=r"give no null: .*48 items, got 47.*survey.readouts = 0"):
        open_images(toy.job(tmp_path / "images"))
    assert len(open_images(toy.job(tmp_path / "images", survey__readouts=0))) == 47


def test_without_readouts_there_are_no_virtual_units(tmp_path: Path) -> None:
    layers, readouts = surveyed(tmp_path, survey__readouts=0)
    assert layers.index.tolist() == ["paint", "mix", "head"]
    assert not readouts["layer"].str.contains("@null|@control|@planted").any()


def test_both_signs_scan_each_layer_downwards(tmp_path: Path) -> None:
    layers, _ = surveyed(tmp_path, survey__sign="both", survey__readouts=0)
    assert layers["n_units"].to_dict() == {
        "paint": 5,
        "paint@down": 5,
        "mix": 4,
        "mix@down": 4,
        "head": 3,
        "head@down": 3,
    }


KINDS = ["planted", "planted50", "three", "sum", "same", "noisy", "one_class", "two_classes50", "far", "near"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_planted_units_can_be_made(tmp_path: Path, kind: str) -> None:
    _, readouts = surveyed(
        tmp_path, network__name="toy:wide", survey__plants=[kind], survey__controls=16, survey__space="own"
    )
    rows = readouts[readouts["layer"] == f"coarse@{kind}"]
    assert len(rows)
    parts = rows.groupby("channel").size()
    assert set(parts) == {{"three": 3, "sum": 1, "noisy": 1, "one_class": 1}.get(kind, 2)}
    lengths = rows["weights"].map(np.linalg.norm).to_numpy().reshape(len(parts), -1)
    assert np.isfinite(lengths).all()
    of = {"far": "coarse", "near": "coarse", "one_class": "coarse@one_class", "two_classes50": "coarse@one_class"}
    assert set(rows["source_layer"]) == {of.get(kind, "coarse@control")}


def test_readouts_of_classes_are_tuned_to_the_mean_vectors_of_their_images(tmp_path: Path) -> None:
    plants = ["one_class", "two_classes50"]
    job = toy.job(tmp_path / "images", network__name="toy:wide", survey__plants=plants, survey__space="own")
    _, readouts = surveyed(tmp_path, network__name="toy:wide", survey__plants=plants, survey__space="own")
    maps = literal.maps_of(job, {"coarse": "coarse"})["coarse"]
    rows = readouts[readouts["layer"] == "coarse@one_class"].sort_values("channel")
    assert len(rows) == 3  # red, green, blue
    peaks = (np.einsum("bcyx,uc->buyx", maps, np.stack(rows["weights"])) + rows["bias"].to_numpy()[:, None, None]).max(
        axis=(2, 3)
    )
    labels = np.array([source.label for source in open_images(job).read(range(len(maps)))])
    by_class = np.stack([peaks[labels == label].mean(axis=0) for label in range(3)])
    assert (by_class.argmax(axis=0) == np.arange(3)).all()  # labels are in the order of their names
    assert np.allclose(peaks.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(peaks.std(axis=0), 1, atol=1e-3)
    pairs = readouts[readouts["layer"] == "coarse@two_classes50"]
    for row in pairs.itertuples():
        of_class = rows[rows["channel"] == row.source].iloc[0]
        assert row.weights == pytest.approx(of_class["weights"] * (0.5 if row.part else 1), rel=1e-4)


def test_without_labels_no_units_of_classes_are_planted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    toy.paint(tmp_path / "painted")
    (tmp_path / "images").mkdir()
    for number, path in enumerate(sorted((tmp_path / "painted").rglob("*.png"))):
        path.rename(tmp_path / "images" / f"{number:03d}.png")
    layers, _ = surveyed(tmp_path, survey__plants=["planted", "one_class", "two_classes"])
    assert "paint@planted" in layers.index
    assert not [name for name in layers.index if "class" in name]
    assert "paint has no planted units of labelled classes: they need two classes with 20" in caplog.text


def test_an_unknown_kind_of_planted_units_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"unknown kinds .*planned.* in `survey.plants`; allowed: planted, planted80"):
        surveyed(tmp_path, survey__plants=["planned"])


# ---- what is out of the ordinary -----------------------------------------------------------------------------------


def test_fewer_positions_than_channels_are_enough(tmp_path: Path) -> None:
    """64 vectors of 80 channels: the covariance is singular."""
    layers, readouts = surveyed(
        tmp_path, network__name="toy:broad", survey__images=16, survey__positions=64, survey__readouts=80
    )
    assert layers.loc["broad@null", "n_units"] == 80
    rows = readouts[readouts["layer"] == "broad@null"]
    weights = np.stack(rows["weights"].to_list())
    assert np.isfinite(weights).all()
    assert (np.linalg.norm(weights, axis=1) > 0).all()


def test_a_constant_layer_has_no_null_is_named_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job, run = (
        toy.job(tmp_path / "images", network__name="toy:with_a_silent_layer", visualize__enabled=False),
        Run(str(tmp_path / "run")),
    )
    with caplog.at_level(logging.WARNING, "polyscan"):
        pipeline.scan(job, run, pipeline.in_process)
    (warning,) = [record.message for record in caplog.records if "has no null" in record.message]
    assert warning.startswith("silent has no null: all ")
    assert "vectors are equal" in warning
    names = run.layer_table()["layer"].tolist()
    assert "silent" in names
    assert not [name for name in names if name.startswith("silent@")]
    assert "paint@null" in names
    frame = Results(run.address).map.set_index("layer")
    assert frame.loc["silent", "is_dead"].all()
    assert frame.loc["silent", "p"].isna().all()
    assert frame.loc["head", "p"].notna().all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_unit_that_gives_no_numbers_is_named(tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "BROKEN", value)
    job, run = toy.job(tmp_path / "images", network__name="toy:broken"), Run(str(tmp_path / "run"))
    with pytest.raises(ModelError, match="unit paint:2 of toy:broken gives values that are not finite"):
        pipeline.scan(job, run, pipeline.in_process)


def test_the_sample_is_seeded_and_of_the_size_asked_for(tmp_path: Path) -> None:
    toy.paint(tmp_path / "images")
    _, first = surveyed(tmp_path, survey__images=16)
    _, again = surveyed(tmp_path, survey__images=16)
    _, other = surveyed(tmp_path, survey__images=16, seed=1)
    null = [rows[rows["layer"] == "paint@null"].reset_index(drop=True) for rows in (first, again, other)]
    assert null[0].equals(null[1]) or all(
        np.array_equal(a, b) for a, b in zip(null[0]["weights"], null[1]["weights"], strict=True)
    )
    assert null[0]["image"].nunique() <= 16
    assert set(null[0]["image"]) != set(null[2]["image"])
