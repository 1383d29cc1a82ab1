"""A sample's shared clusterings: kept, capped, and the same bits made together or alone."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from polyscan.scores import SCORES
from polyscan.scores.sample import LARGE, Sample, prepare, prepare_halves
from polyscan.stats.clustering import gram, kmeans
from polyscan.stats.whitening import Whitening


def neighbour(name):
    """A module beside this one; tests are no package, so it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evidence = neighbour("evidence")


def mixed_samples():
    """Samples of several lengths, some with duplicates, some too small to score."""
    sets = [evidence.noise(n, 16, s) for s in range(6) for n in (1, 2, 20, 21)]
    sets += [evidence.blobs(m, n=20, d=16, seed=m) for m in (1, 2, 3)] + [np.repeat(evidence.noise(4, 16), 5, axis=0)]
    return [evidence.sample_of(embeddings, seed=seed) for seed, embeddings in enumerate(sets)]


@pytest.mark.parametrize("k_rule", ["default", "published"])
def test_prepared_samples_have_the_same_bits(k_rule):
    prepared, alone = mixed_samples(), mixed_samples()
    prepare(prepared, k_rule=k_rule)
    for together, single in zip(prepared, alone, strict=True):
        if len(single) < 2:
            continue
        assert together.gram.tobytes() == single.gram.tobytes()
        assert together.halves.labels.tobytes() == single.halves.labels.tobytes()
        assert together.best_split.labels.tobytes() == single.best_split.labels.tobytes()
        for k in {2, *range(1, single.k_cap(k_rule) + 1)}:
            assert k in together.clusterings.partitions
            np.testing.assert_array_equal(together.clustering(k).labels, single.clustering(k).labels)
            assert together.clustering(k).sse == single.clustering(k).sse
    for name, score in SCORES.items():
        values = [[score()(s) for s in samples] for samples in (prepared, alone)]
        assert np.array(values[0]).tobytes() == np.array(values[1]).tobytes(), name


def test_halves_prepared_alone_have_the_same_bits():
    halved, prepared = mixed_samples(), mixed_samples()
    prepare_halves(halved)
    prepare(prepared)
    for half, full in zip(halved, prepared, strict=True):
        if len(half) < 2:
            assert half.clusterings.halves is None
            continue
        assert half.clusterings.halves is not None
        assert half.halves.labels.tobytes() == full.halves.labels.tobytes()
        assert half.clusterings.best_split is None, "which only the full set of scores needs"
        assert not half.clusterings.partitions


@pytest.mark.parametrize("name", SCORES)
def test_scores_ask_for_no_clustering_that_prepare_did_not_make(name, monkeypatch):
    samples = mixed_samples()
    prepare(samples)
    for clusters in ("kmeans", "splits.two_means", "splits.best_split"):
        monkeypatch.setattr(f"polyscan.scores.sample.{clusters}", None)
    # The dip test parts the items by itself, in folds.
    monkeypatch.setattr("polyscan.scores.dip_test.dip_test", lambda *_, **__: 0.5)
    for sample in samples:
        SCORES[name]()(sample)


def test_clusterings_are_made_once():
    sample = evidence.sample_of(evidence.blobs(2))
    assert sample.clustering(2) is sample.clustering(2)
    assert sample.gram is sample.gram


def test_the_seed_is_the_units_own():
    first, second = (evidence.sample_of(evidence.noise(), seed=s, restarts=1) for s in (1, 2))
    assert any((first.clustering(k).labels != second.clustering(k).labels).any() for k in (4, 5, 6))


@pytest.mark.parametrize(
    ("n", "max_clusters", "default", "published"),
    [(2, 8, 1, 1), (3, 8, 1, 2), (9, 8, 4, 8), (40, 6, 6, 6), (40, 99, 20, 39)],
)
def test_the_cap_follows_the_rule(n, max_clusters, default, published):
    sample = evidence.sample_of(evidence.noise(n, 4), max_clusters=max_clusters)
    assert (sample.k_cap("default"), sample.k_cap("published")) == (default, published)


def test_the_cap_stops_at_distinct_vectors():
    sample = evidence.sample_of([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0], [1.0, 0.0]] * 3)
    assert sample.n_distinct == sample.k_cap() == sample.k_cap("published") == 2
    assert sample.best_k() == 2


@pytest.mark.parametrize("n_blobs", [1, 2, 3, 4])
def test_bic_counts_planted_blobs(n_blobs):
    assert evidence.sample_of(evidence.blobs(n_blobs, n=40)).best_k() == n_blobs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.ones(3, dtype=np.float32)}, r"`embeddings` must be \[n, d\].*got \(3,\) and \(3,\)"),
        ({"activations": np.ones(2, dtype=np.float32)}, r"got \(3, 2\) and \(2,\)"),
        ({"whitening": Whitening(np.ones(3), np.eye(3))}, r"`whitening` and embeddings .* got \(3,\) and \(2,\)"),
        ({"labels": np.zeros(2, dtype=np.int64)}, "`labels` must have one entry per item, got 2 for 3 items"),
        ({"embeddings": np.full((3, 2), np.nan, dtype=np.float32)}, "must be finite"),
        ({"activation_min": 2.0, "activation_max": 1.0}, "in order, got 2.0 and 1.0"),
        ({"activation_max": 0.5}, r"must be in \[0.0, 0.5\], those of all images, got 1.0 to 1.0"),
        ({"evidence": "words"}, 'got "words"'),
        ({"max_clusters": 0}, "`max_clusters` must be at least 1, got 0"),
        ({"restarts": 0}, "`restarts` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
    ],
)
def test_wrong_evidence_is_refused(change, message):
    fields = {"embeddings": np.ones((3, 2), dtype=np.float32), "activations": np.ones(3, dtype=np.float32)}
    fields |= {"activation_min": 0.0, "activation_max": 1.0}
    with pytest.raises(ValueError, match=message):
        Sample(**(fields | change))


def test_visualizations_may_exceed_all_images():
    sample = evidence.sample_of(evidence.blobs(1), evidence="visualizations")
    above = Sample(sample.embeddings, sample.activations + 9, -1.0, 5.0, evidence="visualizations")
    assert above.activations.max() > above.activation_max


def test_a_large_set_is_clustered_by_faiss_as_well_as_by_its_gram_matrix():
    generator = np.random.default_rng(0)
    centres = 5 * generator.standard_normal((3, 6))
    owner = generator.integers(3, size=LARGE + 1)
    vectors = (centres[owner] + generator.standard_normal((LARGE + 1, 6))).astype(np.float32)
    sample = Sample(vectors, np.zeros(len(vectors), dtype=np.float32), 0.0, 0.0, restarts=5)
    found = sample.clustering(3)
    by_gram = kmeans(gram(vectors[None]), 3, uniforms=generator.random((1, 5, 3)))
    assert found.sse == pytest.approx(float(by_gram.sse[0]), rel=1e-6)
    np.testing.assert_array_equal(found.labels, by_gram.labels[0])
