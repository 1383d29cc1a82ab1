"""Windows of resized pictures: Pillow's own pixels, and memory that does not grow with a picture's shape."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from polyscan.vision import resampling
from polyscan.vision.preprocessing import Preprocessing
from polyscan.vision.resampling import INTERPOLATIONS, resized, resized_window, window_alone

SIDES, RESIZED = st.integers(1, 60), st.integers(1, 150)


@given(
    picture=st.tuples(SIDES, SIDES, st.integers(1, 5)),
    size=st.tuples(RESIZED, RESIZED),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    is_hard=st.booleans(),
    interpolation=st.sampled_from(sorted(INTERPOLATIONS)),
    seed=st.integers(0, 99),
)
@settings(max_examples=400, deadline=None)
def test_a_window_alone_has_the_pixels_of_the_whole(picture, size, corners, is_hard, interpolation, seed):
    """Enlarged along an axis, as pictures are that would take much memory; black and white try the rounding most."""
    assume(size[0] >= picture[0] or size[1] >= picture[1])
    pixels = np.random.default_rng(seed).integers(0, 256, picture, dtype=np.uint8)
    pixels = np.where(pixels > 127, 255, 0).astype(np.uint8) if is_hard else pixels
    rows, columns = (
        range(start := int(first * (side - 1)), start + 1 + int(length * (side - 1 - start)))
        for side, first, length in zip(size, corners[:2], corners[2:], strict=True)
    )
    whole = resized(pixels, size, interpolation)[rows.start : rows.stop, columns.start : columns.stop]
    assert np.array_equal(window_alone(pixels, size, rows, columns, interpolation=interpolation), whole)


@pytest.mark.parametrize("interpolation", sorted(INTERPOLATIONS))
def test_few_numbers_at_once_give_the_same_sums(interpolation, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 9, 3), dtype=np.uint8)
    once = window_alone(pixels, (40, 30), range(3, 38), range(30), interpolation=interpolation)
    monkeypatch.setattr(resampling, "IN_FLIGHT", 50)
    assert np.array_equal(window_alone(pixels, (40, 30), range(3, 38), range(30), interpolation=interpolation), once)


@pytest.mark.parametrize("channels", [2, 4, 8])
def test_each_channel_is_resized_by_itself(channels):
    """A fourth channel is no transparency, by which Pillow would weigh the others."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, channels), dtype=np.uint8)
    found = resized(pixels, (11, 50), "bicubic")
    for channel in range(channels):
        assert np.array_equal(found[:, :, channel], resized(pixels[:, :, channel, None], (11, 50), "bicubic")[:, :, 0])


def test_large_results_are_computed_by_window(monkeypatch):
    """The seam: one px more than Pillow may make, and the window is computed alone."""
    pixels = np.random.default_rng(2).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    expected = resized_window(pixels, (40, 50), range(10, 30), range(20, 40), interpolation="bicubic")
    called = []
    monkeypatch.setattr(resampling, "resized", lambda *about: called.append(about) or resized(*about))
    monkeypatch.setattr(resampling, "MOST_PIXELS", 40 * 50 - 1)
    found = resized_window(pixels, (40, 50), range(10, 30), range(20, 40), interpolation="bicubic")
    assert (not called, np.array_equal(found, expected)) == (True, True)
    monkeypatch.setattr(resampling, "MOST_PIXELS", 40 * 50)
    resized_window(pixels, (40, 50), range(10, 30), range(20, 40), interpolation="bicubic")
    assert called


PEAK = """
import resource, sys
import numpy as np
from polyscan.vision.preprocessing import Preprocessing

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

small = np.zeros((64, 64, 3), np.uint8)
for mode in ("center", "squash", "border"):
    own = Preprocessing(256, 224, (0.5,) * 3, (0.5,) * 3, "bicubic", mode)
    own.view(small), own.fitted(small)  # what Pillow and NumPy take in any case
    for height, width in ((1, 30_000), (30_000, 1), (2, 65_000), (65_000, 2), (4_000_000, 1)):
        before = peak()
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        own.view(pixels), own.fitted(pixels)
        print(mode, height, width, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory in KiB, as Linux gives them")
def test_a_picture_of_any_shape_takes_little_memory():
    """Resized as a whole, one of 30,000 x 1 px takes 2 billion pixels."""
    found = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    grown = {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in found.stdout.splitlines()}
    assert len(grown) == 15
    assert sum(grown.values()) < 200, grown


@pytest.mark.parametrize(("height", "width"), [(1, 5_000), (5_000, 1)])
def test_the_view_of_a_line_is_its_middle(height, width):
    """A ramp over 5,000 px, of which the view shows less than one."""
    ramp = (np.arange(5_000) / 4_999 * 255).round().astype(np.uint8)
    pixels = np.repeat(ramp.reshape(height, width, 1), 3, axis=2)
    view = Preprocessing(256, 224, (0.5,) * 3, (0.5,) * 3).view(pixels)
    assert view.shape == (224, 224, 3)
    assert np.abs(view.astype(int) - 127.5).max() <= 1
