"""Shards cover everything once, whatever the sizes; seeds depend on their purpose alone."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyscan.errors import ShardError
from polyscan.shards import seed, split, split_within


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
