"""picture: which pictures of a unit are seen, where they lie, and that nothing else is read."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import toy
from PIL import Image

from polyscan.job import Job
from polyscan.results import Results
from polyscan.run import Run
from polyscan.shards import Shard
from polyscan.stages import picture

KEY = ["layer", "channel"]


def pictured(job: Job, run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sprites and tiles as shards give them, one after the other."""
    worker = picture.Worker(job, run)
    made = [worker(shard) for shard in picture.shards(job, run)]
    return tuple(
        pd.concat([pd.DataFrame(one[name]) for one in made], ignore_index=True) for name in ("sprites", "tiles")
    )


def with_picture(results: Results, **settings: object) -> Job:
    job = toy.stored_job(results)
    return job.model_copy(update={"picture": job.picture.model_copy(update=settings)})


def test_the_strongest_exemplars_and_those_of_each_cluster_are_seen(toy_results: Results) -> None:
    """The literal twin, unit by unit."""
    run = toy_results.run
    _, tiles = pictured(with_picture(toy_results, crops=3, per_cluster=2), run)
    clusters = toy_results.table("clusters")
    main = {"paint": "next", "mix": "own", "head": "penultimate"}
    clusters = clusters[(clusters["evidence"] == "exemplars") & ~clusters["layer"].str.contains("@")]
    clusters = clusters[clusters["space"] == clusters["layer"].map(main)]
    shown = tiles[tiles["evidence"] == "exemplars"]
    for (layer, channel), its in clusters.groupby(KEY):
        wanted = set(range(3))
        for _, members in its.groupby("cluster"):
            wanted |= set(sorted(members["item"])[:2])
        mine = shown[(shown["layer"] == layer) & (shown["channel"] == channel)]
        assert mine["item"].tolist() == sorted(wanted)


def test_visualizations_are_the_strongest_and_one_of_each_cluster(toy_results: Results) -> None:
    _, tiles = pictured(with_picture(toy_results, visualizations=1), toy_results.run)
    made = toy_results.table("visualizations")
    clusters = toy_results.table("clusters")
    clusters = clusters[clusters["evidence"] == "visualizations"].rename(columns={"item": "index"})
    made = made.merge(clusters[[*KEY, "index", "cluster_bic"]], on=[*KEY, "index"])
    made = made[~made["layer"].str.contains("@")]
    shown = tiles[tiles["evidence"] == "visualizations"]
    for (layer, channel), its in made.groupby(KEY):
        order = its.sort_values("activation", ascending=False, kind="stable")
        wanted = {order["index"].iloc[0], *order.groupby("cluster_bic")["index"].first()}
        assert set(shown[(shown["layer"] == layer) & (shown["channel"] == channel)]["item"]) == wanted


def test_no_picture_lies_on_another(toy_results: Results) -> None:
    sprites, tiles = toy_results.table("sprites"), toy_results.table("tiles")
    for row in sprites.itertuples():
        image = Image.open(io.BytesIO(row.image))
        assert image.format == "JPEG"
        assert image.size == (row.width, row.height)
        covered = np.zeros((row.height, row.width), dtype=int)
        mine = tiles[(tiles["layer"] == row.layer) & (tiles["channel"] == row.channel)]
        for tile in mine.itertuples():
            assert tile.left + tile.width <= row.width
            assert tile.top + tile.height <= row.height
            covered[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] += 1
        assert covered.max() == 1


def test_dead_and_virtual_units_are_not_seen(toy_results: Results) -> None:
    frame = toy_results.map
    live = set(frame.loc[~frame["is_dead"], KEY].itertuples(index=False, name=None))
    assert set(toy_results.table("sprites")[KEY].itertuples(index=False, name=None)) == live


@pytest.mark.parametrize("per_shard", [1, 3, 1000])
def test_shards_of_any_size_give_the_same(toy_results: Results, per_shard: int) -> None:
    sprites, tiles = pictured(with_picture(toy_results, units_per_shard=per_shard), toy_results.run)
    assert sprites["image"].tolist() == toy_results.table("sprites")["image"].tolist()
    pd.testing.assert_frame_equal(tiles, toy_results.table("tiles"), check_dtype=False)


def test_what_is_not_wanted_is_not_made(toy_results: Results) -> None:
    job = with_picture(toy_results, crops=0, visualizations=0)
    assert picture.shards(job, toy_results.run) == []
    _, tiles = pictured(with_picture(toy_results, crops=0), toy_results.run)
    assert "exemplars" not in set(tiles["evidence"])
    _, tiles = pictured(with_picture(toy_results, visualizations=0), toy_results.run)
    assert set(tiles["evidence"]) == {"exemplars"}


def test_a_unit_without_pictures_has_no_row(toy_results: Results) -> None:
    order = toy_results.run.unit_order()
    frame = toy_results.map
    dead = frame[frame["is_dead"]].iloc[0]
    at = order.start(dead["layer"]) + int(dead["channel"])
    made = picture.Worker(toy.stored_job(toy_results), toy_results.run)(Shard("picture", 0, 1, at, at + 1))
    assert made["sprites"]["channel"] == []
    assert len(made["tiles"]["channel"]) == 0


def test_only_the_parts_that_hold_a_layers_units_are_opened(
    toy_results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all tables that are read unit by unit the rows are those of a reading of everything."""
    from polyscan import tables

    run = Run(toy_results.run.address)
    opened: list[str] = []
    read = tables.read

    def watched(storage, files, *args, **kwargs):
        opened.extend(files)
        return read(storage, files, *args, **kwargs)

    monkeypatch.setattr(tables, "read", watched)
    for table in (
        "exemplars",
        "clusters",
        "visualizations",
        "data_visualizations",
        "centres",
        "names",
        "tiles",
        "sprites",
    ):
        everything = run.read(table)
        for layer in ("paint", "mix", "head"):
            opened.clear()
            found = run.unit_rows(table, layer)
            mine = everything[everything["layer"] == layer].reset_index(drop=True)
            assert len(found) == len(mine)
            assert found["channel"].tolist() == mine["channel"].tolist()
            assert len(opened) <= len(run.parts(table))
            two = run.unit_rows(table, layer, channels=range(1, 3))
            assert two["channel"].tolist() == mine.loc[mine["channel"].isin([1, 2]), "channel"].tolist()
        if len(run.parts(table)) > 3:
            assert len(opened) < len(run.parts(table)), table
