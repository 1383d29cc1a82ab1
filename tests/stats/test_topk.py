"""The top k: laws of its merge against a literal twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyscan.stats.topk import top_k_rows

K = 3
# Few values, so that ties, both zeros and repeated pairs are common.
ACTIVATIONS = [-np.inf, -1.5, -0.0, 0.0, 0.5, 6.0, np.inf]
candidates = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(ACTIVATIONS), st.integers(-2, 5)), max_size=30)


def literal(rows, k=K):
    """Sorted and cut with plain Python."""
    best = {}
    for unit, activation, image in rows:
        best[unit, image] = max(best.get((unit, image), -np.inf), activation)
    ordered = sorted((unit, -activation, image) for (unit, image), activation in best.items())
    kept = [row for place, row in enumerate(ordered) if sum(other[0] == row[0] for other in ordered[:place]) < k]
    return [(unit, -negative, image) for unit, negative, image in kept]


def columns(rows):
    units, activations, images = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(units, dtype=np.int64), np.array(activations, dtype=np.float32), np.array(images, dtype=np.int64)


def merged(*parts, k=K):
    rows = [row for part in parts for row in part]
    return [rows[i] for i in top_k_rows(*columns(rows), k=k)]


@given(candidates)
def test_equals_the_literal_twin(rows):
    assert merged(rows) == literal(rows)


@given(candidates, candidates, candidates)
def test_merging_is_associative(a, b, c):
    assert merged(merged(a, b), c) == merged(a, merged(b, c)) == merged(a, b, c)


@given(candidates, st.randoms())
def test_merging_is_free_of_order(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert merged(shuffled) == merged(rows)


@given(candidates, candidates)
def test_a_part_read_twice_changes_nothing(a, b):
    assert merged(a, b, a) == merged(a, b)
    assert merged(merged(a)) == merged(a)


def test_many_rows_equal_a_lexsort():
    generator = np.random.default_rng(0)
    n, n_units, k = 20_000, 50, 40
    unit = generator.integers(0, n_units, n)
    activation = np.minimum(generator.standard_normal(n), 1).astype(np.float32)  # many ties at the clip
    image = generator.permutation(n)
    expected = np.lexsort((image, -activation, unit))
    expected = np.concatenate([expected[unit[expected] == u][:k] for u in range(n_units)])
    np.testing.assert_array_equal(top_k_rows(unit, activation, image, k=k), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "`k` must be at least 1, got 0"),
        ({"activation": np.array([1.0, np.nan], dtype=np.float32)}, "1 activations are NaN"),
        ({"activation": np.array([1.0, 2.0])}, "must be float32, got float64"),
        ({"unit": np.array([0, -1])}, r"must be in \[0, 4294967295\], got -1 to 0"),
        ({"image": np.array([1])}, "one length, got 2, 2 and 1"),
    ],
)
def test_wrong_columns_are_refused(change, message):
    arguments = {
        "unit": np.array([0, 1]),
        "activation": np.ones(2, dtype=np.float32),
        "image": np.array([3, 4]),
        "k": 1,
    }
    arguments |= change
    with pytest.raises(ValueError, match=message):
        top_k_rows(arguments["unit"], arguments["activation"], arguments["image"], k=arguments["k"])
