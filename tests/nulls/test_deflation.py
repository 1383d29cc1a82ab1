"""Deflation: main readouts, what they explain, and where what is left is searched."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyscan.nulls.deflation import LEAST_IN_BIN, Curves, bin_edges, floors, main_readouts, searched_share
from polyscan.nulls.readouts import Activations, one_exemplar


def layer(n: int = 500, c: int = 6) -> np.ndarray:
    generator = np.random.default_rng(0)
    return (generator.normal(size=(n, c)) @ generator.normal(size=(c, c))).astype(np.float32)


def test_the_main_readout_of_one_vector_is_the_readout_tuned_to_it() -> None:
    vectors = layer()
    moments = Activations.of(vectors)
    tuned = one_exemplar(
        vectors, moments.mean, moments.covariance, count=8, generator=np.random.default_rng(1), ridges=(1.0,)
    )
    found = main_readouts(vectors[tuned.row], moments.mean, moments.covariance, ridge=1.0)
    assert np.allclose(found, tuned.weights, rtol=1e-4, atol=1e-6)


def test_a_unit_without_exemplars_or_with_average_ones_has_no_main_readout() -> None:
    vectors = layer()
    moments = Activations.of(vectors)
    tops = np.stack([np.full(6, np.nan), moments.mean, vectors[3]])
    found = main_readouts(tops, moments.mean, moments.covariance)
    assert np.isnan(found[:2]).all()
    assert np.isfinite(found[2]).all()


@pytest.mark.parametrize(
    ("tops", "covariance", "ridge", "word"),
    [
        (np.zeros((2, 5)), np.eye(6), 1.0, "`tops`"),
        (np.zeros((2, 6)), np.zeros((6, 6)), 1.0, "variance"),
        (np.zeros((2, 6)), np.eye(6), 0.0, "ridge"),
    ],
)
def test_wrong_input_is_refused(tops: np.ndarray, covariance: np.ndarray, ridge: float, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        main_readouts(tops, np.zeros(6), covariance, ridge=ridge)


@given(st.integers(2 * LEAST_IN_BIN, 20_000))
def test_every_bin_has_enough_images_and_none_is_lost(n: int) -> None:
    edges = bin_edges(n)
    assert edges[0] == 0
    assert edges[-1] == n
    assert np.diff(edges).min() >= LEAST_IN_BIN


def test_the_curve_is_a_linear_interpolation_of_medians_by_rank() -> None:
    generator = np.random.default_rng(2)
    mains = generator.normal(size=(700, 3)).astype(np.float32)
    units = (mains**3 + generator.normal(size=(700, 3))).astype(np.float32)
    curves = Curves.fit(mains, units)
    new = generator.normal(scale=1.5, size=(200, 3)).astype(np.float32)
    expected = curves.expected(new)
    edges = bin_edges(700)
    for u in range(3):
        order = np.argsort(mains[:, u])
        x = [np.median(mains[order[a:b], u]) for a, b in pairwise(edges)]
        y = [np.median(units[order[a:b], u]) for a, b in pairwise(edges)]
        inside = new[:, u] <= x[-1]
        assert np.allclose(expected[inside, u], np.interp(new[inside, u], x, y), atol=1e-4)
        beyond = new[~inside, u]
        assert np.allclose(expected[~inside, u], y[-1] + curves.slope[u] * (beyond - x[-1]), atol=1e-4)
        assert curves.slope[u] >= 0


def test_equal_values_of_a_main_readout_give_a_finite_curve() -> None:
    mains = np.repeat(np.float32([[0.0], [1.0]]), 50, axis=0)
    curves = Curves.fit(mains, mains * 2)
    assert np.isfinite(curves.expected(np.float32([[-1.0], [0.0], [0.5], [1.0], [9.0]]))).all()


def test_too_few_images_for_a_curve_are_refused() -> None:
    with pytest.raises(ValueError, match="24 images"):
        Curves.fit(np.zeros((20, 2), np.float32), np.zeros((20, 2), np.float32))


def test_the_floor_is_the_higher_of_rank_and_strength() -> None:
    values = np.tile(np.arange(100, dtype=np.float32)[:, None], (1, 2))
    found = floors(
        values,
        share=np.array([0.05, 0.05]),
        mean=np.array([0.0, 0.0]),
        top=np.array([100.0, 400.0]),
        least_strength=0.5,
    )
    assert found.tolist() == pytest.approx([np.quantile(np.arange(100), 0.95), 200.0])


def test_each_unit_is_searched_as_deep_as_its_share_says() -> None:
    values = np.tile(np.arange(100, dtype=np.float32)[:, None], (1, 3))
    zeros = np.zeros(3)
    found = floors(values, share=np.array([0.05, 0.2, 0.05]), mean=zeros, top=zeros)
    assert found.tolist() == pytest.approx([np.quantile(np.arange(100), q) for q in (0.95, 0.8, 0.95)])


def test_what_a_second_concept_adds_is_left_and_the_main_one_is_not() -> None:
    """Images have one of two concepts or neither; the unit is the larger of both, the second at half strength."""
    generator = np.random.default_rng(3)
    n = 4000
    first, second = (generator.normal(scale=0.1, size=n) for _ in range(2))
    first[:120] += 1.0
    second[120:240] += 1.0
    unit = np.maximum(first, 0.5 * second)[:, None].astype(np.float32)
    curves = Curves.fit(first[:, None].astype(np.float32), unit)
    left = unit - curves.expected(first[:, None].astype(np.float32))
    strongest = set(np.argsort(-left[:, 0])[:80].tolist())
    assert len(strongest & set(range(120, 240))) >= 78
    assert not strongest & set(range(120))


@pytest.mark.parametrize(
    ("k", "n", "share"), [(100, 10_000, 0.05), (8, 80, 0.25), (8, 64, 0.25), (8, 63, None), (8, 0, None)]
)
def test_at_most_a_quarter_of_the_images_is_searched(k: int, n: int, share: float | None) -> None:
    assert searched_share(k, n, reach=5) == share
