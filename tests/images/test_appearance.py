"""A hash that copies share, and frames, on images made with and without them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from polyscan.images.appearance import difference_hash, frame_share

SIDE = 64


def picture(seed: int, side: int = SIDE) -> np.ndarray:
    """A smooth random picture with straight edges in it."""
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, size=(7, 6, 3), dtype=np.uint8))
    return np.array(small.resize((side, side), Image.Resampling.BICUBIC))


def framed(pixels: np.ndarray, *, top: int = 0, bottom: int = 0, left: int = 0, colour: int = 0) -> np.ndarray:
    pixels = pixels.copy()
    pixels[:top], pixels[len(pixels) - bottom :], pixels[:, :left] = colour, colour, colour
    return pixels


def compressed(pixels: np.ndarray, quality: int = 70) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def distance(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_copies_have_nearly_the_same_hash_and_other_pictures_have_not(seed: int) -> None:
    pixels = picture(seed)
    resized = np.array(Image.fromarray(pixels).resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC))
    own = difference_hash(pixels)
    assert distance(own, difference_hash(compressed(pixels))) <= 4
    assert distance(own, difference_hash(resized)) <= 4
    assert distance(own, difference_hash(picture(seed + 100))) > 12


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (8, 9), (257, 301)])
def test_an_image_of_any_size_has_a_hash_and_a_plain_one_has_none(size: tuple[int, int]) -> None:
    assert -(2**63) <= difference_hash(np.random.default_rng(0).integers(0, 256, (*size, 4), dtype=np.uint8)) < 2**63
    plain = np.full((*size, 3), 200, dtype=np.uint8)
    assert difference_hash(plain) == 0
    assert frame_share(plain) == 0


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ({}, 0.0),
        ({"top": 16, "bottom": 16}, 0.5),
        ({"top": 16, "bottom": 8, "colour": 255}, 0.375),
        ({"left": 16}, 0.25),
        ({"top": 32, "left": 16}, 0.625),
    ],
)
def test_frames_are_measured(bands: dict[str, int], expected: float) -> None:
    assert frame_share(framed(picture(3), **bands)) == pytest.approx(expected)


def test_a_letterbox_survives_compression() -> None:
    share = frame_share(compressed(framed(picture(3), top=16, bottom=16), 90))
    assert share == pytest.approx(0.5, abs=0.05)  # a blurred line on either side


def test_an_object_on_a_plain_background_has_no_frame() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    is_object = (y - 30) ** 2 + (x - 30) ** 2 < 20**2
    pixels = np.where(is_object[..., None], picture(1), np.uint8(255))
    assert frame_share(pixels) == 0
