"""deflate, recollect, recombine: the second test's evidence against a plain computation, one unit at a time."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy

from polyscan import pipeline
from polyscan.nulls.deflation import Curves, main_readouts
from polyscan.nulls.thinning import reads
from polyscan.results import Results
from polyscan.run import Run
from polyscan.shards import seed

HALF = 10
"""Items in each half of the evidence of the wide toy, whose k is 20."""
MAPS = {"fine": "fine", "coarse": "coarse", "head": "head", "inputs of head": ">head"}


def neighbour(name: str):
    """A module beside this one; tests are no package, so it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


literal = neighbour("literal")


@pytest.fixture(scope="module")
def maps(wide_results: Results) -> dict[str, np.ndarray]:
    """Maps [image, channel, y, x] of the wide toy's layers, and what `head` reads."""
    return literal.maps_of(toy.stored_job(wide_results), MAPS)


def unit_maps(own: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """Maps [image, unit, y, x] of virtual units: the largest of a unit's directions."""
    parts = rows.sort_values(["channel", "part"])
    weights, bias = np.stack(parts["weights"].to_list()), parts["bias"].to_numpy(np.float32)
    answers = np.einsum("bcyx,uc->buyx", own, weights) + bias[:, None, None]
    per_unit = int(rows["part"].max()) + 1
    return answers.reshape(len(own), -1, per_unit, *own.shape[2:]).max(axis=2)


def values(results: Results, maps: dict[str, np.ndarray], layer: str, role: str) -> np.ndarray:
    """Peaks [image, unit] of a layer's units of one role."""
    if role == "unit":
        return maps[layer].max(axis=(2, 3))
    own = maps["inputs of head" if layer == "head" else layer]
    readouts = results.table("readouts")
    return unit_maps(own, readouts[(readouts["parent"] == layer) & (readouts["role"] == role)]).max(axis=(2, 3))


@pytest.mark.parametrize("layer", ["fine", "coarse", "head"])
@pytest.mark.parametrize("role", ["unit", "null", "control", "planted"])
def test_the_second_half_is_what_the_main_readout_explains_least(
    wide_results: Results, maps: dict[str, np.ndarray], layer: str, role: str
) -> None:
    job, ids = toy.stored_job(wide_results), np.arange(toy.N_WIDE)
    peaks = values(wide_results, maps, layer, role)
    tables = {name: wide_results.table(name) for name in ("main_readouts", "exemplars", "second_exemplars")}
    rows = {name: table[(table["parent"] == layer) & (table["role"] == role)] for name, table in tables.items()}
    mains = rows["main_readouts"].sort_values("channel")
    assert set(mains["of"]) == {"inputs" if layer == "head" else "own"}
    read = maps["inputs of head" if layer == "head" else layer]
    weights, bias = np.stack(mains["weights"].to_list()), mains["bias"].to_numpy(np.float32)
    explained = (np.einsum("bcyx,uc->buyx", read, weights) + bias[:, None, None]).max(axis=(2, 3))
    reach = np.ones(peaks.shape[1], dtype=np.int64)
    if role == "null":
        readouts = wide_results.table("readouts")
        reach = readouts[readouts["layer"] == f"{layer}@null"].sort_values("channel")["reach"].to_numpy()
    is_read = reads(seed(job.seed, "thinning", f"{layer}@{role}"), np.arange(len(reach)), ids, reach)
    n_compared = 0
    for channel, row in enumerate(mains.itertuples()):
        x, y = row.curve_x, row.curve_y
        expected = np.interp(explained[:, channel], x, y)
        expected += row.slope * (explained[:, channel] - x[-1]).clip(min=0)
        left = peaks[:, channel] - expected
        exemplars = rows["exemplars"][rows["exemplars"]["channel"] == channel]
        first = exemplars[exemplars["rank"] < HALF]["image"].to_numpy()
        searched = ids[is_read[channel] & (peaks[:, channel] >= row.floor + 1e-5) & ~np.isin(ids, first)]
        wanted = searched[np.argsort(-left[searched], kind="stable")][:HALF]
        second = rows["second_exemplars"]
        second = second[second["channel"] == channel].sort_values("rank")
        assert not set(second["image"]) & set(first)
        assert np.allclose(second["activation"], peaks[second["image"], channel], atol=1e-4)
        if len(wanted) == len(second):  # an image at the floor itself may round to either side
            assert np.allclose(second["unexplained"], left[wanted], atol=1e-3)
            n_compared += 1
    assert n_compared >= 0.9 * len(mains)


@pytest.mark.parametrize("layer", ["coarse", "head"])
def test_main_readouts_curves_and_floors_are_those_of_a_plain_computation(
    wide_results: Results, maps: dict[str, np.ndarray], layer: str
) -> None:
    job = toy.stored_job(wide_results)
    read = maps["inputs of head" if layer == "head" else layer]
    flat = read.reshape(*read.shape[:2], -1)
    purpose = seed(job.seed, "deflation's positions", layer)
    per_image = int(np.ceil(job.survey.positions / toy.N_WIDE))
    drawn = [
        np.random.default_rng((purpose, image)).integers(flat.shape[2], size=per_image) if flat.shape[2] > 1 else [0]
        for image in range(toy.N_WIDE)
    ]
    sample = np.concatenate([flat[image][:, positions].T for image, positions in enumerate(drawn)]).astype(np.float64)
    mean, covariance = sample.mean(axis=0), np.cov(sample.T, bias=True)
    mains, exemplars = wide_results.table("main_readouts"), wide_results.table("exemplars")
    mains = mains[mains["layer"] == layer].sort_values("channel")
    peaks = maps[layer].max(axis=(2, 3))
    for row in mains.itertuples():
        of_unit = exemplars[(exemplars["layer"] == layer) & (exemplars["channel"] == row.channel)]
        at = of_unit[["image", "y", "x"]].to_numpy()
        top = np.mean([read[image, :, y, x] for image, y, x in at], axis=0, dtype=np.float64)
        weights = main_readouts(top[None], mean, covariance)[0]
        assert row.n == len(of_unit)
        assert np.allclose(row.weights, weights, rtol=2e-3, atol=2e-3 * np.abs(weights).max())
        explained = (np.einsum("bcyx,c->byx", read, row.weights) + row.bias).max(axis=(1, 2))
        unit = peaks[:, row.channel]
        curves = Curves.fit(explained[:, None], unit[:, None])
        assert np.allclose(row.curve_x, curves.x[0], atol=1e-3)
        assert np.allclose(row.curve_y, curves.y[0], atol=1e-3)
        by_strength = unit.mean() + 0.3 * (of_unit["activation"].mean() - unit.mean())
        assert row.floor == pytest.approx(max(np.quantile(unit, 0.75), by_strength), abs=1e-4)


def test_the_strength_compares_both_halves_above_the_unit_s_mean(wide_results: Results) -> None:
    tables = [wide_results.table(name) for name in ("seconds", "exemplars", "second_exemplars", "units")]
    seconds, exemplars, second, units = (table[table["layer"] == "coarse"] for table in tables)
    for row in seconds.itertuples():
        mean = float(units[units["channel"] == row.channel]["mean"].iloc[0])
        first = exemplars[(exemplars["channel"] == row.channel) & (exemplars["rank"] < HALF)]["activation"].mean()
        of_second = second[second["channel"] == row.channel]["activation"]
        assert row.n == len(of_second)
        assert row.strength == pytest.approx((of_second.mean() - mean) / (first - mean), rel=1e-4)


def test_deflated_evidence_has_scores_and_a_null_of_its_own(wide_results: Results) -> None:
    scores = wide_results.table("scores")
    scores = scores[scores["evidence"] == "deflated"]
    assert set(scores["score"]) == {"gap", "cut", "clarity", "separation"}
    assert set(scores["role"]) == {"unit", "control", "planted", "random"}
    assert not scores["is_main"].any()
    nulls = wide_results.table("nulls")
    assert nulls[nulls["evidence"] == "deflated"]["set"].nunique() > 20
    p = scores[scores["score"] == "separation"]["p"].dropna()
    assert ((p > 0) & (p <= 1)).all()
    assert {"second_p", "second_q", "second_separation", "second_strength"} <= set(wide_results.map.columns)


def test_too_few_images_or_the_job_leave_the_second_test_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    few = toy.job(tmp_path / "images", visualize__enabled=False, embed__crops=False)  # 60 images, k 8
    run = Run(str(tmp_path / "few"))
    with caplog.at_level(logging.WARNING):
        pipeline.scan(few, run, pipeline.in_process)
    assert "no second test: a quarter of 60 images is fewer than twice k = 8" in caplog.text
    assert run.read("main_readouts").empty
    assert run.read("second_exemplars").empty
    assert "second_p" not in Results(str(tmp_path / "few")).map


@pytest.mark.parametrize("change", [{"second__enabled": False}, {"survey__readouts": 0}])
def test_a_job_without_a_second_test_has_no_shards_for_it(tmp_path: Path, change: dict[str, object]) -> None:
    from polyscan.stages import deflate

    job = toy.job(tmp_path / "images", **change)
    assert deflate.shards(job, Run(str(tmp_path / "run"))) == []


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A run of the narrow toy, on images without labels."""
    folder = tmp_path_factory.mktemp("narrow")
    toy.paint(folder / "painted", n=toy.N_WIDE)
    (folder / "images").mkdir()
    for number, path in enumerate(sorted((folder / "painted").rglob("*.png"))):
        path.rename(folder / "images" / f"{number:03d}.png")
    run = Run(str(folder / "run"))
    pipeline.scan(toy.wide_job(folder / "images", network__name="toy:narrow"), run, pipeline.in_process)
    return Results(run.address)


def test_a_unit_that_its_main_readout_explains_wholly_is_not_called(narrow: Results) -> None:
    main = narrow.table("main_readouts").query("layer == 'one'").iloc[0]
    assert main.weights[0] > 0  # the readout of a layer's one channel is that channel
    second = narrow.table("second_exemplars").query("layer == 'one'")
    spread = float(narrow.map.query("layer == 'one'")["sd"].iloc[0])
    assert np.abs(second["unexplained"]).max() < 0.1 * spread
    unit = narrow.map.query("layer == 'one'").iloc[0]
    assert unit.second_p > 0.05
    assert unit.second_verdict == "no split shown"


def test_a_dead_layer_has_no_second_test_and_the_layer_before_it_has(narrow: Results) -> None:
    units = narrow.map
    assert set(units[units["layer"].isin(["dead", "last"])]["second_verdict"]) == {"dead"}
    assert not set(narrow.table("main_readouts")["layer"]) & {"dead", "last"}
    assert narrow.run.layer_table().set_index("layer").loc["more", "space"] == "own"
    assert units[units["layer"] == "more"]["second_p"].notna().any()


def test_units_of_images_without_labels_have_a_second_test(narrow: Results) -> None:
    assert narrow.run.manifest()["images"]["labels"].startswith("none found")
    assert narrow.map.query("layer == 'fine'")["second_p"].notna().any()


def test_too_few_readouts_are_told_before_a_scan_and_no_unit_is_judged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(str(tmp_path / "run"))
    job = toy.wide_job(tmp_path / "images", survey__readouts=1)
    with caplog.at_level(logging.WARNING):
        pipeline.scan(job, run, pipeline.in_process)
    assert "survey.readouts = 1, but a null needs 20" in caplog.text
    assert not {"p", "second_p"} & set(Results(run.address).map.columns)
