"""scikit-learn's digits as a source."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from polyscan.errors import ImagesError
from polyscan.images import ImageOptions, ImageSource, Picture, open_images


def digits(**options: object) -> ImageSource:
    return open_images("sklearn:digits", options=ImageOptions(**options))  # type: ignore[arg-type]


def pictures(source: ImageSource) -> list[Picture]:
    found = list(source.read(range(len(source))))
    assert all(isinstance(picture, Picture) for picture in found)
    return [picture for picture in found if isinstance(picture, Picture)]


def test_all_digits_with_labels_and_levels() -> None:
    truth = load_digits()
    found = pictures(digits())
    assert [picture.image for picture in found] == list(range(1797))
    assert [picture.label for picture in found] == truth.target.tolist()
    assert [picture.label_name for picture in found] == [str(label) for label in truth.target]
    assert found[17].path == "digits#17"
    grey = np.stack([picture.pixels for picture in found])
    assert grey.shape == (1797, 8, 8, 3)
    assert grey.dtype == np.uint8
    assert (grey == grey[..., :1]).all()
    # 0..16 onto 0..255, off by half a level at most.
    assert np.abs(grey[..., 0] - truth.images * 255 / 16).max() <= 0.5
    assert grey.min() == 0
    assert grey.max() == 255


def test_parts_share_the_rows_by_every_fifth() -> None:
    train, test = pictures(digits(part="train")), pictures(digits(part="test"))
    assert [picture.path for picture in test] == [f"digits#{row}" for row in range(0, 1797, 5)]
    assert [picture.image for picture in test] == list(range(360))
    assert len(train) == 1797 - 360
    assert {p.path for p in train} | {p.path for p in test} == {f"digits#{row}" for row in range(1797)}
    assert {picture.label for picture in test} == set(range(10))
    whole = pictures(digits())
    np.testing.assert_array_equal(test[3].pixels, whole[15].pixels)


def test_limit_counts_within_the_part() -> None:
    limited = pictures(digits(part="test", limit=4))
    assert [picture.path for picture in limited] == ["digits#0", "digits#450", "digits#900", "digits#1350"]


def test_reading_keeps_the_order_asked_for() -> None:
    assert [entry.image for entry in digits().read([5, 0, 5, 1796])] == [5, 0, 5, 1796]
    with pytest.raises(IndexError, match="image 1797 is not in this source"):
        next(digits().read([1797]))


def test_digest_tells_parts_and_limits_apart_and_nothing_else() -> None:
    variants: list[dict[str, object]] = [{}, {"part": "train"}, {"part": "test"}, {"limit": 10}, {"max_pixels": 64}]
    assert len({digits(**options).digest for options in variants}) == len(variants)
    assert digits(limit=10).digest == digits(limit=10).digest
    assert len(digits().digest) == 64


def test_too_small_a_bound_makes_rejects() -> None:
    entry = next(digits(max_pixels=63).read([2]))
    assert not isinstance(entry, Picture)
    assert (entry.image, entry.path, entry.reason) == (2, "digits#2", "huge: 8x8 is 64 pixels, allowed are 63")


def test_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(digits(part="test")))
    assert again.digest == digits(part="test").digest
    np.testing.assert_array_equal(pictures(again)[7].pixels, pictures(digits(part="test"))[7].pixels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "val"}, 'sklearn:digits has no part "val"; allowed: all, train, test'),
        ({"root": "data"}, '`root` = "data" has no effect on sklearn:digits'),
        ({"image_column": "image"}, '`image_column` = "image" has no effect on sklearn:digits'),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(ImagesError, match=message):
        digits(**options)
