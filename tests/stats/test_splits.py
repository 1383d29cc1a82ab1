"""Cuts of sets: literal twins of every number, planted truth, and the same bits in any company."""

import math

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from polyscan.stats.splits import best_split, clarity, cosines, cut, gap, silhouette, two_means

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
    return np.mean(within) - np.mean([c[i, j] for i, j in pairs if labels[i] != labels[j]])


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


@pytest.mark.parametrize("sizes", [(20, 20), (35, 5)])
def test_two_means_finds_planted_halves(sizes):
    x, owner = groups(12, sizes, 8)
    split = two_means(cosines(x), uniforms=uniforms(12))
    np.testing.assert_array_equal(split.labels, owner != owner[:, :1])
    assert not split.was_cut.any()


def stragglers(n_sets, n, n_far, seed=0):
    """Sets of equal vectors but for a few at a right angle, each nearer to them than the other by its index."""
    x = np.tile(np.eye(2)[0], (n_sets, n, 1))
    place = generator(seed).permuted(np.tile(np.arange(n), (n_sets, 1)), axis=1)
    angle = np.linspace(0.3, 0.1, n - n_far)
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
    split = two_means(cosines(stragglers(1, 100, 1)[0]), uniforms=uniforms(1), least_share=0.07)
    assert np.bincount(split.labels[0]).min() == 7
    split = two_means(cosines(stragglers(1, 30, 1)[0]), uniforms=uniforms(1), least_share=0.11)
    assert np.bincount(split.labels[0]).min() == 4


@pytest.mark.parametrize("sizes", [(20, 20), (14, 13, 13), (12, 10, 9, 9), (8, 8, 8, 8, 8)])
def test_best_split_finds_the_planted_number(sizes):
    x, owner = groups(8, sizes, 8)
    best = best_split(cosines(x), uniforms=uniforms_by_k(8))
    assert (best.k == len(sizes)).all()
    for labels, truth in zip(best.labels, owner, strict=True):
        appearance = list(dict.fromkeys(truth.tolist()))
        assert labels.tolist() == [appearance.index(t) for t in truth.tolist()]
    np.testing.assert_allclose(
        best.silhouette, [literal_silhouette(*one) for one in zip(cosines(x), owner, strict=True)], atol=1e-12
    )


def test_best_split_passes_over_clusters_that_are_too_small():
    x, _ = groups(8, (20, 18, 2), 8)
    assert (best_split(cosines(x), uniforms=uniforms_by_k(8), least_share=0.05).k == 3).all()
    best = best_split(cosines(x), uniforms=uniforms_by_k(8), least_share=0.1)
    assert (best.k == 2).all()
    assert all(np.bincount(labels).min() >= 4 for labels in best.labels)


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
    x = np.concatenate([clouds(20, n, 12), groups(5, (n - 5, 5), 12)[0], stragglers(9, n, 1)[0] @ np.eye(2, 12)])
    draws = uniforms_by_k(len(x))
    together = answers(x, draws)
    assert together[2].any()  # some are cut
    for start, stop in [(i, i + 1) for i in range(0, len(x), 6)] + [(3, 29), (30, 34)]:
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
        with pytest.raises(ValueError, match=rf"`least_share` must be in \(0, 0.5\], got {share}"):
            two_means(c, uniforms=uniforms(2), least_share=share)
    with pytest.raises(ValueError, match=r"two clusters of 1 or more need 2 items, got 1"):
        two_means(c[:, :1, :1], uniforms=uniforms(2))
    with pytest.raises(ValueError, match=r"`most` must be 2 or more.*got 4, without \[4\]"):
        best_split(c, uniforms=uniforms_by_k(2, 3), most=4)
    with pytest.raises(ValueError, match=r"`most` must be 2 or more.*got 1"):
        best_split(c, uniforms=uniforms_by_k(2), most=1)
