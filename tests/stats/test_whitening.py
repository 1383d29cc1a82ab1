"""How a space is seen: literal twins, and what shrinking is for."""

import numpy as np
import pytest

from polyscan.nulls.coherence import LEVEL, SETS, random_clarity
from polyscan.stats.whitening import Whitening, place_directions


def sample(p=300, d=6, seed=0):
    """Vectors with a mean far off and very unequal spreads along turned axes."""
    generator = np.random.default_rng(seed)
    turn = np.linalg.qr(generator.standard_normal((d, d)))[0]
    return generator.standard_normal((p, d)) * 4.0 ** -np.arange(d) @ turn + 10


def literal(vectors, ridge):
    """u_j . (x - mean) / sqrt(ev_j + lam), by the covariance's own eigenvectors."""
    away = vectors - vectors.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov(vectors.T, bias=True))
    return away @ directions / np.sqrt(values + ridge * values.mean())


@pytest.mark.parametrize("ridge", [0.1, 1.0, 3.0])
def test_each_principal_component_is_shrunk_by_its_spread(ridge):
    vectors = sample()
    seen = Whitening.of(vectors, ridge=ridge)(vectors)
    # Axes may come in any order and with any sign; inner products tell.
    assert seen @ seen.T == pytest.approx(literal(vectors, ridge) @ literal(vectors, ridge).T, rel=1e-3, abs=1e-4)
    assert np.abs(seen.mean(axis=0)).max() < 1e-4
    spread = seen.std(axis=0)
    assert (np.diff(spread) <= 1e-9).all()
    assert spread.max() < 1


def test_common_directions_count_no_more_than_rare_ones():
    """Two groups that differ in a rare direction are apart where a common one drowned them."""
    generator = np.random.default_rng(0)
    background = generator.standard_normal((2000, 8)) * np.array([30.0] + [1.0] * 7)
    of_a, of_b = (generator.standard_normal((20, 8)) * 0.3 + np.array([0.0] * 7 + [side]) for side in (3, -3))
    of_a[:, 0] += generator.standard_normal(20) * 30
    of_b[:, 0] += generator.standard_normal(20) * 30

    def apart(vectors):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return (unit[:20] @ unit[:20].T).mean() - (unit[:20] @ unit[20:].T).mean()

    both = np.concatenate([of_a, of_b])
    assert apart(both) < 0.3
    assert apart(Whitening.of(background)(both)) > apart(both) + 0.15
    assert apart(Whitening.of(background, ridge=0.1)(both)) > 0.7


def test_directions_that_are_not_to_be_seen_are_not():
    vectors = sample()
    hidden = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 2)))[0]
    seen = Whitening.of(vectors, without=hidden)
    moved = vectors + np.random.default_rng(2).standard_normal((300, 2)) @ hidden.T * 50
    assert np.allclose(seen(moved), seen(vectors), atol=1e-3)
    assert seen.axes.shape == (6, 4)


def test_components_are_as_many_as_asked_for_and_as_there_are():
    vectors = sample()
    assert Whitening.of(vectors, components=2).axes.shape == (6, 2)
    flat = np.concatenate([vectors[:, :3], vectors[:, :3]], axis=1)
    assert Whitening.of(flat).axes.shape == (6, 3)
    few = sample(p=4, d=20)
    assert Whitening.of(few).axes.shape == (20, 3)  # fewer vectors than dimensions
    alike = np.ones((5, 3))
    assert Whitening.of(alike)(alike).shape == (5, 0)


def test_a_turned_space_is_seen_alike():
    vectors = sample()
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))[0]
    seen, turned = Whitening.of(vectors)(vectors), Whitening.of(vectors @ turn)(vectors @ turn)
    assert seen @ seen.T == pytest.approx(turned @ turned.T, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize(
    ("vectors", "settings", "message"),
    [
        (np.ones((1, 3)), {}, r"2 rows or more, got \(1, 3\)"),
        (np.array([[0.0], [np.nan]]), {}, "must be finite"),
        (np.eye(3), {"ridge": 0.0}, "`ridge` above 0, got 256 and 0.0"),
        (np.eye(3), {"components": 0}, "`components` must be 1 or more"),
    ],
)
def test_what_can_not_be_seen_is_refused(vectors, settings, message):
    with pytest.raises(ValueError, match=message):
        Whitening.of(vectors, **settings)


def test_place_directions_are_those_in_which_the_mean_changes_from_place_to_place():
    generator = np.random.default_rng(0)
    border = np.eye(16)[3]
    means = generator.standard_normal((30, 16)) * 0.01
    means[:10] += border * 5
    (found,) = place_directions(means).T
    assert abs(found @ border) > 0.999
    two = means + np.outer(np.arange(30) % 2, np.eye(16)[7]) * 5
    assert place_directions(two).shape == (16, 2)  # at most an eighth of them
    assert place_directions(generator.standard_normal((30, 16))).shape == (16, 2)
    assert place_directions(means[:1]).shape == (16, 0)


# ---- how alike random items are ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 8, 50])
def test_random_clarity_is_what_95_of_100_random_sets_stay_under(n):
    vectors = np.random.default_rng(0).standard_normal((400, 5)) + 0.5
    bound = random_clarity(vectors, n, generator=np.random.default_rng(1))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    generator = np.random.default_rng(2)
    values = []
    for _ in range(600):
        cosines = unit[(rows := generator.choice(400, n, replace=False))] @ unit[rows].T
        values.append((cosines.sum() - n) / (n * (n - 1)))
    share = np.mean(np.array(values) <= bound)
    # The bound is itself a quantile of 200 sets: two binomial errors.
    assert abs(share - LEVEL) < 4 * np.sqrt(0.95 * 0.05 * (1 / 600 + 1 / SETS))


def test_random_clarity_around_0_falls_as_one_over_the_number_of_items_less_one():
    vectors = np.random.default_rng(0).standard_normal((4000, 5))
    of_20, of_60 = (
        np.mean([random_clarity(vectors, n, generator=np.random.default_rng(seed)) for seed in range(40)])
        for n in (20, 60)
    )
    assert of_60 == pytest.approx(of_20 * 19 / 59, rel=0.15), "what a run with fewer exemplars scored relies on"


def test_random_clarity_of_a_small_sample_and_of_none():
    generator = np.random.default_rng(0)
    assert random_clarity(np.eye(3), 8, generator=generator) == pytest.approx(0)  # all three of them
    assert np.isnan(random_clarity(np.eye(3)[:1], 8, generator=generator))
    assert random_clarity(np.zeros((5, 2)), 3, generator=generator) == 0
    assert random_clarity(np.empty((5, 0)), 3, generator=generator) == 0
