"""What is made where scores meet their null: PSI, with the concepts of its last part, and the separation."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyscan.scores import SCORES
from polyscan.scores.concepts import PAIRS, Concepts
from polyscan.scores.psi import PARTS, psi
from polyscan.scores.separation import PARTS as SEPARATION_PARTS
from polyscan.scores.separation import separation

SHARES = st.floats(-1, 1)


def literal_psi(s, chance, q, d):
    """Each part clipped to 0 to 1, then the product."""
    parts = [(s - chance) / (1 - chance), q, d]
    return math.prod(min(max(part, 0.0), 1.0) for part in parts)


@given(s=SHARES, chance=st.floats(-0.9, 0.9), q=SHARES, d=st.floats(-3, 3))
def test_psi_is_the_product_of_its_clipped_parts(s, chance, q, d):
    found = psi(*(np.array([number]) for number in (s, chance, q, d)))
    assert found.psi[0] == pytest.approx(literal_psi(s, chance, q, d), abs=1e-12)
    assert all(0 <= part[0] <= 1 for part in found)
    assert found.psi[0] <= min(found.s[0], found.q[0], found.d[0]) + 1e-12


def test_chance_gives_0_and_perfection_1():
    chance = np.array([0.3, 0.3, 0.3, 0.3])
    found = psi(np.array([1.0, 0.3, 1.0, 1.0]), chance, np.array([1.0, 1, 0, 1]), np.array([1.0, 1, 1, 0]))
    assert found.psi.tolist() == [1, 0, 0, 0]


def test_what_is_absent_stays_absent():
    nothing, some = np.array([np.nan, 0.5, 0.5]), np.array([0.5, 0.5, 0.5])
    assert np.isnan(psi(some, some / 2, nothing, some).psi).tolist() == [True, False, False]
    assert np.isnan(psi(some, some / 2, some, nothing).psi).tolist() == [True, False, False]
    assert np.isnan(psi(nothing, some / 2, some, some).psi).tolist() == [True, False, False]


def test_its_parts_are_scores_on_exemplars_that_speak_for_several_where_they_are_high():
    for name in (*PARTS, "distinctness_words"):
        assert SCORES[name].tail == "upper"
        assert "exemplars" in SCORES[name].evidence


def test_concepts_have_unit_length_and_a_concept_of_length_0_has_none():
    concepts = Concepts(np.array([[3.0, 4], [0, 0], [0, 2]]), np.array([5, 6, -1]), ["a", "b", "c"])
    assert np.allclose(concepts.vectors, [[0.6, 0.8], [0, 0], [0, 1]])
    assert concepts.of_labels(np.array([6, 5, 9, -1])).tolist() == [
        [0, 0],
        concepts.vectors[0].tolist(),
        [0, 0],
        [0, 0],
    ]
    assert len(concepts) == 3


@pytest.mark.parametrize("m", [2, 3, 8])
def test_the_reference_of_few_concepts_is_the_median_over_all_pairs(m):
    vectors = np.random.default_rng(m).standard_normal((m, 4))
    away = [1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(vectors, 2)]
    assert Concepts(vectors, np.arange(m), list("abcdefgh"[:m])).reference == pytest.approx(np.median(away))


def test_the_reference_of_many_concepts_is_that_of_random_pairs_never_of_a_concept_with_itself():
    m = 200  # 19,900 pairs
    assert m * (m - 1) // 2 > PAIRS
    corners = Concepts(np.eye(m), np.arange(m), [str(number) for number in range(m)])
    assert corners.reference == 1  # a pair of one concept twice has distance 0
    two = np.repeat(np.eye(2), [150, 50], axis=0)
    # Of random pairs of different concepts .62 are alike, so their median distance is 0.
    assert Concepts(two, np.arange(m), [str(number) for number in range(m)]).reference == 0


def test_separation_adds_its_residuals_by_their_signs_and_goes_without_a_part():
    z = {"gap": [1.0, 1.0, np.nan, -2.0], "cut": [-2.0, np.nan, 1.0, 0.5]}
    assert separation({name: np.array(values) for name, values in z.items()}).tolist() == [3.0, 1.0, -1.0, -2.5]
    assert np.isnan(separation(dict.fromkeys(z, np.array([np.nan])))).all(), "of nothing there is no sum"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_residual_beyond_the_bound_counts_by_its_logarithm(sign):
    z = {"gap": sign * np.array([2.5, 3.5, 9.5]), "cut": np.zeros(3)}
    assert separation(z) == pytest.approx(sign * np.array([2.5, 2.5 + np.log(2), 2.5 + np.log(8)]))


def test_its_parts_speak_for_several_on_opposite_tails():
    assert [SCORES[name].tail for name in SEPARATION_PARTS] == ["upper", "lower"]
