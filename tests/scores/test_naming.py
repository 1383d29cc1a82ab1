"""Names: each formula against a slow, literal twin; p and contrast have their level where there is nothing to find."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polyscan.scores import naming


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def directions(rng, n, d):
    return naming.unit_rows(rng.standard_normal((n, d)), np.zeros(d))


def slow_contrast(likeness, members):
    """The best word of the members, and its mean likeness on them less that on the others."""
    n_words = len(likeness[0])
    inside = [row for row, member in zip(likeness, members, strict=True) if member]
    outside = [row for row, member in zip(likeness, members, strict=True) if not member]
    sums = [sum(row[word] for row in inside) for word in range(n_words)]
    best = sums.index(max(sums))
    return sums[best] / len(inside) - sum(row[best] for row in outside) / len(outside)


def slow_log_chances(likeness):
    """Soft-WPMI's log chance of the items given each word, item by item and word by word."""
    n = len(likeness)
    result = []
    for word in range(len(likeness[0])):
        total = 0.0
        for i, row in enumerate(likeness):
            chance = math.exp(10 * row[word]) / sum(math.exp(10 * value) for value in row)
            share = 0.998 - i / n * (0.998 - 0.97)
            total += math.log(1 + share * (chance - 1) + 1e-7)
        result.append(total)
    return result


def test_unit_rows_are_seen_from_the_centre(rng):
    vectors, centre = rng.standard_normal((5, 3)), rng.standard_normal(3)
    rows = naming.unit_rows(vectors, centre)
    for row, vector in zip(rows, vectors, strict=True):
        assert row.tolist() == pytest.approx(((vector - centre) / np.linalg.norm(vector - centre)).tolist(), abs=1e-6)
    assert naming.unit_rows(centre[None], centre).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("at_once", [1, 3, 8192])
def test_contrasts_are_those_of_their_slow_twin(rng, monkeypatch, at_once):
    monkeypatch.setattr(naming, "WORDS_AT_ONCE", at_once)
    likeness = rng.standard_normal((9, 7)).astype(np.float32)
    draws = naming.random_differences(likeness, 4, 50, np.random.default_rng(1))
    sets = naming.random_sets(9, 4, 50, np.random.default_rng(1))
    for draw, rows in zip(draws, sets, strict=True):
        assert draw == pytest.approx(slow_contrast(likeness.tolist(), np.isin(np.arange(9), rows)), abs=1e-5)
    members = np.arange(9) < 4
    every = naming.differences(likeness, members)
    assert every[likeness[:4].sum(axis=0).argmax()] == pytest.approx(
        slow_contrast(likeness.tolist(), members), abs=1e-6
    )


@pytest.mark.parametrize("at_once", [2, 8192])
def test_the_best_similarity_is_the_largest_cosine(rng, monkeypatch, at_once):
    monkeypatch.setattr(naming, "WORDS_AT_ONCE", at_once)
    items, words = directions(rng, 6, 4), directions(rng, 5, 4)
    means = naming.mean_direction(items.reshape(2, 3, 4))
    for mean, part, best in zip(means, (items[:3], items[3:]), naming.best_similarity(means, words), strict=True):
        total = part.sum(axis=0)
        assert np.allclose(mean, total / np.linalg.norm(total), atol=1e-6)
        assert best == pytest.approx(max(float(mean @ word) for word in words), abs=1e-6)


def test_soft_wpmi_is_that_of_its_slow_twin(rng):
    pool = rng.uniform(-1, 1, (8, 5)).astype(np.float32)
    assert naming.log_chances(pool[:4]).tolist() == pytest.approx(slow_log_chances(pool[:4].tolist()), rel=1e-4)
    sets = naming.random_sets(8, 3, 6, rng)
    slow = np.array([slow_log_chances(pool[rows].tolist()) for rows in sets])
    expected = np.log(np.exp(slow).mean(axis=0))
    assert naming.log_mean_chances(naming.word_chances(pool), sets).tolist() == pytest.approx(
        expected.tolist(), rel=1e-4
    )


def test_random_sets_have_no_item_twice(rng):
    sets = naming.random_sets(10, 4, 200, rng)
    assert all(len(set(rows)) == 4 for rows in sets.tolist())
    assert np.bincount(sets.ravel(), minlength=10).min() > 50


def test_a_name_of_random_crops_is_as_good_as_chance(rng):
    """p of sets that were drawn as the null's are has its level, whatever the size of the vocabulary."""
    pool = directions(rng, 300, 16)
    for n_words in (3, 300):
        words = directions(rng, n_words, 16)
        null = naming.best_similarity(naming.mean_direction(pool[naming.random_sets(300, 8, 199, rng)]), words)
        own = naming.best_similarity(naming.mean_direction(pool[naming.random_sets(300, 8, 1000, rng)]), words)
        found = np.mean([naming.name_p(float(value), null) <= 0.05 for value in own])
        assert 0.01 <= found <= 0.1  # the null's own 199 sets move the level, too


def test_the_contrast_of_a_cluster_at_random_is_as_good_as_chance(rng):
    words, found = directions(rng, 40, 16), 0
    for _ in range(400):
        likeness = directions(rng, 20, 16) @ words.T
        members = np.isin(np.arange(20), rng.choice(20, 8, replace=False))
        best = int(likeness[members].mean(axis=0).argmax())
        value = float(naming.differences(likeness, members)[best])
        found += naming.name_p(value, naming.random_differences(likeness, 8, 99, rng)) <= 0.05
    assert found <= 20 + 3 * (400 * 0.05 * 0.95) ** 0.5


def test_a_name_that_holds_for_one_cluster_is_told_from_one_that_holds_for_both(rng):
    words = np.eye(6, dtype=np.float32)
    near = lambda word, n: naming.unit_rows(words[word] + 0.3 * rng.standard_normal((n, 6)), np.zeros(6))  # noqa: E731
    members = np.arange(24) < 12
    for second, is_told in ((1, True), (0, False)):
        likeness = np.concatenate([near(0, 12), near(second, 12)]) @ words.T
        value = float(naming.differences(likeness, members)[0])
        p = naming.name_p(value, naming.random_differences(likeness, 12, 199, rng))
        assert (p <= 0.01 and value > 0.5) if is_told else abs(value) < 0.3


def test_a_cluster_without_others_has_no_contrast(rng):
    likeness = rng.standard_normal((4, 3)).astype(np.float32)
    for members in (np.ones(4, dtype=bool), np.zeros(4, dtype=bool)):
        values = naming.differences(likeness, members)
        draws = naming.random_differences(likeness, int(members.sum()), 9, rng)
        assert np.isnan(values).all()
        assert math.isnan(naming.name_p(float(values[0]), draws))


def test_chance_agreement_is_that_of_shuffled_answers(rng):
    right, given = rng.integers(0, 4, 300), rng.choice(4, 300, p=[0.7, 0.1, 0.1, 0.1])
    shuffled = np.mean([(right == rng.permutation(given)).mean() for _ in range(400)])
    assert naming.chance_agreement(right, given) == pytest.approx(shuffled, abs=0.01)
