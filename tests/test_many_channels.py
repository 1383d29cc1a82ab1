"""A whole scan of inputs that are not square and have 8 channels: exemplars, boxes and pictures are right."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import banded
import numpy as np
import pytest
import toy
from PIL import Image

import polyscan
from polyscan.errors import JobError, PolyscanError
from polyscan.job import Job
from polyscan.results import Results

K = 8
BOX = ["top", "left", "bottom", "right"]


def job(folder: Path, **changes: Any) -> Job:
    """A job on the banded network; changes as for the toy."""
    settings: dict[str, Any] = {
        "network__name": "banded:network",
        "network__input_px": (banded.HEIGHT, banded.WIDTH),
        "network__channels": banded.BANDS,
        "network__mean": 0.0,
        "network__std": 1.0,
        "collect__k": K,
        "survey__images": 54,
        "survey__space": "image",
        "visualize__layers": ["bands", "pairs"],
        "visualize__rotate_degrees": 10.0,
        "visualize__data_starts": 1,
        "embed__model": "banded:MeanColour",
        "embed__input_px": 16,
    }
    return toy.job(folder, **{**settings, **changes})


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Results]:
    folder = tmp_path_factory.mktemp("banded")
    pictures = banded.paint(folder / "images")
    np.save(folder / "images" / "60.npy", np.zeros((50, 50, 3), np.uint8))
    np.save(folder / "images" / "61.npy", np.zeros((40, 40), np.uint8))
    return pictures, polyscan.scan(job(folder / "images"), str(folder / "run"))


def test_exemplars_are_those_of_a_plain_loop(scanned: tuple[np.ndarray, Results]) -> None:
    pictures, results = scanned
    rows = results.run.read("exemplars", where={"layer": "bands"})
    peaks = pictures.reshape(len(pictures), -1, banded.BANDS)
    for channel, of_unit in rows.groupby("channel"):
        true = peaks[:, :, channel].max(axis=1) / 255
        found = of_unit.sort_values("rank")
        np.testing.assert_allclose(found["activation"], np.sort(true)[::-1][:K], atol=1e-6)
        np.testing.assert_allclose(true[found["image"]], found["activation"], atol=1e-6)
    assert results.run.manifest()["input_px"] == [banded.HEIGHT, banded.WIDTH]


def test_pictures_of_other_channels_are_rejects_that_name_both_numbers(scanned: tuple[np.ndarray, Results]) -> None:
    rejects = scanned[1].run.read("rejects")
    assert rejects["path"].tolist() == ["60.npy", "61.npy"]
    assert rejects["reason"].str.contains("has 3 channels, the network takes 8").all()


def test_boxes_hold_the_peak(scanned: tuple[np.ndarray, Results]) -> None:
    pictures, results = scanned
    rows = results.run.read("exemplars", where={"layer": ["bands", "pairs"]})
    for row in rows.itertuples(index=False):
        crop = pictures[row.image, row.top : row.bottom, row.left : row.right, row.channel]
        assert crop.shape == ((1, 1) if row.layer == "bands" else (4, 2))
        assert abs(crop.mean() / 255 - row.activation) < 1e-5
    whole = results.run.read("exemplars", where={"layer": "head"})[BOX].drop_duplicates().to_numpy().tolist()
    assert whole == [[0, 0, banded.HEIGHT, banded.WIDTH]]


def test_people_see_the_first_three_channels(scanned: tuple[np.ndarray, Results]) -> None:
    pictures, results = scanned
    whole = results.run.read("exemplars", where={"layer": "head"}).iloc[0]
    thumbnail = results.run.read("thumbnails", where={"item": [int(whole["crop"])]})["image"].iloc[0]
    with Image.open(io.BytesIO(thumbnail)) as picture:
        assert picture.size == (12, 16)  # 36 x 48 px within 16 px
        small = Image.fromarray(pictures[whole["image"]][:, :, :3]).resize(picture.size, Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(picture).astype(float) - np.asarray(small)).mean() < 20
    for table in ("visualizations", "data_visualizations"):
        for content in results.run.read(table)["image"]:
            with Image.open(io.BytesIO(content)) as picture:
                assert (picture.mode, picture.size) == ("RGB", (16, 16))


def test_the_pages_are_there(scanned: tuple[np.ndarray, Results]) -> None:
    _, results = scanned
    maps = Path(results.run.address) / "maps"
    assert (maps / "index.html").exists()
    assert len(results.run.read("sprites")) == len(results.map)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"embed__model": "penultimate", "embed__input_px": None}, "takes 8 channels, but visualizations are stored"),
        ({"embed__model": "banded:of_five_channels"}, "takes 5 channels, the network's images have 8; allowed is an"),
        ({"network__channels": 4}, r"does not take images of shape \(4, 48, 36\).*network.channels = 8"),
        ({"network__mean": (0.1, 0.2)}, "`mean` has 2 and `std` 8 numbers; `channels` is 8"),
        ({"network__resize_px": 10}, "`resize_px` 10 is smaller than `input_px`"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    banded.paint(tmp_path / "images")
    with pytest.raises(PolyscanError, match=says):
        polyscan.scan(job(tmp_path / "images", **changes), str(tmp_path / "run"))


def test_many_channels_are_embedded_by_the_network_itself_without_visualizations(
    tmp_path: Path, no_pages: None
) -> None:
    banded.paint(tmp_path / "images")
    changes = {"embed__model": "penultimate", "embed__input_px": None, "visualize__enabled": False}
    changes |= {"survey__readouts": 0, "survey__controls": 0, "survey__planted": 0, "calibrate__nulls": []}
    results = polyscan.scan(job(tmp_path / "images", **changes), str(tmp_path / "run"))
    assert len(results.run.read("embeddings")["embedding"].iloc[0]) == banded.BANDS * 12 * 18


def test_images_of_which_none_fits_end_the_scan_with_the_reason(tmp_path: Path) -> None:
    toy.paint(tmp_path / "images")
    with pytest.raises(PolyscanError, match="has 3 channels, the network takes 8"):
        polyscan.scan(job(tmp_path / "images"), str(tmp_path / "run"))
    with pytest.raises(JobError, match="input should be less than or equal to 32"):
        job(tmp_path / "images", network__channels=33)
