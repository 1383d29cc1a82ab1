"""Prediction strength: a literal twin, and one cluster against two."""

import numpy as np
import pytest

from polyscan.stats.clustering import gram, kmeans
from polyscan.stats.prediction_strength import prediction_strength
from polyscan.stats.splits import cosines

D = 16


def generator(seed=0):
    return np.random.default_rng(seed)


def unit_vectors(n, seed, *, apart=0.0):
    x = generator(seed).standard_normal((n, D)) * np.arange(1, D + 1) ** -0.5
    x[: n // 2, 5] += apart
    x[n // 2 :, 6] += apart
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def literal_strength(x, *, seed, repeats, restarts):
    """From the paper, on vectors: cluster both halves, assign by the other's means, count pairs one by one."""
    draws = generator(seed)
    half = len(x) // 2
    orders = draws.permuted(np.tile(np.arange(len(x)), (repeats, 1)), axis=1)
    uniforms = draws.random((2, repeats, restarts, 2))
    strengths = []
    for t, order in enumerate(orders):
        halves = [x[order[:half]], x[order[half : 2 * half]]]
        labels = [
            kmeans(gram(part[None]), 2, uniforms=uniforms[which, t][None]).labels[0]
            for which, part in enumerate(halves)
        ]
        for told_by, told in ((0, 1), (1, 0)):
            means = [halves[told_by][labels[told_by] == c].mean(axis=0) for c in (0, 1)]
            foretold = [int(np.argmin([((v - mean) ** 2).sum() for mean in means])) for v in halves[told]]
            strengths.append(min(literal_shares(labels[told], foretold)))
    return np.mean(strengths)


def literal_shares(labels, foretold):
    for c in (0, 1):
        members = np.flatnonzero(labels == c)
        pairs = [(i, j) for i in members for j in members if i != j]
        yield np.mean([foretold[i] == foretold[j] for i, j in pairs]) if pairs else 0.0


@pytest.mark.parametrize("n", [4, 15, 40])
@pytest.mark.parametrize("apart", [0.0, 1.5])
def test_it_is_that_of_its_definition(n, apart):
    x = unit_vectors(n, n, apart=apart)
    expected = literal_strength(x, seed=7, repeats=6, restarts=4)
    assert prediction_strength(cosines(x[None])[0], seed=7, repeats=6, restarts=4) == pytest.approx(expected, abs=1e-12)


def test_an_item_far_from_all_others_foretells_nothing():
    x = np.eye(8)[[0] * 11 + [1]] + 0.01 * generator().standard_normal((12, 8))
    assert prediction_strength(cosines(x[None])[0], seed=0) < 0.5  # the half with it has a cluster without a pair


def test_two_clusters_are_strong_and_one_is_not():
    two = [prediction_strength(cosines(unit_vectors(60, i, apart=8)[None])[0], seed=i) for i in range(10)]
    one = [prediction_strength(cosines(unit_vectors(60, i)[None])[0], seed=i) for i in range(30)]
    assert min(two) > 0.9
    assert np.mean(one) < 0.75
    assert np.mean(np.array(one) > 0.8) <= 0.1
    assert all(0 <= value <= 1 for value in one + two)


def test_the_seed_decides():
    c = cosines(unit_vectors(30, 1)[None])[0]
    assert prediction_strength(c, seed=1) == prediction_strength(c, seed=1) != prediction_strength(c, seed=2)


def test_few_items_have_no_strength():
    assert np.isnan(prediction_strength(np.eye(3), seed=0))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`cosines` must be \[n, n\], those of one set, got \(2, 4, 4\)"):
        prediction_strength(np.ones((2, 4, 4)), seed=0)
    with pytest.raises(ValueError, match="16 of 16 cosines are not finite"):
        prediction_strength(np.full((4, 4), np.nan), seed=0)
    with pytest.raises(ValueError, match="`repeats` must be at least 1, got 0"):
        prediction_strength(np.eye(4), seed=0, repeats=0)
    with pytest.raises(ValueError, match="`restarts` must be at least 1, got -1"):
        prediction_strength(np.eye(4), seed=0, restarts=-1)
