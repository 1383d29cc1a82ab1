"""Arrays as images: which axis is the channels, what is black and white, and that nothing is ever unpickled."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polyscan.images import ImageOptions, Picture, open_images
from polyscan.images.decode import decode
from polyscan.images.decoding import Decoding

MAX_PIXELS = 100_000


def npy(array: np.ndarray) -> bytes:
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def pixels_of(array: np.ndarray, **how: object) -> np.ndarray:
    pixels = decode(npy(array), MAX_PIXELS, Decoding(**how))
    assert isinstance(pixels, np.ndarray), pixels
    assert (pixels.dtype, pixels.flags.writeable, pixels.flags.c_contiguous) == (np.uint8, True, True)
    return pixels


def reason_of(content: bytes | np.ndarray, max_pixels: int = MAX_PIXELS, **how: object) -> str:
    reason = decode(content if isinstance(content, bytes) else npy(content), max_pixels, Decoding(**how))
    assert isinstance(reason, str)
    assert "\n" not in reason
    return reason


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [2, 3, 8, 32])
def test_channels_first_and_last_are_the_same_picture(channels: int) -> None:
    array = noise(40, 50, channels)
    np.testing.assert_array_equal(pixels_of(array), array)
    np.testing.assert_array_equal(pixels_of(np.moveaxis(array, 2, 0).copy()), array)
    np.testing.assert_array_equal(pixels_of(np.asfortranarray(array)), array)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (1, 40, 50)])
def test_one_channel_is_grey(shape: tuple[int, ...]) -> None:
    array = noise(*shape)
    np.testing.assert_array_equal(pixels_of(array), np.repeat(array.reshape(40, 50, 1), 3, axis=2))


def test_where_both_ends_are_short_the_setting_decides() -> None:
    array = noise(28, 28, 3)
    reason = reason_of(array)
    assert reason.startswith("unsupported: an array of shape 28x28x3 may be y x c or c y x")
    assert '`images.npy_axes` to "yxc" or "cyx"' in reason
    np.testing.assert_array_equal(pixels_of(array, npy_axes="yxc"), array)
    np.testing.assert_array_equal(pixels_of(array, npy_axes="cyx"), np.moveaxis(array, 0, 2))


@pytest.mark.parametrize(("shape", "axes"), [((40, 40, 40), "auto"), ((33, 40, 3), "cyx"), ((3, 40, 33), "yxc")])
def test_more_than_32_channels_are_refused(shape: tuple[int, ...], axes: str) -> None:
    assert "has more than 32 channels; allowed are 1 to 32" in reason_of(noise(*shape), npy_axes=axes)


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 40, 40)])
def test_arrays_that_are_no_picture_are_refused(shape: tuple[int, ...]) -> None:
    assert reason_of(np.zeros(shape, np.uint8)).startswith("unsupported: an array of shape ")


def test_an_array_without_pixels_is_empty() -> None:
    assert reason_of(np.zeros((0, 40, 3), np.uint8)).startswith("empty: ")


# ---- values ----------------------------------------------------------------------------------------------------------


def test_16_bits_are_read_by_their_high_bytes() -> None:
    array = np.array([[0, 255, 256, 65535]], np.uint16)
    assert pixels_of(array)[0, :, 0].tolist() == [0, 0, 1, 255]
    assert pixels_of(array.astype(">u2"))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_0_to_1(dtype: type) -> None:
    assert pixels_of(np.array([[0, 0.5, 1]], dtype))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("values", [[-0.1, 0.5], [0.5, 1.5], [0.0, 255.0]])
def test_floats_beyond_0_and_1_need_a_range(values: list[float]) -> None:
    reason = reason_of(np.array([values], np.float32))
    assert "allowed are 0 (black) to 1 (white). Set `images.value_range`" in reason
    found = pixels_of(np.array([values], np.float32), value_range=(min(values), max(values)))
    assert found[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("value_range", ["format", "image", (0.0, 1.0)])
def test_values_that_are_not_finite_are_refused(value: float, value_range: object) -> None:
    assert reason_of(np.array([[0.5, value]]), value_range=value_range) == "corrupt: its values are not all finite"


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.int64, np.uint64])
def test_whole_numbers_without_a_white_need_a_range(dtype: type) -> None:
    array = np.array([[0, 40, 100]], dtype)
    assert "black and white are not defined" in reason_of(array)
    assert pixels_of(array, value_range=(0, 100))[0, :, 0].tolist() == [0, 102, 255]
    assert pixels_of(array, value_range="image")[0, :, 0].tolist() == [0, 102, 255]


def test_one_range_for_all_channels_of_an_image() -> None:
    array = np.zeros((40, 40, 4), np.float32)
    array[..., 3] = 10
    assert pixels_of(array, value_range="image")[0, 0].tolist() == [0, 0, 0, 255]


@pytest.mark.parametrize("dtype", [bool, complex, "U3", "datetime64[s]", [("a", "u1"), ("b", "f4")]])
def test_values_that_are_no_numbers_are_refused(dtype: object) -> None:
    assert reason_of(np.zeros((40, 40), dtype)).startswith("unsupported: values of type ")


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]),
        st.one_of(st.tuples(st.integers(33, 40), st.integers(33, 40), st.integers(2, 32)), st.just((35, 36))),
        elements={"min_value": 0, "max_value": 1},
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_array_of_the_allowed_kinds_is_a_picture(array: np.ndarray, is_first: bool) -> None:
    white = {"u1": 255, "u2": 65535, "f4": 1}[array.dtype.str[1:]]
    stored = np.moveaxis(array, 2, 0) if is_first and array.ndim == 3 else array
    found = pixels_of(stored)
    values = array if array.ndim == 3 else np.repeat(array[:, :, None], 3, axis=2)
    assert np.abs(found - values.astype(float) * 255 / white).max() < 1


# ---- files -----------------------------------------------------------------------------------------------------------


def test_objects_are_refused_and_never_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pickle.load", pytest.fail)
    monkeypatch.setattr("pickle.loads", pytest.fail)
    array = np.empty((40, 40), object)
    array[:] = [[{"a": 1}] * 40] * 40
    stream = BytesIO()
    np.save(stream, array, allow_pickle=True)
    assert reason_of(stream.getvalue()).startswith("unsupported: values of type object")


def test_a_cut_file_is_truncated() -> None:
    content = npy(noise(40, 50, 3))
    assert reason_of(content[:-1]).startswith("truncated: 5999 bytes of values, its header says 6000")
    assert reason_of(content[:20]).startswith(("truncated: ", "corrupt: "))


def test_size_is_bounded_before_values_are_read() -> None:
    content = npy(noise(40, 50, 3))
    assert reason_of(content, max_pixels=1_999) == "huge: 50x40 is 2000 pixels, allowed are 1999"
    lie = npy(noise(40, 50, 3)).replace(b"(40, 50, 3), ", b"(99999, 99999, 3),")
    assert reason_of(lie).startswith(("huge: ", "corrupt: "))


def test_a_file_of_another_version_is_refused() -> None:
    content = bytearray(npy(noise(40, 50)))
    content[6] = 9
    assert reason_of(bytes(content)).startswith("corrupt: ")


def test_a_folder_of_arrays(tmp_path: Path) -> None:
    for name in ("a/1.npy", "b/2.npy"):
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / name, noise(40, 50, 8))
    source = open_images(str(tmp_path), options=ImageOptions())
    entries = list(source.read(range(2)))
    assert all(isinstance(entry, Picture) and entry.pixels.shape == (40, 50, 8) for entry in entries)
    assert [entry.path for entry in entries] == ["a/1.npy", "b/2.npy"]
