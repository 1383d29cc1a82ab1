"""embed: each distinct crop once, in an order that keeps an image's crops together; thumbnails."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image

from polyscan import pipeline
from polyscan.run import Run
from polyscan.run.inputs import open_embedder, open_images, open_network
from polyscan.run.keys import visualization_keys
from polyscan.stages.embed import distinct_crops, jpeg


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Run]:
    folder = tmp_path_factory.mktemp("embed")
    job, run = toy.job(folder / "images"), Run(str(folder / "run"))
    pipeline.scan(job, run, pipeline.in_process)
    return job, run


def test_crops_are_distinct_of_live_units_and_in_order_of_layer_then_image(made) -> None:
    job, run = made
    crops = distinct_crops(job, run)
    assert crops["crop"].is_unique
    assert list(zip(crops["depth"], crops["image"], strict=True)) == sorted(
        zip(crops["depth"], crops["image"], strict=True)
    )
    exemplars = run.read("exemplars").merge(run.read("units")[["layer", "channel", "is_dead"]], on=["layer", "channel"])
    assert set(crops["crop"]) == set(exemplars.loc[~exemplars["is_dead"], "crop"])
    assert exemplars["is_dead"].any()


def test_fewer_exemplars_need_fewer_crops(made) -> None:
    job, run = made
    fewer = job.model_copy(update={"embed": job.embed.model_copy(update={"n_exemplars": 8})})
    few = job.model_copy(update={"embed": job.embed.model_copy(update={"n_exemplars": None})})
    assert set(distinct_crops(fewer, run)["crop"]) <= set(distinct_crops(few, run)["crop"])


def test_every_vector_is_that_of_its_own_crop(made) -> None:
    """The slow literal twin: each crop cut out by hand, embedded alone."""
    job, run = made
    network, source = open_network(job), open_images(job)
    embedder, view = open_embedder(job, network), network.preprocessing.view
    crops = distinct_crops(job, run)
    vectors = run.vectors(crops["crop"].to_numpy())
    for place in np.random.default_rng(0).choice(len(crops), 12, replace=False):
        row = crops.iloc[place]
        (picture,) = source.read([int(row["image"])])
        box = view(picture.pixels)[row["top"] : row["bottom"], row["left"] : row["right"]]  # type: ignore[union-attr]
        alone = embedder(embedder.preprocessing.fitted(box)[None])
        assert np.allclose(vectors[place], alone[0], atol=1e-5)


def test_every_visualization_has_its_vector(made) -> None:
    job, run = made
    rows = run.read("visualizations")
    vectors = run.vectors(visualization_keys(rows["layer"], rows["channel"], rows["index"]))
    embedder = open_embedder(job, open_network(job))
    for place in (0, len(rows) // 2, len(rows) - 1):
        image = np.asarray(Image.open(io.BytesIO(rows["image"].iloc[place])))
        alone = embedder(embedder.preprocessing.fitted(image)[None])
        assert np.allclose(vectors[place], alone[0], atol=1e-5)


def test_asking_for_a_vector_that_was_never_made_is_an_error(made) -> None:
    from polyscan.errors import TableError

    with pytest.raises(TableError, match="1 items have no embedding"):
        made[1].vectors(np.array([12345]))


@pytest.mark.parametrize(
    ("size", "expected"), [((3, 5), (9, 15)), ((1, 1), (16, 16)), ((16, 16), (16, 16)), ((64, 32), (16, 8))]
)
def test_thumbnails_keep_their_shape_and_small_ones_grow_in_whole_steps(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    crop = np.full((*size, 3), 200, dtype=np.uint8)
    picture = Image.open(io.BytesIO(jpeg(crop, 16)))
    assert picture.size[::-1] == expected
    grey = Image.open(io.BytesIO(jpeg(crop[:, :, :1], 16)))
    assert grey.mode == "L"


def test_no_thumbnails_where_none_are_wanted(tmp_path: Path) -> None:
    job = toy.job(tmp_path / "images", embed__thumbnail_px=0, visualize__enabled=False)
    run = Run(str(tmp_path / "run"))
    pipeline.scan(job, run, pipeline.in_process)
    assert run.read("thumbnails").empty
    assert run.storage.exists("maps/index.html")
