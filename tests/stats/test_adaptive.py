"""Adaptive q: as their literal twins say, in order, and holding their rate where tests are independent."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from polyscan.stats.significance import (
    benjamini_hochberg,
    group_benjamini_hochberg,
    null_share,
    storey_by_group,
)

ADAPTIVE = (storey_by_group, group_benjamini_hochberg)


def some_p(seed: int = 0, sizes: tuple[int, ...] = (40, 7, 25)) -> tuple[np.ndarray, np.ndarray]:
    """p-values with many small ones in the first group, ties and NaN, and the group of each."""
    generator = np.random.default_rng(seed)
    p = generator.random(sum(sizes)).round(2)
    p[: sizes[0] // 2] *= 0.05
    p[generator.random(len(p)) < 0.1] = np.nan
    return p, np.repeat(np.array(["a", "b", "c"]), sizes)


def plain_null_share(p: list[float]) -> float:
    return min(1.0, (1 + sum(x > 0.5 for x in p)) / (0.5 * len(p)))


def plain_bh(weighted: list[float]) -> list[float]:
    """Smallest over all thresholds t that include the test: m t / #{<= t}; may be above 1."""
    m = len(weighted)
    return [min(m * t / sum(x <= t for x in weighted) for t in weighted if t >= w) for w in weighted]


def plain_storey(p: np.ndarray, groups: np.ndarray) -> list[float]:
    q = [float("nan")] * len(p)
    for group in set(groups.tolist()):
        at = [i for i in range(len(p)) if groups[i] == group and not np.isnan(p[i])]
        share = plain_null_share([p[i] for i in at])
        for i, found in zip(at, plain_bh([p[i] for i in at]), strict=True):
            q[i] = share * min(1.0, found)
    return q


def plain_group_bh(p: np.ndarray, groups: np.ndarray) -> list[float]:
    tested = [i for i in range(len(p)) if not np.isnan(p[i])]
    members = {group: [p[i] for i in tested if groups[i] == group] for group in set(groups.tolist())}
    shares = {group: plain_null_share(values) for group, values in members.items()}
    overall = sum(shares[group] * len(values) for group, values in members.items()) / len(tested)
    weighted = [
        p[i] * shares[groups[i]] / (1 - shares[groups[i]]) if shares[groups[i]] < 1 else float("inf") for i in tested
    ]
    q = [float("nan")] * len(p)
    for i, found in zip(tested, plain_bh(weighted), strict=True):
        q[i] = 1.0 if overall == 1 or np.isinf(found) else min(1.0, (1 - overall) * found)
    return q


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("fast", "slow"), [(storey_by_group, plain_storey), (group_benjamini_hochberg, plain_group_bh)]
)
def test_q_are_those_of_the_literal_twin(fast, slow, seed: int) -> None:
    p, groups = some_p(seed)
    assert_allclose(fast(p, groups), slow(p, groups), rtol=1e-12)


@pytest.mark.parametrize("q_of", ADAPTIVE)
def test_q_follow_the_order_of_p_within_a_group(q_of) -> None:
    p, groups = some_p()
    q = q_of(p, groups)
    assert (np.isnan(q) == np.isnan(p)).all()
    for group in "abc":
        at = np.flatnonzero((groups == group) & ~np.isnan(p))
        ordered = q[at[np.argsort(p[at])]]
        assert (np.diff(ordered) >= 0).all()
        assert ((ordered >= 0) & (ordered <= 1)).all()


@pytest.mark.parametrize("q_of", ADAPTIVE)
def test_order_of_units_and_names_of_groups_do_not_matter(q_of) -> None:
    p, groups = some_p()
    order = np.random.default_rng(1).permutation(len(p))
    assert_allclose(q_of(p[order], groups[order]), q_of(p, groups)[order])
    assert_allclose(q_of(p, np.char.add("layer ", groups)), q_of(p, groups))


def test_storey_never_exceeds_benjamini_hochberg_of_its_group() -> None:
    p, groups = some_p()
    for group in "abc":
        own = p[groups == group]
        assert (storey_by_group(own, groups[groups == group]) <= benjamini_hochberg(own) + 1e-15)[~np.isnan(own)].all()


def test_a_group_of_nulls_alone_calls_nothing() -> None:
    p = np.concatenate([np.linspace(0.001, 0.02, 20), np.linspace(0.001, 1, 50) ** 0.2])
    groups = np.repeat([0, 1], [20, 50])
    q = group_benjamini_hochberg(p, groups)
    assert (q[:20] < 0.05).all()
    assert (q[20:] == 1).all()
    assert (group_benjamini_hochberg(np.full(3, 0.9), np.zeros(3)) == 1).all()


@pytest.mark.parametrize("q_of", ADAPTIVE)
def test_the_rate_holds_on_independent_tests_and_calls_more_than_benjamini_hochberg(q_of) -> None:
    """Half of one group's tests are not null, none of the other's."""
    generator = np.random.default_rng(0)
    groups = np.repeat([0, 1], 200)
    false, found, found_by_bh = [], [], []
    for _ in range(200):
        p = generator.random(400)
        p[:100] **= 6
        called = q_of(p, groups) <= 0.1
        false.append(called[100:].sum() / max(1, called.sum()))
        found.append(called[:100].mean())
        found_by_bh.append((benjamini_hochberg(p)[:100] <= 0.1).mean())
    # The sd of the mean of 200 shares is below .005.
    assert np.mean(false) <= 0.115
    assert np.mean(found) > np.mean(found_by_bh) + 0.1


def test_the_share_of_nulls_is_not_too_small_on_average() -> None:
    generator = np.random.default_rng(0)
    p = generator.random((500, 60))
    p[:, :20] *= 0.1
    shares = [null_share(row) for row in p]
    assert 2 / 3 <= np.mean(shares) <= 2 / 3 + 0.06
    assert null_share(np.full(5, np.nan)) == 1


@pytest.mark.parametrize("q_of", ADAPTIVE)
def test_wrong_input_is_refused(q_of) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.5"):
        q_of(np.array([0.5, 1.5]), np.array([0, 0]))
    with pytest.raises(ValueError, match="each p-value needs a group, got \\(2,\\) and \\(3,\\)"):
        q_of(np.array([0.5, 0.5]), np.array([0, 0, 1]))
    with pytest.raises(ValueError, match="`above` must be in"):
        null_share(np.array([0.5]), above=1.0)
    assert np.isnan(q_of(np.full(3, np.nan), np.zeros(3))).all()
    assert q_of(np.empty(0), np.empty(0)).shape == (0,)
