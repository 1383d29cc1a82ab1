"""Null sets from embeddings: each against its definition, and the embedding null's level and power on planted truth."""

import numpy as np
import pytest
import scipy.stats
from stats.leave_one_out import Null, leave_one_out_p

from polyscan.nulls.calibration import Calibration
from polyscan.nulls.null_sets import (
    LAYER_REACHES,
    POOLED,
    allowed,
    neighbourhoods,
    one_exemplar_sets,
    random_sets,
    reaches,
)
from polyscan.stats.clustering import gram, kmeans

MAKERS = [one_exemplar_sets, random_sets, neighbourhoods]


def generator(seed=0):
    return np.random.default_rng(seed)


def embeddings(p, d, seed=0):
    """Raw embeddings of one broad cloud away from the origin."""
    return (generator(seed).standard_normal((p, d)) * np.arange(1, d + 1) ** -0.5 + 0.5).astype(np.float32)


def cosines(pool):
    unit = pool / np.linalg.norm(pool.astype(np.float64), axis=1, keepdims=True)
    return unit @ unit.T


def slow_ranking(pool, seed, k, ridge):
    """From the definition, in the full space: d is under 256, so no component is left out."""
    x = pool.astype(np.float64)
    near = np.argsort(-cosines(pool)[seed], kind="stable")[:k]
    covariance = np.cov(x.T, bias=True)
    lam = ridge * np.trace(covariance) / x.shape[1]
    w = np.linalg.inv(covariance + lam * np.eye(x.shape[1])) @ (x[near].mean(axis=0) - x.mean(axis=0))
    return np.argsort(-(x @ w), kind="stable")


def test_one_exemplar_sets_are_top_sets_of_readouts_by_the_definition():
    pool, n = embeddings(150, 6), 10
    sets = one_exemplar_sets(pool, n, count=36, generator=generator())
    seeds = []
    for place in range(36):
        k, ridge = (1, 5, 20)[place % 3], (0.1, 1.0, 10.0)[place // 3 % 3]
        rankings = [slow_ranking(pool, seed, k, ridge) for seed in range(150)]
        fitting = [seed for seed, ranking in enumerate(rankings) if np.array_equal(ranking[:n], sets[place])]
        assert len(fitting) >= 1
        seeds.append(set(fitting))
    assert len(set.union(*seeds)) >= 36


def test_only_the_top_256_components_are_read():
    # Uncorrelated columns: 256 strong ones and 44 weak ones, which are others in the second pool.
    draws = generator().standard_normal((2000, 344))
    columns = np.sqrt(2000) * np.linalg.qr(draws - draws.mean(axis=0))[0]
    strong, weak, other = columns[:, :256], 0.2 * columns[:, 256:300], 0.2 * columns[:, 300:]
    first, second = (
        one_exemplar_sets(np.concatenate([strong, part], axis=1), 10, count=36, generator=generator())
        for part in (weak, other)
    )
    is_of_one = np.arange(36) % 3 == 0  # the exemplar is the seed alone, so no neighbour depends on the weak columns
    np.testing.assert_array_equal(first[is_of_one], second[is_of_one])


@pytest.mark.parametrize("maker", MAKERS)
def test_sets_hold_n_different_items_and_follow_the_seed(maker):
    pool = embeddings(400, 8)
    first, again, other = (maker(pool, 12, count=25, generator=generator(seed)) for seed in (1, 1, 2))
    assert (first.shape, first.dtype) == ((25, 12), np.int64)
    assert all(len(set(items)) == 12 for items in first.tolist())
    assert 0 <= first.min() <= first.max() < 400
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_neighbourhoods_lie_around_their_first_item():
    pool, n = embeddings(500, 8), 10
    near = cosines(pool)
    index = neighbourhoods(pool, n, count=30, generator=generator())
    reached = []
    for place, items in enumerate(index):
        ranks = np.argsort(np.argsort(-near[items[0]], kind="stable"))[items]
        m = (1, 2, 4)[place % 3]
        assert ranks[0] == 0
        assert ranks.max() < m * n
        reached.append((m, ranks.max()))
    assert max(rank for m, rank in reached if m == 4) >= 2 * n
    assert len(set(index[:, 0].tolist())) == 30


def test_copies_do_not_push_out_their_own_item():
    pool = np.repeat(embeddings(10, 8), 30, axis=0)
    index = neighbourhoods(pool, 10, count=300, generator=generator())
    assert sorted(index[:, 0].tolist()) == list(range(300))


def test_random_sets_favour_no_item():
    index = random_sets(embeddings(60, 3), 10, count=3000, generator=generator())
    counts = np.bincount(index.ravel(), minlength=60)
    assert scipy.stats.chisquare(counts).pvalue > 0.01


N, CLASSES = 24, 30


def classes(seed=0):
    """Raw embeddings of overlapping classes: 100 items each."""
    centres = 0.6 * generator(seed).standard_normal((CLASSES, 48))
    owner = np.repeat(np.arange(CLASSES), 100)
    pool = centres[owner] + 0.5 * generator(seed + 1).standard_normal((len(owner), 48)) * np.arange(1, 49) ** -0.3 + 1
    return pool.astype(np.float32), owner


def gaps(pool, index):
    """Gap and clarity of each set: split in two, mean cosine within less mean cosine between."""
    x = pool[index].astype(np.float64)
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    labels = kmeans(gram(x), 2, uniforms=generator(4).random((len(x), 5, 2))).labels
    cosine = x @ x.transpose(0, 2, 1)
    found = []
    for c, part in zip(cosine, labels, strict=True):
        sides = [part == 0, part == 1]
        within = [(c[np.ix_(s, s)].sum() - s.sum()) / max(s.sum() * (s.sum() - 1), 1) for s in sides]
        found.append(np.mean(within) - c[np.ix_(*sides)].mean())
    n = x.shape[1]
    return np.array(found), (cosine.sum(axis=(1, 2)) - n) / (n * (n - 1))


def test_the_embedding_null_holds_its_level_and_finds_planted_pairs():
    pool, owner = classes()
    sets = one_exemplar_sets(pool, N, count=400, generator=generator(2))
    values, clarity = gaps(pool, sets)
    null = Null(values, clarity, np.arange(400))
    p = leave_one_out_p(null, tail="upper")
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01

    calibration = Calibration.fit(values, clarity, tail="upper")
    drawn = generator(3)
    pairs = np.array([
        np.concatenate([drawn.choice(np.flatnonzero(owner == c), N // 2, replace=False) for c in two])
        for two in [drawn.choice(CLASSES, 2, replace=False) for _ in range(40)]
    ])  # fmt: skip
    singles = np.array([drawn.choice(np.flatnonzero(owner == c), N, replace=False) for c in range(CLASSES)])
    assert (calibration.p(*gaps(pool, pairs)) <= 0.05).mean() > 0.8
    assert (calibration.p(*gaps(pool, singles)) <= 0.05).mean() < 0.15


def test_random_sets_as_the_null_have_seen_nothing_as_tight_as_a_class():
    # Why random images are no null: where a unit's evidence lies there is nothing to compare it with.
    pool, owner = classes()
    values, clarity = gaps(pool, random_sets(pool, N, count=200, generator=generator()))
    _, of_class = gaps(pool, np.array([np.flatnonzero(owner == c)[:N] for c in range(CLASSES)]))
    assert Calibration.fit(values, clarity, tail="upper").is_outside(of_class).mean() > 0.9


def test_every_null_has_its_measured_level():
    assert {name for name, null in POOLED.items() if null.holds_level} == {"embedding"}
    for null in POOLED.values():
        assert "as the null: at p <= .05" in null.level
        assert "%" in null.level


@pytest.mark.parametrize(("pool", "expected"), [(600, (1, 1)), (1199, (1, 1)), (1200, (1, 1, 2)), (2400, (1, 1, 2, 4))])
def test_loose_draws_need_a_large_pool(pool, expected):
    assert allowed(LAYER_REACHES, 100, pool) == expected


def test_reaches_come_in_equal_parts_and_in_no_order():
    drawn = reaches(LAYER_REACHES, 10, 1000, count=400, generator=generator())
    assert np.bincount(drawn).tolist() == [0, 200, 100, 0, 100]
    assert len({drawn[start::4].tobytes() for start in range(4)}) == 4
    assert np.abs(np.corrcoef(drawn, np.arange(400) % 4)[0, 1]) < 0.15


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("pool", "n", "count", "message"),
    [
        (np.eye(59), 10, 1, "a null for sets of 10 needs a pool of 60 items, got 59"),
        (np.eye(60), 1, 1, "`n` must be at least 2, got 1"),
        (np.eye(60), 10, 0, "`count` must be at least 1, got 0"),
        (np.ones(60), 10, 1, r"`pool` must be \[p, d\], got \(60,\)"),
        (np.ones((60, 3)), 10, 1, "all 60 embeddings are equal"),
        (np.diag(np.full(60, np.nan)), 10, 1, "60 of 60 embeddings are not finite"),
    ],
)
def test_wrong_arguments_are_refused(maker, pool, n, count, message):
    with pytest.raises(ValueError, match=message):
        maker(pool, n, count=count, generator=generator())
