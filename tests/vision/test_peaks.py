"""The tally of a layer: the same as sorting all images, whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyscan.errors import ModelError
from polyscan.vision.peaks import LayerPeakTally, PeakTally, largest
from polyscan.vision.readouts import Peaks, peaks_of

CPU = torch.device("cpu")


def tallied(maps, ids, *, k, sizes, layer="toy"):
    """Tallied in batches of these sizes, the last one repeated."""
    tally = LayerPeakTally(maps.shape[1], k=k, layer=layer, device=CPU)
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
    tally = LayerPeakTally(2, k=6, layer="toy", device=CPU)
    for start in range(0, 20, 4):
        tally.add(peaks_of(maps[start : start + 4]), ids[start : start + 4])
        assert as_rows(tally.result()) == sorted_by_hand(maps[: start + 4], ids[: start + 4], 6)


def test_memory_stays_bounded():
    tally = LayerPeakTally(5, k=3, layer="toy", device=CPU)
    for start in range(0, 4000, 8):
        tally.add(peaks_of(torch.randn(8, 5, 2, 2)), torch.arange(start, start + 8))
        assert len(tally._best) < 2 * 3 + 8
        assert tally._best.value.shape == tally._best.others[0].shape == (5, min(3, tally._best.value.shape[1]))


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
    tally, start = LayerPeakTally(4, k=k, layer="toy", device=CPU, reads=lambda images: is_read[:, images]), 0
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
    tally = LayerPeakTally(2, k=2, layer="toy", device=CPU, reads=lambda images: np.zeros((2, len(images)), dtype=bool))
    with pytest.raises(ModelError, match="unit toy:1 gives values that are not finite"):
        tally.add(peaks_of(maps), torch.arange(4))


def test_all_layers_at_once_are_each_layers_own_tally():
    generator = torch.Generator().manual_seed(3)
    sizes = [(3, 4, 5), (1, 1, 1), (19, 2, 7), (2, 6, 1)]
    batches = [[torch.randn(b, *size, generator=generator) for size in sizes] for b in (5, 8, 3, 8)]
    alone = [LayerPeakTally(size[0], k=4, layer=str(size), device=CPU) for size in sizes]
    together = PeakTally(sum(size[0] for size in sizes), k=4, name=str, device=CPU)
    start = 0
    for batch in batches:
        ids = torch.arange(start, start + len(batch[0]))
        for tally, maps in zip(alone, batch, strict=True):
            tally.add(peaks_of(maps), ids)
        together.add(Peaks.joined([peaks_of(maps) for maps in batch]), ids)
        start += len(ids)
    results, whole = [tally.result() for tally in alone], together.result()
    assert [unit for result in results for unit in as_rows(result)] == as_rows(whole)
    for name in ("n", "min", "max", "n_at_max", "n_nonpositive"):
        expected = np.concatenate([getattr(result.moments, name) for result in results])
        assert np.array_equal(getattr(whole.moments, name), expected), name
    for name in ("s1", "s2", "s3", "s4"):  # how many numbers stand in a row decides in which order they are added
        expected = np.concatenate([getattr(result.moments, name) for result in results])
        np.testing.assert_allclose(getattr(whole.moments, name), expected, rtol=1e-13, atol=1e-13)


def test_a_unit_that_gives_no_number_is_named_by_its_own_layer():
    found = [peaks_of(torch.zeros(2, n, 3, 3)) for n in (4, 2)]
    found[1].value[1, 1] = float("nan")
    tally = PeakTally(6, k=1, name=lambda number: f"unit {number} of six", device=CPU)
    with pytest.raises(ModelError, match="unit unit 5 of six gives values that are not finite"):
        tally.add(Peaks.joined(found), torch.arange(2))


def test_the_largest_float32_are_no_overflow():
    maps = torch.full((6, 1, 1, 1), torch.finfo(torch.float32).max)
    assert tallied(maps, torch.arange(6), k=2, sizes=[6]).moments.n_at_max[0] == 6


def test_a_tally_of_no_image_is_empty():
    result = LayerPeakTally(3, k=2, layer="toy", device=CPU).result()
    assert result.activation.shape == result.y.shape == (3, 0)
    assert result.moments.n.tolist() == [0, 0, 0]


SPECIAL = [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3e38, -3e38, -np.inf, 1.0 + 2**-23, 1.0 - 2**-24]


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.lists(st.sampled_from(SPECIAL), min_size=9, max_size=9), min_size=1, max_size=4),
    k=st.integers(1, 12),
)
def test_the_largest_are_a_stable_sort(rows, k):
    found = largest(torch.tensor(rows, dtype=torch.float32), k)
    for row, columns in zip(np.array(rows, dtype=np.float32), found.tolist(), strict=True):
        assert columns == sorted(range(9), key=lambda column: (-float(row[column]), column))[:k]
