"""Settings of Pillow that user code may change decide nothing, and are as the user left them afterwards."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin

from polyscan.images.decode import decode
from polyscan.images.pillow_state import pillow_settings

Encode = Callable[..., bytes]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_damaged_file_is_a_reject_where_pillow_was_told_to_accept_it(
    kind: str, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = encode(kind=kind)
    reason = decode(content[: len(content) * 2 // 3], 1_000)
    assert isinstance(reason, str)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("limit", [1, None])
def test_the_most_pixels_are_those_of_the_job(
    limit: int | None, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert isinstance(decode(encode(), 864), np.ndarray)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_other_settings_change_nothing(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Image.new("P", (4, 4), 1), "GIF", transparency=1)
    before = decode(content, 1_000)
    monkeypatch.setattr(GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_ALWAYS)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1)
    np.testing.assert_array_equal(decode(content, 1_000), before)
    assert PngImagePlugin.MAX_TEXT_CHUNK == 1


def test_the_last_of_several_threads_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with pillow_settings(500_000_000):
            entered.set()
            leave.wait(10)

    with pillow_settings(1):
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(10)
        assert Image.MAX_IMAGE_PIXELS == 500_000_000
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    leave.set()
    thread.join(10)
    assert ImageFile.LOAD_TRUNCATED_IMAGES
    assert Image.MAX_IMAGE_PIXELS != 500_000_000


def test_what_is_raised_within_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(MemoryError), pillow_settings(1):
        raise MemoryError
    assert ImageFile.LOAD_TRUNCATED_IMAGES
