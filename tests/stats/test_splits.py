"""Cuts of sets: literal twins of every number, planted truth, and the same bits in any company."""

import math

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from polyscan.stats.splits import best_split, clarity, cosines, cut, gap, silhouette, two_means
from polyscan.stats.splits.cosines import centred
from polyscan.stats.splits.hartigan import hartigan

RESTARTS = 10


def generator(seed=0):
    return np.random.default_rng(seed)


def uniforms(n_sets, k=2, restarts=RESTARTS, seed=3):
    return generator((seed, k)).random((n_sets, restarts, k))


def uniforms_by_k(n_sets, most=5):
    return {k: uniforms(n_sets, k) for k in range(2, most + 1)}


def clouds(n_sets, n, d, seed=0):
    """Sets of one broad cluster around a common direction."""
    return generator(seed).standard_normal((n_sets, n, d)) + 2 * np.eye(d)[0]


def groups(n_sets, sizes, d, seed=0):
    """Sets of clear clusters of the given sizes, shuffled, and which item is whose."""
    owner = np.stack([generator((seed, i)).permutation(np.repeat(np.arange(len(sizes)), sizes)) for i in range(n_sets)])
    return generator(seed).standard_normal((n_sets, sum(sizes), d)) * 0.3 + 3 * np.eye(d)[owner], owner


def random_labels(n_sets, n, k, seed=0):
    labels = generator(seed).integers(0, k, (n_sets, n))
    labels[:, : 2 * k] = np.arange(2 * k) % k  # every cluster has a pair
    return labels


# Literal twins: from the definitions, one pair at a time.


def cosine(a, b):
    lengths = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    return sum(v * w for v, w in zip(a, b, strict=True)) / lengths if lengths else 0.0


def literal_clarity(c):
    return np.mean([c[i, j] for i in range(len(c)) for j in range(i)])


def literal_gap(c, labels):
    pairs = [(i, j) for i in range(len(c)) for j in range(i)]
    within = [np.mean([c[i, j] for i, j in pairs if labels[i] == labels[j] == cluster]) for cluster in (0, 1)]
    across = np.mean([c[i, j] for i, j in pairs if labels[i] != labels[j]])
    n_in_second = sum(labels)
    return ((len(c) - n_in_second) * within[0] + n_in_second * within[1]) / len(c) - across


def literal_cut(c, labels, k):
    n, crossing = len(c), 0
    for i in range(n):
        nearest = sorted((j for j in range(n) if j != i), key=lambda j: (-c[i, j], j))[:k]
        crossing += sum(labels[i] != labels[j] for j in nearest)
    share = np.mean(labels)
    return crossing / (n * k) / (2 * share * (1 - share))


def literal_silhouette(c, labels):
    values = []
    for i in range(len(c)):
        away = {
            cluster: [1 - c[i, j] for j in range(len(c)) if labels[j] == cluster and j != i] for cluster in set(labels)
        }
        own = away.pop(labels[i])
        a, b = np.mean(own) if own else 0.0, min(np.mean(others) for others in away.values())
        values.append((b - a) / max(a, b) if own and max(a, b) > 0 else 0.0)
    return np.mean(values)


def units(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def literal_sse(points, labels):
    """Of vectors, from each cluster's mean."""
    clusters = [points[labels == cluster] for cluster in set(labels.tolist())]
    return sum(((own - own.mean(axis=0)) ** 2).sum() for own in clusters)


def literal_seeds(points, k, draws):
    n, chosen = len(points), [math.floor(draws[0] * len(points))]
    for draw in draws[1:]:
        away = [min(((points[i] - points[c]) ** 2).sum() for c in chosen) for i in range(n)]
        weights = [0 if i in chosen else max(away[i], 1e-9) for i in range(n)]
        aim, passed = draw * sum(weights), 0.0
        for i in range(n):
            passed += weights[i]
            if passed > aim:
                chosen.append(i)
                break
    assert len(set(chosen)) == k
    return chosen


def literal_run(points, k, draws, sweeps=6):
    """One run on vectors: the sum of squares is made anew for every move that is thought of."""
    seeds = literal_seeds(points, k, draws)
    labels = np.array([np.argmin([((point - points[c]) ** 2).sum() for c in seeds]) for point in points])
    labels[seeds] = np.arange(k)
    for _ in range(sweeps):
        for i in range(len(points)):
            own, values = labels[i], []
            for cluster in range(k):
                labels[i] = cluster
                values.append(literal_sse(points, labels) if own in np.delete(labels, i) else math.inf)
            falls = values[own] - min(values) > 1e-6
            labels[i] = int(np.argmin(values)) if falls else own
    return labels


def literal_choice(points, k, draws, least):
    """Labels and silhouette of the run with the largest, of those whose clusters hold; None where there is none."""
    c = cosines(points[None])[0]
    runs = [literal_run(points, k, draw) for draw in draws]
    held = [labels for labels in runs if np.bincount(labels, minlength=k).min() >= least]
    values = [literal_silhouette(c, labels.tolist()) for labels in held]
    return (held[int(np.argmax(values))], max(values)) if held else None


def by_appearance(labels):
    order = list(dict.fromkeys(labels.tolist()))
    return [order.index(label) for label in labels.tolist()]


@pytest.mark.parametrize("origin", [None, np.array([0.5, -1.0, 2.0, 0.0])])
def test_cosines_are_those_of_pairs(origin):
    x = clouds(3, 6, 4).astype(np.float32)
    seen = x.astype(np.float64) - (0 if origin is None else origin)
    expected = [[[cosine(a, b) for b in points] for a in points] for points in seen]
    np.testing.assert_allclose(cosines(x, origin), expected, atol=1e-12)


def test_a_vector_at_the_origin_has_cosine_zero_to_all():
    x = clouds(1, 4, 3)
    c = cosines(x, x[0, 2])
    assert (c[0, 2] == 0).all()
    assert (c[0, :, 2] == 0).all()
    np.testing.assert_allclose(np.diag(c[0])[[0, 1, 3]], 1)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_cosines_survive_any_scale(scale):
    x = clouds(2, 5, 3)
    np.testing.assert_allclose(cosines(x * scale), cosines(x), atol=1e-14)


def test_clarity_is_the_mean_over_pairs():
    c = cosines(clouds(4, 9, 5))
    np.testing.assert_allclose(clarity(c), [literal_clarity(one) for one in c], atol=1e-14)
    assert np.isnan(clarity(np.ones((2, 1, 1)))).all()


def test_gap_is_that_of_its_definition():
    c, labels = cosines(clouds(4, 12, 5)), random_labels(4, 12, 2)
    np.testing.assert_allclose(gap(c, labels), [literal_gap(*one) for one in zip(c, labels, strict=True)], atol=1e-14)
    np.testing.assert_allclose(gap(c, 1 - labels), gap(c, labels), atol=1e-14)


def test_gap_of_two_opposite_directions_is_two():
    x = np.array([[[1.0], [2.0], [-1.0], [-3.0]]])
    assert gap(cosines(x), np.array([[0, 0, 1, 1]])) == pytest.approx(2)


def test_gap_needs_a_pair_in_each_cluster():
    c = cosines(clouds(2, 5, 3))
    assert np.isnan(gap(c, np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]))).all()


@pytest.mark.parametrize("k", [1, 8, 11])
def test_cut_is_that_of_its_definition(k):
    c, labels = cosines(clouds(5, 12, 5)), random_labels(5, 12, 2)
    np.testing.assert_allclose(
        cut(c, labels, k), [literal_cut(*one, k) for one in zip(c, labels, strict=True)], atol=1e-14
    )


def test_cut_gives_ties_to_the_lower_index():
    x = np.eye(3)[generator().integers(0, 3, (6, 20))]  # cosines are 0 or 1
    c, labels = cosines(x), random_labels(6, 20, 2)
    np.testing.assert_allclose(
        cut(c, labels, 4), [literal_cut(*one, 4) for one in zip(c, labels, strict=True)], atol=1e-14
    )


def test_cut_is_zero_for_clear_clusters_and_about_one_for_labels_at_random():
    x, owner = groups(10, [20, 20], 6)
    assert (cut(cosines(x), owner) == 0).all()
    mixed = cut(cosines(clouds(60, 60, 30)), random_labels(60, 60, 2))
    assert mixed.mean() == pytest.approx(60 / 59, abs=0.02)  # the other 59 hold a few more of the other cluster
    assert np.isnan(cut(cosines(x), np.zeros_like(owner))).all()


@pytest.mark.parametrize("k", [2, 3, 5])
def test_silhouette_equals_its_definition_and_scikit_learn(k):
    c, labels = cosines(clouds(5, 14, 6)), random_labels(5, 14, k)
    labels[0, 1:] = 0  # an item that is alone; the others together
    labels[0, 0] = 1
    values = silhouette(c, labels, k)
    distances = np.where(np.eye(14, dtype=bool), 0, np.clip(1 - c, 0, None))
    np.testing.assert_allclose(values, [literal_silhouette(*one) for one in zip(c, labels, strict=True)], atol=1e-13)
    theirs = [silhouette_score(d, one, metric="precomputed") for d, one in zip(distances, labels, strict=True)]
    np.testing.assert_allclose(values, theirs, atol=1e-13)


def test_silhouette_of_zero_vectors_and_equal_ones_is_finite():
    x = clouds(2, 8, 4)
    x[0, 3:5] = 0
    x[1] = x[1, :1]
    c, labels = cosines(x), random_labels(2, 8, 2)
    np.testing.assert_allclose(
        silhouette(c, labels, 2)[0], literal_silhouette(c[0] * (1 - np.eye(8)) + np.eye(8), labels[0]), atol=1e-13
    )
    assert silhouette(c, labels, 2)[1] == 0
    assert np.isnan(silhouette(c, np.zeros_like(labels), 2)).all()


def test_gap_weighs_a_clump_by_its_share():
    """Two equal vectors, and eight at cosine 1/2 to each other and 0 to the two: .2 x 1 + .8 x 1/2 - 0."""
    x = np.eye(10)[None].copy()
    x[0, :2] = np.eye(10)[0]
    x[0, 2:, 1] = 1
    assert gap(cosines(x), np.array([[0] * 2 + [1] * 8])) == pytest.approx(0.2 + 0.8 / 2)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_runs_are_those_of_their_definition(k):
    x = units(np.concatenate([clouds(5, 18, 6), groups(3, (8, 6, 4), 6)[0]]))
    draws = uniforms(len(x), k, restarts=3)
    for sweeps in (1, 6):
        runs = hartigan(centred(cosines(x)), k, draws, sweeps=sweeps)
        expected = [
            [literal_run(points, k, draw, sweeps) for draw in of_set] for points, of_set in zip(x, draws, strict=True)
        ]
        np.testing.assert_array_equal(runs, expected)


@pytest.mark.parametrize("k", [2, 4])
def test_the_sum_of_squares_never_rises_and_no_move_is_left(k):
    x = units(clouds(6, 30, 12))
    draws = uniforms(6, k, restarts=4)
    by_sweeps = [hartigan(centred(cosines(x)), k, draws, sweeps=sweeps) for sweeps in (1, 2, 3, 40)]
    sse = np.array([[[literal_sse(x[s], runs[s, r]) for r in range(4)] for s in range(6)] for runs in by_sweeps])
    assert (np.diff(sse, axis=0) <= 1e-9).all()
    assert (np.diff(sse, axis=0) < -1e-3).any()
    for s in range(6):
        for labels, least in zip(by_sweeps[-1][s], sse[-1][s], strict=True):
            for i in range(30):
                others = [np.where(np.arange(30) == i, cluster, labels) for cluster in range(k)]
                assert min(literal_sse(x[s], other) for other in others) >= least - 1e-6


@pytest.mark.parametrize("k", [2, 3, 6])
def test_no_cluster_runs_empty(k):
    corners = np.eye(3)[generator().integers(0, 3, (8, 12))]
    x = [clouds(20, 12, 4), np.ones((2, 12, 4)), np.zeros((1, 12, 4)), corners @ np.eye(3, 4)]
    x.append(np.repeat(clouds(4, 2, 4), [11, 1], axis=1))
    products = centred(cosines(np.concatenate(x)))
    runs = hartigan(products, k, uniforms(len(products), k))
    assert runs.shape == (len(products), RESTARTS, 12)
    assert (np.sort(runs, axis=-1)[:, :, [0, -1]] == [0, k - 1]).all()
    assert ((runs[..., None] == np.arange(k)).sum(axis=2) >= 1).all()


@pytest.mark.parametrize("k", [2, 3, 5])
def test_as_many_items_as_clusters_have_one_each(k):
    runs = hartigan(centred(cosines(clouds(5, k, 4))), k, uniforms(5, k))
    assert (np.sort(runs, axis=-1) == np.arange(k)).all()


def test_two_items_are_two_clusters():
    x = np.concatenate([clouds(3, 2, 4), np.ones((1, 2, 4))])
    split, best = two_means(cosines(x), uniforms=uniforms(4)), best_split(cosines(x), uniforms=uniforms_by_k(4))
    assert split.labels.tolist() == best.labels.tolist() == [[0, 1]] * 4
    assert not split.was_cut.any()
    assert (best.silhouette == 0).all()


def test_two_means_is_the_run_with_the_largest_silhouette_that_holds():
    lone = stragglers(2, 16, 1, spread=0.02)[0] @ np.eye(2, 6)
    x = np.concatenate([clouds(8, 16, 6), groups(4, (11, 5), 6)[0], lone])
    draws = uniforms(len(x), restarts=4)
    split = two_means(cosines(x), uniforms=draws, least_share=0.25)
    for points, of_set, labels, was_cut in zip(units(x), draws, split.labels, split.was_cut, strict=True):
        choice = literal_choice(points, 2, of_set, 4)
        assert was_cut == (choice is None)
        assert choice is None or labels.tolist() == by_appearance(choice[0])
    assert 0 < split.was_cut.sum() < len(x)


@pytest.mark.parametrize("sizes", [(20, 20), (35, 5)])
def test_two_means_finds_planted_halves(sizes):
    x, owner = groups(12, sizes, 8)
    split = two_means(cosines(x), uniforms=uniforms(12))
    np.testing.assert_array_equal(split.labels, owner != owner[:, :1])
    assert not split.was_cut.any()


def stragglers(n_sets, n, n_far, seed=0, spread=0.2):
    """Sets of equal vectors but for a few at a right angle, each nearer to them than the other by its index."""
    x = np.tile(np.eye(2)[0], (n_sets, n, 1))
    place = generator(seed).permuted(np.tile(np.arange(n), (n_sets, 1)), axis=1)
    angle = np.linspace(0.1 + spread, 0.1, n - n_far)
    for points, far, rest in zip(x, place[:, :n_far], place[:, n_far:], strict=True):
        points[far] = [0, 1]
        points[rest] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x, place


@pytest.mark.parametrize(("n", "n_far", "least"), [(30, 1, 3), (30, 2, 3), (40, 3, 4), (25, 2, 3)])
def test_stragglers_are_cut_off_with_the_items_nearest_to_them(n, n_far, least):
    x, place = stragglers(6, n, n_far)
    # In one plane k-means has one optimum with the far ones apart; the cut takes as few of the next as it must.
    split = two_means(cosines(x), uniforms=uniforms(6))
    assert split.was_cut.all()
    for labels, order in zip(split.labels, place, strict=True):
        expected = np.isin(np.arange(n), order[:least])
        np.testing.assert_array_equal(labels, expected != expected[0])


@pytest.mark.parametrize("least_share", [0.1, 0.25, 0.5])
def test_both_clusters_have_the_least_share(least_share):
    x = np.concatenate([clouds(20, 30, 8), stragglers(5, 30, 1)[0] @ np.eye(2, 8), np.ones((2, 30, 8))])
    split = two_means(cosines(x), uniforms=uniforms(len(x)), least_share=least_share)
    share = split.labels.mean(axis=1)
    assert (np.minimum(share, 1 - share) >= least_share - 1e-12).all()
    assert (split.labels[:, 0] == 0).all()
    assert split.was_cut[20:25].all()  # equal vectors differ by rounding alone, which may have halves


def test_the_least_share_is_rounded_up_to_items_but_not_for_binary_fractions():
    assert 0.07 * 100 > 7
    split = two_means(cosines(stragglers(1, 100, 1, spread=0.02)[0]), uniforms=uniforms(1), least_share=0.07)
    assert np.bincount(split.labels[0]).min() == 7
    split = two_means(cosines(stragglers(1, 30, 1)[0]), uniforms=uniforms(1), least_share=0.11)
    assert np.bincount(split.labels[0]).min() == 4


@pytest.mark.parametrize("sizes", [(20, 20), (14, 13, 13), (12, 10, 9, 9), (8, 8, 8, 8, 8)])
def test_best_split_finds_the_planted_number(sizes):
    x, owner = groups(8, sizes, 8)
    best = best_split(cosines(x), uniforms=uniforms_by_k(8))
    assert (best.k == len(sizes)).all()
    for labels, truth in zip(best.labels, owner, strict=True):
        assert labels.tolist() == by_appearance(truth)
    np.testing.assert_allclose(
        best.silhouette, [literal_silhouette(*one) for one in zip(cosines(x), owner, strict=True)], atol=1e-12
    )


def literal_best_split(points, draws, shares):
    """The number of clusters and their labels by the rule, one number at a time, from the twin's runs."""
    n = len(points)
    labels, value = literal_choice(points, 2, draws[2], math.ceil(shares[0] * n))
    fitting = 2
    while fitting < 5:
        choice = literal_choice(points, fitting + 1, draws[fitting + 1], math.ceil(shares[1] * n))
        if choice is None or choice[1] <= (1.02 if fitting == 2 else 1.12) * max(value, 1e-3):
            break
        fitting, (labels, value) = fitting + 1, choice
    return fitting, by_appearance(labels), value


def test_best_split_goes_on_by_the_rule():
    spreads = np.repeat([1.2, 1.6, 2.0], 6)[:, None, None] / 0.3
    owner = groups(18, (6, 5, 5, 4), 5)[1]
    centres = 3 * np.eye(5)[owner]
    x = centres + spreads * (groups(18, (6, 5, 5, 4), 5)[0] - centres)
    draws = {k: uniforms(18, k, restarts=3) for k in range(2, 6)}
    best = best_split(cosines(x), uniforms=draws, least_share_of_more=0.1)
    for i, points in enumerate(units(x)):
        expected = literal_best_split(points, {k: u[i] for k, u in draws.items()}, (0.1, 0.1))
        assert (best.k[i], best.labels[i].tolist()) == expected[:2]
        assert best.silhouette[i] == pytest.approx(expected[2])
    assert {2, 3, 4} <= set(best.k.tolist())  # the rule is not idle


@pytest.mark.parametrize("d", [16, 100])
def test_one_long_blob_stays_in_two(d):
    x = generator(d).standard_normal((20, 50, d)) * np.arange(1, d + 1) ** -0.5  # a round one has no best cut
    assert (best_split(cosines(x), uniforms=uniforms_by_k(20)).k == 2).mean() >= 0.9


def test_three_clusters_need_a_larger_share_than_two():
    x, owner = groups(8, (18, 17, 5), 8)
    best = best_split(cosines(x), uniforms=uniforms_by_k(8), least_share_of_more=0.1)
    assert [labels.tolist() for labels in best.labels] == [by_appearance(truth) for truth in owner]
    best = best_split(cosines(x), uniforms=uniforms_by_k(8))  # 5 of 40 are under .15
    assert (best.k == 2).all()
    np.testing.assert_array_equal(best.labels, two_means(cosines(x), uniforms=uniforms(8)).labels)


def test_best_split_is_the_better_of_the_partitions_of_few_items():
    c = cosines(clouds(6, 3, 4))
    best = best_split(c, uniforms=uniforms_by_k(6), least_share=0.2)  # 4 and 5 clusters of 3 items there are none
    assert ((best.k == 2) | (best.k == 3)).all()
    halves = two_means(c, uniforms=uniforms(6), least_share=0.2)
    again = best_split(c, uniforms=uniforms_by_k(6), least_share=0.2, halves=halves)
    np.testing.assert_array_equal(again.labels, best.labels)
    assert (best.silhouette >= silhouette(c, halves.labels, 2)).all()


def answers(x, draws):
    c = cosines(x, np.full(x.shape[2], 0.1))
    halves = two_means(c, uniforms=draws[2])
    best = best_split(c, uniforms=draws, halves=halves)
    numbers = (clarity(c), gap(c, halves.labels), cut(c, halves.labels), silhouette(c, halves.labels, 2))
    return (c, halves.labels, halves.was_cut, best.labels, best.k, best.silhouette, *numbers)


@pytest.mark.parametrize("n", [11, 50])
def test_a_set_has_the_same_bits_in_any_company(n):
    x = [clouds(50, n, 12), groups(5, (n - 5, 5), 12)[0], groups(8, (n - 8, 4, 4), 12)[0]]
    x = np.concatenate([*x, stragglers(9, n, 1)[0] @ np.eye(2, 12)])  # more than go at once
    draws = uniforms_by_k(len(x))
    together = answers(x, draws)
    assert together[2].any()  # some are cut
    assert len(set(together[4].tolist())) > 1  # and some have more than two clusters
    for start, stop in [(i, i + 1) for i in range(0, len(x), 9)] + [(3, 29), (30, 72)]:
        part = answers(x[start:stop], {k: u[start:stop] for k, u in draws.items()})
        for ours, theirs in zip(part, together, strict=True):
            assert ours.tobytes() == theirs[start:stop].tobytes()


def test_tensors_give_the_same_answers():
    torch = pytest.importorskip("torch")
    x = np.concatenate([clouds(6, 20, 8), groups(4, (12, 8), 8)[0], stragglers(3, 20, 1)[0] @ np.eye(2, 8)])
    draws = uniforms_by_k(len(x))
    ours = answers(x, draws)

    def answers_of_tensors():
        c = cosines(torch.from_numpy(x), torch.full((8,), 0.1, dtype=torch.float64))
        tensors = {k: torch.from_numpy(u) for k, u in draws.items()}
        halves = two_means(c, uniforms=tensors[2])
        best = best_split(c, uniforms=tensors, halves=halves)
        numbers = (clarity(c), gap(c, halves.labels), cut(c, halves.labels), silhouette(c, halves.labels, 2))
        return (c, halves.labels, halves.was_cut, best.labels, best.k, best.silhouette, *numbers)

    for one, other in zip(ours, answers_of_tensors(), strict=True):
        np.testing.assert_allclose(other.numpy(), one, atol=1e-12)


def test_no_sets_give_no_answers():
    c = cosines(np.empty((0, 12, 3)))
    halves = two_means(c, uniforms=uniforms(0))
    best = best_split(c, uniforms=uniforms_by_k(0))
    assert halves.labels.shape == best.labels.shape == (0, 12)
    assert clarity(c).shape == gap(c, halves.labels).shape == cut(c, halves.labels).shape == best.k.shape == (0,)


def test_wrong_arguments_are_refused():
    c, labels = cosines(clouds(2, 6, 3)), random_labels(2, 6, 2)
    with pytest.raises(ValueError, match=r"`cosines` must be \[s, n, n\], got \(6, 6\)"):
        clarity(c[0])
    with pytest.raises(ValueError, match=r"`labels` must be \[s, n\] = \(2, 6\), got \(6,\)"):
        gap(c, labels[0])
    with pytest.raises(ValueError, match=r"labels must be in \[0, 1\], got 0 to 2"):
        gap(c, labels * 2)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\], got -1 to 1"):
        silhouette(c, labels * 2 - 1, 3)
    for k in (0, 6):
        with pytest.raises(ValueError, match=rf"`k` must be in \[1, 5\], below the number of items, got {k}"):
            cut(c, labels, k)
    for share in (0, 0.6):
        with pytest.raises(ValueError, match=rf"`least_share_of_more` must be in \(0, 0.5\], got {share}"):
            best_split(c, uniforms=uniforms_by_k(2), least_share_of_more=share)
        with pytest.raises(ValueError, match=rf"`least_share` must be in \(0, 0.5\], got {share}"):
            two_means(c, uniforms=uniforms(2), least_share=share)
    with pytest.raises(ValueError, match=r"two clusters of 1 or more need 2 items, got 1"):
        two_means(c[:, :1, :1], uniforms=uniforms(2))
    with pytest.raises(ValueError, match=r"`most` must be 2 or more.*got 4, without \[4\]"):
        best_split(c, uniforms=uniforms_by_k(2, 3), most=4)
    with pytest.raises(ValueError, match=r"`most` must be 2 or more.*got 1"):
        best_split(c, uniforms=uniforms_by_k(2), most=1)


@pytest.mark.parametrize(
    ("shape", "k", "draws", "sweeps", "message"),
    [
        ((6, 6), 2, (1, 3, 2), 6, r"`products` must be \[s, n, n\], got \(6, 6\)"),
        ((2, 6, 6), 1, (2, 3, 1), 6, r"`k` must be in \[2, 6\], the number of items, got 1"),
        ((2, 6, 6), 7, (2, 3, 7), 6, r"`k` must be in \[2, 6\], the number of items, got 7"),
        ((2, 6, 6), 3, (2, 3, 2), 6, r"`uniforms` must be \[2, runs, 3\].*got \(2, 3, 2\)"),
        ((2, 6, 6), 3, (2, 0, 3), 6, r"`uniforms` must be \[2, runs, 3\].*got \(2, 0, 3\)"),
        ((2, 6, 6), 3, (2, 3, 3), 0, "`sweeps` must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_of_runs_are_refused(shape, k, draws, sweeps, message):
    with pytest.raises(ValueError, match=message):
        hartigan(np.zeros(shape), k, np.zeros(draws), sweeps=sweeps)


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"a vector is not finite\. Reject its item first"):
        two_means(np.full((1, 4, 4), np.nan), uniforms=uniforms(1))
