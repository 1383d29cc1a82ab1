"""Every score equals its slow literal twin."""

import importlib.util
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score

from polyscan.scores import SCORES
from polyscan.scores.concepts import Concepts
from polyscan.scores.semanticity import Semanticity
from polyscan.stats.whitening import Whitening


def neighbour(name):
    """A module beside this one; tests are no package, so it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference, evidence = neighbour("reference"), neighbour("evidence")

OUTLIER = np.vstack([evidence.blobs(1, n=15), [[-40.0] + [0.0] * 7]])
SAMPLES = {
    "one blob": evidence.blobs(1),
    "two blobs": evidence.blobs(2),
    "three blobs": evidence.blobs(3, seed=4),
    "noise": evidence.noise(),
    "an outlier": OUTLIER,
    "an outlier in front": OUTLIER[::-1],
    "duplicates of three": np.repeat(evidence.noise(3), 4, axis=0),
    "all equal": np.ones((6, 4)),
    "opposite": np.array([[1.0, 0], [1, 0.1], [-1, 0], [-1, -0.1]]),
    "a zero vector": np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]),
    "two items": np.array([[1.0, 0], [0, 1]]),
    "three items": np.array([[1.0, 0], [0, 1], [0, 1.1]]),
}
AWAY = np.linspace(3, 9, 8, dtype=np.float32)
SETTINGS = {
    "as it is": {},
    "from a mean": {"whitening": Whitening(AWAY, np.eye(8, dtype=np.float32))},
    "along five axes": {"whitening": Whitening(AWAY, evidence.noise(8, 5).astype(np.float32))},
    "labels by threes": {"labels": np.arange(24) // 3 % 3},
    "a third without labels": {"labels": np.where(np.arange(24) % 3, np.arange(24) % 2, -1)},
    "a class without a prototype": {"labels": np.arange(24) % 4},
    "one class": {"labels": np.zeros(24, dtype=np.int64)},
    "each of its own class": {"labels": np.arange(24)},
    "one labelled": {"labels": np.where(np.arange(24) == 5, 1, -1)},
    "no labels": {"labels": None},
    "no concepts": {"prototypes": None, "vocabulary": None},
}

with_twin = pytest.mark.parametrize("name", sorted(set(SCORES) & set(reference.TWINS)))
"""One without a twin fails once, in one sentence."""


def test_every_score_has_a_twin():
    without = sorted(set(SCORES) - set(reference.TWINS))
    if without:
        pytest.fail(
            f"no twin of {', '.join(without)}: write the formula with plain loops in tests/scores/reference.py and "
            "name it in TWINS",
            pytrace=False,
        )
    assert set(reference.TWINS) == set(SCORES), "a twin of a score that is gone"


@pytest.mark.parametrize("case", SAMPLES)
@with_twin
def test_a_score_equals_its_twin(name, case):
    score, sample = SCORES[name](), evidence.sample_of(SAMPLES[case])
    # arccos in the twin loses half the digits where means are parallel.
    assert score(sample) == pytest.approx(reference.TWINS[name](score, sample), abs=1e-7, nan_ok=True)


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("n_blobs", [1, 2, 3])
@with_twin
def test_a_score_equals_its_twin_whatever_is_known_of_its_items(name, n_blobs, case):
    embeddings = evidence.blobs(n_blobs) + (AWAY if "whitening" in SETTINGS[case] else 0)
    score, sample = SCORES[name](), evidence.sample_of(embeddings, **SETTINGS[case])
    assert score(sample) == pytest.approx(reference.TWINS[name](score, sample), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("case", SAMPLES)
def test_cosines_are_those_of_pairs(case):
    d = np.shape(SAMPLES[case])[1]
    whitening = Whitening(np.full(d, 0.25, dtype=np.float32), evidence.noise(d, 3).astype(np.float32))
    for settings in ({}, {"whitening": whitening}):
        sample = evidence.sample_of(SAMPLES[case], **settings)
        assert sample.cosines == pytest.approx(np.array(reference.cosine_table(sample)), abs=1e-12)


def test_gap_cut_and_silhouette_by_hand():
    # Two tight pairs at a right angle, one of them with a third item that leans over: cosines 1, .6 and .8.
    sample = evidence.sample_of([[1.0, 0], [2, 0], [0, 1], [0, 3], [0.6, 0.8]])
    assert sample.halves.labels[0].tolist() == [0, 0, 1, 1, 1]
    assert SCORES["gap"]()(sample) == pytest.approx(
        0.4 * 1 + 0.6 * (1 + 0.8 + 0.8) / 3 - (4 * 0 + 2 * 0.6) / 6, abs=1e-6
    )
    # One neighbour each: all within but none across; two each: 0 and 1 reach over once, 4 never.
    assert SCORES["cut"](neighbors=1)(sample) == 0
    assert SCORES["cut"](neighbors=2)(sample) == pytest.approx((2 / 10) / (2 * 0.4 * 0.6))
    values = [(0.8 - 0) / 0.8] * 2 + [(1 - 0.1) / 1] * 2 + [(0.4 - 0.2) / 0.4]
    assert SCORES["silhouette"]()(sample) == pytest.approx(np.mean(values), abs=1e-6)
    assert SCORES["silhouette"]().parts(sample) == {"k": 2}


@pytest.mark.parametrize("seed", range(4))
def test_silhouette_and_alignment_are_those_of_scikit_learn(seed):
    sample = evidence.sample_of(evidence.noise(30, 6, seed), seed=seed, labels=np.arange(30) // 7)
    labels = sample.best_split.labels[0]
    away = 1 - sample.cosines
    np.fill_diagonal(away, 0)
    assert SCORES["silhouette"]()(sample) == pytest.approx(silhouette_score(away, labels, metric="precomputed"))
    expected = adjusted_mutual_info_score(sample.labels, labels, average_method="min")
    assert SCORES["alignment"]()(sample) == pytest.approx(expected)


def test_alignment_by_all_shuffles_of_a_tiny_case():
    sample = evidence.sample_of(
        [[1.0, 0], [1, 0.1], [1, 0], [0, 1], [0, 1], [0.1, 1]], labels=np.array([0, 0, 1, 1, 1, 2])
    )
    clusters, labels = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 2]
    assert sample.best_split.labels[0].tolist() == clusters
    shuffles = [reference.mutual_information(labels, list(order)) for order in set(permutations(clusters))]
    chance = np.mean(shuffles)
    # Knowing the label leaves 2 of 3 of the middle class uncertain: H(clusters | labels) = 3/6 x H(1/3, 2/3).
    information = math.log(2) - 0.5 * (math.log(3) - 2 / 3 * math.log(2))
    assert SCORES["alignment"]()(sample) == pytest.approx((information - chance) / (math.log(2) - chance))


def test_two_clusters_that_part_twenty_classes_perfectly_are_aligned():
    sample = evidence.sample_of(evidence.blobs(2, n=40), labels=np.arange(40) % 20)
    assert SCORES["alignment"]()(sample) == pytest.approx(1)
    crossed = evidence.sample_of(evidence.blobs(2, n=40), labels=np.arange(40) // 2 % 20)
    assert SCORES["alignment"]()(crossed) < 0


def test_items_that_each_have_a_class_of_their_own_align_with_nothing():
    """Mutual information is then the same for every cut: 0 / 0, which rounding must not turn into 1."""
    for n in (8, 20, 50, 100):
        assert SCORES["alignment"]()(evidence.sample_of(evidence.blobs(2, n=n), labels=np.arange(n))) == 0


def test_distinctness_of_two_classes_by_hand():
    sample = evidence.sample_of(evidence.blobs(2, n=4), labels=np.array([0, 1, 0, 1]))
    # d = 1: two orthogonal prototypes. A random cut of four into two and two joins like with like 1 time in 3: then
    # d = 1, else both halves are mixed and d = 0. d_ref: 1 - cosine of (cat, car), (cat, cart), (car, cart).
    reference_distance = 1 - 1 / math.sqrt(3)
    score = SCORES["distinctness"](draws=4000)
    assert sample.prototypes.reference == pytest.approx(reference_distance)
    assert score(sample) == pytest.approx((1 - 1 / 3) / (reference_distance - 1 / 3), rel=0.15)


def test_distinctness_is_0_where_concepts_can_not_be_told_apart():
    alike = Concepts(np.array([[1.0, 0.001], [1.0, -0.001]]), np.arange(2), ["a", "b"])
    assert SCORES["distinctness"]()(evidence.sample_of(evidence.blobs(2), prototypes=alike)) == 0


@pytest.mark.parametrize("case", SAMPLES)
def test_semanticity_by_the_published_rule_equals_its_twin(case):
    score, sample = Semanticity(k_rule="published"), evidence.sample_of(SAMPLES[case], max_clusters=30)
    assert score(sample) == pytest.approx(reference.semanticity(score, sample), abs=1e-7)


def test_the_two_rules_differ_where_few_items_allow():
    sample = evidence.sample_of(SAMPLES["three items"])
    default, published = (Semanticity(k_rule=rule).parts(sample) for rule in ("default", "published"))
    assert (default["k"], published["k"]) == (1, 2)
    assert math.isclose(published["c"], 1 / 2)
    assert published["i"] == 3


def test_semanticity_of_two_orthogonal_blobs_by_hand():
    sample = evidence.sample_of([[3.0, 0], [3, 0], [0, 1], [0, 1]])
    # Means (3, 0) and (0, 1): theta = 1/2, b = 2 x 1 / 4, D = 1/4; C = 1/3.
    parts = Semanticity().parts(sample)
    assert parts == pytest.approx({"c": 1 / 3, "d": 1 / 4, "k": 2, "i": 4})
    assert Semanticity()(sample) == pytest.approx(1 / 3 + 1 / 4 - 1 / 12)
