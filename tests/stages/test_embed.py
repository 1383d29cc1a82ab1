"""embed: each distinct crop once, in an order that keeps an image's crops together; thumbnails."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy
from PIL import Image

from polyscan import pipeline
from polyscan.evidence import whole_images
from polyscan.inputs.opening import open_embedder, open_images, open_network
from polyscan.job import Job
from polyscan.results import Results
from polyscan.run import Run
from polyscan.stages.embed.crops import Crops, crops_in_use
from polyscan.tables.keys import visualization_keys
from polyscan.vision.channels import jpeg


@pytest.fixture(scope="module")
def made(toy_results: Results) -> tuple[Job, Run]:
    return toy.stored_job(toy_results), toy_results.run


def with_embed(job: Job, **changes: object) -> Job:
    return job.model_copy(update={"embed": job.embed.model_copy(update=changes)})


def live(run: Run) -> pd.DataFrame:
    exemplars = run.read("exemplars").merge(run.read("units")[["layer", "channel", "is_dead"]], on=["layer", "channel"])
    assert exemplars["is_dead"].any()
    return exemplars[~exemplars["is_dead"]]


def test_crops_are_distinct_of_live_units_and_in_order_of_layer_then_image(made) -> None:
    job, run = made
    crops = crops_in_use(job, run)
    assert crops["crop"].is_unique
    assert list(zip(crops["depth"], crops["image"], strict=True)) == sorted(
        zip(crops["depth"], crops["image"], strict=True)
    )
    rows = live(run)
    real = rows[~rows["layer"].str.contains("@")]
    # Virtual units' crops are needed where they are compared, and every whole image is in the pool.
    compared = rows[rows["layer"].str.startswith("head")]
    assert set(crops["crop"]) == set(real["crop"]) | set(compared["crop"]) | set(whole_images(run)["crop"])
    assert set(crops["crop"][crops["is_shown"]]) == set(real["crop"])


def test_every_crop_has_one_vector_and_what_is_shown_a_thumbnail(made) -> None:
    job, run = made
    crops = crops_in_use(job, run)
    visualized = run.read("visualizations")
    keys = visualization_keys(visualized["layer"], visualized["channel"], visualized["index"])
    embedded = run.read("embeddings")
    assert sorted(embedded["item"]) == sorted([*crops["crop"], *keys])
    assert set(embedded["space"]) == {"penultimate"}
    assert sorted(run.read("thumbnails")["item"]) == sorted(crops["crop"][crops["is_shown"]])


def test_crops_that_nothing_is_compared_by_are_not_embedded_and_yet_seen(made) -> None:
    job, run = made
    rows = live(run)
    real = set(rows.loc[~rows["layer"].str.contains("@"), "crop"])
    head = set(rows.loc[rows["layer"].str.startswith("head"), "crop"])
    for pool, expected in ((False, head), (True, set(whole_images(run)["crop"]))):
        found = crops_in_use(with_embed(job, crops=False, pool=pool), run)
        assert set(found["crop"][found["is_embedded"]]) == expected
        assert set(found["crop"][found["is_shown"]]) == real
        unseen = crops_in_use(with_embed(job, crops=False, pool=pool, thumbnail_px=0), run)
        assert set(unseen["crop"]) == expected
        assert not unseen["is_shown"].any()


def test_a_crop_that_is_only_seen_has_a_thumbnail_and_no_vector(made) -> None:
    job, run = made
    bare = with_embed(job, crops=False, pool=False)
    network = open_network(bare)
    crops = Crops(bare, run, open_images(bare), network.preprocessing, open_embedder(bare, network))
    found = crops(range(len(crops)))
    rows = crops.rows
    assert list(found["embeddings"]["item"]) == rows["crop"][rows["is_embedded"]].tolist()
    assert len(found["embeddings"]["embedding"]) == rows["is_embedded"].sum() < len(rows)
    whole = run.read("thumbnails").set_index("item")["image"]
    for item, picture in zip(found["thumbnails"]["item"], found["thumbnails"]["image"], strict=True):
        assert picture == whole[item]


def test_fewer_exemplars_need_fewer_crops(made) -> None:
    job, run = made
    few, all_of_them = with_embed(job, n_exemplars=4, pool=False), with_embed(job, pool=False)
    crops = set(crops_in_use(few, run)["crop"])
    rows = live(run)
    used = rows[~rows["layer"].str.contains("@") | rows["layer"].str.startswith("head")]
    assert crops == set(used.loc[used["rank"] < 4, "crop"])
    assert crops < set(crops_in_use(all_of_them, run)["crop"])


def test_concepts_are_the_classes_mean_embeddings_and_the_mean_of_all(made) -> None:
    _, run = made
    concepts, images = run.read("concepts"), run.read("images")
    pool = whole_images(run)
    vectors = run.vectors(pool["crop"].to_numpy())
    (mean,) = concepts.loc[concepts["kind"] == "mean", "embedding"]
    assert mean == pytest.approx(vectors.mean(axis=0), rel=1e-4, abs=1e-5)
    labels = concepts[concepts["kind"] == "label"]
    assert labels["concept"].tolist() == ["blue", "green", "red"]
    assert labels["label"].tolist() == [0, 1, 2]
    assert labels["n"].sum() == len(images)
    for row in labels.itertuples():
        its = images["label_name"].to_numpy() == row.concept
        assert row.n == its.sum()
        assert row.embedding == pytest.approx(vectors[its].mean(axis=0), rel=1e-4, abs=1e-5)


def test_every_vector_is_that_of_its_own_crop(made) -> None:
    """The slow literal twin: each crop cut out by hand, embedded alone."""
    job, run = made
    network, source = open_network(job), open_images(job)
    embedder, view = open_embedder(job, network), network.preprocessing.view
    crops = crops_in_use(job, run)
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
