"""Intervals cover, p-values have their level, false discoveries are as many as said, and equal seeds agree."""

import numpy as np
import pytest
import scipy.stats
from stats.plain_bootstrap import ends, plain_means

from polyscan.stats.significance import (
    benjamini_hochberg,
    benjamini_yekutieli,
    empirical_p,
    resampled_means,
    resampling,
    spearman,
    spearman_test,
    tail_p,
)


def generator(seed=0):
    return np.random.default_rng(seed)


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    draws = generator().exponential(size=(300, 60))
    means = [resampled_means(values[:, None], generator=generator(i), draws=300) for i, values in enumerate(draws)]
    coverage = np.mean([low <= 1 <= high for low, high in map(ends, means)])
    # .95 less the known loss on skewed values; the sd of a share of 300 is .015.
    assert 0.88 <= coverage <= 0.98


def test_the_interval_is_that_of_the_normal_theory():
    values = generator().standard_normal(400)
    mean = values.mean()
    low, high = ends(resampled_means(values[:, None], generator=generator(1), draws=4000))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_means_of_resamples_are_those_of_the_plain_bootstrap():
    values = generator().standard_normal((25, 3))
    found = resampled_means(values, generator=generator(5), draws=40)
    for column, means in zip(values.T, found.T, strict=True):
        assert means == pytest.approx(plain_means(column, generator(5), 40), abs=1e-12)


def test_chunks_do_not_show(monkeypatch):
    values, depth = generator().standard_normal(30), np.arange(30)
    whole = (
        resampled_means(values[:, None], generator=generator(3)),
        spearman_test(values, depth, generator=generator(3)),
    )
    monkeypatch.setattr(resampling, "_CELLS_AT_ONCE", 70)
    chunked = (
        resampled_means(values[:, None], generator=generator(3)),
        spearman_test(values, depth, generator=generator(3)),
    )
    assert chunked[0] == pytest.approx(whole[0], abs=1e-12)
    assert chunked[1] == whole[1]


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


def literal_q(p, factor=1.0):
    """Least level at which the step-up procedure, run anew at each level that can matter, calls each test."""
    tested = [value for value in p if not np.isnan(value)]
    m = len(tested)
    levels = sorted({value * m * factor / i for value in tested for i in range(1, m + 1)} | {1.0})

    def called_up_to(level):
        passing = [value for i, value in enumerate(sorted(tested), start=1) if value <= i * level / m / factor + 1e-15]
        return max(passing, default=-1.0)

    return [
        np.nan if np.isnan(value) else min(1.0, *(level for level in levels if value <= called_up_to(level)))
        for value in p
    ]


@pytest.mark.parametrize("seed", range(6))
def test_q_is_the_least_level_that_calls_a_test(seed):
    p = generator(seed).random(12) ** 3
    p[3] = p[8]  # a tie
    p[generator(seed).random(12) < 0.2] = np.nan
    m = np.count_nonzero(~np.isnan(p))
    np.testing.assert_allclose(benjamini_hochberg(p), literal_q(p), atol=1e-12)
    np.testing.assert_allclose(benjamini_yekutieli(p), literal_q(p, sum(1 / i for i in range(1, m + 1))), atol=1e-12)


def test_q_equals_scipy():
    p = generator().random(200) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p), scipy.stats.false_discovery_control(p), atol=1e-12)
    by = scipy.stats.false_discovery_control(p, method="by")
    np.testing.assert_allclose(benjamini_yekutieli(p), by, atol=1e-12)


def test_q_is_never_below_p_and_what_was_not_tested_does_not_count():
    p = generator().random(50)
    with_gaps = np.insert(p, [0, 10, 50], np.nan)
    for q_of in (benjamini_hochberg, benjamini_yekutieli):
        assert (q_of(p) >= p).all()
        assert (q_of(p) <= 1).all()
        np.testing.assert_array_equal(q_of(with_gaps)[~np.isnan(with_gaps)], q_of(p))
        assert np.isnan(q_of(np.full(3, np.nan))).all()
        assert q_of(np.empty(0)).shape == (0,)
    assert benjamini_hochberg(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


def test_false_discoveries_are_as_rare_as_said():
    shares = []
    for i in range(300):
        z = generator(i).standard_normal(60)
        z[:20] += 3
        called = benjamini_hochberg(scipy.stats.norm.sf(z)) <= 0.2
        shares.append(called[20:].sum() / max(1, called.sum()))
    assert np.mean(shares) == pytest.approx(0.2 * 40 / 60, abs=0.03)  # the level times the share of true nulls


def test_a_tail_p_is_counted_where_ten_null_values_are_beyond():
    null = generator().standard_normal(500)
    tenth, eleventh = np.sort(null)[[-10, -11]]
    assert tail_p(tenth, null) == (11 / 501, False)
    assert tail_p(eleventh, null) == (12 / 501, False)
    beyond = tail_p(tenth + 1e-9, null)
    assert beyond.p <= 10 / 501


def literal_tail_p(value, null):
    """scipy's own fit of a generalised Pareto distribution, or of the exponential one where the shape came below 0."""
    threshold = np.quantile(null, 0.9)
    exceedances = null[null > threshold] - threshold
    shape, _, scale = scipy.stats.genpareto.fit(exceedances, floc=0)
    if shape < 0:
        shape, scale = 0.0, exceedances.mean()
    return len(exceedances) / len(null) * scipy.stats.genpareto.sf(value - threshold, shape, 0, scale)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("law", [scipy.stats.norm(), scipy.stats.t(4), scipy.stats.gamma(2)])
def test_a_tail_p_beyond_is_that_of_the_fitted_tail(seed, law):
    null = law.rvs(size=600, random_state=generator(seed))
    value = law.isf(1e-4)
    p, is_extrapolated = tail_p(value, null)
    expected = min(literal_tail_p(value, null), empirical_p(value, null))
    assert p == pytest.approx(expected, rel=0.05)
    assert is_extrapolated == (p < empirical_p(value, null))


def test_a_tail_p_of_exponential_values_is_right():
    ps = [tail_p(np.log(1e4), generator(i).exponential(size=2000)).p for i in range(200)]
    assert np.exp(np.mean(np.log(ps))) == pytest.approx(1e-4, rel=0.5)


def test_a_tail_p_falls_with_the_value_and_is_never_zero_nor_above_the_count():
    for law in (scipy.stats.uniform(), scipy.stats.norm(), scipy.stats.t(2)):
        null = law.rvs(size=300, random_state=generator(1))
        values = np.linspace(null.min(), 5 * null.max(), 200)
        ps = [tail_p(value, null).p for value in values]
        assert (np.diff(ps) <= 0).all()
        assert 0 < ps[-1] < 1 / 301
        assert all(p <= empirical_p(value, null) for p, value in zip(ps, values, strict=True))


def test_a_tail_p_of_the_lower_tail_is_that_of_the_mirrored_values():
    null = generator().gamma(2, size=400)
    assert tail_p(-9.0, -null, tail="lower") == tail_p(9.0, null)
    assert tail_p(9.0, null).is_extrapolated


def test_a_tail_without_enough_values_is_not_fitted():
    few, constant = generator().standard_normal(190), np.ones(1000)
    assert tail_p(9.0, few) == (1 / 191, False)
    assert tail_p(9.0, constant) == (1 / 1001, False)
    assert tail_p(9.0, generator().standard_normal(200)).is_extrapolated


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"p-values must be in \[0, 1\], got 1.5"):
        benjamini_hochberg(np.array([0.1, 1.5, np.nan]))
    with pytest.raises(ValueError, match=r"got -0.1"):
        benjamini_yekutieli(np.array([-0.1]))
    with pytest.raises(ValueError, match="got inf against 3 null values, 0 of them not finite"):
        tail_p(np.inf, np.zeros(3))
    with pytest.raises(ValueError, match=r"got 1\.0 against 2 null values, 1 of them not finite"):
        tail_p(1.0, np.array([0, np.nan]))
    with pytest.raises(ValueError, match="against 0 null values"):
        tail_p(1.0, np.empty(0))
    with pytest.raises(ValueError, match=r"got \(0, 2\) with some not finite"):
        resampled_means(np.empty((0, 2)), generator=generator())
    with pytest.raises(ValueError, match=r"got \(2, 1\) with some not finite"):
        resampled_means(np.array([[1.0], [np.nan]]), generator=generator())
    with pytest.raises(ValueError, match="`draws` must be at least 1, got 0"):
        resampled_means(np.ones((2, 1)), generator=generator(), draws=0)
    with pytest.raises(ValueError, match="`draws` must be at least 1, got 0"):
        spearman_test(np.ones(2), np.ones(2), generator=generator(), draws=0)
    with pytest.raises(ValueError, match="one length, got 2 and 3"):
        spearman(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        spearman(np.ones(2), np.array([np.nan, 1]))
    with pytest.raises(ValueError, match="against 0 null values"):
        empirical_p(1.0, np.empty(0))
