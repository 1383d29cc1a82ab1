"""Marks that explain a split: against a slow count of all draws, and on sets whose nuisance was built in."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyscan.stats.nuisances import LEAST_DIFFERENCE, LEVEL, copy_groups, copy_marks, explaining, place_marks


def slow(labels: np.ndarray, mark: np.ndarray) -> bool:
    """Whether a mark explains a split: the difference of shares, and the share of all draws with as many marks."""
    for cluster in set(labels.tolist()):
        inside = labels == cluster
        n, both = int(inside.sum()), int((inside & mark).sum())
        if n == len(labels) or mark[inside].mean() - mark[~inside].mean() < LEAST_DIFFERENCE:
            continue
        draws = [int(mark[list(drawn)].sum()) for drawn in combinations(range(len(labels)), n)]
        if np.mean(np.array(draws) >= both) <= LEVEL:
            return True
    return False


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=2, max_size=14))
def test_a_mark_explains_a_split_as_the_slow_count_says(items: list[tuple[int, bool]]) -> None:
    labels, mark = (np.array(column) for column in zip(*items, strict=True))
    assert (explaining(labels, {"mark": mark.astype(bool)}) is not None) == slow(labels, mark.astype(bool))


@pytest.mark.parametrize(
    ("n_here", "n_elsewhere", "expected"),
    [
        (10, 0, True),
        (10, 17, True),
        (10, 18, False),  # by chance with a probability of .0013
        (5, 0, True),
        (4, 0, False),  # most of the cluster has no mark
        (1, 0, False),
    ],
)
def test_a_cluster_of_ten_among_fifty_by_hand(n_here: int, n_elsewhere: int, *, expected: bool) -> None:
    labels = np.repeat([1, 0], [10, 40])
    place = np.arange(50)
    mark = (place < n_here) | ((place >= 10) & (place < 10 + n_elsewhere))
    found = explaining(labels, {"other": np.ones(50, dtype=bool), "mark": mark})
    assert (found is not None) == expected
    if found is not None:
        assert found == ("mark", n_here / 10, n_elsewhere / 40)


def test_random_marks_hardly_ever_explain_a_split() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [15, 35])
    marks = generator.random((4000, 50)) < generator.uniform(0.1, 0.9, size=(4000, 1))
    assert sum(explaining(labels, {"mark": mark}) is not None for mark in marks) <= 2 * 4000 * LEVEL


def test_places_are_told_apart_by_where_they_lie() -> None:
    y, x = np.array([0, 0, 2, 2, 3, 1]), np.array([0, 0, 1, 1, 0, 2])
    marks = dict(place_marks(y, x, (4, 4)))
    assert list(marks) == ["border: row 0, column 0", "one place: row 2, column 1"]
    assert marks["border: row 0, column 0"].tolist() == [True, True, False, False, False, False]
    assert not dict(place_marks(y[:1] * 0, x[:1] * 0, (1, 1)))
    assert not dict(place_marks(np.zeros(9, dtype=int), np.zeros(9, dtype=int), (2, 7)))  # no inside


def test_copies_have_a_checksum_or_nearly_a_hash_in_common() -> None:
    hashes = np.array([7, 7 ^ 0b1111 << 40, -1, 0, 0, 7 ^ 0b11111 << 20], dtype=np.int64)
    checksums = np.array(["a", "b", "c", "d", "e", "c"])
    assert copy_groups(checksums, hashes).tolist() == [0, 0, 2, 3, 4, 2]  # 0: plain images, not copies
    assert copy_groups(np.array([""] * 6), hashes).tolist() == [0, 0, 2, 3, 4, 5]


def test_an_image_that_comes_three_times_is_a_mark() -> None:
    marks = dict(copy_marks(np.array([0, 1, 1, 0, 1, 5])))
    assert {name: mark.tolist() for name, mark in marks.items()} == {
        "repeated image: exemplar 1": [False, True, True, False, True, False]
    }
