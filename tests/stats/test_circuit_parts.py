"""PURE's split against a slow telling of itself, and what each cluster's circuit consists of."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from polyscan.stats.circuit_parts import NOWHERE, carriers, drivers, pure_parts, shares


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def two_kinds(n: int = 12, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Attributions of two kinds in turn, of very unlike sizes."""
    rng = generator(seed)
    kind = np.arange(n) % 2
    vectors = np.where(kind[:, None] == 0, [4.0, 1.0, 0.2, -0.5], [0.3, -0.2, 2.0, 3.0])
    return (vectors + 0.2 * rng.standard_normal((n, 4))) * rng.uniform(0.1, 50, (n, 1)), kind


def literal_split(vectors: np.ndarray) -> list[int]:
    """Dreyer et al. 2024 for K = 2: divide by the L1 norm, then the two clusters with the least sum of squares."""
    rows = [[value / sum(abs(each) for each in row) for value in row] for row in vectors.tolist()]
    best, least = None, float("inf")
    for labels in itertools.product((0, 1), repeat=len(rows)):
        if labels[0] == 1 or len(set(labels)) < 2:
            continue
        total = 0.0
        for cluster in (0, 1):
            members = [row for row, label in zip(rows, labels, strict=True) if label == cluster]
            centre = [sum(column) / len(members) for column in zip(*members, strict=True)]
            total += sum((value - mean) ** 2 for row in members for value, mean in zip(row, centre, strict=True))
        if total < least:
            best, least = list(labels), total
    assert best is not None
    return best


@pytest.mark.parametrize("seed", range(4))
def test_the_split_is_the_best_of_all_splits(seed: int) -> None:
    vectors = generator(seed).standard_normal((9, 3)) * generator(seed).uniform(0.1, 9, (9, 1))
    assert pure_parts(vectors, 2, generator=generator()).tolist() == literal_split(vectors)


def test_two_kinds_are_found_whatever_the_number_and_the_size_of_vectors() -> None:
    vectors, kind = two_kinds()
    for k in (2, None):
        assert pure_parts(vectors, k, generator=generator()).tolist() == kind.tolist()


def test_an_exemplar_without_attribution_is_in_no_cluster() -> None:
    vectors, kind = two_kinds()
    vectors[3] = 0
    labels = pure_parts(vectors, 2, generator=generator())
    assert labels[3] == NOWHERE
    assert np.delete(labels, 3).tolist() == np.delete(kind, 3).tolist()
    assert {driver.cluster for driver in drivers(vectors, labels, generator=generator())} == {0, 1}


def test_too_few_exemplars_are_told() -> None:
    with pytest.raises(ValueError, match=r"1 of 1 exemplars have an attribution that is not 0; 2 or more"):
        pure_parts(np.ones((1, 3)), 2, generator=generator())
    with pytest.raises(ValueError, match=r"0 of 5 exemplars"):
        pure_parts(np.zeros((5, 3)), generator=generator())
    with pytest.raises(ValueError, match=r"2 of 2 exemplars .*; 3 or more"):
        pure_parts(np.ones((2, 3)), 3, generator=generator())
    with pytest.raises(ValueError, match="finite"):
        shares(np.array([[np.nan, 1.0]]))


def test_carriers_hold_the_share_and_no_fewer_would() -> None:
    vectors = np.abs(generator(5).standard_normal((20, 30)))
    labels = np.arange(20) % 2
    for cluster, keep in carriers(vectors, labels, share=0.6).items():
        mean = shares(vectors)[labels == cluster].mean(axis=0)
        assert mean[keep].sum() >= 0.6 * mean.sum()
        assert np.sort(mean)[::-1][: int(keep.sum()) - 1].sum() < 0.6 * mean.sum()
        assert mean[keep].min() >= mean[~keep].max()
    with pytest.raises(ValueError, match=r"`share` must be in \(0, 1\], got 1.5"):
        carriers(vectors, labels, share=1.5)


def test_drivers_are_the_channels_that_differ_with_an_interval_around_their_share() -> None:
    vectors, kind = two_kinds(40)
    found = drivers(vectors, kind, generator=generator(), top=2)
    assert [(each.cluster, each.channel) for each in found] == [(0, 0), (0, 1), (1, 3), (1, 2)]
    for each in found:
        mean = shares(vectors)[kind == each.cluster, each.channel].mean()
        assert each.low < each.share < each.high
        assert each.share == pytest.approx(mean)
        assert each.elsewhere < each.low
    assert np.isnan(drivers(vectors, np.zeros(40, dtype=np.int64), generator=generator(), top=1)[0].elsewhere)
