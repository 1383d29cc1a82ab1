"""Views of a batch: each image's own, and what turning and scaling mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polyscan.vision.feature_visualization.augmentation import Views

CPU = torch.device("cpu")
NONE = {"jitter_px": 0, "rotate_degrees": 0.0, "scale": 0.0}


def views(seeds=(0,), steps=4, **settings):
    return Views(seeds, steps, **(NONE | settings), device=CPU)


def with_extremes(monkeypatch, **settings):
    """Views whose draws are all at the upper end."""
    monkeypatch.setattr(
        np.random, "default_rng", lambda _: type("Upper", (), {"uniform": lambda *_: np.ones((4, 2))})()
    )
    return views(**settings)


def test_nothing_is_resampled_where_nothing_is_asked_for(noise):
    images = noise(1, 3, 8, 8)
    assert views().turned(images, 0) is images
    assert views().shifts(0) is None


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize(("degrees", "quarters"), [(90, -1), (180, 2)])
def test_a_right_angle_moves_pixels_and_nothing_else(monkeypatch, noise, degrees, quarters, side):
    images = noise(1, 3, side, side)
    found = with_extremes(monkeypatch, rotate_degrees=degrees).turned(images, 0)
    torch.testing.assert_close(found, images.rot90(-quarters, dims=(2, 3)), rtol=1e-4, atol=1e-5)


def test_a_factor_of_two_shows_the_middle_half(monkeypatch):
    side = 16
    ramp = torch.arange(side, dtype=torch.float32).expand(1, 1, side, side)
    found = with_extremes(monkeypatch, scale=1.0).turned(ramp, 0)
    middle = (side - 1) / 2
    expected = middle + (ramp - middle) / 2  # a ramp is read exactly between its pixels
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("height", "width"), [(20, 10), (10, 20)])
def test_a_turn_of_an_image_that_is_not_square_shears_nothing(monkeypatch, noise, height, width):
    """By a right angle, the middle square is what it is in a square image."""
    images = noise(1, 3, height, width)
    found = with_extremes(monkeypatch, rotate_degrees=90, aspect=height / width).turned(images, 0)
    top, left = (height - 10) // 2, (width - 10) // 2
    middle = images[:, :, top : top + 10, left : left + 10]
    expected = middle.rot90(1, dims=(2, 3))
    torch.testing.assert_close(found[:, :, top : top + 10, left : left + 10], expected, rtol=1e-4, atol=1e-5)


def test_draws_fill_their_range_and_no_more():
    drawn = views(seeds=range(40), steps=50, rotate_degrees=10, scale=0.1, jitter_px=3)
    matrices = torch.stack([drawn._matrices[step] for step in range(50)])
    factors = 1 / matrices[..., :2].det().sqrt()
    angles = torch.rad2deg(torch.atan2(matrices[..., 1, 0], matrices[..., 0, 0]))
    shifts = torch.stack([drawn.shifts(step) for step in range(50)])
    assert 9.9 < angles.abs().max() <= 10.001
    assert 1.099 < factors.max() <= 1.1001
    assert 1 / 1.1001 <= factors.min() < 1 / 1.099
    assert 2.99 < shifts.abs().max() <= 3
    assert abs(angles.mean()) < 0.5


def test_an_images_views_are_its_own(noise):
    settings = {"jitter_px": 4, "rotate_degrees": 15, "scale": 0.2}
    images = noise(2, 3, 12, 12)
    both, swapped = views((5, 9), **settings), views((9, 5), **settings)
    for step in range(4):
        assert torch.equal(both.turned(images, step).flip(0), swapped.turned(images.flip(0), step))
        assert torch.equal(both.shifts(step).flip(0), swapped.shifts(step))
    assert not torch.equal(both.shifts(0)[0], both.shifts(0)[1])
    assert not torch.equal(both.shifts(0), both.shifts(1))
