"""The dip against a linear programme that knows only its definition; the certificate's level and power."""

import numpy as np
import pytest
from scipy.optimize import linprog

from polyscan.stats import dip as dip_module
from polyscan.stats.clustering import kmeans
from polyscan.stats.dip import dip, dip_p, dip_test
from polyscan.stats.splits import cosines
from polyscan.stats.splits.cosines import centred


def generator(seed=0):
    return np.random.default_rng(seed)


def literal_dip(values):
    """Least distance to a distribution that is convex below its mode and concave above it, and may jump at the mode."""
    distinct, counts = np.unique(values, return_counts=True)
    upper = np.cumsum(counts) / len(values)
    lower = upper - counts / len(values)
    distances = [distance_with_mode(distinct, lower, upper, mode) for mode in range(len(distinct))]
    return max(min(distances), 1 / (2 * len(values)))


def distance_with_mode(x, lower, upper, mode):
    """The unknowns: heights left of the mode up to its left limit, heights from the mode on, and the distance."""
    n_left, n_right = mode + 1, len(x) - mode
    distance = n_left + n_right
    rows, bounds = [], []

    def at_most(terms, bound):
        row = np.zeros(distance + 1)
        for place, weight in terms.items():
            row[place] = weight
        rows.append(row)
        bounds.append(bound)

    def near(place, low, high):  # the step at this value reaches from low to high
        at_most({place: 1, distance: -1}, low)
        at_most({place: -1, distance: -1}, -high)

    for i in range(n_left):
        near(i, lower[i], upper[i] if i < mode else lower[i])
    for i in range(n_right):
        near(n_left + i, lower[mode + i] if i else upper[mode], upper[mode + i])
    for place in range(1, distance):
        at_most({place - 1: 1, place: -1}, 0)
    for i in range(1, n_left - 1):
        a, b = x[i] - x[i - 1], x[i + 1] - x[i]
        at_most({i - 1: -1 / a, i: 1 / a + 1 / b, i + 1: -1 / b}, 0)
    for i in range(1, n_right - 1):
        a, b = x[mode + i] - x[mode + i - 1], x[mode + i + 1] - x[mode + i]
        at_most({n_left + i - 1: 1 / a, n_left + i: -1 / a - 1 / b, n_left + i + 1: 1 / b}, 0)
    answer = linprog(np.eye(distance + 1)[distance], A_ub=np.array(rows), b_ub=bounds, method="highs")
    return answer.fun


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["uniform", "ties", "two groups", "skewed"])
def test_the_dip_is_the_distance_to_the_nearest_unimodal_distribution(seed, kind):
    n = int(generator(seed).integers(2, 13))
    values = {
        "uniform": generator(seed).random(n),
        "ties": generator(seed).integers(0, max(2, n // 2), n),
        "two groups": generator(seed).random(n) + 3 * (np.arange(n) % 2),
        "skewed": generator(seed).exponential(size=n) ** 2,
    }[kind]
    assert dip(values) == pytest.approx(literal_dip(values), abs=1e-9)


def test_known_dips():
    assert dip(np.array([5.0])) == 1 / 2
    assert dip(np.arange(10)) == 1 / 20
    assert dip(np.full(10, 3.0)) == 1 / 20
    assert dip(np.repeat([0.0, 1.0], 20)) == 1 / 4
    assert dip(np.repeat([0.0, 1.0], [30, 10])) == pytest.approx(1 / 8)
    assert dip(np.array([0, 1, 2, 100, 101, 102])) == pytest.approx(1 / 4, abs=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_order_place_scale_and_direction_do_not_matter(seed):
    values = generator(seed).standard_normal(60).round(seed % 3)  # with and without ties
    expected = dip(values)
    assert 1 / 120 <= expected <= 1 / 4
    assert dip(generator(1).permutation(values)) == expected
    for other in (-values, values * 1e6 + 3, values * 1e-6):
        assert dip(other) == pytest.approx(expected, abs=1e-9)


def test_p_is_uniform_on_uniform_values_and_larger_on_peaked_ones():
    ps = np.array([dip_p(generator(i).random(40), draws=500) for i in range(300)])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(ps <= level) == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 300))
    peaked = np.array([dip_p(generator(i).standard_normal(40), draws=500) for i in range(100)])
    assert (peaked <= 0.05).mean() <= 0.03


def test_p_is_the_same_each_time_and_counts_the_value_itself():
    halves = np.repeat([0.0, 1.0], 15)
    assert dip_p(halves, draws=99) == dip_p(halves, draws=99) == 1 / 100
    assert dip_p(np.arange(30), draws=99) == 1


def one_cluster(n, seed, *, decay=0.5, d=128):
    return generator(seed).standard_normal((n, d)) * np.arange(1, d + 1) ** -float(decay)


def two_clusters(n, seed, *, apart=5.0, share=0.5, d=128):
    x = one_cluster(n, seed, d=d)
    x[: int(n * share), 3] += apart
    x[int(n * share) :, 4] += apart
    return x


def rejections(make, n, repeats, level=0.05):
    return np.mean([dip_test(cosines(make(n, i)[None])[0], seed=i) <= level for i in range(repeats)])


@pytest.mark.parametrize("n", [50, 100])
@pytest.mark.parametrize("decay", [0, 0.5])
def test_one_cluster_is_hardly_ever_certified_as_two(n, decay):
    assert rejections(lambda n, seed: one_cluster(n, seed, decay=decay), n, 150) <= 0.06


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_two_clear_clusters_are_certified(share):
    assert rejections(lambda n, seed: two_clusters(n, seed, share=share), 100, 40) >= 0.95
    assert rejections(lambda n, seed: two_clusters(n, seed, share=share), 52, 40) >= 0.9  # folds of two sizes


def literal_positions(c, *, held_out, others, labels):
    """Positions on the line of one fold from sums over pairs."""
    first, second = others[labels == 0], others[labels == 1]

    def along(i):
        return np.mean([c[i, j] for j in second]) - np.mean([c[i, j] for j in first])

    apart = np.mean([along(i) for i in second]) - np.mean([along(i) for i in first])
    return np.array([along(i) - np.mean([along(j) for j in others]) for i in held_out]) / apart


def test_held_out_items_are_placed_on_the_line_through_the_two_means(monkeypatch):
    seen = {}

    def kmeans_seen(among, k, *, uniforms, least):
        assert (k, least) == (2, 1)
        seen["among"], found = among, kmeans(among, k, uniforms=uniforms, least=least)
        seen["labels"] = found.labels
        return found

    def dip_p_seen(positions, *, draws):
        seen["positions"] = positions
        return 1.0

    monkeypatch.setattr(dip_module, "kmeans", kmeans_seen)
    monkeypatch.setattr(dip_module, "dip_p", dip_p_seen)
    c = cosines(two_clusters(23, 1)[None])[0]
    directions = []
    for seed in range(6):
        dip_test(c, seed=seed)
        order = generator(seed).permutation(23)
        lines = []
        for fold, labels in enumerate(seen["labels"]):
            held_out = order[fold::5]
            others = np.array([i for i in order if i not in held_out])[:18]
            np.testing.assert_allclose(seen["among"][fold], centred(c[None][:, others][:, :, others])[0], atol=1e-12)
            lines.append(np.zeros(23))
            lines[-1][others] = np.where(labels == 1, 1 / (labels == 1).sum(), -1 / (labels == 0).sum())
            directions.append(1 if lines[-1] @ c @ lines[0] >= 0 else -1)
            positions = literal_positions(c, held_out=held_out, others=others, labels=labels)
            np.testing.assert_allclose(seen["positions"][held_out], directions[-1] * positions, atol=1e-12)
    assert set(directions) == {-1, 1}


def test_inner_products_serve_as_well_as_cosines():
    # A cloud around the origin in few directions: its unit vectors are two clusters, its vectors are not.
    clouds = [one_cluster(80, seed, decay=2) for seed in range(20)]
    assert np.mean([dip_test(cosines(x[None])[0], seed=1) <= 0.05 for x in clouds]) >= 0.8
    assert np.mean([dip_test(x @ x.T, seed=1) <= 0.05 for x in clouds]) <= 0.1


def test_equal_and_few_items_are_no_two_clusters():
    assert dip_test(np.ones((20, 20)), seed=0) == 1
    assert dip_test(np.zeros((20, 20)), seed=0) == 1
    assert np.isnan(dip_test(np.ones((9, 9)), seed=0))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="got 0 with 0 not finite"):
        dip(np.empty(0))
    with pytest.raises(ValueError, match="got 2 with 1 not finite"):
        dip(np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="`draws` must be at least 1, got 0"):
        dip_p(np.arange(4), draws=0)
    with pytest.raises(ValueError, match=r"`cosines` must be \[n, n\], the matrix of one set, got \(2, 3\)"):
        dip_test(np.ones((2, 3)), seed=0)
    with pytest.raises(ValueError, match="4 of 400 cosines are not finite"):
        dip_test(np.where(np.arange(400).reshape(20, 20) < 4, np.nan, 1.0), seed=0)
    for folds in (1, 21):
        with pytest.raises(ValueError, match=rf"`folds` must be in \[2, 20\], the number of items, got {folds}"):
            dip_test(np.eye(20), seed=0, folds=folds)
