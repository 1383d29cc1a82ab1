"""Shards cover everything once, whatever the sizes; seeds depend on their purpose alone."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyscan.errors import ShardError
from polyscan.shards import seed, split, split_by_weight, split_ranges, split_within


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 20))
def test_shards_cover_all_groups_once_in_order_and_never_cross_a_border(sizes: list[int], size: int) -> None:
    shards = split_within("visualize", sizes, size)
    assert [item for shard in shards for item in range(shard.start, shard.stop)] == list(range(sum(sizes)))
    borders = {sum(sizes[: i + 1]) for i in range(len(sizes))}
    for shard in shards:
        assert 0 < len(shard) <= size
        assert not any(shard.start < border < shard.stop for border in borders)
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert all(shard.count == len(shards) for shard in shards)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=8), st.integers(1, 20))
def test_ranges_are_covered_once_in_order_and_nothing_between_them(gaps: list[tuple[int, int]], size: int) -> None:
    ranges, at = [], 0
    for gap, length in gaps:
        ranges.append((at + gap, at + gap + length))
        at += gap + length
    shards = split_ranges("score", ranges, size)
    wanted = [item for start, stop in ranges for item in range(start, stop)]
    assert [item for shard in shards for item in range(shard.start, shard.stop)] == wanted
    assert all(0 < len(shard) <= size for shard in shards)
    assert all(any(start <= shard.start and shard.stop <= stop for start, stop in ranges) for shard in shards)


@given(st.lists(st.integers(1, 50), max_size=12), st.integers(1, 60))
def test_shards_by_weight_are_as_heavy_as_allowed_or_one_item(weights: list[int], most: int) -> None:
    shards = split_by_weight("survey", weights, most)
    assert [item for shard in shards for item in range(shard.start, shard.stop)] == list(range(len(weights)))
    for shard, behind in zip(shards, [*shards[1:], None], strict=False):
        weight = sum(weights[shard.start : shard.stop])
        assert weight <= most or len(shard) == 1
        assert behind is None or weight + weights[behind.start] > most, "the next item would have had room"


def test_shard_names_sort_as_their_indices() -> None:
    names = [shard.name for shard in split("embed", 1200, 1)]
    assert names == sorted(names)
    assert names[17] == "00017-of-01200"


def test_a_shard_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 item, got 0"):
        split("collect", 5, 0)


def test_seeds_differ_for_whatever_differs_and_are_stable_for_ever() -> None:
    different = [(0, "a"), (1, "a"), (0, "b"), (0, "a", "l"), (0, "a", "l", 1), (0, "a", "l", 1, 1), (0, "a", "l1", 1)]
    seeds = [seed(*arguments) for arguments in different]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= value < 2**63 for value in seeds)
    assert seed(0, "start image", "conv1", 3, 2) == 4434521014651737397


def test_errors_survive_the_way_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(ShardError("embed", 3, "no memory")))
    assert (error.stage, error.index, error.cause) == ("embed", 3, "no memory")
    assert str(error) == "shard 3 of `embed` failed: no memory"
