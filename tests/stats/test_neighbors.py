"""FAISS's room: exact neighbours under one order, k-means of large sets, and clear words where FAISS is not right."""

import sys

import numpy as np
import pytest
from sklearn.cluster import KMeans

from polyscan.errors import InstallError
from polyscan.stats import neighbors
from polyscan.stats.neighbors import VectorIndex, kmeans_large, nearest

faiss = neighbors._faiss()


def generator(seed=0):
    return np.random.default_rng(seed)


def unit(n, d, seed=0):
    x = generator(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def slow_nearest(query, pool, k):
    """From the definition: every similarity in float64, rounded to float32, sorted with ties to the smaller index."""
    similarity = [np.float32(sum(float(a) * float(b) for a, b in zip(query, row, strict=True))) for row in pool]
    return sorted(range(len(pool)), key=lambda i: (-similarity[i], i))[:k], similarity


@pytest.mark.parametrize(("p", "k"), [(300, 1), (300, 7), (300, 300), (5, 3)])
def test_neighbors_are_those_of_the_definition(p, k):
    pool, queries = unit(p, 6), unit(4, 6, seed=1)
    found = nearest(queries, pool, k)
    assert (found.index.dtype, found.similarity.dtype) == (np.int64, np.float32)
    for query, index, similarity in zip(queries, found.index, found.similarity, strict=True):
        expected, all_similarities = slow_nearest(query, pool, k)
        assert index.tolist() == expected
        np.testing.assert_array_equal(similarity, np.array(all_similarities, dtype=np.float32)[expected])


def test_ties_go_to_the_smaller_index_however_many_there_are():
    # 60 copies of each of ten vectors: more ties at the last place than FAISS is asked for beyond k at first.
    kinds = generator(2).permutation(np.repeat(np.arange(10), 60))
    pool = unit(10, 8)[kinds]
    found = nearest(unit(10, 8), pool, 20)
    for kind, index in enumerate(found.index):
        assert index.tolist() == np.flatnonzero(kinds == kind)[:20].tolist()


@pytest.mark.parametrize("k", [1, 20, 900])
def test_a_pool_that_is_searched_often_has_the_neighbors_of_one_search(k):
    kinds = generator(2).permutation(np.repeat(np.arange(10), 90))  # with more ties than FAISS is asked for at first
    pool = np.concatenate([unit(10, 8)[kinds], np.zeros((3, 8), np.float32)])
    index = VectorIndex(pool)
    for queries in (unit(5, 8, seed=3), unit(10, 8)[:1]):
        once, often = nearest(queries, pool, k), index.nearest(queries, k)
        np.testing.assert_array_equal(often.index, once.index)
        np.testing.assert_array_equal(often.similarity, once.similarity)
    assert len(index) == 903
    with pytest.raises(ValueError, match=r"`k` must be in \[1, 903\]"):
        index.nearest(unit(1, 8), 904)
    with pytest.raises(ValueError, match="of one dimension, got 6 and 8"):
        index.nearest(unit(1, 6), 1)
    with pytest.raises(ValueError, match="`pool` must be of length 1 or 0, got 2 in row 0"):
        VectorIndex(2 * unit(1, 4))


@pytest.mark.gpu
@pytest.mark.skipif(not faiss.get_num_gpus(), reason="FAISS has no GPU here")
def test_a_pool_on_the_gpu_has_the_same_neighbors(monkeypatch):
    pool, queries = unit(5000, 64), unit(9, 64, seed=1)
    index = VectorIndex(pool)
    assert index._on_gpu is not None
    found = index.nearest(queries, 30)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    np.testing.assert_array_equal(found.index, nearest(queries, pool, 30).index)


def test_a_query_is_served_the_same_alone_and_on_more_threads():
    pool = unit(2000, 32)
    together = nearest(pool[:40], pool, 15)
    for row in (0, 17, 39):
        alone = nearest(pool[row : row + 1], pool, 15, threads=2)
        np.testing.assert_array_equal(alone.index[0], together.index[row])
        assert alone.similarity[0].tobytes() == together.similarity[row].tobytes()


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_a_careless_search_changes_nothing(monkeypatch, error):
    # A search that errs by up to .1, or prefers the last of equal ones: what it missed must be won back.
    pool = unit(40, 16)[generator().integers(0, 40, 1500)] if not error else unit(1500, 16)
    right = nearest(pool[:30], pool, 10)

    def careless(queries, pool, k, metric):
        rough = queries @ pool.T + generator(0).uniform(-error, error, (len(queries), len(pool)))
        index = np.argsort(-rough[:, ::-1], axis=1, kind="stable")[:, :k]
        index = len(pool) - 1 - index
        return np.take_along_axis(rough, index, axis=1).astype(np.float32), index

    monkeypatch.setattr(faiss, "knn", careless)
    missed = [set(a) - set(b) for a, b in zip(right.index, careless(pool[:30], pool, 26, None)[1], strict=True)]
    assert any(missed)
    np.testing.assert_array_equal(nearest(pool[:30], pool, 10).index, right.index)


def test_zero_vectors_are_equally_near_to_all():
    pool = np.concatenate([unit(50, 4), np.zeros((1, 4), dtype=np.float32)])
    found = nearest(pool[-1:], pool, 3)
    assert found.index.tolist() == [[0, 1, 2]]
    assert found.similarity.tolist() == [[0, 0, 0]]


def test_threads_are_pinned_during_the_call_and_restored_after(monkeypatch):
    seen = []
    search = faiss.knn

    def watching(*args, **settings):
        seen.append(faiss.omp_get_max_threads())
        return search(*args, **settings)

    before = faiss.omp_get_max_threads()
    monkeypatch.setattr(faiss, "knn", watching)
    faiss.omp_set_num_threads(2)
    try:
        nearest(unit(2, 4), unit(50, 4), 1)
        assert (seen, faiss.omp_get_max_threads()) == ([1], 2)
        with pytest.raises(ValueError, match="`threads` must be at least 1, got 0"):
            nearest(unit(2, 4), unit(50, 4), 1, threads=0)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


def test_no_queries_have_no_neighbors():
    assert nearest(np.empty((0, 4)), unit(5, 4), 2).index.shape == (0, 2)


def sse_of(x, labels):
    return sum(float(((x[labels == c] - x[labels == c].mean(axis=0)) ** 2).sum()) for c in set(labels.tolist()))


def far_blobs(n=600, k=4, d=8):
    owner = generator(0).integers(0, k, n)
    return generator(1).standard_normal((n, d)) + 30 * np.eye(k, d)[owner], owner


@pytest.mark.parametrize("scale", [1e-25, 1, 1e25])
def test_planted_blobs_are_found_at_any_scale_and_place(scale):
    x, owner = far_blobs()
    x = (x + 5) * scale
    result = kmeans_large(x, 4, seed=3)
    appearance = list(dict.fromkeys(owner.tolist()))
    assert result.labels.tolist() == [[appearance.index(o) for o in owner.tolist()]]
    assert result.sse.tolist() == pytest.approx([sse_of(x, owner)], rel=1e-9)
    assert result.held.tolist() == [True]


@pytest.mark.parametrize("k", [2, 5])
def test_sse_is_that_of_the_labels_and_within_a_percent_of_scikit_learn(k):
    x = generator(0).standard_normal((1500, 64)) * np.arange(1, 65) ** -0.5 + 2
    result = kmeans_large(x, k, seed=0)
    assert result.sse[0] == pytest.approx(sse_of(x, result.labels[0]), rel=1e-10)
    assert result.sse[0] <= 1.01 * KMeans(k, n_init=10, random_state=0).fit(x).inertia_


def test_no_vector_is_left_out_of_a_large_set():
    # FAISS trains on 256 vectors a cluster unless told otherwise: one far vector would then mostly get no cluster.
    x = generator(0).standard_normal((3000, 4))
    x[1234] += 1e4
    for seed in range(5):
        labels = kmeans_large(x, 2, seed=seed).labels[0]
        assert np.flatnonzero(labels != labels[0]).tolist() == [1234]


def test_equal_seeds_give_equal_bits_on_any_number_of_threads():
    x = generator(0).standard_normal((1200, 16))
    first, again, threaded = (kmeans_large(x, 6, seed=7, restarts=2, threads=t) for t in (1, 1, 2))
    for other in (again, threaded):
        np.testing.assert_array_equal(other.labels, first.labels)
        assert other.sse.tobytes() == first.sse.tobytes()


def test_one_cluster_and_fewer_distinct_vectors_than_clusters():
    x = np.array([[0.0], [4.0], [0.0], [4.0]])
    assert kmeans_large(x, 1, seed=0).sse.tolist() == [16]
    parted = kmeans_large(x, 3, seed=0)
    assert list(dict.fromkeys(parted.labels[0].tolist())) == [0, 1, 2]
    assert parted.sse.tolist() == [0]
    assert sorted(kmeans_large(np.ones((4, 2)), 4, seed=0).labels[0].tolist()) == [0, 1, 2, 3]


def test_an_empty_cluster_takes_the_farthest_vector_that_is_not_alone():
    labels = neighbors._refilled(np.array([0, 0, 0, 2]), np.array([1, 5, 2, 9], dtype=np.float32), 4)
    assert labels.tolist() == [0, 1, 3, 2]


@pytest.fixture
def forgotten():
    """FAISS is looked for anew, before and after."""
    neighbors._faiss.cache_clear()
    yield
    neighbors._faiss.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_two_builds_of_faiss_are_refused(monkeypatch):
    monkeypatch.setattr(neighbors, "_is_installed", lambda package: True)
    with pytest.raises(InstallError, match=r"faiss-cpu and faiss-gpu are both installed.*Uninstall both"):
        nearest(unit(1, 2), unit(3, 2), 1)


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("installed", "message"),
    [((), "FAISS is not installed"), (("faiss-gpu",), "faiss-gpu is installed but does not load")],
)
def test_a_missing_faiss_is_named(monkeypatch, installed, message):
    monkeypatch.setattr(neighbors, "_is_installed", lambda package: package in installed)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InstallError, match=message):
        kmeans_large(np.eye(3), 2, seed=0)


def test_packages_are_known_by_their_records():
    assert neighbors._is_installed("numpy")
    assert not neighbors._is_installed("no-such-package-at-all")


@pytest.mark.parametrize(
    ("queries", "pool", "k", "message"),
    [
        (np.ones(3), np.eye(3), 1, r"`queries` must be \[n, d\], got \(3,\)"),
        (np.eye(2), np.eye(3), 1, "one dimension, got 2 and 3"),
        (np.eye(3), np.eye(3), 4, r"`k` must be in \[1, 3\], the size of the pool, got 4"),
        (np.eye(3), np.eye(3), 0, "got 0"),
        (np.eye(3), 7 * np.eye(3), 1, "`pool` must be of length 1 or 0, got 7 in row 0; divide each by its length"),
        (np.eye(3), np.diag([1, 1, np.nan]), 1, "`pool` must be of length 1 or 0, got nan in row 2"),
    ],
)
def test_wrong_arguments_of_a_search_are_refused(queries, pool, k, message):
    with pytest.raises(ValueError, match=message):
        nearest(queries, pool, k)


@pytest.mark.parametrize(
    ("x", "k", "settings", "message"),
    [
        (np.ones(3), 1, {}, r"`x` must be \[n, d\], got \(3,\)"),
        (np.array([[1.0], [np.nan]]), 1, {}, "1 of 2 vectors are not finite"),
        (np.eye(3), 4, {}, r"`k` must be in \[1, 3\], the number of vectors, got 4"),
        (np.eye(3), 2, {"seed": -1}, r"`seed` must be in \[0, 2\*\*31\), got -1"),
        (np.eye(3), 2, {"restarts": 0}, "`restarts` and `iterations` must be at least 1, got 0 and 100"),
    ],
)
def test_wrong_arguments_of_k_means_are_refused(x, k, settings, message):
    with pytest.raises(ValueError, match=message):
        kmeans_large(x, k, **{"seed": 0, **settings})


@pytest.mark.gpu
def test_a_gpu_gives_the_neighbors_of_the_cpu(monkeypatch):
    if not faiss.get_num_gpus():
        pytest.skip("FAISS sees no GPU here")
    pool = unit(20_000, 512)
    pool[1000:1100] = pool[0]
    for k in (20, 1600, 3000):  # the last is more than FAISS selects on a GPU
        on_gpu = nearest(pool[:50], pool, k)
        with monkeypatch.context() as patched:
            patched.setattr(faiss, "get_num_gpus", lambda: 0)
            on_cpu = nearest(pool[:50], pool, k)
        np.testing.assert_array_equal(on_gpu.index, on_cpu.index)
        assert on_gpu.similarity.tobytes() == on_cpu.similarity.tobytes()
    x, owner = far_blobs()
    assert kmeans_large(x, 4, seed=3).sse[0] == pytest.approx(sse_of(x, owner), rel=1e-9)
