"""Resampling: intervals cover, p-values have their level, and equal seeds give equal answers."""

import numpy as np
import pytest
import scipy.stats

from polyscan.stats import significance
from polyscan.stats.significance import bootstrap_interval, empirical_p, spearman, spearman_test


def generator(seed=0):
    return np.random.default_rng(seed)


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    draws = generator().exponential(size=(300, 60))
    intervals = [bootstrap_interval(values, generator=generator(i), draws=300) for i, values in enumerate(draws)]
    coverage = np.mean([interval.low <= 1 <= interval.high for interval in intervals])
    # .95 less the known loss on skewed values; the sd of a share of 300 is .015.
    assert 0.88 <= coverage <= 0.98


def test_the_interval_is_that_of_the_normal_theory():
    values = generator().standard_normal(400)
    mean, low, high = bootstrap_interval(values, generator=generator(1), draws=4000)
    half = 1.96 * values.std() / 20
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_chunks_do_not_show(monkeypatch):
    values, depth = generator().standard_normal(30), np.arange(30)
    whole = bootstrap_interval(values, generator=generator(3)), spearman_test(values, depth, generator=generator(3))
    monkeypatch.setattr(significance, "_CELLS_AT_ONCE", 70)
    chunked = bootstrap_interval(values, generator=generator(3)), spearman_test(values, depth, generator=generator(3))
    assert chunked == whole


@pytest.mark.parametrize("n_values", [2, 5, 1000])
def test_spearman_equals_scipy(n_values):
    x, y = generator(n_values).integers(0, n_values, size=(2, 20))
    x[0], y[0] = -1, -1  # neither side is constant
    assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)


def test_spearman_of_a_constant_side_is_nan():
    assert np.isnan(spearman(np.ones(5), np.arange(5)))
    assert np.isnan(spearman(np.ones(1), np.ones(1)))
    assert np.isnan(spearman(np.empty(0), np.empty(0)))
    assert np.isnan(spearman_test(np.ones(5), np.arange(5), generator=generator()).p)


def test_the_permutation_p_is_exact_on_few_pairs():
    # Of the 24 orders of 4 values only the same and the reversed one reach |rho| = 1.
    rho, p = spearman_test(np.arange(4), np.arange(4) * 2, generator=generator(), draws=20_000)
    assert rho == 1
    assert p == pytest.approx(2 / 24, abs=0.006)


def test_the_permutation_p_is_uniform_without_a_trend():
    pairs = generator().standard_normal((200, 2, 12))
    ps = [spearman_test(x, y, generator=generator(i), draws=199).p for i, (x, y) in enumerate(pairs)]
    assert scipy.stats.kstest(ps, "uniform").pvalue > 0.01


def test_empirical_p_counts_the_value_itself():
    null = np.array([1.0, 2.0, 3.0])
    assert empirical_p(9.0, null) == 0.25
    assert empirical_p(2.0, null) == 0.75
    assert empirical_p(2.0, null, tail="lower") == 0.75
    assert empirical_p(0.0, null, tail="lower") == 0.25
    assert empirical_p(0.0, null) == 1


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="got 0 with 0 not finite"):
        bootstrap_interval(np.empty(0), generator=generator())
    with pytest.raises(ValueError, match="got 2 with 1 not finite"):
        bootstrap_interval(np.array([1.0, np.nan]), generator=generator())
    with pytest.raises(ValueError, match=r"`level` must be in \(0, 1\), got 95.0"):
        bootstrap_interval(np.ones(2), generator=generator(), level=95.0)
    with pytest.raises(ValueError, match="`draws` must be at least 1, got 0"):
        spearman_test(np.ones(2), np.ones(2), generator=generator(), draws=0)
    with pytest.raises(ValueError, match="one length, got 2 and 3"):
        spearman(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        spearman(np.ones(2), np.array([np.nan, 1]))
    with pytest.raises(ValueError, match="against 0 null values"):
        empirical_p(1.0, np.empty(0))
