"""The table of visualizations on the toy, and images that begin as means of exemplars."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import toy
from PIL import Image

import polyscan
from polyscan.report.contents import atlas_of
from polyscan.report.unit_map import calibrated_rows


def colour_of(png: bytes) -> str:
    """Of the middle of a picture: whose channel is largest."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float)
    middle = pixels[4:-4, 4:-4].mean(axis=(0, 1))
    return ("red", "green", "blue")[int(middle.argmax())]


def test_each_mode_of_a_unit_has_an_image_that_begins_there_and_none_is_scored(tmp_path: Path) -> None:
    job = toy.job(
        tmp_path / "images",
        visualize__layers=["paint"],
        visualize__data_starts=2,
        visualize__steps=4,
        visualize__batch=3,
        survey__readouts=0,
    )
    results = polyscan.scan(job, str(tmp_path / "run"))
    rows = results.run.read("data_visualizations")
    assert set(rows["layer"]) == {"paint"}
    mine = rows[rows["channel"] == toy.RED_OR_BLUE]
    assert mine["index"].tolist() == [0, 1]
    assert mine["n_exemplars"].sum() == toy.K
    assert {colour_of(png) for png in mine["image"]} == {"red", "blue"}
    of_red = rows[rows["channel"] == toy.RED]
    assert {colour_of(png) for png in of_red["image"]} == {"red"}
    units = results.run.read("units")
    best = units[units["layer"] == "paint"].set_index("channel")["max"]
    assert (rows["activation"] > 0.5 * rows["channel"].map(best)).all()
    assert toy.DEAD not in set(rows["channel"])
    # They are in no other table: what is embedded and scored are the images that began as noise.
    n_noise = len(results.run.read("visualizations"))
    clusters = results.run.read("clusters")
    assert (clusters["evidence"] == "visualizations").sum() == n_noise
    atlas = atlas_of(job, results.run, results.map, calibrated_rows(results.run))
    panels = [p for card in atlas.gallery.cards("paint") for p in card.panels if p.evidence == "begun-from-exemplars"]
    assert panels
    for panel in panels:
        assert panel.size == sum(cluster.size for cluster in panel.clusters) == 2
        assert sum(len(cluster.tiles) for cluster in panel.clusters) == 2
    scripts = (tmp_path / "run" / "maps" / "data" / "00").glob("*.js")
    assert any('"begun-from-exemplars"' in script.read_text() for script in scripts)


def test_there_are_none_unless_they_are_asked_for(toy_results: polyscan.Results) -> None:
    assert len(toy_results.run.read("data_visualizations")) == 0
