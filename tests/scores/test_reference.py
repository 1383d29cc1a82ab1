"""Every score equals its slow literal twin."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from polyscan.scores import SCORES
from polyscan.scores.semanticity import Semanticity


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


def test_every_score_has_a_twin():
    assert set(reference.TWINS) == set(SCORES)


@pytest.mark.parametrize("case", SAMPLES)
@pytest.mark.parametrize("name", SCORES)
def test_a_score_equals_its_twin(name, case):
    score, sample = SCORES[name](), evidence.sample_of(SAMPLES[case])
    # arccos in the twin loses half the digits where means are parallel.
    assert score(sample) == pytest.approx(reference.TWINS[name](score, sample), abs=1e-7)


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
