"""Images in batches of one shape: every readable one once, in order; what can't be read is listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from polyscan.errors import ImagesError
from polyscan.images import Picture, Reject
from polyscan.inputs.batches import batches
from polyscan.vision.networks import Network
from polyscan.vision.preprocessing import Preprocessing

SIDE = 4
BROKEN = {2, 5}


class Greys:
    """Images of one grey each, their id; two can't be read."""

    digest = "greys"

    def __len__(self) -> int:
        return 11

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        for image in images:
            pixels = np.full((SIDE, SIDE, 3), image, dtype=np.uint8)
            yield Reject(image, "", "corrupt: so made") if image in BROKEN else Picture(image, "", pixels, None, "")


def network() -> Network:
    preprocessing = Preprocessing(SIDE, SIDE, (0.0,) * 3, (1.0,) * 3)
    return Network("greys", nn.Identity(), preprocessing, torch.device("cpu"))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 20])
def test_batches_have_one_shape_and_hold_every_readable_image_once(size: int) -> None:
    rejects: list[Reject] = []
    parts = list(batches(network(), Greys(), range(11), size, rejects))
    assert {tuple(part.inputs.shape) for part in parts} == {(size, 3, SIDE, SIDE)}
    images = [picture.image for part in parts for picture in part.pictures]
    assert images == [image for image in range(11) if image not in BROKEN]
    assert {reject.image for reject in rejects} == BROKEN
    for part in parts:
        greys = (part.inputs[: len(part), 0, 0, 0] * 255).round().tolist()
        assert greys == [picture.image for picture in part.pictures]
        assert not part.inputs[len(part) :].any(), "padding is black"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("height and width must be > 0"), "corrupt: height and width must be > 0"),
        (ImagesError("unsupported: it has 3 channels"), "unsupported: it has 3 channels"),
        (OverflowError("too large"), "corrupt: too large"),
    ],
)
def test_an_image_that_cannot_be_preprocessed_is_a_reject(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises: one bad image never ends a scan."""
    sound = Preprocessing.view

    def view(own: Preprocessing, pixels: np.ndarray) -> np.ndarray:
        if pixels[0, 0, 0] == 7:
            raise error
        return sound(own, pixels)

    monkeypatch.setattr(Preprocessing, "view", view)
    rejects: list[Reject] = []
    parts = list(batches(network(), Greys(), range(11), 4, rejects))
    assert [picture.image for part in parts for picture in part.pictures] == [0, 1, 3, 4, 6, 8, 9, 10]
    assert {reject.image: reject.reason for reject in rejects}[7] == reason


def test_lack_of_memory_is_no_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Preprocessing, "view", starve)
    with pytest.raises(MemoryError):
        list(batches(network(), Greys(), range(11), 4, []))


def test_no_readable_image_is_no_batch() -> None:
    assert list(batches(network(), Greys(), sorted(BROKEN), 4)) == []
