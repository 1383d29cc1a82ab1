"""Which units are planted together: checked against the definitions, one pair at a time."""

from itertools import combinations

import numpy as np
import pytest

from polyscan.nulls.planting import alike_pairs, plantable_triples, shares


def peaks_of(n_images=300, n_units=12, seed=0):
    """Peaks of units: 0 to 5 independent and skewed, 6 to 8 near copies of 0 to 2, 9 constant, the others noise."""
    generator = np.random.default_rng(seed)
    peaks = generator.exponential(size=(n_images, n_units))
    peaks[:, 6:9] = peaks[:, :3] + 0.1 * generator.standard_normal((n_images, 3))
    peaks[:, 9] = 2.0
    return peaks


def correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def test_triples_hardly_go_together_and_each_gives_its_share():
    peaks = peaks_of()
    found = plantable_triples(peaks, count=10, generator=np.random.default_rng(0), top=60)
    assert len(found) == 10
    assert len({tuple(row) for row in found.tolist()}) == 10
    z = (peaks - peaks.mean(axis=0)) / np.where(peaks.std(axis=0) > 0, peaks.std(axis=0), 1)
    for triple in found.tolist():
        assert triple == sorted(set(triple))
        assert 9 not in triple
        for a, b in combinations(triple, 2):
            assert abs(correlation(peaks[:, a], peaks[:, b])) <= 0.2
        top = sorted(range(len(z)), key=lambda image, triple=triple: (-max(z[image, triple]), image))[:60]
        for unit in triple:
            assert sum(z[image, unit] == max(z[image, triple]) for image in top) / 60 >= 0.15


def test_alike_pairs_are_the_most_correlated_and_no_unit_comes_twice():
    peaks = peaks_of()
    found = alike_pairs(peaks, count=5)
    assert sorted(map(tuple, found.tolist())) == [(0, 6), (1, 7), (2, 8)]
    values = [correlation(peaks[:, a], peaks[:, b]) for a, b in found.tolist()]
    assert values == sorted(values, reverse=True)
    assert min(values) >= 0.6
    assert len(alike_pairs(peaks, count=1)) == 1
    tied = np.repeat(np.random.default_rng(0).random((50, 1)), 5, axis=1)
    assert len(np.unique(alike_pairs(tied, count=9))) == 4  # two pairs of five copies


def test_nothing_fits_nothing():
    generator = np.random.default_rng(0)
    constant = np.ones((20, 5))
    assert plantable_triples(constant, count=3, generator=generator, top=10).shape == (0, 3)
    assert alike_pairs(constant, count=3).shape == (0, 2)
    assert plantable_triples(peaks_of()[:, :2], count=3, generator=generator, top=10).shape == (0, 3)


def test_the_same_generator_gives_the_same_triples():
    first, again = (plantable_triples(peaks_of(), count=4, generator=np.random.default_rng(5), top=60) for _ in "ab")
    assert np.array_equal(first, again)


def test_shares_by_hand():
    z = np.array([[3.0, 0, 0], [0, 5, 0], [2, 2, 0], [0, 0, 1], [-9, -9, -9]])
    # The top four are images 1, 0, 2, 3: units 1, 0, 0 (the first of equals), 2.
    assert shares(z, 4).tolist() == [0.5, 0.25, 0.25]
    assert shares(z, 1).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("peaks", "says"),
    [
        (np.ones((1, 4)), r"`peaks` must be \[images, units\] with 2 images or more, got \(1, 4\)"),
        (np.array([[1.0, np.nan], [0, 1]]), "1 peaks are not finite; leave out their images"),
    ],
)
def test_peaks_must_be_finite_and_of_two_images(peaks, says):
    with pytest.raises(ValueError, match=says):
        plantable_triples(peaks, count=1, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match=says):
        alike_pairs(peaks, count=1)
