"""Patches: where they lie, and that the unit is read where they are pasted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from polyscan.inputs import open_reader
from polyscan.vision.swapping import LayerAxis, PatchGrid, PlaceReader, Spot, Window, pasted, plain

INF = float("inf")


@st.composite
def axes(draw: st.DrawFn) -> LayerAxis:
    """Layers of all kinds: small fields, fields that cover the input, unknown ones, one position."""
    side = draw(st.integers(2, 64))
    n = draw(st.integers(1, 16))
    field = draw(st.sampled_from([1.0, 3.0, side / 3, side / 2, float(side), 4.0 * side, INF]))
    effective = draw(st.sampled_from([1.0, side / 4, side * 2.0, INF]))
    first = draw(st.floats(-field, side, allow_nan=False)) if field < INF else -INF
    stride = side / n if field < INF else INF
    return LayerAxis(side, n, stride, first, field, effective)


@given(axes(), axes(), st.integers(0, 2**32))
def test_two_patches_fit_side_by_side_in_any_layer(rows: LayerAxis, columns: LayerAxis, seed: int) -> None:
    grid = PatchGrid(rows, columns)
    for spot in (grid.spot(np.random.default_rng((seed, draw))) for draw in range(5)):
        for window in (spot.here, spot.elsewhere):
            assert (window.bottom - window.top, window.right - window.left) == grid.size
            assert window.top >= 0
            assert window.left >= 0
            assert window.bottom <= rows.side
            assert window.right <= columns.side
        covered = np.zeros((rows.side, columns.side), dtype=int)
        for window in (spot.here, spot.elsewhere):
            window.of(covered[:, :, None])[:] += 1
        assert covered.max() == 1
        assert spot.read.any()


def test_a_small_field_is_the_patch_at_the_phase_of_its_position() -> None:
    # A 3 x 3 window with stride 2 and padding 1 on 16 px: position 3 sees px 5 to 7.
    axis = LayerAxis(16, 8, 2.0, -1.0, 3.0, 3.0)
    grid = PatchGrid(axis, axis)
    assert grid.size == (3, 3)
    assert grid.window(3, 4) == Window(5, 7, 8, 10)
    assert grid.window(0, 7) == Window(0, 13, 3, 16)  # shifted inside at the upper edge alone
    assert axis.within(5).tolist() == [False, False, False, True, False, False, False, False]


def test_a_field_that_covers_the_image_gives_its_central_part() -> None:
    assert LayerAxis(128, 4, 32.0, -200.0, 400.0, INF).patch == 64
    assert LayerAxis(128, 4, 32.0, -200.0, 400.0, 41.0).patch == 41
    assert LayerAxis(128, 4, 32.0, -200.0, 400.0, 400.0).patch == 64
    assert LayerAxis(128, 4, INF, -INF, INF, INF).centres.tolist() == [15.5, 47.5, 79.5, 111.5]


def test_the_nearest_position_is_read_if_none_looks_into_the_patch() -> None:
    axis = LayerAxis(64, 2, 32.0, 15.0, 1.0, 1.0)
    assert axis.centres.tolist() == [15, 47]
    assert axis.within(20).tolist() == [True, False]
    assert axis.within(40).tolist() == [False, True]


def test_pasting_changes_the_window_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    before = picture.copy()
    patch = 255 - Window(2, 3, 5, 7).of(picture)
    new = pasted(picture, patch, Window(2, 3, 5, 7))
    assert np.array_equal(picture, before)
    assert np.array_equal(new[2:5, 3:7], patch)
    new[2:5, 3:7] = picture[2:5, 3:7]
    assert np.array_equal(new, picture)


def test_a_plain_patch_has_the_mean_colour_of_its_picture() -> None:
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[:2] = (200, 100, 50)
    assert plain(picture, (3, 2)).tolist() == [[[100, 50, 25]] * 2] * 3


@pytest.fixture
def reader(tmp_path: Path) -> PlaceReader:
    opened = open_reader(toy.job(tmp_path / "images"))
    return PlaceReader(opened, next(point for point in opened.points if point.layer == "paint"), 8)


def spot(y: int, x: int) -> Spot:
    """A patch of 5 x 5 px around a position of a map as large as the image."""
    read = np.zeros((toy.SIDE, toy.SIDE), dtype=bool)
    read[y : y + 5, x : x + 5] = True
    return Spot(Window(y, x, y + 5, x + 5), Window(0, 0, 5, 5), read)


def test_the_unit_is_read_where_the_patch_lies_and_nowhere_else(reader: PlaceReader) -> None:
    grey = np.full((toy.SIDE, toy.SIDE, 3), 90, dtype=np.uint8)
    red = np.broadcast_to(np.array(toy.COLOURS["red"], dtype=np.uint8), (5, 5, 3))
    here = spot(8, 9)
    pictures = np.stack([grey, pasted(grey, red, here.here), pasted(grey, red, here.elsewhere)])
    before, aligned, elsewhere = reader(pictures, np.stack([here.read] * 3), toy.RED)
    whole = reader.maps(pictures, [toy.RED]).amax(dim=(2, 3))[:, 0].tolist()
    assert aligned == pytest.approx(whole[1])
    assert elsewhere == pytest.approx(before)  # though the unit sees the patch at its other place:
    assert whole[2] == pytest.approx(whole[1])
    assert aligned > before + 0.5
    green = reader(pictures, np.stack([here.read] * 3), toy.GREEN)
    assert green[1] <= green[0] + 1e-6


def test_batches_do_not_show(reader: PlaceReader) -> None:
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (19, toy.SIDE, toy.SIDE, 3), dtype=np.uint8)
    read = generator.random((19, toy.SIDE, toy.SIDE)) < 0.2
    together = reader(pictures, read, toy.BRIGHT)
    maps = np.concatenate([reader.maps(pictures[i : i + 1], [toy.BRIGHT]).numpy()[:, 0] for i in range(19)])
    assert together.tolist() == [maps[i][read[i]].max() for i in range(19)]
