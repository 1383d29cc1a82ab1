"""Moments: merged parts equal the whole, and both equal the direct formulas."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyscan.stats.moments import Moments

peaks_of_images = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.just(2)), elements=st.floats(-100, 100, width=32)
)


@given(peaks_of_images, st.lists(st.integers(0, 12), max_size=3))
def test_merged_parts_equal_the_whole(peaks, cuts):
    parts = [Moments.of(part) for part in np.split(peaks, sorted(min(cut, len(peaks)) for cut in cuts))]
    merged, whole = Moments.merged(parts), Moments.of(peaks)
    for name in ("n", "min", "max", "n_at_max", "n_nonpositive"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name), err_msg=name)
    for power in (1, 2, 3, 4):
        # Cancellation is inherent in signed sums: the tolerance is relative to the sum of magnitudes.
        magnitude = (np.abs(peaks.astype(float)) ** power).sum(axis=0)
        difference = np.abs(getattr(merged, f"s{power}") - getattr(whole, f"s{power}"))
        assert (difference <= 1e-12 * magnitude).all()


def test_statistics_equal_the_direct_formulas():
    peaks = np.maximum(np.random.default_rng(0).gamma(2.0, size=(500, 4)) - 1, 0).astype(np.float32)
    moments, exact = Moments.of(peaks), peaks.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.sd, exact.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.excess_kurtosis, scipy.stats.kurtosis(exact, axis=0), rtol=1e-10)
    np.testing.assert_array_equal(moments.sparsity, (peaks <= 0).mean(axis=0))
    assert (moments.sparsity > 0.1).all()


def test_ties_at_a_clip_are_counted_over_parts():
    parts = [np.array([[6.0], [6.0], [1.0]]), np.array([[5.0], [5.0]]), np.array([[6.0]])]
    merged = Moments.merged([Moments.of(part) for part in parts])
    assert (merged.max[0], merged.n_at_max[0]) == (6, 3)


def test_a_constant_unit_has_no_sd_and_no_kurtosis():
    moments = Moments.of(np.full((7, 1), 0.1, dtype=np.float32))
    assert moments.sd[0] == 0
    assert np.isnan(moments.excess_kurtosis[0])


@pytest.mark.parametrize("ratio", [1.0, 100.0, 1e3, 1e5, 1e7])
def test_kurtosis_far_from_zero_is_right_or_nan(ratio):
    peaks = np.random.default_rng(1).laplace(size=(2000, 1)) + ratio
    kurtosis = Moments.of(peaks).excess_kurtosis[0]
    truth = scipy.stats.kurtosis(peaks[:, 0] - ratio)
    assert np.isnan(kurtosis) if ratio > 1e4 else abs(kurtosis - truth) < 0.01 * (truth + 3)


def test_no_images_have_no_mean_and_change_nothing():
    none, some = Moments.none(2), Moments.of(np.array([[1.0, -2.0], [3.0, 0.0]]))
    assert np.isnan(none.mean).all()
    assert np.isnan(none.sd).all()
    assert np.isnan(none.sparsity).all()
    merged = Moments.merged([none, some])
    assert merged.s4.tolist() == some.s4.tolist()
    assert merged.n_at_max.tolist() == [1, 1]
    assert Moments.of(np.empty((0, 2))).n.tolist() == [0, 0]


def test_tensors_give_the_same_moments():
    torch = pytest.importorskip("torch")
    peaks = np.random.default_rng(2).standard_normal((50, 3)).astype(np.float32)
    ours, theirs = Moments.of(peaks), Moments.of(torch.from_numpy(peaks))
    np.testing.assert_allclose(theirs.s4, ours.s4, rtol=1e-12)
    assert isinstance(theirs.s4, np.ndarray)
    assert theirs.max.tolist() == ours.max.tolist()


def test_wrong_parts_are_refused():
    with pytest.raises(ValueError, match="2 peaks are NaN or infinite"):
        Moments.of(np.array([[np.nan, np.inf, 0.0]]))
    with pytest.raises(ValueError, match="no parts"):
        Moments.merged([])
    with pytest.raises(ValueError, match=r"parts of \[1, 2\] units"):
        Moments.merged([Moments.none(1), Moments.none(2)])
