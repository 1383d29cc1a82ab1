"""The sign-flip test, block means and t intervals against literal twins."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from polyscan.stats.significance import block_means, mean_interval, sign_flip_p, signs


def literal_p(differences: list[float]) -> float:
    """All assignments of signs, one after the other."""
    observed = sum(differences)
    sums = [
        sum(sign * d for sign, d in zip(assignment, differences, strict=True))
        for assignment in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(total >= observed - 1e-9 for total in sums) / len(sums)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_all_flips_are_counted_if_there_are_few(n: int) -> None:
    generator = np.random.default_rng(n)
    differences = np.round(generator.normal(0.3, 1, (6, n)), 1)  # rounded, so that there are ties
    flips = signs(n, draws=1000, generator=generator)
    assert len(flips) == 2**n == len(np.unique(flips, axis=0))
    assert sign_flip_p(differences, flips).tolist() == [literal_p(row) for row in differences.tolist()]


def test_drawn_flips_come_close_to_all_of_them() -> None:
    differences = np.random.default_rng(1).normal(0.4, 1, (4, 12))
    exact = [literal_p(row) for row in differences.tolist()]
    flips = signs(12, draws=3999, generator=np.random.default_rng(2))
    assert len(flips) == 4000
    assert np.abs(sign_flip_p(differences, flips) - exact).max() < 4 * 0.5 / np.sqrt(4000)


def test_p_keeps_its_level_where_pairs_are_exchangeable() -> None:
    generator = np.random.default_rng(4)
    pairs = generator.exponential(size=(20_000, 10, 2))  # skewed, but both of a pair alike
    p = sign_flip_p(pairs[..., 0] - pairs[..., 1], signs(10, draws=1024, generator=generator))
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(p))
    assert (p <= 0.05).mean() > 0.03


def test_no_difference_at_all_is_no_evidence() -> None:
    assert sign_flip_p(np.zeros((1, 8)), signs(8, draws=99, generator=np.random.default_rng(0))).tolist() == [1.0]


def test_pairs_of_one_donor_are_one_observation() -> None:
    values = np.random.default_rng(4).normal(size=(3, 7))
    blocks = np.arange(7) % 3
    literal = [[np.mean([row[i] for i in range(7) if blocks[i] == block]) for block in range(3)] for row in values]
    assert np.allclose(block_means(values, blocks), literal)


def test_the_interval_is_that_of_a_t_test() -> None:
    values = np.random.default_rng(5).normal(2, 3, 11)
    low, high = stats.t.interval(0.95, 10, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx((values.mean(), low, high))
    mean, low, high = mean_interval(np.array([1.5]))
    assert mean == 1.5
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: signs(0, draws=9, generator=rng), "at least one pair"),
        (lambda rng: sign_flip_p(np.array([[np.nan]]), signs(1, draws=9, generator=rng)), "must be finite"),
        (lambda rng: sign_flip_p(np.ones((1, 2)), signs(3, draws=9, generator=rng)), "3 pairs"),
        (lambda _: sign_flip_p(np.ones((1, 2)), -np.ones((4, 2))), "must all be 1"),
        (lambda _: block_means(np.ones((1, 2)), np.array([0, 2])), "without gaps"),
        (lambda _: mean_interval(np.empty(0)), "finite values"),
    ],
)
def test_wrong_numbers_are_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))
