"""Laws that every registered score keeps."""

import dataclasses
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from polyscan.scores import SCORES
from polyscan.scores.score import Score, ScoreOfParts
from polyscan.scores.semanticity import Semanticity


def neighbour(name):
    """A module beside this one; tests are no package, so it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evidence = neighbour("evidence")

TOLERANCE = 1e-5  # embeddings are float32, and a rotation rounds them anew
every_score = pytest.mark.parametrize("name", SCORES)


@every_score
def test_a_score_declares_itself(name):
    score_type = SCORES[name]
    score = score_type()
    assert isinstance(score, Score)
    assert score.tail in ("upper", "lower", "none")
    assert score.evidence
    assert set(score.evidence) <= {"exemplars", "visualizations"}
    low, high = score.range
    assert low < high
    assert score_type.__dataclass_params__.frozen
    for word in ("Range:", "High means:", "Blind to:", "Source:"):
        assert word in score_type.__doc__


@every_score
def test_settings_have_types_and_defaults(name):
    fields = dataclasses.fields(SCORES[name])
    assert all(field.default is not dataclasses.MISSING for field in fields)
    assert {field.name for field in fields} == {
        n for n in SCORES[name].__annotations__ if n not in Score.__annotations__
    }


def permuted(sample, seed=1):
    """The same evidence in another order, and that order."""
    order = np.random.default_rng(seed).permutation(len(sample))
    changes = {"embeddings": sample.embeddings[order], "activations": sample.activations[order]}
    return dataclasses.replace(sample, **changes), order


@every_score
def test_the_order_of_items_does_not_matter_where_clusters_are_plain(name):
    sample = evidence.sample_of(evidence.blobs(2))
    other, _ = permuted(sample)
    assert SCORES[name]()(other) == pytest.approx(SCORES[name]()(sample), abs=1e-9)


@every_score
@pytest.mark.parametrize("n_blobs", [0, 1, 3])
def test_the_order_of_items_does_not_matter_given_the_partitions(name, n_blobs):
    # Where clusters are not plain, k-means may end elsewhere from the same draws: its own affair, not the score's.
    sample = evidence.sample_of(evidence.blobs(n_blobs) if n_blobs else evidence.noise())
    other, order = permuted(sample)
    for k in range(1, max(2, sample.k_cap()) + 1):
        other.partitions[k] = sample.clustering(k)._replace(labels=sample.clustering(k).labels[order])
    assert SCORES[name]()(other) == pytest.approx(SCORES[name]()(sample), abs=1e-9)


@every_score
@pytest.mark.parametrize("n_blobs", [1, 2, 3])
def test_rotating_the_space_does_not_matter(name, n_blobs):
    embeddings = evidence.blobs(n_blobs)
    rotated = evidence.sample_of(embeddings @ evidence.rotation(embeddings.shape[1]))
    assert SCORES[name]()(rotated) == pytest.approx(SCORES[name]()(evidence.sample_of(embeddings)), abs=TOLERANCE)


@every_score
@pytest.mark.parametrize("seed", range(10))
def test_values_lie_in_the_declared_range(name, seed):
    low, high = SCORES[name].range
    for n, d in ((2, 1), (3, 2), (9, 3), (30, 20)):
        value = SCORES[name]()(evidence.sample_of(evidence.noise(n, d, seed)))
        assert low <= value <= high


@every_score
@pytest.mark.parametrize("rows", [[[1, 1]] * 6, [[0, 0]] * 6, [[1, 0]] * 3 + [[0, 1]] * 3, [[1, 0]] * 5 + [[0, 0]]])
def test_duplicates_have_finite_scores(name, rows):
    value = SCORES[name]()(evidence.sample_of(np.array(rows)))
    assert math.isfinite(value)


@every_score
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_items_have_no_score(name, n):
    score, sample = SCORES[name](), evidence.sample_of(np.ones((n, 3)))
    assert math.isnan(score(sample))
    if isinstance(score, ScoreOfParts):
        assert set(score.parts(sample)) == set(score.parts(evidence.sample_of(np.ones((3, 3)))))


@every_score
def test_two_planted_blobs_stand_on_the_declared_tail_of_one(name):
    score = SCORES[name]()
    one, two = ([score(evidence.sample_of(evidence.blobs(m, seed=s), seed=s)) for s in range(5)] for m in (1, 2))
    if score.tail == "upper":
        assert min(two) > max(one) + 0.1
    elif score.tail == "lower":
        assert max(two) < min(one) - 0.1


@every_score
def test_a_score_is_defined_on_the_evidence_it_declares(name):
    score = SCORES[name]()
    for kind in ("exemplars", "visualizations"):
        value = score(evidence.sample_of(evidence.blobs(2), evidence=kind))
        assert math.isfinite(value) == (kind in score.evidence)


def test_all_equal_embeddings_are_clear_and_of_one_meaning():
    sample = evidence.sample_of(np.tile([3.0, -4.0, 0.1], (7, 1)))
    values = {name: score()(sample) for name, score in SCORES.items()}
    expected = {"clarity": 1.0, "monosemanticity": 1.0, "semanticity": 0.0, "polysemanticity": 0.0}
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_semantic_lens_calls_noise_more_polysemantic_than_two_orthogonal_concepts():
    noise = [SCORES["polysemanticity"]()(evidence.sample_of(evidence.noise(100, 512, s))) for s in range(3)]
    two = SCORES["polysemanticity"]()(evidence.sample_of(evidence.blobs(2, n=100, d=512, spread=0.01)))
    assert min(noise) > 1.02
    assert two == pytest.approx(1, abs=0.02)
    assert min(noise) > two


def test_semanticity_refuses_an_unknown_rule():
    with pytest.raises(ValueError, match=r'`k_rule` must be "default".*got "loose"'):
        Semanticity(k_rule="loose")
