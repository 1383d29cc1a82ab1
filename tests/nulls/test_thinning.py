"""Thinning: a seeded share of the images, apart for every unit, the same however they come."""

import math

import numpy as np
import pytest

from polyscan.nulls.thinning import reads

MASK = 2**64 - 1


def mixed(key: int) -> int:
    """SplitMix64 in whole numbers (Steele, Lea & Flood 2014)."""
    key = (key + 0x9E3779B97F4A7C15) & MASK
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & MASK
    return key ^ (key >> 31)


def literal(seed: int, unit: int, image: int, reach: int) -> bool:
    """A draw in [0, 1) of 53 bits from seed, unit and image; below 1 / reach it is read."""
    draw = mixed(mixed(mixed(seed) ^ unit) ^ image) >> 11
    return draw * reach < 2**53


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_it_is_a_hash_of_seed_unit_and_image(seed: int) -> None:
    units, images, reach = np.array([0, 3, 500]), np.array([0, 1, 17, 2**40]), np.array([1, 2, 4])
    found = reads(seed, units, images, reach)
    expected = [[literal(seed, int(u), int(i), int(m)) for i in images] for u, m in zip(units, reach, strict=True)]
    assert found.tolist() == expected


@pytest.mark.parametrize("m", [2, 3, 4, 16])
def test_the_share_is_one_in_m_for_every_unit(m: int) -> None:
    n, n_units = 20_000, 60
    found = reads(1, np.arange(n_units), np.arange(n), np.full(n_units, m))
    sd = math.sqrt(n / m * (1 - 1 / m))
    assert np.abs(found.sum(axis=1) - n / m).max() < 4.5 * sd  # of 60 units; chance of more: 1 in 2,500
    assert abs(found.sum() - n_units * n / m) < 4 * sd * math.sqrt(n_units)


def test_units_read_independently_of_each_other_and_of_the_seed() -> None:
    n, m = 40_000, 4
    found = reads(1, np.arange(6), np.arange(n), np.full(6, m))
    other = reads(2, np.arange(6), np.arange(n), np.full(6, m))
    expected, sd = n / m**2, math.sqrt(n / m**2 * (1 - 1 / m**2))
    for a in range(6):
        assert abs((found[a] & other[a]).sum() - expected) < 4.5 * sd
        for b in range(a):
            assert abs((found[a] & found[b]).sum() - expected) < 4.5 * sd
    # Neighbouring images are as independent as any.
    assert abs((found[:, 1:] & found[:, :-1]).sum() - 6 * expected) < 4.5 * sd * math.sqrt(6)


def test_reach_1_reads_all_and_a_wider_reach_a_part_of_a_narrower_one() -> None:
    images = np.arange(5000)
    by_reach = [reads(3, np.array([5]), images, np.array([m]))[0] for m in (1, 2, 4, 16)]
    assert by_reach[0].all()
    for wide, narrow in zip(by_reach[1:], by_reach[:-1], strict=True):
        assert not (wide & ~narrow).any()


@pytest.mark.parametrize("size", [1, 7, 64, 999])
def test_batches_shards_order_and_other_units_change_nothing(size: int) -> None:
    images, units, reach = np.arange(1000), np.arange(8), np.array([1, 1, 2, 4] * 2)
    whole = reads(9, units, images, reach)
    parts = [reads(9, units, images[start : start + size], reach) for start in range(0, 1000, size)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    order = np.random.default_rng(0).permutation(1000)
    assert np.array_equal(reads(9, units, order, reach), whole[:, order])
    assert np.array_equal(reads(9, units[[6, 2]], images, reach[[6, 2]]), whole[[6, 2]])


def test_the_top_of_a_thinned_unit_merges_over_shards_to_that_of_all_its_images() -> None:
    """The strongest n of a random 1/m are merged like any other top list, and are part of the top m n or so."""
    n, images = 10, np.arange(3000)
    peaks = np.random.default_rng(0).standard_normal(3000)
    kept = reads(4, np.array([2]), images, np.array([4]))[0]
    whole = images[kept][np.argsort(-peaks[kept], kind="stable")[:n]]
    merged: list[int] = []
    for start in range(0, 3000, 450):
        here = images[start : start + 450]
        here = here[reads(4, np.array([2]), here, np.array([4]))[0]]
        merged = sorted([*merged, *here.tolist()], key=lambda image: (-peaks[image], image))[:n]
    assert merged == whole.tolist()
    rank = np.argsort(np.argsort(-peaks))[whole]
    assert 15 < rank.max() < 100  # of about 40


def test_units_of_several_layers_have_each_their_layers_seed() -> None:
    images, units, reach = np.arange(300), np.array([0, 1, 0, 5]), np.array([2, 4, 2, 3])
    seeds = np.array([7, 7, 2**62 + 1, 2**62 + 1])
    found = reads(seeds, units, images, reach)
    apart = [reads(seed, units[part], images, reach[part]) for seed, part in ((7, [0, 1]), (2**62 + 1, [2, 3]))]
    assert np.array_equal(found, np.concatenate(apart))
    assert (found[0] != found[2]).any()
