"""Alignment: the adjusted mutual information, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from polyscan.scores.alignment import adjusted_mutual_information


@pytest.mark.parametrize("n", [3, 20, 100])
def test_it_is_what_scikit_learn_gives(n: int) -> None:
    generator = np.random.default_rng(n)
    for _ in range(100):
        labels = generator.integers(0, generator.integers(2, 30), n) * 7 - 3  # numbers need not be consecutive
        clusters = generator.integers(0, 3, n)
        if not all(1 < len(np.unique(side)) < n for side in (labels, clusters)):
            continue
        expected = adjusted_mutual_info_score(labels, clusters, average_method="min")
        assert adjusted_mutual_information(labels, clusters) == pytest.approx(expected, abs=1e-12)


def test_a_perfect_match_is_1_and_independence_is_below_0() -> None:
    halves = np.repeat([0, 1], 10)
    assert adjusted_mutual_information(halves + 5, 1 - halves) == pytest.approx(1)
    assert adjusted_mutual_information(halves, np.tile([0, 1], 10)) < 0
