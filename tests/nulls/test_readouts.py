"""One-exemplar readouts against their formula, and pairs of controls whose maximum has two sources."""

import numpy as np
import pytest

from polyscan.nulls.planting import plantable_pairs
from polyscan.nulls.readouts import Activations, one_exemplar

P, C = 400, 12


def generator(seed=0):
    return np.random.default_rng(seed)


def layer(p=P, c=C, seed=0):
    """Correlated activations with a mean, as a layer's are."""
    mixing = generator(seed).standard_normal((c, c)) * np.arange(1, c + 1) ** -0.5
    return (generator(seed + 1).standard_normal((p, c)) @ mixing + 3).astype(np.float32)


def readouts(vectors, count=40, seed=0, **settings):
    found = Activations.of(vectors)
    return one_exemplar(vectors, found.mean, found.covariance, count=count, generator=generator(seed), **settings)


def slow_readout(vectors, row, ridge):
    """From the definition, by an explicit inverse."""
    x = vectors.astype(np.float64)
    mean = x.mean(axis=0)
    covariance = sum(np.outer(a - mean, a - mean) for a in x) / len(x)
    lam = ridge * np.linalg.eigvalsh(covariance).mean()
    w = np.linalg.inv(covariance + lam * np.eye(len(mean))) @ (x[row] - mean)
    return w / np.sqrt(w @ covariance @ w)


def test_statistics_are_those_of_the_population():
    vectors = layer(5000, 7)  # more rows than are taken at a time
    found = Activations.of(vectors)
    np.testing.assert_allclose(found.mean, vectors.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(vectors.astype(np.float64).T, bias=True), rtol=1e-10)


@pytest.mark.parametrize(("p", "c"), [(P, C), (10, 30), (50, 1)])
def test_readouts_follow_the_formula(p, c):
    vectors = layer(p, c)
    found = readouts(vectors, count=16)
    for w, row, ridge in zip(found.weights, found.row, found.ridge, strict=True):
        np.testing.assert_allclose(w, slow_readout(vectors, row, ridge), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("p", "c"), [(P, C), (8, 30), (50, 1)])
def test_answers_have_mean_0_and_sd_1_over_the_sample(p, c):
    vectors = layer(p, c)
    found = readouts(vectors)
    answers = vectors.astype(np.float64) @ found.weights.T + found.bias
    np.testing.assert_allclose(answers.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(answers.std(axis=0), 1, atol=1e-4)


def test_a_read_out_is_tuned_to_its_exemplar():
    # The Mahalanobis filter is the direction along which its exemplar stands out most: no other readout beats it.
    vectors = layer()
    found = readouts(vectors, ridges=(1e-6,))
    answers = vectors @ found.weights.T + found.bias  # [p, u]
    to_exemplars = answers[found.row]  # [u exemplars, u readouts]
    assert (np.diag(to_exemplars) >= to_exemplars.max(axis=1) - 1e-3).all()


def test_kinds_and_ridges_are_crossed_evenly():
    found = readouts(layer(), count=40)
    kinds = list(zip(found.is_salient.tolist(), found.ridge.tolist(), strict=True))
    assert {kind: kinds.count(kind) for kind in kinds} == {(s, r): 10 for s in (False, True) for r in (0.1, 1.0)}


def test_salient_exemplars_have_the_largest_whitened_norms():
    # 64 candidates for each of 20 readouts over 400 rows: they come from the top, the others from anywhere.
    vectors = layer()
    covariance = np.cov(vectors.T, bias=True)
    away = vectors - vectors.mean(axis=0)
    rank = np.argsort(np.argsort(-np.einsum("pc,pc->p", away @ np.linalg.inv(covariance), away)))
    found = readouts(vectors, count=40)
    assert rank[found.row[found.is_salient]].max() < 100
    assert rank[found.row[~found.is_salient]].max() > 300


def test_rows_serve_once_while_others_are_left():
    found = readouts(layer(), count=200)
    for is_salient in (False, True):
        rows = found.row[found.is_salient == is_salient].tolist()
        assert len(set(rows)) == 100
    few = readouts(layer(3), count=30)  # three rows for fifteen exemplars of each kind
    assert {row: few.row[~few.is_salient].tolist().count(row) for row in range(3)} == {0: 5, 1: 5, 2: 5}


def test_equal_seeds_give_equal_readouts_and_others_do_not():
    first, again, other = (readouts(layer(), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert (first.row != other.row).any()


def test_constant_channels_get_no_weight():
    vectors = layer()
    vectors[:, 4] = 0.7
    found = readouts(vectors)
    assert (found.weights[:, 4] == 0).all()
    assert np.isfinite(found.weights).all()


def test_a_row_at_the_mean_is_no_exemplar():
    vectors = np.array([[-1.0, 2.0], [0.0, 2.0], [1.0, 2.0]])
    found = readouts(vectors, count=12)
    assert set(found.row.tolist()) == {0, 2}
    np.testing.assert_allclose(np.abs(found.weights[:, 0]), np.sqrt(1.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((5, 3)), "all 5 vectors are equal: the layer is dead on this sample"),
        (np.ones((1, 3)), r"2 rows or more, got \(1, 3\)"),
        (np.array([[1.0], [np.nan], [2.0]]), "1 of 3 vectors are not finite"),
    ],
)
def test_samples_without_readouts_are_refused(vectors, message):
    with pytest.raises(ValueError, match=message):
        Activations.of(vectors)
    with pytest.raises(ValueError, match=message):
        one_exemplar(vectors, np.ones(3), np.eye(3), count=1, generator=generator())


@pytest.mark.parametrize(
    ("mean", "covariance", "settings", "message"),
    [
        (np.ones(2), np.eye(3), {}, r"3 channels need a mean \[3\] and a covariance \[3, 3\], got \(2,\) and \(3, 3\)"),
        (np.ones(3), np.zeros((3, 3)), {}, "variance above 0, got a mean eigenvalue of 0.0"),
        (np.ones(3), np.diag([0, 0, 1.0]), {}, "4 readouts have no variance under `covariance`"),
        (np.ones(3), np.eye(3), {"count": 0}, r"`count` must be at least 1 and ridges above 0, got 0 and \[0.1, 1.0\]"),
        (np.ones(3), np.eye(3), {"ridges": (0.0,)}, r"got 4 and \[0.0\]"),
        (np.ones(3), np.eye(3), {"ridges": ()}, r"got 4 and \[\]"),
    ],
)
def test_wrong_arguments_of_readouts_are_refused(mean, covariance, settings, message):
    vectors = np.array([[1.0, 2.0, 1.0], [1.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match=message):
        one_exemplar(vectors, mean, covariance, **{"count": 4, "generator": generator(), **settings})


IMAGES = 600


def sparse_peaks(n_controls, seed=0):
    """Controls that fire on their own images: any two can be planted."""
    return generator(seed).exponential(size=(IMAGES, n_controls)).astype(np.float32)


def slow_share(peaks, a, b, top):
    """From the definition: rank the maxima, count whose they are."""
    z = [(p - p.mean()) / p.std() for p in (peaks[:, a].astype(np.float64), peaks[:, b].astype(np.float64))]
    order = sorted(range(len(peaks)), key=lambda i: (-max(z[0][i], z[1][i]), i))[:top]
    of_a = sum(z[0][i] >= z[1][i] for i in order) / top
    return min(of_a, 1 - of_a)


def test_pairs_are_within_both_bounds_by_the_definition():
    peaks = sparse_peaks(12)
    table = plantable_pairs(peaks, count=20, generator=generator(), top=50)
    assert len(table.a) == 20
    assert (table.a < table.b).all()
    assert len(set(zip(table.a.tolist(), table.b.tolist(), strict=True))) == 20
    for a, b, r, share in zip(table.a, table.b, table.r, table.minor_share, strict=True):
        assert r == pytest.approx(np.corrcoef(peaks[:, a].astype(np.float64), peaks[:, b])[0, 1], abs=1e-9)
        assert abs(r) <= 0.2
        assert share == slow_share(peaks, a, b, 50) >= 0.2


def test_every_pair_that_fits_is_found_when_asked_for():
    peaks = sparse_peaks(8)
    peaks[:, 1] = peaks[:, 0] + 0.1 * peaks[:, 1]  # goes with 0
    peaks[:, 2] = -peaks[:, 3]  # goes against 3
    peaks[:, 4] = generator(9).standard_normal(IMAGES)  # its light tail never reaches the top beside the others
    table = plantable_pairs(peaks, count=100, generator=generator())
    fits = {
        (a, b)
        for a in range(8)
        for b in range(a + 1, 8)
        if abs(np.corrcoef(peaks[:, a], peaks[:, b])[0, 1]) <= 0.2 and slow_share(peaks, a, b, 100) >= 0.2
    }
    assert set(zip(table.a.tolist(), table.b.tolist(), strict=True)) == fits
    assert 0 < len(fits) < 28
    assert not {(0, 1), (2, 3)} & fits


def test_tied_peaks_rank_by_image():
    # All controls have the same few values: the hundredth place is a tie of many images, some of either control.
    values = np.repeat([0.0, 1.0, 2.0, 3.0], IMAGES // 4)
    peaks = np.stack([generator(seed).permutation(values) for seed in range(6)], axis=1)
    table = plantable_pairs(peaks, count=100, generator=generator(), least_share=0.0)
    shares = [slow_share(peaks, a, b, 100) for a, b in zip(table.a, table.b, strict=True)]
    np.testing.assert_allclose(table.minor_share, shares, atol=1e-12)
    assert len(shares) == 15


@pytest.mark.parametrize(("count", "uses"), [(10, {1}), (15, {1, 2}), (20, {2})])
def test_controls_are_used_evenly(count, uses):
    table = plantable_pairs(sparse_peaks(20), count=count, generator=generator(3))
    used = np.bincount(np.concatenate([table.a, table.b]), minlength=20)
    assert set(used.tolist()) == uses


def test_a_control_with_one_partner_is_served_first():
    # 0 goes with all but 5: only where 5 is kept for it are all six used once.
    base = sparse_peaks(6)
    peaks = base.copy()
    peaks[:, 0] = base[:, [1, 2, 3, 4]].sum(axis=1)
    for seed in range(5):
        table = plantable_pairs(peaks, count=3, generator=generator(seed), least_share=0.05)
        assert np.bincount(np.concatenate([table.a, table.b]), minlength=6).tolist() == [1] * 6


def test_equal_seeds_give_equal_pairs_and_others_do_not():
    first, again, other = (plantable_pairs(sparse_peaks(20), count=10, generator=generator(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal([first.a, first.b], [again.a, again.b])
    assert (np.array([first.a, first.b]) != np.array([other.a, other.b])).any()


@pytest.mark.filterwarnings("error")
def test_constant_controls_pair_with_none_and_no_pairs_are_no_error():
    peaks = sparse_peaks(3)
    peaks[:, 1:] = 5
    table = plantable_pairs(peaks, count=4, generator=generator(), least_share=0.0)
    assert [len(column) for column in (table.a, table.b, table.r, table.minor_share)] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("peaks", "settings", "message"),
    [
        (np.ones((1, 3)), {}, r"2 images or more, got \(1, 3\)"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), {}, "1 peaks are not finite"),
        (np.eye(3), {}, r"`top` must be in \[1, 3\], the number of images, got 100"),
        (np.eye(3), {"top": 2, "least_share": 0.7}, r"`least_share` in \[0, .5\], got 4, 0.2 and 0.7"),
        (np.eye(3), {"top": 2, "most_r": 2}, r"`most_r` in \[0, 1\]"),
        (np.eye(3), {"top": 2, "count": -1}, "`count` must be >= 0"),
    ],
)
def test_wrong_arguments_of_pairs_are_refused(peaks, settings, message):
    with pytest.raises(ValueError, match=message):
        plantable_pairs(peaks, **{"count": 4, "generator": generator(), **settings})
