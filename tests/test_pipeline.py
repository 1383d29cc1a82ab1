"""The whole line on the toy, in this process: what must come out of painted truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import toy
from PIL import Image
from sabotage import sabotaged

import polyscan
from polyscan import manifest, pipeline
from polyscan.errors import JobError, ModelError, ShardError, TableError
from polyscan.manifest.differing import INPUTS
from polyscan.results import Results
from polyscan.run import Run
from polyscan.shards import Failure, Shard
from polyscan.tables import TABLES


@pytest.fixture(scope="module")
def results(toy_results: Results) -> Results:
    return toy_results


def test_every_unit_is_a_row_of_the_map_and_scored_or_dead(results: Results) -> None:
    frame = results.map
    assert frame.groupby("layer", sort=False).size().to_dict() == {"paint": 5, "mix": 4, "head": 3}
    assert frame["depth"].is_monotonic_increasing
    live = frame[~frame["is_dead"]]
    for column in ("semanticity", "semanticity_k", "clarity", "polysemanticity", "monosemanticity"):
        assert np.isfinite(live[column]).all(), column
    dead = frame[frame["is_dead"]]
    assert ("paint", toy.DEAD) in set(zip(dead["layer"], dead["channel"], strict=True))
    assert dead["semanticity"].isna().all()


def test_exemplars_are_what_was_painted(results: Results) -> None:
    images = results.table("images").set_index("image")["label_name"]
    exemplars = results.table("exemplars")

    def seen(channel: int) -> set[str]:
        rows = exemplars[(exemplars["layer"] == "paint") & (exemplars["channel"] == channel)]
        assert len(rows) == toy.K
        return set(images.loc[rows["image"]])

    assert seen(toy.RED) == {"red"}
    assert seen(toy.GREEN) == {"green"}, "read before the batch norm's negative scale, this is anything but green"
    assert seen(toy.RED_OR_BLUE) == {"red", "blue"}


def test_the_unit_of_two_colours_is_split_by_colour_and_scores_above_the_units_of_one(results: Results) -> None:
    frame = results.map.set_index(["layer", "channel"])
    two = frame.loc[("paint", toy.RED_OR_BLUE)]
    for one in (toy.RED, toy.GREEN):
        assert two["clarity"] < frame.loc[("paint", one), "clarity"]
        assert two["polysemanticity"] > frame.loc[("paint", one), "polysemanticity"]
    images = results.table("images").set_index("image")["label_name"]
    unit = results.unit("paint", toy.RED_OR_BLUE)
    own = unit.clusters[(unit.clusters["evidence"] == "exemplars") & (unit.clusters["space"] == "next")]
    clusters = own.set_index("item")["cluster"]
    assert clusters.nunique() > 1
    colours = unit.exemplars.set_index("rank")["image"].map(images)
    assert pd.crosstab(clusters, colours).gt(0).sum(axis=1).eq(1).all(), "a cluster holds two colours"


def test_exemplars_are_ordered_with_boxes_inside_the_image_and_one_crop_per_key(results: Results) -> None:
    exemplars = results.table("exemplars")
    for _, rows in exemplars.groupby(["layer", "channel"]):
        assert rows["rank"].tolist() == list(range(toy.K))
        assert rows["activation"].is_monotonic_decreasing
        assert rows["image"].is_unique
    assert (exemplars[["top", "left"]] >= 0).all(axis=None)
    assert (exemplars[["bottom", "right"]] <= toy.SIDE).all(axis=None)
    paint, mix = (exemplars[exemplars["layer"] == name] for name in ("paint", "mix"))
    assert ((paint["bottom"] - paint["top"]) == 1).all(), "a 1x1 convolution sees one pixel"
    assert (mix["bottom"] - mix["top"]).max() == 3
    boxes = exemplars.groupby("crop")[["image", "top", "left", "bottom", "right"]].nunique()
    assert (boxes == 1).all(axis=None)
    embedded = results.table("embeddings")["item"]
    assert embedded.is_unique, "a crop was embedded twice"


def test_visualizations_beat_the_data_and_are_counted_to_the_elbow(results: Results) -> None:
    rows = results.table("visualizations")
    assert set(rows["layer"]) == {"paint", "mix"}
    for _, unit in rows.groupby(["layer", "channel"]):
        assert unit["index"].tolist() == list(range(int(unit["n_counted"].iloc[0])))
        assert 3 <= len(unit) <= 5
        assert unit["mean_distance"].isna().tolist() == [True] + [False] * (len(unit) - 1)
    frame = results.map.dropna(subset=["visualization_beats_data"])
    assert len(frame) == len(rows[["layer", "channel"]].drop_duplicates())
    strongest = rows.groupby(["layer", "channel"])["activation"].max()
    best = results.table("units").set_index(["layer", "channel"])["max"]
    expected = (strongest > best.loc[strongest.index]).astype(float)
    found = frame.set_index(["layer", "channel"])["visualization_beats_data"]
    pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), check_names=False)


def test_every_table_has_its_schema_and_says_what_it_is(results: Results) -> None:
    run = results.run
    for name, table in TABLES.items():
        for part in run.parts(name):
            with run.storage.open(part.file) as file:
                parquet = pq.ParquetFile(file)
                assert parquet.schema_arrow.equals(table.schema, check_metadata=False), name
                about = json.loads(parquet.schema_arrow.metadata[b"polyscan"])
                assert about["schema_version"] == table.version
                assert parquet.metadata.num_rows == part.rows
    assert results.run.ledger.verify() == []


def test_the_maps_are_there_and_the_run_records_what_it_was_made_from(results: Results) -> None:
    storage = results.run.storage
    assert storage.exists("maps/index.html")
    assert {name.split("/")[2] for name in storage.files("maps/layer")} == {
        "00-paint.html", "01-mix.html", "02-head.html",
    }  # fmt: skip
    manifest = results.run.manifest()
    assert manifest["distance"] == "features of toy:network, unit weights"
    assert manifest["images"]["n"] == toy.N_IMAGES
    assert len(manifest["network"]["digest"]) == 64
    assert set(manifest["stages"]) == {stage.name for stage in pipeline.STAGES}


def test_results_are_read_as_people_would(results: Results) -> None:
    top = results.top(3, by="clarity", ascending=True)
    assert len(top) == 3
    assert top["clarity"].is_monotonic_increasing
    assert "top" not in results.tables()
    assert "paint:1" in str(results.unit("paint", 1).unit)
    assert "12 units in 3 layers" in results._repr_html_()
    with pytest.raises(TableError, match="no column `beauty`"):
        results.top(by="beauty")
    with pytest.raises(TableError, match="no unit paint:9"):
        results.unit("paint", 9)


def test_without_visualizations_later_stages_do_without(tmp_path: Path, no_pages: None) -> None:
    results = polyscan.scan(toy.job(tmp_path / "images", visualize__enabled=False), str(tmp_path / "run"))
    assert results.table("visualizations").empty
    assert not [name for name in results.map if name.startswith("visualiz")]
    assert set(results.table("scores")["evidence"]) == {"exemplars"}


def test_a_shard_that_fails_twice_succeeds(tmp_path: Path, no_pages: None) -> None:
    runner = sabotaged(pipeline.in_process, tmp_path / "s", stage="embed", index=1, times=2, fault="raise")
    run = Run(str(tmp_path / "run"))
    pipeline.scan(toy.job(tmp_path / "images", visualize__enabled=False), run, runner)
    assert run.storage.exists("map.parquet")
    assert len(list((tmp_path / "s").glob("strike-*"))) == 2


def test_a_shard_that_always_fails_is_named_its_siblings_are_done_and_no_later_stage_begins(
    tmp_path: Path, no_pages: None
) -> None:
    runner = sabotaged(pipeline.in_process, tmp_path / "s", stage="collect", index=1, times=99, fault="raise")
    run = Run(str(tmp_path / "run"))
    job = toy.job(tmp_path / "images", visualize__enabled=False)
    with pytest.raises(ShardError, match="shard 1 of `collect` failed: sabotage"):
        pipeline.scan(job, run, runner)
    assert sorted(run.ledger.done("collect")) == [0, 2]
    assert run.ledger.done("combine") == {}
    assert len(list((tmp_path / "s").glob("strike-*"))) == pipeline.TRIES
    pipeline.scan(job, run, pipeline.in_process)
    assert run.storage.exists("map.parquet")


def test_a_real_error_in_a_worker_is_named_with_its_traceback(tmp_path: Path) -> None:
    job = toy.job(tmp_path / "images", visualize__enabled=False)
    run = Run(str(tmp_path / "run"))
    fingerprints = pipeline.settle(job, run)
    # `survey` and `collect` have not been done, so the worker finds no layers.
    (combine,) = (stage for stage in pipeline.STAGES if stage.name == "combine")
    outcome = pipeline.shard_worker(combine, job, run, fingerprints["combine"]).work(Shard("combine", 0, 1, 0, 5))
    assert isinstance(outcome, Failure)
    assert "Traceback" in outcome.traceback


class FinalAndPassing:
    """A runner: shard 0 is lost for good at once, shard 1 fails the first time and is done the second."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, make_work, shards, resources):
        work = make_work()
        for shard in shards:
            if shard.stage == "collect" and shard.index == 0:
                yield Failure(shard, "its worker died 3 times", "", is_final=True)
            elif shard.stage == "collect" and shard.index == 1 and self.calls == 0:
                self.calls += 1
                yield Failure(shard, "a passing fault", "")
            else:
                yield work(shard)


def test_a_shard_that_is_lost_for_good_is_not_forgotten_while_others_are_tried_again(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"))
    with pytest.raises(ShardError, match="shard 0 of `collect` failed: its worker died 3 times"):
        pipeline.scan(toy.job(tmp_path / "images", visualize__enabled=False), run, FinalAndPassing())
    assert sorted(run.ledger.done("collect")) == [1, 2]
    assert run.ledger.done("combine") == {}
    (filed,) = run.ledger.failures("collect")
    assert filed["index"] == 0
    assert filed["cause"] == "its worker died 3 times"


def test_unreadable_images_become_rejects_and_the_run_goes_on(tmp_path: Path) -> None:
    folder = toy.paint(tmp_path / "images")
    (folder / "red" / "aaa.png").write_bytes(b"no image at all")
    broken = (folder / "blue" / "002.png").read_bytes()
    (folder / "blue" / "002.png").write_bytes(broken[: len(broken) // 2])
    results = polyscan.scan(toy.job(folder, visualize__enabled=False), str(tmp_path / "run"))
    rejects = results.table("rejects")
    assert sorted(rejects["path"]) == ["blue/002.png", "red/aaa.png"]
    assert (rejects["reason"].str.len() > 0).all()
    assert len(results.table("images")) == toy.N_IMAGES - 1
    assert set(results.map["n_images"]) == {toy.N_IMAGES - 1}
    assert "2 images could not be used" in results.run.storage.read("maps/index.html").decode()


def test_an_image_for_which_the_network_gives_no_number_is_a_reject(tmp_path: Path) -> None:
    folder = toy.paint(tmp_path / "images")
    for place in ("red/000.png", "green/flat.png", "red/zzz.png"):  # among them the first that is tried
        Image.new("RGB", (toy.SIDE, toy.SIDE), (40, 40, 40)).save(folder / place)
    (folder / "blue" / "torn.png").write_bytes(b"no image at all")
    job = toy.job(folder, network__name="toy:normalising", visualize__enabled=False)
    results = polyscan.scan(job, str(tmp_path / "run"))
    rejects = results.table("rejects").set_index("path")
    assert sorted(rejects.index) == ["blue/torn.png", "green/flat.png", "red/000.png", "red/zzz.png"]
    assert rejects["image"].is_monotonic_increasing
    flat = rejects.drop("blue/torn.png")["reason"]
    assert set(flat) == {"not finite: layer paint gives NaN or infinity for it"}
    exemplars = results.table("exemplars")
    assert set(exemplars["channel"][exemplars["layer"] == "paint"]) == set(range(5))
    assert not set(exemplars["image"]) & set(rejects["image"])
    assert set(results.map["n_images"]) == {toy.N_IMAGES - 1}
    assert np.isfinite(results.table("moments")["s4"]).all()


def test_too_few_readable_images_is_an_error_of_the_job(tmp_path: Path) -> None:
    folder = toy.paint(tmp_path / "images", n=toy.K)
    (folder / "red" / "000.png").write_bytes(b"")
    with pytest.raises(JobError, match=r"only 7 images could be read, `collect.k` is 8"):
        polyscan.scan(toy.job(folder, survey__readouts=0), str(tmp_path / "run"))


def test_a_layer_to_visualize_that_is_not_scanned_is_told_before_anything_runs(tmp_path: Path) -> None:
    job = toy.job(tmp_path / "images", network__layers=["paint"], visualize__layers=["mix"])
    with pytest.raises(ModelError, match='"mix" fits no scanned layer; there are: paint'):
        polyscan.scan(job, str(tmp_path / "run"))
    assert not (tmp_path / "run" / "done").exists()


def test_a_survey_without_a_readable_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver tries only a few images, and another machine may have others."""
    monkeypatch.setattr(manifest, "check_readable", lambda *_: None)
    folder = toy.paint(tmp_path / "images", n=50)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ShardError, match="`survey` failed: ImagesError: none of the survey's images could be read"):
        polyscan.scan(toy.job(folder), str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        *(("network", "survey"), ("code", "survey"), ("images", "survey")),
        *(("distance", "visualize"), ("embedder", "embed"), ("words", "embed")),
    ],
)
def test_another_input_is_another_fingerprint_of_all_that_reads_it(tmp_path: Path, name: str, first: str) -> None:
    job = toy.job(tmp_path / "images")
    inputs = dict.fromkeys(INPUTS, "one")
    before = manifest.stage_entries(pipeline.STAGES, job, inputs)
    after = manifest.stage_entries(pipeline.STAGES, job, {**inputs, name: "two"})
    line = [stage.name for stage in pipeline.STAGES]
    assert line[:6] == ["survey", "collect", "combine", "deflate", "recollect", "recombine"]
    assert line[6:10] == ["visualize", "embed", "calibrate", "score"]
    assert {stage for stage in before if before[stage] != after[stage]} == set(line[line.index(first) :])


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"seed": 1}, "survey"),
        ({"survey__readouts": 41}, "survey"),
        ({"survey__space": "own"}, "survey"),
        ({"collect__k": 9}, "survey"),
        ({"visualize__steps": 9}, "visualize"),
        ({"embed__n_exemplars": 8}, "embed"),
        ({"calibrate__match": "nearest"}, "calibrate"),
        ({"score__restarts": 5}, "calibrate"),
        ({"scores__cut": {"neighbors": 3}}, "calibrate"),
        ({"show__pictures_per_layer": 3}, None),
        ({"picture__crops": 3}, "picture"),
    ],
)
def test_another_setting_is_another_fingerprint_from_its_stage_on(
    tmp_path: Path, changes: dict[str, object], first: str | None
) -> None:
    inputs = dict.fromkeys(INPUTS, "one")
    before = manifest.stage_entries(pipeline.STAGES, toy.job(tmp_path / "images"), inputs)
    after = manifest.stage_entries(pipeline.STAGES, toy.job(tmp_path / "images", **changes), inputs)
    line = [stage.name for stage in pipeline.STAGES]
    changed = {stage for stage in line if before[stage]["fingerprint"] != after[stage]["fingerprint"]}
    assert changed == (set(line[line.index(first) :]) if first else set())
