"""Bounds on how many units are not null: hold as often as they say, whatever set is looked at, and find something."""

from itertools import combinations

import numpy as np
import pytest

from polyscan.stats.significance import Envelope, Group, closed_testing
from polyscan.stats.significance.true_discoveries import _envelope, _excess_of_nulls, _thresholds

GROUPS = (Group(60, 100), Group(30, 300), Group(60, 80))
MIXTURES = 300
ENVELOPE = Envelope.simulate(GROUPS, generator=np.random.default_rng(1))


def conformal(generator: np.random.Generator, group: Group, n_several: int, shift: float) -> np.ndarray:
    """p of a group's units, the first of which are not null, by ranks among its calibration scores."""
    calibration = np.sort(generator.standard_normal(group.n_calibration))
    scores = generator.standard_normal(group.n) + shift * (np.arange(group.n) < n_several)
    n_larger = group.n_calibration - np.searchsorted(calibration, scores)
    return (1 + n_larger) / (1 + group.n_calibration)


def mixtures(shares: tuple[float, ...], shift: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """p of all units of the groups and which are not null, for many mixtures."""
    generator = np.random.default_rng(7)
    counts = [round(share * group.n) for share, group in zip(shares, GROUPS, strict=True)]
    truth = np.concatenate([np.arange(group.n) < n for n, group in zip(counts, GROUPS, strict=True)])
    p = [
        np.concatenate([conformal(generator, group, n, shift) for n, group in zip(counts, GROUPS, strict=True)])
        for _ in range(MIXTURES)
    ]
    return [(values, truth) for values in p]


MOST_ABOVE = 0.05 + 2 * np.sqrt(0.05 * 0.95 / MIXTURES)


@pytest.mark.parametrize("shares", [(0, 0, 0), (0.3, 0, 0.3), (0.5, 0, 0), (0.8, 0.8, 0.8)])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_both_bounds_hold_as_often_as_they_say(shares: tuple[float, ...], shift: float) -> None:
    above = [
        (ENVELOPE.at_least(p) > truth.sum(), closed_testing(p) > truth.sum()) for p, truth in mixtures(shares, shift)
    ]
    assert np.mean(above, axis=0).max() <= MOST_ABOVE


@pytest.mark.parametrize("bound", [ENVELOPE.at_least, closed_testing])
def test_a_set_may_be_chosen_after_looking_at_p(bound) -> None:
    """The worst of many sets of each mixture: small p, single groups, and those with the fewest that are several."""
    group = np.repeat(np.arange(3), [each.n for each in GROUPS])
    n_above = 0
    for p, truth in mixtures((0.3, 0, 0.1), 2.0):
        nulls_first = np.lexsort((p, truth))
        sets = [p <= t for t in (0.01, 0.02, 0.05, 0.1, 0.3)] + [group == g for g in range(3)]
        sets += [np.isin(np.arange(len(p)), nulls_first[:n]) for n in (1, 2, 5, 10, 40)]
        n_above += any(bound(p, among) > truth[among].sum() for among in sets)
    assert n_above / MIXTURES <= MOST_ABOVE


def test_the_envelope_finds_many_weak_ones_and_closed_testing_few_strong_ones() -> None:
    weak = [(ENVELOPE.at_least(p), closed_testing(p)) for p, _ in mixtures((0.6, 0.6, 0.6), 1.5)]
    assert np.mean(weak, axis=0)[0] > 40  # of 90
    assert np.mean(weak, axis=0)[1] < 10
    strong = np.concatenate([np.full(10, 1e-6), np.linspace(0.01, 1, 140)])
    assert closed_testing(strong) == closed_testing(strong, strong < 0.001) == 10


def test_the_dependence_of_nulls_on_shared_calibration_scores_matters() -> None:
    """An envelope for independent p, as of very many calibration scores, is far too low where there are few."""
    few = Group(400, 40)
    naive, valid = (
        Envelope.simulate([group], generator=np.random.default_rng(1)) for group in (Group(few.n, 10**7), few)
    )
    generator = np.random.default_rng(2)
    p = [conformal(generator, few, 0, 0.0) for _ in range(MIXTURES)]
    assert np.mean([naive.at_least(each) > 0 for each in p]) > 0.3
    assert np.mean([valid.at_least(each) > 0 for each in p]) <= MOST_ABOVE


def test_the_excess_is_that_of_ranks_among_calibration_scores() -> None:
    """The simulation against counting ranks of scores literally: mean, sd and upper tail at each threshold."""
    group = Group(12, 25)
    thresholds = _thresholds(group.n_calibration)
    fast = _excess_of_nulls(group, thresholds, 4000, np.random.default_rng(0))
    generator = np.random.default_rng(1)
    slow = np.array([
        [(conformal_p <= t).sum() - group.n * t for t in thresholds]
        for conformal_p in (conformal(generator, group, 0, 0.0) for _ in range(4000))
    ])  # fmt: skip
    error = slow.std(axis=0) / np.sqrt(2000)
    assert (np.abs(fast.mean(axis=0) - slow.mean(axis=0)) <= 4 * error + 1e-12).all()
    assert fast.std(axis=0) == pytest.approx(slow.std(axis=0), rel=0.08)
    assert np.quantile(fast, 0.95, axis=0) == pytest.approx(np.quantile(slow, 0.95, axis=0), abs=1.0)


def test_a_twentieth_of_the_draws_are_above_the_envelope_somewhere() -> None:
    excess = np.random.default_rng(0).standard_normal((999, 5)).cumsum(axis=1)
    share = (excess > _envelope(excess, 0.95)).any(axis=1).mean()
    assert 0.04 <= share <= 0.05
    assert (_envelope(excess, 0.95) < _envelope(excess, 0.99)).all()


def plain_closed_testing(p: np.ndarray, among: np.ndarray) -> int:
    """Tests every subset: the size of the set less that of its largest subset which some unrejected set contains."""
    m = len(p)
    subsets = [set(each) for n in range(1, m + 1) for each in combinations(range(m), n)]
    unrejected = [
        each
        for each in subsets
        if all(len(each) * x > 0.05 * (rank + 1) for rank, x in enumerate(sorted(p[list(each)])))
    ]
    chosen = set(np.flatnonzero(among).tolist())
    return len(chosen) - max((len(chosen & each) for each in unrejected), default=0)


@pytest.mark.parametrize("seed", range(20))
def test_closed_testing_is_that_of_every_subset(seed: int) -> None:
    generator = np.random.default_rng(seed)
    p = (generator.random(8) ** generator.choice([1, 4, 9], 8)).round(3)
    for among in (np.ones(8, dtype=bool), p <= 0.05, generator.random(8) < 0.5):
        assert closed_testing(p, among) == plain_closed_testing(p, among)


def test_untested_units_do_not_count_and_small_sets_are_bounded_by_their_size() -> None:
    p, _ = mixtures((0.5, 0.5, 0.5), 3.0)[0]
    with_gaps = np.concatenate([p, np.full(9, np.nan)])
    assert ENVELOPE.at_least(with_gaps) == ENVELOPE.at_least(p)
    assert closed_testing(with_gaps) == closed_testing(p)
    for bound in (ENVELOPE.at_least, closed_testing):
        assert bound(with_gaps, np.isnan(with_gaps)) == 0
        assert bound(p, np.zeros(len(p), dtype=bool)) == 0
        assert 0 < bound(p, p <= 0.02) <= (p <= 0.02).sum()


def test_a_larger_set_never_has_a_smaller_bound() -> None:
    p, _ = mixtures((0.3, 0.3, 0.3), 2.0)[0]
    for bound in (ENVELOPE.at_least, closed_testing):
        found = [bound(p, np.isin(np.arange(len(p)), np.argsort(p)[:n])) for n in range(0, len(p), 10)]
        assert found == sorted(found)
        assert found[-1] <= bound(p)


def test_wrong_input_is_refused() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="needs a unit and a calibration score"):
        Envelope.simulate([Group(0, 10)], generator=generator)
    with pytest.raises(ValueError, match="`draws` must be at least 40"):
        Envelope.simulate([Group(5, 10)], generator=generator, draws=39)
    with pytest.raises(ValueError, match="the envelope is for 150 units, got 3"):
        ENVELOPE.at_least(np.full(3, 0.5))
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        closed_testing(np.array([-0.1]))
    assert closed_testing(np.empty(0)) == 0
