"""Calibration: its formulas, uniform p where a set is exchangeable with the null, power where it is not."""

import numpy as np
import pytest
import scipy.stats
from stats.leave_one_out import Null, leave_one_out_p

from polyscan.nulls.calibration import Calibration, match_radius, matched, off_range


def generator(seed=0):
    return np.random.default_rng(seed)


def null_of(n, seed=0, low=0.1, high=0.6):
    """Values whose mean and spread follow clarity as those of real null sets do: a parabola, and a tenfold spread."""
    clarity = generator(seed).uniform(low, high, n)
    t = (clarity - low) / (high - low)
    return 0.3 + 0.5 * t - 0.4 * t**2 + 0.01 * 10**t * generator(seed + 1).standard_normal(n), clarity


def slow_p(value, clarity, null_values, null_clarity, tail):
    """From the definition: the fits by normal equations, the share by counting."""
    middle, half = (null_clarity.max() + null_clarity.min()) / 2, (null_clarity.max() - null_clarity.min()) / 2
    t = (null_clarity - middle) / half
    quadratic = np.stack([t**0, t, t**2], axis=1)
    m = np.linalg.solve(quadratic.T @ quadratic, quadratic.T @ null_values)
    errors = null_values - quadratic @ m
    logs = np.log(np.maximum(abs(errors), 0.01 * np.sqrt(np.mean(errors**2))))
    slope = np.polyfit(t, logs, 1)[0]
    residuals = errors / np.exp(slope * t)
    at = (np.clip(clarity, null_clarity.min(), null_clarity.max()) - middle) / half
    own = (value - m @ [1, at, at**2]) / np.exp(slope * at)
    extreme = sum(r >= own if tail == "upper" else r <= own for r in residuals)
    return (extreme + 1) / (len(residuals) + 1)


@pytest.mark.parametrize("tail", ["upper", "lower"])
def test_p_is_that_of_the_definition(tail):
    values, clarity = null_of(150)
    units, at = null_of(40, seed=5, low=0.0, high=0.8)  # some lie outside the null's range
    calibration = Calibration.fit(values, clarity, tail=tail)
    expected = [slow_p(value, c, values, clarity, tail) for value, c in zip(units, at, strict=True)]
    assert calibration.p(units, at).tolist() == pytest.approx(expected, abs=1e-12)


def test_mean_and_sd_are_found_again():
    values, clarity = null_of(20_000)
    calibration = Calibration.fit(values, clarity, tail="upper")
    at = np.array([0.1, 0.35, 0.6])
    np.testing.assert_allclose(calibration.mean(at), [0.3, 0.45, 0.4], atol=0.003)
    np.testing.assert_allclose(calibration.sd(at), [0.01, 0.01 * 10**0.5, 0.1], rtol=0.05)


def test_standardised_residuals_have_unit_spread():
    residuals = Calibration.fit(*null_of(500), tail="upper").residuals
    assert (residuals**2).mean() == pytest.approx(1)
    assert (np.diff(residuals) >= 0).all()


@pytest.mark.parametrize("tail", ["upper", "lower"])
def test_p_of_null_sets_is_uniform_at_every_clarity(tail):
    values, clarity = null_of(1600)
    units, at = null_of(900, seed=7)
    p = Calibration.fit(values, clarity, tail=tail).p(units, at)
    for is_within in (at < 0.25, (at >= 0.25) & (at < 0.45), at >= 0.45):
        assert scipy.stats.kstest(p[is_within], "uniform").pvalue > 0.01


@pytest.mark.parametrize("tail", ["upper", "lower"])
def test_matched_p_of_null_sets_is_uniform_away_from_the_edges(tail):
    values, clarity = null_of(8000)
    units, at = null_of(900, seed=7, low=0.1, high=0.6)
    is_within = (at > 0.12) & (at < 0.58)
    p = matched(units[is_within], at[is_within], values, clarity, tail=tail)
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_without_clarity_the_level_is_lost():
    # Why there is a calibration at all: against the pooled null every tight set of this family looks extreme.
    values, clarity = null_of(1600)
    units, at = null_of(900, seed=7)
    alike = np.zeros(1600)
    pooled = Calibration.fit(values, alike, tail="lower").p(units, np.zeros(900))
    assert (pooled[at < 0.15] <= 0.05).mean() > 0.15
    assert (Calibration.fit(values, clarity, tail="lower").p(units, at)[at < 0.15] <= 0.05).mean() < 0.12


@pytest.mark.parametrize(("tail", "shift"), [("upper", 5), ("lower", -5)])
def test_units_far_from_the_null_are_rejected_on_the_declared_tail_only(tail, shift):
    values, clarity = null_of(400)
    calibration = Calibration.fit(values, clarity, tail=tail)
    at = np.array([0.15, 0.35, 0.55])
    far, opposite = (calibration.mean(at) + sign * shift * calibration.sd(at) for sign in (1, -1))
    assert calibration.p(far, at).tolist() == [1 / 401] * 3
    assert calibration.p(opposite, at).tolist() == [1] * 3
    assert matched(far, at, values, clarity, tail=tail, nearest=50).tolist() == [1 / 51] * 3


def test_the_value_of_a_null_set_counts_itself():
    values, clarity = null_of(60)
    p = Calibration.fit(values, clarity, tail="upper").p(values, clarity)
    assert sorted(p.tolist()) == pytest.approx([(i + 2) / 61 for i in range(60)])


def test_equal_values_count_as_extreme_on_both_tails():
    values, clarity = np.repeat([0.0, 1.0], 15), np.full(30, 0.4)
    units, at = np.array([0.0, 1.0]), np.full(2, 0.4)
    assert Calibration.fit(values, clarity, tail="upper").p(units, at).tolist() == [1, 16 / 31]
    assert Calibration.fit(values, clarity, tail="lower").p(units, at).tolist() == [16 / 31, 1]
    assert matched(units, at, values, clarity, tail="lower").tolist() == [16 / 31, 1]


def test_scale_place_and_order_do_not_matter():
    values, clarity = null_of(100)
    units, at = null_of(30, seed=3)
    plain = Calibration.fit(values, clarity, tail="upper").p(units, at)
    shuffle = generator().permutation(100)
    moved = Calibration.fit(1e6 * values[shuffle] - 7, 3 * clarity[shuffle] + 1, tail="upper").p(
        1e6 * units - 7, 3 * at + 1
    )
    np.testing.assert_allclose(moved, plain, atol=1.01 / 101)  # rounding may swap two neighbours
    mirrored = Calibration.fit(-values, clarity, tail="lower").p(-units, at)
    np.testing.assert_array_equal(mirrored, plain)


def test_outside_the_range_the_edge_holds_and_is_flagged():
    values, clarity = null_of(300)
    calibration = Calibration.fit(values, clarity, tail="upper")
    edges = np.array([clarity.min(), clarity.max()])
    beyond = np.array([clarity.min() - 5, clarity.max() + 5])
    np.testing.assert_array_equal(calibration.mean(beyond), calibration.mean(edges))
    np.testing.assert_array_equal(calibration.sd(beyond), calibration.sd(edges))
    assert calibration.is_outside(beyond).tolist() == [True, True]
    assert calibration.is_outside(edges).tolist() == [False, False]


def test_null_values_that_are_nan_are_left_out():
    values, clarity = null_of(80)
    holed = np.concatenate([values, np.full(20, np.nan)])
    at = np.concatenate([clarity, np.full(20, 9.0)])
    calibration = Calibration.fit(holed, at, tail="upper")
    assert (len(calibration.residuals), calibration.high) == (80, clarity.max())
    np.testing.assert_array_equal(calibration.residuals, Calibration.fit(values, clarity, tail="upper").residuals)
    unit, place = np.array([0.4]), np.array([0.3])
    assert matched(unit, place, holed, at, tail="upper") == matched(unit, place, values, clarity, tail="upper")


@pytest.mark.parametrize("clarity", [np.full(30, 0.4), np.repeat([0.2, 0.6], 15)])
def test_clarity_of_one_or_two_values_gives_the_mean_of_each(clarity):
    values = generator().standard_normal(30) + 10 * clarity
    calibration = Calibration.fit(values, clarity, tail="upper")
    for c in set(clarity.tolist()):
        assert calibration.mean(np.array([c]))[0] == pytest.approx(values[clarity == c].mean())
    assert 0 < calibration.sd(np.array([0.4]))[0] < 3


@pytest.mark.filterwarnings("error")
def test_a_null_without_spread_rejects_whatever_lies_beyond_it():
    clarity = np.linspace(0, 1, 25)
    calibration = Calibration.fit(2 * clarity, clarity, tail="upper")
    assert calibration.sd(np.array([0.5])).tolist() == [0]
    assert calibration.p(np.array([1.0, 1.1, 0.9, np.nan]), np.full(4, 0.5)).tolist() == pytest.approx(
        [1, 1 / 26, 1, np.nan], nan_ok=True
    )


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_of_units_without_a_number_and_of_scores_without_a_tail():
    values, clarity = null_of(30)
    units, at = np.array([np.nan, 0.4]), np.array([0.3, np.nan])
    assert np.isnan(Calibration.fit(values, clarity, tail="upper").p(units, at)).all()
    assert np.isnan(matched(units, at, values, clarity, tail="lower")).all()
    assert np.isnan(Calibration.fit(values, clarity, tail="none").p(values, clarity)).all()
    assert np.isnan(matched(values, clarity, values, clarity, tail="none")).all()


def test_matched_counts_among_the_nearest_only():
    null_clarity = np.arange(60) / 10
    null_values = np.where(np.arange(60) < 30, 0.0, 100.0)
    p = matched(np.array([50.0, 50.0]), np.array([0.0, 6.0]), null_values, null_clarity, tail="upper", nearest=20)
    assert p.tolist() == [1 / 21, 1]
    # Sets 0 and 20 are equally far from the unit and one place is left: the first one has it.
    values = np.where(np.arange(60) == 0, 100.0, 0.0)
    assert matched(np.array([50.0]), np.array([10.0]), values, np.arange(60.0), tail="upper", nearest=20) == [2 / 21]


def test_the_radius_reaches_the_nth_nearest_set():
    null_clarity = np.concatenate([np.linspace(0.1, 0.2, 30), [0.5]])
    at = np.array([0.15, 0.5, np.nan])
    expected = [sorted(abs(c - 0.15) for c in null_clarity)[4], sorted(abs(c - 0.5) for c in null_clarity)[4], np.nan]
    assert match_radius(at, null_clarity, nearest=5).tolist() == pytest.approx(expected, nan_ok=True)


def test_units_without_null_sets_of_their_clarity_are_off_range():
    null_clarity = np.concatenate([np.linspace(0.1, 0.2, 30), [0.5]])
    #           inside, just below the least, among too few, above all, unknown
    at = np.array([0.15, 0.099, 0.45, 0.7, np.nan])
    assert off_range(at, null_clarity).tolist() == [False, True, True, True, True]


def grouped(n_groups, per_group, seed=0):
    """Sets of one readout share their deviation and lie near each other: to judge one by its siblings is to cheat."""
    clarity = np.repeat(generator(seed).uniform(0, 1, n_groups), per_group)
    shared = np.repeat(generator(seed + 1).standard_normal(n_groups), per_group)
    return Null(clarity + shared, clarity, np.repeat(np.arange(n_groups), per_group))


def test_leaving_a_read_out_out_leaves_all_its_sets_out():
    null = grouped(30, 4)
    p = leave_one_out_p(null, tail="upper", folds=30)
    for group in (0, 13, 29):
        is_out = null.groups == group
        others = Calibration.fit(null.values[~is_out], null.clarity[~is_out], tail="upper")
        np.testing.assert_array_equal(p[is_out], others.p(null.values[is_out], null.clarity[is_out]))


@pytest.mark.parametrize("n_groups", [40, 300])
def test_p_with_the_read_out_left_out_is_uniform(n_groups):
    values, clarity = null_of(n_groups)
    null = Null(np.repeat(values, 3), np.repeat(clarity, 3), np.repeat(np.arange(n_groups), 3))
    p = leave_one_out_p(null, tail="upper")[::3]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_groups_of_any_names_are_dealt_out_and_nan_stays_nan():
    null = grouped(25, 2)
    values = null.values.copy()
    values[7] = np.nan
    named = Null(values, null.clarity, np.array([f"readout {g:02d}" for g in null.groups]))
    numbered = Null(values, null.clarity, null.groups)
    p = leave_one_out_p(named, tail="lower", folds=4)
    np.testing.assert_array_equal(p, leave_one_out_p(numbered, tail="lower", folds=4))
    assert np.flatnonzero(np.isnan(p)).tolist() == [7]


@pytest.mark.parametrize(
    ("values", "clarity", "tail", "message"),
    [
        (np.ones(19), np.ones(19), "upper", "a null needs 20 sets with a value, got 19 and 0 without; draw more"),
        (np.full(25, np.nan), np.ones(25), "upper", "got 0 and 25 without"),
        (np.ones(25), np.ones(24), "upper", r"a value and a clarity, got \(25,\) and \(24,\)"),
        (np.ones(25), np.full(25, np.nan), "upper", "25 of 25 null sets have an infinite value or a clarity"),
        (np.full(25, np.inf), np.ones(25), "lower", "25 of 25 null sets"),
        (np.ones(25), np.ones(25), "both", '`tail` must be "upper", "lower" or "none", got \'both\''),
    ],
)
def test_nulls_that_calibrate_nothing_are_refused(values, clarity, tail, message):
    with pytest.raises(ValueError, match=message):
        Calibration.fit(values, clarity, tail=tail)
    with pytest.raises(ValueError, match=message):
        matched(np.ones(1), np.ones(1), values, clarity, tail=tail)


def test_wrong_arguments_are_refused():
    values, clarity = null_of(30)
    with pytest.raises(ValueError, match="`nearest` must be at least 20, got 19"):
        matched(values, clarity, values, clarity, tail="upper", nearest=19)
    with pytest.raises(ValueError, match="needs 20 finite null clarities, 1 or more, got 3 with 1 not finite"):
        match_radius(clarity, np.array([0.1, np.nan, 0.2]))
    with pytest.raises(ValueError, match="needs 31 finite null clarities, 1 or more, got 30 with 0 not finite"):
        match_radius(clarity, clarity, nearest=31)
    with pytest.raises(ValueError, match="one length, got 30, 29 and 30"):
        Null(values, clarity[1:], np.arange(30))
    with pytest.raises(ValueError, match="needs 2 of them and 2 folds or more, got 1 and 10"):
        leave_one_out_p(Null(values, clarity, np.zeros(30)), tail="upper")
    with pytest.raises(ValueError, match="got 30 and 1"):
        leave_one_out_p(Null(values, clarity, np.arange(30)), tail="upper", folds=1)
