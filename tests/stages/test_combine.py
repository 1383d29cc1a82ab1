"""combine: boxes from positions, what is dead, keys of crops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyscan.stages.combine import dead
from polyscan.stats.moments import Moments
from polyscan.tables.boxes import boxes_of
from polyscan.tables.keys import crop_keys, visualization_keys

INPUT = 32
SIZE = (INPUT, INPUT)


def layer(**changes: float) -> pd.Series:
    geometry = {"stride_y": 4.0, "stride_x": 2.0, "field_y": 7.0, "field_x": 3.0, "first_y": -3.0, "first_x": 0.0}
    return pd.Series({**geometry, **changes})


def test_a_box_is_the_receptive_field_cut_at_the_edges() -> None:
    rows = pd.DataFrame({"y": [0, 1, 7], "x": [0, 5, 15]})
    boxes = boxes_of(rows, layer(), SIZE)
    # rows: -3..4, 1..8, 25..32; columns: 0..3, 10..13, 30..33 cut at 32
    assert boxes.tolist() == [[0, 0, 4, 3], [1, 10, 8, 13], [25, 30, 32, 32]]


def test_a_field_without_bound_is_the_whole_image() -> None:
    boxes = boxes_of(pd.DataFrame({"y": [0, 3], "x": [1, 2]}), layer(field_y=np.inf, field_x=np.inf), SIZE)
    assert boxes.tolist() == [[0, 0, INPUT, INPUT]] * 2


def test_boxes_are_cut_at_the_edges_of_an_input_that_is_not_square() -> None:
    rows = pd.DataFrame({"y": [0, 7], "x": [0, 15]})
    assert boxes_of(rows, layer(), (30, 20)).tolist() == [[0, 0, 4, 3], [25, 20, 30, 20]]
    whole = boxes_of(rows, layer(field_y=np.inf, field_x=np.inf), (30, 20))
    assert whole.tolist() == [[0, 0, 30, 20]] * 2


def test_the_same_crop_has_one_key_and_others_have_others() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 50, 20_000)
    boxes = generator.integers(0, 20, (20_000, 4)).astype(np.int32)
    keys = crop_keys(image, boxes)
    crops = [tuple(row) for row in np.column_stack([image, boxes])]
    assert len(set(keys.tolist())) == len(set(crops))
    assert np.array_equal(keys, crop_keys(image, boxes))
    assert keys.dtype == np.int64


@given(st.integers(0, 2**40), st.integers(0, 300), st.integers(0, 4))
def test_a_key_depends_on_every_number(image: int, edge: int, which: int) -> None:
    images, boxes = np.array([image, image]), np.full((2, 4), edge, dtype=np.int32)
    if which == 4:
        images[1] += 1
    else:
        boxes[1, which] += 1
    first, second = crop_keys(images, boxes)
    assert first != second


def test_keys_of_visualizations_tell_layer_channel_and_index_apart() -> None:
    keys = visualization_keys(["a", "a", "a", "b", "a1"], [1, 1, 2, 1, 1], [0, 1, 0, 0, 0])
    assert len(set(keys.tolist())) == 5
    assert keys[0] == visualization_keys(["a"], [1], [0])[0]


@pytest.mark.parametrize("relu_follows", [True, False])
def test_dead_is_next_to_no_spread_or_nothing_through_the_relu(relu_follows: bool) -> None:
    generator = np.random.default_rng(0)
    peaks = generator.normal(size=(200, 4))
    peaks[:, 1] = 3.0  # constant
    peaks[:, 2] -= 100  # never above zero
    peaks[:, 3] *= 1e-9  # next to no spread, beside its neighbours
    found = dead(Moments.of(peaks), relu_follows=relu_follows)
    assert found.tolist() == [False, True, relu_follows, True]
