"""The tally of unexplained images against a sort by hand."""

from __future__ import annotations

import numpy as np
import pytest

from polyscan.vision.unexplained import UnexplainedTally


@pytest.mark.parametrize("size", [1, 3, 7, 40])
def test_the_tally_is_a_sort_of_all_images_for_any_batches(size: int) -> None:
    generator = np.random.default_rng(0)
    n, units, k, width = 40, 5, 6, 4
    left = generator.integers(-3, 4, size=(n, units)).astype(np.float32)  # many ties
    left[generator.random((n, units)) < 0.3] = -np.inf
    left[:, 4] = -np.inf  # a unit that is never searched
    activation = generator.normal(size=(n, units)).astype(np.float32)
    place = generator.integers(0, 12, size=(n, units))
    images = np.arange(100, 100 + 3 * n, 3)
    tally = UnexplainedTally(units, k=k)
    for start in range(0, n, size):
        part = slice(start, start + size)
        tally.add(left[part], activation[part], images[part], place[part], width)
    found = tally.result()
    for unit in range(units):
        searched = [row for row in range(n) if left[row, unit] > -np.inf]
        rows = sorted(searched, key=lambda row: (-left[row, unit], images[row]))[:k]
        mine = found["unit"] == unit
        assert found["image"][mine].tolist() == images[rows].tolist()
        assert np.array_equal(found["unexplained"][mine], left[rows, unit])
        assert np.array_equal(found["activation"][mine], activation[rows, unit])
        assert np.array_equal(found["y"][mine] * width + found["x"][mine], place[rows, unit])
