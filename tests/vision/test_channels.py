"""Channels: what a network takes, what people and embedders see."""

from __future__ import annotations

import numpy as np
import pytest

from polyscan.errors import ImagesError
from polyscan.vision.channels import for_embedder, for_network, picture_of, shown


def bands(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (6, 7, n), dtype=np.uint8)


@pytest.mark.parametrize(("n", "seen"), [(1, 1), (2, 1), (3, 3), (4, 3), (32, 3)])
def test_people_see_the_first_three_or_one(n: int, seen: int) -> None:
    np.testing.assert_array_equal(shown(bands(n)), bands(n)[:, :, :seen])
    picture = picture_of(bands(n))
    assert picture.mode == ("RGB" if seen == 3 else "L")
    np.testing.assert_array_equal(np.asarray(picture).reshape(6, 7, seen), bands(n)[:, :, :seen])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 32])
def test_a_network_of_as_many_channels_sees_all(n: int) -> None:
    assert for_network(bands(n), n) is not None
    np.testing.assert_array_equal(for_network(bands(n), n), bands(n))


@pytest.mark.parametrize(("n", "network"), [(3, 2), (3, 4), (4, 3), (8, 1), (2, 3), (2, 1), (1, 3)])
def test_other_numbers_are_refused_by_both(n: int, network: int) -> None:
    with pytest.raises(ImagesError, match=f"^unsupported: it has {n} channels, the network takes {network}; allowed"):
        for_network(bands(n), network)


def test_grey_of_equal_colours_is_that_value() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(for_network(grey, 1), grey[:, :, :1])


def test_an_embedder_gets_its_channels_or_an_error() -> None:
    for n in (1, 2, 3, 8):
        assert for_embedder(bands(n), 3).shape == (6, 7, 3)
        assert for_embedder(bands(n), 1).shape == (6, 7, 1)
        assert for_embedder(bands(n), n).shape == (6, 7, n)
    with pytest.raises(ImagesError, match="the embedder takes 5 channels, the image to embed has 8"):
        for_embedder(bands(8), 5)
