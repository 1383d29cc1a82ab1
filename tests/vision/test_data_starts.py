"""Images that begin as means of a unit's exemplars: each mode is seen, and the start is the image it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polyscan.vision.feature_visualization import window
from polyscan.vision.feature_visualization.data_starts import cluster_means
from polyscan.vision.feature_visualization.spectrum import DARKEST, SpectrumShape

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("size", "channels"), [((16, 16), 3), ((17, 17), 3), ((24, 24), 1), ((16, 25), 3), ((21, 8), 5)]
)
def test_the_spectrum_of_an_image_is_the_images(size, channels):
    shape = SpectrumShape(size, channels, CPU)
    images = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shape.images(shape.of(images)), images.clamp(DARKEST, 1 - DARKEST), atol=1e-3, rtol=0)


def test_the_mean_window_of_each_cluster_the_largest_first():
    generator = np.random.default_rng(0)
    colours = np.array([[250, 0, 0]] * 3 + [[0, 0, 250]] * 7, dtype=np.uint8)
    windows = np.tile(colours[:, None, None], (1, 4, 5, 1))
    order = generator.permutation(10)
    windows = windows[order]
    features = windows.reshape(10, -1).astype(np.float32) + generator.normal(size=(10, 60)).astype(np.float32)
    means, sizes = cluster_means(windows, features, 2, seed=1)
    assert sizes.tolist() == [7, 3]
    assert means.shape == (2, 3, 4, 5)
    np.testing.assert_allclose(means[:, :, 0, 0], [[0, 0, 250 / 255], [250 / 255, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("box", "size", "corner"),
    [
        ((4, 6, 8, 10), (4, 4), (4, 6)),
        ((0, 0, 2, 2), (6, 6), (0, 0)),
        ((10, 10, 12, 12), (8, 8), (4, 4)),
        ((5, 5, 6, 6), (12, 12), (0, 0)),
        ((8, 0, 12, 2), (4, 10), (8, 0)),
    ],
)
def test_a_window_stays_in_the_view_with_the_box_in_its_middle_where_it_can(box, size, corner):
    view = np.arange(144, dtype=np.uint8).reshape(12, 12, 1)
    found = window(view, box, size)
    np.testing.assert_array_equal(found, view[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]])


def test_a_window_larger_than_the_view_goes_on_with_its_edges():
    view = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    found = window(view, (0, 0, 4, 4), (8, 8))
    assert found.shape == (8, 8, 1)
    np.testing.assert_array_equal(found[2:6, 2:6], view)
    assert (found[0, :2] == view[0, 0]).all()
