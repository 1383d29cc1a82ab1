"""Units taken apart: planted pairs give their sources back, parts are scanned on other images, and splits are exact."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from safetensors.numpy import load_file
from sklearn.metrics import adjusted_mutual_info_score

from polyscan import job as jobs
from polyscan import pipeline
from polyscan.cli import app
from polyscan.errors import JobError, TableError
from polyscan.images.options import Selection
from polyscan.inputs import CollectedImages, open_images, open_network
from polyscan.inputs.virtual import OWN, readout_of
from polyscan.nulls.readouts import Activations
from polyscan.results import Results
from polyscan.run import Run
from polyscan.studies.disentangle import HOWS, Wishes, disentangle, scan_parts
from polyscan.studies.disentangle.channels import InputReadout
from polyscan.studies.disentangle.explained import r_squared
from polyscan.studies.disentangle.gathering import Items, Whole, gathered
from polyscan.studies.disentangle.hows.circuit import circuit
from polyscan.studies.disentangle.hows.split import served
from polyscan.studies.disentangle.hows.vectors import vectors
from polyscan.units import Unit, virtual_layer

PLANTED = virtual_layer("coarse", "planted")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A scan of one half of the toy's images."""
    folder = tmp_path_factory.mktemp("disentangle")
    toy.paint(folder / "images", n=2 * toy.N_WIDE)
    job = toy.wide_job(folder / "images", images__half="first")
    pipeline.scan(job, Run(str(folder / "run")), pipeline.in_process)
    return str(folder / "run")


# ---- the arithmetic --------------------------------------------------------------------------------------------------


def two_blobs(distance: float, n: int = 40, d: int = 16) -> tuple[Whole, Activations, np.ndarray]:
    generator = np.random.default_rng(0)
    centres = np.zeros((2, d))
    centres[0, 0], centres[1, 1] = distance, distance
    truth = np.arange(n) % 2
    points = (generator.standard_normal((n, d)) + centres[truth]).astype(np.float32)
    nothing = Items(np.empty(0, np.int64), np.empty((0, d), np.float32))
    whole = Whole(Unit("layer", 0), Items(np.arange(n), points), nothing)
    return whole, Activations.of(generator.standard_normal((4000, d))), truth


def test_concept_vectors_find_planted_clusters_at_any_scale() -> None:
    whole, moments, truth = two_blobs(6)
    parts = vectors(whole, moments, Wishes())
    assert [len(part.images) for part in parts] == [20, 20]
    assert {tuple(sorted(set(truth[part.images]))) for part in parts} == {(0,), (1,)}
    scaled = Whole(whole.unit, Items(whole.exemplars.image, whole.exemplars.vectors * 100), whole.second)
    of_scaled = vectors(scaled, Activations(moments.mean * 100, moments.covariance * 10_000), Wishes())
    assert [part.separation for part in of_scaled] == pytest.approx([part.separation for part in parts], rel=1e-4)
    for part in parts:  # each reads its own cluster above the other
        values = whole.exemplars.vectors @ part.weights + part.bias
        own = np.isin(whole.exemplars.image, part.images)
        assert values[own].min() > values[~own].max()


def test_a_circuit_keeps_the_inputs_that_drive_its_cluster() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(40) % 2
    inputs = 0.1 * generator.random((40, 12))
    inputs[truth == 0, :4] += 1  # inputs 0 to 3 drive the unit on one half, 4 to 7 on the other, 8 to 11 on none
    inputs[truth == 1, 4:8] += 1
    weights = np.array([1.0, 2, 1, 2, 1, 2, 1, 2, 0.5, 0.5, -1, -1])
    nothing = Items(np.empty(0, np.int64), np.empty((0, 12), np.float32))
    items = Items(np.arange(40), inputs.astype(np.float32))
    whole = Whole(Unit("layer", 3), items, nothing, InputReadout(weights, 0.25))
    parts = circuit(whole, Activations.of(generator.random((400, 12))), Wishes())
    assert [set(truth[part.images]) for part in parts] == [{0}, {1}]
    for part, (first, last) in zip(parts, ((0, 4), (4, 8)), strict=True):
        kept = np.flatnonzero(part.weights)
        assert set(kept) <= set(range(first, last))
        assert np.array_equal(part.weights[kept], weights[kept].astype(np.float32))
        assert part.bias == 0.25
        own = truth[part.images][0] == truth
        carried = np.maximum(part.weights * inputs, 0)[own].sum() / np.maximum(weights * inputs, 0)[own].sum()
        assert carried > 0.75


def test_a_channel_of_one_circuit_stays_whole() -> None:
    alike = np.ones((40, 6), dtype=np.float32)
    nothing = Items(np.empty(0, np.int64), np.empty((0, 6), np.float32))
    few = Whole(Unit("layer", 0), Items(np.arange(9), alike[:9]), nothing, InputReadout(np.ones(6), 0.0))
    assert circuit(few, Activations.of(alike + np.eye(40, 6)), Wishes()) == []
    silent = Whole(Unit("layer", 0), Items(np.arange(40), alike), nothing, InputReadout(np.zeros(6), 0.0))
    assert circuit(silent, Activations.of(alike + np.eye(40, 6)), Wishes()) == []
    with pytest.raises(JobError, match="no circuit of it can be cut out"):
        circuit(Whole(few.unit, silent.exemplars, nothing), Activations.of(alike + np.eye(40, 6)), Wishes())


def test_the_threshold_decides_how_many_parts_there_are() -> None:
    whole, moments, _ = two_blobs(6)
    counts = [len(vectors(whole, moments, Wishes(separation=wish))) for wish in (1.5, 0.55, 0.2)]
    assert counts[0] == 1
    assert counts[1] == 2
    assert counts[2] > 2


def test_one_blob_is_one_part() -> None:
    whole, moments, _ = two_blobs(0)
    near = Whole(whole.unit, Items(whole.exemplars.image, whole.exemplars.vectors * 0.3 + 4), whole.second)
    assert len(vectors(near, moments, Wishes())) == 1


def test_a_unit_of_few_images_has_no_parts() -> None:
    whole, moments, _ = two_blobs(6, n=9)
    assert vectors(whole, moments, Wishes()) == []


def test_an_input_serves_what_it_drives() -> None:
    assert served(np.array([[1.0, 0.4, -1, 0], [-1, 1.0, -1, 0]]), 0.5).tolist() == [1, 2, 3, 3]
    assert served(np.array([[1.0], [0.4]]), 0.3).tolist() == [3]


def test_r_squared_is_that_of_least_squares() -> None:
    generator = np.random.default_rng(0)
    by = generator.standard_normal((200, 2))
    noise = generator.standard_normal(200)
    values = by @ [1.0, 2.0] + noise
    assert r_squared(values, by) == pytest.approx(
        np.corrcoef(values, by @ np.linalg.lstsq(by - by.mean(0), values - values.mean(), rcond=None)[0])[0, 1] ** 2
    )
    assert r_squared(np.ones(5), np.arange(5.0)[:, None]) == 0


# ---- on a run --------------------------------------------------------------------------------------------------------


def test_parts_of_planted_units_are_their_sources(base: str) -> None:
    results = Results(base)
    layer = results.run.unit_order().layer(PLANTED)
    units = [Unit(PLANTED, channel) for channel in range(layer.n_units)]
    found = disentangle(base, [str(unit) for unit in units], how="vectors", wishes=Wishes(separation=0.45))
    network = open_network(found.job)
    images = CollectedImages(open_images(found.job), results.run)
    amis: list[float] = []
    for whole in gathered(found.job, results.run, network, images, units, of=OWN).wholes:
        sources = readout_of(results.run, whole.unit).units.directions
        values = whole.exemplars.vectors @ sources.weights.numpy().T + sources.bias.numpy()
        source = dict(zip(whole.exemplars.image.tolist(), values.argmax(axis=1), strict=True))
        parts = [part for part in found.parts if part.unit == whole.unit]
        pairs = [(source[image], part.number) for part in parts for image in part.images.tolist()]
        amis.append(adjusted_mutual_info_score(*zip(*pairs, strict=True)))
    assert len(amis) > 5
    assert np.median(amis) >= 0.9


@pytest.mark.parametrize("how", list(HOWS))
def test_every_way_writes_a_direction_for_each_part(base: str, how: str, tmp_path: Path) -> None:
    found = disentangle(base, ["head:0", "head:3"], how=how, to=str(tmp_path / "parts"))  # a linear layer: any way can
    assert found.parts
    written = load_file(found.directions["head"])
    assert len(written["weights"]) == len(written["bias"]) == len(found.parts)
    for part, weights in zip(found.parts, written["weights"], strict=True):
        assert np.array_equal(weights, part.weights)


@pytest.mark.long
@pytest.mark.parametrize("how", ["vectors", "circuit"])  # of the layer's own vectors, and of its inputs
def test_parts_are_scanned_on_other_images(base: str, how: str, tmp_path: Path) -> None:
    units = ["head:0", "head:3"]  # a linear layer: each way can take its channels
    found = disentangle(base, units, how=how, wishes=Wishes(separation=0.3), to=str(tmp_path / "parts"))
    rows, told = scan_parts(found)
    assert [(row.unit, row.part) for row in rows] == [(str(part.unit), part.number) for part in found.parts]
    assert {row.unit for row in rows} | {str(unit) for unit in found.left} == set(units)
    assert rows
    assert all(0 <= row.explained <= row.explained_by_all <= 1 for row in rows)
    assert all(row.whole_on == "fresh" for row in rows)
    assert told
    fresh = Results(str(tmp_path / "parts" / "run"))
    assert fresh.job.images.half == "second"
    before, after = (set(run.table("images")["checksum"]) for run in (Results(base), fresh))
    assert before
    assert not before & after
    assert fresh.map.query("role == 'direction'")["direction"].tolist() == [part.name for part in found.parts]
    with (tmp_path / "parts" / "purity.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)


@pytest.mark.long
def test_a_split_is_exact_and_can_be_scanned(base: str, tmp_path: Path) -> None:
    found = disentangle(base, ["head:0", "head:3"], how="split", to=str(tmp_path / "parts"))
    job = jobs.load(tmp_path / "parts" / "split-job.toml")
    split, plain = open_network(job), open_network(found.job)
    inputs = torch.randn(8, 3, toy.SIDE, toy.SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(split.module(inputs), plain.module(inputs), atol=1e-5)
    # A and B are the parts that were scanned as directions: they differ by what both share.
    first, second = found.parts[:2]
    weights = plain.module.get_submodule("head").get_parameter("weight")[0].numpy()
    shared = np.where(first.sharing == 3, weights, 0)
    assert np.allclose(first.weights + second.weights - shared, weights, atol=1e-5)
    pipeline.scan(job, Run(str(tmp_path / "run")), pipeline.in_process)
    frame = Results(str(tmp_path / "run")).map
    of_parts = frame[frame["layer"] == "head.parts"]
    assert len(of_parts) == 6 + 2 * 2
    unsplit = Results(base).unit("head:1").row
    same = of_parts[of_parts["channel"] == 1].iloc[0]
    assert same["mean"] == pytest.approx(unsplit["mean"], rel=1e-4)


def test_what_cannot_be_done_is_said(base: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"name units.*or give --top N: one of the two"):
        disentangle(base)
    with pytest.raises(JobError, match=r'unknown way "vector" after --how; nearest: vectors'):
        disentangle(base, ["head:0"], how="vector")
    with pytest.raises(JobError, match=r"`--top` must be at least 1, got 0"):
        disentangle(base, top=0)
    with pytest.raises(TableError, match=r"has no unit heda:0; nearest: head"):
        disentangle(base, ["heda:0"])
    with pytest.raises(TableError, match=r"has no unit head:6"):
        disentangle(base, ["head:6"])
    with pytest.raises(TableError, match="write a unit as layer:channel"):
        disentangle(base, ["head"])
    with pytest.raises(JobError, match=r"coarse is no linear layer and no 1 x 1 convolution"):
        disentangle(base, ["coarse:1"], how="split")
    with pytest.raises(JobError, match=r"is no channel of the network, so it can't be split"):
        disentangle(base, [str(Unit(virtual_layer("head", "control"), 0))], how="split")
    with pytest.raises(TableError, match="holds no run"):
        disentangle(str(tmp_path), ["head:0"])


def test_without_other_images_nothing_is_compared(base: str, tmp_path: Path) -> None:
    found = disentangle(base, ["head:0"], how="second", to=str(tmp_path))
    with pytest.raises(JobError, match=r"there are no images that the parts were not found on"):
        scan_parts(found, {"half": "first"})


@pytest.mark.long
def test_the_command_prints_parts_and_purity(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["disentangle", base, "--top", "2", "--how", "second", "--to", str(tmp_path), "--scan", "--quiet"]
    app(command, standalone_mode=False)
    printed = capsys.readouterr().out
    assert "all parts" in printed
    assert "whole" in printed
    assert "together they explain a mean" in printed
    assert str(tmp_path) in printed


@pytest.mark.parametrize("extra", [["--images", "x"], ["--set", "images.limit=3"]])
def test_other_images_need_a_scan(base: str, extra: list[str]) -> None:
    with pytest.raises(JobError, match="add --scan"):
        app(["disentangle", base, "--top", "1", *extra], standalone_mode=False)


def test_only_images_may_differ(base: str) -> None:
    with pytest.raises(JobError, match=r"--set collect.k: only settings of \[images\]"):
        app(["disentangle", base, "--top", "1", "--scan", "--set", "collect.k=9"], standalone_mode=False)


def test_the_separation_has_bounds(base: str) -> None:
    for value in ("0", "2"):
        with pytest.raises(JobError, match="`--separation` must be above 0 and below 2"):
            app(["disentangle", base, "--top", "1", "--separation", value], standalone_mode=False)


def test_halves_share_no_image_and_leave_none_out() -> None:
    for n, limit in itertools.product((2, 8, 9, 101), (None, 3)):
        places = [
            [selection.place(image) for image in range(len(selection))]
            for selection in (Selection(n, limit, "first"), Selection(n, limit, "second"))
        ]
        assert not set(places[0]) & set(places[1])
        assert places == [sorted(of_half) for of_half in places]
        if limit is None:
            assert sorted(places[0] + places[1]) == list(range(n - n % 2))
        for half, of_half in zip(("first", "second"), places, strict=True):
            selection = Selection(n, limit, half)
            for start, stop in itertools.combinations(range(n + 1), 2):
                inside = [image for image, place in enumerate(of_half) if start <= place < stop]
                assert list(selection.images(start, stop)) == inside
