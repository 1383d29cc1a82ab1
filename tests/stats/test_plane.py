"""Items in two dimensions: distances kept where two dimensions hold them, and the same picture for the same items."""

from __future__ import annotations

import numpy as np
import pytest

from polyscan.stats.plane import plane


def cosines_of(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def distances(places: np.ndarray) -> np.ndarray:
    return np.linalg.norm(places[:, None] - places[None], axis=2)


def test_distances_are_the_items_own_where_they_lie_in_a_plane() -> None:
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 30)
    cosines = cosines_of(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert distances(plane(cosines)) == pytest.approx(np.sqrt(np.maximum(0, 2 - 2 * cosines)), abs=1e-6)


def test_distances_are_never_larger_than_the_items_own() -> None:
    for seed in range(5):
        cosines = cosines_of(np.random.default_rng(seed).normal(size=(40, 12)))
        assert (distances(plane(cosines)) <= np.sqrt(np.maximum(0, 2 - 2 * cosines)) + 1e-9).all()


def test_it_is_the_best_plane_there_is() -> None:
    """The literal twin: no other projection of the centred unit vectors spreads them more."""
    vectors = np.random.default_rng(1).normal(size=(25, 6))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    assert (plane(unit @ unit.T) ** 2).sum(axis=0) == pytest.approx(singular[:2] ** 2)


def test_two_groups_part_along_the_first_axis() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.eye(8)[:2], [20, 10], axis=0) + 0.1 * rng.normal(size=(30, 8))
    x = plane(cosines_of(groups))[:, 0]
    assert max(x[:20].max(), x[20:].max()) - min(x[:20].min(), x[20:].min()) > 1
    assert x[:20].max() < x[20:].min() or x[20:].max() < x[:20].min()


def test_the_item_furthest_out_lies_on_the_positive_side() -> None:
    for seed in range(10):
        places = plane(cosines_of(np.random.default_rng(seed).normal(size=(15, 5))))
        assert (places[np.abs(places).argmax(axis=0), [0, 1]] > 0).all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_items_lie_in_the_middle(n: int) -> None:
    assert plane(np.eye(n)).tolist() == [[0.0, 0.0]] * n


def test_equal_items_lie_in_one_place() -> None:
    assert plane(np.ones((6, 6))) == pytest.approx(np.zeros((6, 2)))
