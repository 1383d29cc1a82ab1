"""k-means in Gram space: laws, quality against scikit-learn, and the same bits in any company."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from polyscan.stats import clustering
from polyscan.stats.clustering import gram, kmeans

RESTARTS = 10


def uniforms(n_sets, k, restarts=RESTARTS, seed=5):
    return np.random.default_rng((seed, k)).random((n_sets, restarts, k))


def clustered(x, k, **settings):
    return kmeans(gram(x), k, uniforms=uniforms(len(x), k), **settings)


def correlated(n_sets, n, d, seed=0):
    """Sets of one Gaussian with the spectrum of embeddings: hard to part, many local optima."""
    spread = np.arange(1, d + 1) ** -0.5
    return (np.random.default_rng(seed).standard_normal((n_sets, n, d)) * spread + 2).astype(np.float32)


def blobs(n_sets, n, d, k, seed=0):
    """Sets of k far blobs, and which item is whose."""
    owner = np.random.default_rng(seed).integers(0, k, (n_sets, n))
    noise = np.random.default_rng(seed + 1).standard_normal((n_sets, n, d))
    return (noise + 30 * np.eye(k, d)[owner]).astype(np.float32), owner


def direct_sse(x, labels):
    x = x.astype(np.float64)
    return sum(float(((x[labels == c] - x[labels == c].mean(axis=0)) ** 2).sum()) for c in set(labels.tolist()))


def test_gram_holds_centred_inner_products():
    x = correlated(2, 7, 5)
    centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(gram(x), np.einsum("sid,sjd->sij", centred, centred), atol=1e-12)
    assert gram(x).dtype == np.float64


@pytest.mark.parametrize("k", [2, 3, 6])
def test_planted_blobs_are_found(k):
    x, owner = blobs(20, 40, 8, k)
    result = clustered(x, k)
    for labels, truth in zip(result.labels, owner, strict=True):
        appearance = list(dict.fromkeys(truth.tolist()))
        assert labels.tolist() == [appearance.index(t) for t in truth.tolist()]


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_sse_is_that_of_the_vectors(k):
    x = correlated(6, 30, 16)
    result = clustered(x, k)
    np.testing.assert_allclose(
        result.sse, [direct_sse(a, b) for a, b in zip(x, result.labels, strict=True)], rtol=1e-10
    )


@pytest.mark.parametrize("restarts", [1, RESTARTS])  # a lone run has no other that keeps its set going
@pytest.mark.parametrize("k", [2, 5])
def test_every_item_lies_nearest_to_its_own_mean(k, restarts):
    x = correlated(60, 40, 16)
    result = kmeans(gram(x), k, uniforms=uniforms(len(x), k, restarts))
    for points, labels in zip(x, result.labels, strict=True):
        means = np.stack([points[labels == c].mean(axis=0) for c in range(k)])
        distances = ((points[:, None] - means) ** 2).sum(axis=-1)
        own = distances[np.arange(len(points)), labels]
        assert (own <= distances.min(axis=1) * (1 + 1e-4)).all()  # labels are found in float32


def scikit_learn_sse(x, k, seed=0):
    return np.array([KMeans(k, n_init=RESTARTS, random_state=seed).fit(points).inertia_ for points in x])


@pytest.mark.parametrize("k", [2, 3])
def test_sse_is_within_a_percent_of_scikit_learn(k):
    x = np.concatenate([correlated(8, 100, 512), blobs(8, 100, 512, k)[0]])
    assert (clustered(x, k).sse <= 1.01 * scikit_learn_sse(x, k)).all()


@pytest.mark.parametrize("k", [4, 7])
def test_sse_on_hard_sets_is_as_good_as_that_of_scikit_learn(k):
    # With many clusters and local optima two seeds of scikit-learn differ by more than 1 % on a fifth of the sets: the
    # yardstick is its own other seed.
    x = np.concatenate([correlated(20, 60, 32), blobs(20, 60, 32, 4)[0]])
    theirs = scikit_learn_sse(x, k)
    ours, other_seed = clustered(x, k).sse / theirs, scikit_learn_sse(x, k, seed=1) / theirs
    assert ours.mean() <= 1.003
    assert (ours <= 1.01).mean() >= (other_seed <= 1.01).mean() - 0.15


@pytest.mark.parametrize("k", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [9, 50])
def test_a_set_has_the_same_bits_in_any_company(k, n):
    few_distinct = correlated(10, 3, 24)[:, np.arange(n) % 3]
    x = np.concatenate([correlated(30, n, 24), blobs(20, n, 24, 3)[0], few_distinct])
    draws = uniforms(len(x), k)
    together = kmeans(gram(x), k, uniforms=draws)
    order = np.random.default_rng(0).permutation(len(x))
    shuffled = kmeans(gram(x[order]), k, uniforms=draws[order])
    np.testing.assert_array_equal(shuffled.labels, together.labels[order])
    assert shuffled.sse.tobytes() == together.sse[order].tobytes()
    for start, stop in [(i, i + 1) for i in range(0, len(x), 7)] + [(3, 5), (10, 43)]:
        part = kmeans(gram(x[start:stop]), k, uniforms=draws[start:stop])
        np.testing.assert_array_equal(part.labels, together.labels[start:stop])
        assert part.sse.tobytes() == together.sse[start:stop].tobytes()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_and_place_do_not_matter(scale):
    x = correlated(8, 30, 16).astype(np.float64)
    plain, moved = clustered(x, 3), clustered(x * scale + 5 * scale, 3)
    np.testing.assert_array_equal(moved.labels, plain.labels)
    np.testing.assert_allclose(moved.sse, plain.sse * scale**2, rtol=1e-8)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 8))
def test_labels_are_canonical_and_no_cluster_is_empty(seed, n_distinct, k):
    values = np.random.default_rng(seed).standard_normal((n_distinct, 3))
    x = values[np.random.default_rng(seed + 1).integers(0, n_distinct, (4, 8))]  # fewer distinct vectors than clusters
    result = clustered(x, k, iterations=50)
    for labels in result.labels:
        assert list(dict.fromkeys(labels.tolist())) == list(range(k))
    for points, sse, labels in zip(x, result.sse, result.labels, strict=True):
        total = ((points - points.mean(axis=0)) ** 2).sum()
        assert sse == pytest.approx(direct_sse(points, labels), abs=1e-9 * total + 1e-25)


def test_as_many_clusters_as_distinct_vectors_fit_perfectly():
    x = np.repeat(correlated(12, 5, 16), 4, axis=1)
    result = clustered(x, 5)
    total = np.trace(gram(x), axis1=1, axis2=2)
    assert (result.sse <= 1e-12 * total).all()


def test_an_empty_cluster_takes_the_farthest_item_that_is_not_alone():
    labels = np.array([[0, 0, 0, 2]], dtype=np.int8)
    away = np.array([[1.0, 5.0, 2.0, 9.0]], dtype=np.float32)
    assert clustering._refilled(clustering.array_api_compat.numpy, labels, away, 4).tolist() == [[0, 1, 3, 2]]


def test_more_restarts_are_never_worse():
    x = correlated(10, 40, 16)
    few = kmeans(gram(x), 6, uniforms=uniforms(10, 6)[:, :2])
    many = kmeans(gram(x), 6, uniforms=uniforms(10, 6))
    # Two runs or ten are two shapes of matrix product: the same run's sum may differ by the order of its terms.
    assert (many.sse <= few.sse * (1 + 1e-12)).all()
    assert (many.sse < few.sse * (1 - 1e-3)).any()


def with_stragglers(n_sets, n, d, n_stragglers, seed=0):
    """Sets of two wide halves and a few far items: k-means at K = 2 likes to part those few from the rest."""
    x, _ = blobs(n_sets, n, d, 2, seed)
    x = x / 10
    x[:, :n_stragglers, -1] += 10
    return x


def best_run(x, k, draws, least):
    """Labels and sum of squares by the definition: every run by itself, the best of those that may win."""
    runs = [kmeans(gram(x[None]), k, uniforms=draw[None, None]) for draw in draws]
    may_win = [run for run in runs if np.bincount(run.labels[0]).min() >= least]
    best = min(may_win or runs, key=lambda run: run.sse[0])
    return best.labels[0], best.sse[0], bool(may_win)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("least", [1, 4, 12])
def test_the_best_run_with_clusters_large_enough_wins(k, least):
    x = np.concatenate([with_stragglers(20, 40, 8, 3), correlated(10, 40, 8)])
    draws = uniforms(len(x), k, restarts=5)
    result = kmeans(gram(x), k, uniforms=draws, least=least)
    for i, points in enumerate(x):
        labels, sse, held = best_run(points, k, draws[i], least)
        assert result.held[i] == held
        assert result.labels[i].tolist() == labels.tolist()
        # One run or five is another shape of matrix product, so other kernels of the BLAS: equal up to the order of
        # sums, which is 4e-15 on AVX2 and nothing on AVX-512.
        assert result.sse[i] == pytest.approx(sse, rel=1e-12)


def test_stragglers_are_no_cluster_where_a_run_without_them_exists():
    x = with_stragglers(30, 40, 8, 3)
    draws = uniforms(len(x), 2, restarts=2)
    free, bound = (kmeans(gram(x), 2, uniforms=draws, least=least) for least in (1, 4))
    smallest = np.array([np.bincount(labels).min() for labels in bound.labels])
    np.testing.assert_array_equal(bound.held, smallest >= 4)
    has_changed = (bound.sse > free.sse) & bound.held
    assert has_changed.any()  # the condition is not idle
    assert not bound.held.all()
    np.testing.assert_array_equal(bound.labels[~bound.held], free.labels[~bound.held])


def test_one_cluster_holds_all_items():
    result = clustered(correlated(2, 5, 3), 1, least=6)
    assert result.held.tolist() == [False, False]
    assert clustered(correlated(2, 5, 3), 1, least=5).held.tolist() == [True, True]


def test_no_sets_give_no_labels():
    nothing = kmeans(np.empty((0, 5, 5)), 2, uniforms=np.empty((0, 1, 2)))
    assert nothing.labels.shape == (0, 5)
    assert nothing.held.shape == (0,)


def test_tensors_give_the_same_clusters():
    torch = pytest.importorskip("torch")
    x, _ = blobs(5, 20, 8, 3)
    x = np.concatenate([x, np.repeat(x[:, :2], 10, axis=1)])  # the last ones have fewer distinct vectors than clusters
    ours = clustered(x, 3)
    theirs = kmeans(gram(torch.from_numpy(x)), 3, uniforms=torch.from_numpy(uniforms(len(x), 3)))
    np.testing.assert_array_equal(theirs.labels.numpy()[:5], ours.labels[:5])
    np.testing.assert_allclose(theirs.sse.numpy(), ours.sse, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("matrix", "k", "draws", "iterations", "message"),
    [
        (np.eye(3), 1, (1, 1, 1), 1, r"`gram` must be \[s, n, n\], got \(3, 3\)"),
        (np.ones((1, 3, 2)), 1, (1, 1, 1), 1, r"got \(1, 3, 2\)"),
        (np.eye(3)[None], 4, (1, 1, 4), 1, r"`k` must be in \[1, 3\], the number of items, got 4"),
        (np.eye(3)[None], 2, (1, 1, 3), 1, r"`uniforms` must be \[1, runs, 2\].*got \(1, 1, 3\)"),
        (np.eye(3)[None], 2, (1, 0, 2), 1, r"got \(1, 0, 2\)"),
        (np.eye(3)[None], 2, (1, 1, 2), 0, "`iterations` must be at least 1, got 0"),
        (np.full((1, 3, 3), np.nan), 2, (1, 1, 2), 1, "`gram` holds NaN"),
    ],
)
def test_wrong_arguments_are_refused(matrix, k, draws, iterations, message):
    with pytest.raises(ValueError, match=message):
        kmeans(matrix, k, uniforms=np.zeros(draws), iterations=iterations)


def test_a_cluster_of_less_than_one_item_is_refused():
    with pytest.raises(ValueError, match="`least` must be at least 1, got 0"):
        clustered(correlated(1, 5, 3), 2, least=0)
