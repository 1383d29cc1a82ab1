"""The tally of a layer: the same as sorting all images, whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyscan.errors import ModelError
from polyscan.vision.peaks import PeakTally
from polyscan.vision.readouts import peaks_of

CPU = torch.device("cpu")


def tallied(maps, ids, *, k, sizes, layer="toy"):
    """Tallied in batches of these sizes, the last one repeated."""
    tally = PeakTally(maps.shape[1], k=k, layer=layer, device=CPU)
    start, sizes = 0, list(sizes)
    while start < len(maps):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        tally.add(peaks_of(maps[start : start + size]), ids[start : start + size])
        start += size
    return tally.result()


def sorted_by_hand(maps, ids, k):
    """Rows (activation, image, y, x) per unit: activation down, then image up; the first place in raster order."""
    rows = []
    for unit in range(maps.shape[1]):
        found = []
        for image, plane in zip(ids.tolist(), maps[:, unit].numpy(), strict=True):
            y, x = np.unravel_index(int(np.argmax(plane)), plane.shape)
            found.append((-float(plane[y, x]), image, int(y), int(x)))
        rows.append([(-negative, image, y, x) for negative, image, y, x in sorted(found)[:k]])
    return rows


def as_rows(result):
    return [
        list(zip(*(getattr(result, name)[unit].tolist() for name in ("activation", "image", "y", "x")), strict=True))
        for unit in range(len(result.activation))
    ]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(1, 40),
    k=st.integers(1, 12),
    levels=st.sampled_from([2, 5, 1000]),
    sizes=st.lists(st.integers(1, 17), min_size=1, max_size=6),
    channels_last=st.booleans(),
)
def test_it_is_a_sort_of_all_images(seed, n, k, levels, sizes, channels_last):
    generator = np.random.default_rng(seed)
    # Few levels make ties: within a map, between images, at the bar and at zero.
    values = generator.integers(-levels, levels, (n, 3, 4, 5)).astype(np.float32) / 7
    values[:, 2] = -np.abs(values[:, 2]) - 1  # never positive
    ids = torch.from_numpy(np.sort(generator.choice(1000, n, replace=False)))
    maps = torch.from_numpy(values)
    if channels_last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    result = tallied(maps, ids, k=k, sizes=sizes)
    assert as_rows(result) == sorted_by_hand(torch.from_numpy(values), ids, k)
    assert result.activation.shape == (3, min(k, n))
    assert [getattr(result, name).dtype for name in ("activation", "image", "y", "x")] == ["f4", "i8", "i4", "i4"]

    peaks = values.astype(np.float64).max(axis=(2, 3))
    moments = result.moments
    for power, name in enumerate(("s1", "s2", "s3", "s4"), start=1):
        np.testing.assert_allclose(getattr(moments, name), (peaks**power).sum(axis=0), rtol=1e-12, atol=1e-9)
    assert np.array_equal(moments.min, peaks.min(axis=0))
    assert np.array_equal(moments.max, peaks.max(axis=0))
    assert np.array_equal(moments.n_at_max, (peaks == peaks.max(axis=0)).sum(axis=0))
    assert np.array_equal(moments.n_nonpositive, (peaks <= 0).sum(axis=0))
    assert moments.n_nonpositive[2] == n
    assert set(moments.n.tolist()) == {n}


def test_all_alike_goes_by_id():
    result = tallied(torch.ones(30, 1, 2, 2), torch.arange(100, 130), k=4, sizes=[7])
    assert as_rows(result) == [[(1.0, image, 0, 0) for image in (100, 101, 102, 103)]]
    assert result.moments.n_at_max[0] == 30


def test_a_result_can_be_asked_for_on_the_way():
    maps, ids = torch.randn(20, 2, 3, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20)
    tally = PeakTally(2, k=6, layer="toy", device=CPU)
    for start in range(0, 20, 4):
        tally.add(peaks_of(maps[start : start + 4]), ids[start : start + 4])
        assert as_rows(tally.result()) == sorted_by_hand(maps[: start + 4], ids[: start + 4], 6)


def test_memory_stays_bounded():
    tally = PeakTally(5, k=3, layer="toy", device=CPU)
    for start in range(0, 4000, 8):
        tally.add(peaks_of(torch.randn(8, 5, 2, 2)), torch.arange(start, start + 8))
        assert tally._value.shape[1] < 2 * 3 + 8


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    maps = torch.zeros(4, 3, 2, 2)
    maps[2, 1, 0, 1] = bad
    with pytest.raises(ModelError, match=r"unit layer4\.conv:1 gives values that are not finite; check the weights"):
        tallied(maps, torch.arange(4), k=2, sizes=[4], layer="layer4.conv")


def test_a_map_of_minus_infinity_alone_is_refused():
    maps = torch.zeros(4, 3, 2, 2)
    maps[1, 2] = -torch.inf
    with pytest.raises(ModelError, match="unit toy:2 gives values"):
        tallied(maps, torch.arange(4), k=2, sizes=[4])
    maps[1, 2, 0, 0] = -5.0  # one finite value is a peak
    assert tallied(maps, torch.arange(4), k=4, sizes=[2]).activation[2, -1] == -5


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(1, 40),
    k=st.integers(1, 8),
    sizes=st.lists(st.integers(1, 17), min_size=1, max_size=6),
)
def test_a_unit_that_ranks_some_images_only_has_the_best_of_those_and_the_moments_of_all(seed, n, k, sizes):
    generator = np.random.default_rng(seed)
    maps = torch.from_numpy(generator.integers(-5, 5, (n, 4, 2, 3)).astype(np.float32))
    ids = torch.from_numpy(np.sort(generator.choice(1000, n, replace=False)))
    is_read = generator.random((4, 1000)) < np.array([1.0, 0.5, 0.1, 0.0])[:, None]
    tally, start = PeakTally(4, k=k, layer="toy", device=CPU, reads=lambda images: is_read[:, images]), 0
    for size in sizes * n:
        if start < n:
            tally.add(peaks_of(maps[start : start + size]), ids[start : start + size])
        start += size
    result = tally.result()
    for unit, rows in enumerate(as_rows(result)):
        kept = torch.from_numpy(is_read[unit][ids.numpy()])
        best = sorted_by_hand(maps[kept][:, unit : unit + 1], ids[kept], k)[0]
        assert [row for row in rows if row[0] > -np.inf] == best
        assert len(best) == min(k, int(kept.sum()))
    every = tallied(maps, ids, k=k, sizes=sizes).moments
    for name in ("n", "s1", "s2", "s3", "s4", "min", "max", "n_at_max", "n_nonpositive"):
        assert np.array_equal(getattr(result.moments, name), getattr(every, name)), name


def test_a_peak_that_is_not_finite_is_refused_even_where_its_image_is_not_ranked():
    maps = torch.zeros(4, 2, 2, 2)
    maps[3, 1, 0, 0] = float("nan")
    tally = PeakTally(2, k=2, layer="toy", device=CPU, reads=lambda images: np.zeros((2, len(images)), dtype=bool))
    with pytest.raises(ModelError, match="unit toy:1 gives values that are not finite"):
        tally.add(peaks_of(maps), torch.arange(4))
