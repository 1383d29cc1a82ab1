"""Options, the evenly spread limit, and the digest's way of keeping lists apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyscan.errors import ImagesError
from polyscan.images import ImageOptions
from polyscan.images.options import Selection, list_digest


@pytest.mark.parametrize(("n_places", "limit"), [(10, None), (10, 10), (10, 25), (1, 1)])
def test_without_a_real_limit_every_place_is_kept(n_places: int, limit: int | None) -> None:
    chosen = Selection(n_places, limit)
    assert [chosen.place(image) for image in range(len(chosen))] == list(range(n_places))


@pytest.mark.parametrize("n_places", [7, 100, 1001])
@pytest.mark.parametrize("limit", [1, 2, 5, 6])
def test_a_limit_is_spread_evenly(n_places: int, limit: int) -> None:
    chosen = Selection(n_places, limit)
    places = [chosen.place(image) for image in range(len(chosen))]
    assert len(places) == limit
    assert places[0] == 0
    steps = {b - a for a, b in zip(places, [*places[1:], n_places], strict=True)}
    assert steps <= {n_places // limit, n_places // limit + 1}


def test_a_limit_keeps_all_of_equal_classes() -> None:
    chosen = Selection(n_places=200 * 50, limit=200)
    assert [chosen.place(image) // 50 for image in range(200)] == list(range(200))


@given(st.integers(1, 60), st.one_of(st.none(), st.integers(1, 70)), st.data())
def test_ids_of_a_range_of_places(n_places: int, limit: int | None, data: st.DataObject) -> None:
    chosen = Selection(n_places, limit)
    start = data.draw(st.integers(0, n_places))
    stop = data.draw(st.integers(start, n_places))
    inside = [image for image in range(len(chosen)) if start <= chosen.place(image) < stop]
    assert list(chosen.images(start, stop)) == inside


@pytest.mark.parametrize("image", [-1, 4, 10])
def test_an_id_outside_is_an_index_error(image: int) -> None:
    with pytest.raises(IndexError, match=rf"image {image} is not in this source; its ids are 0\.\.3"):
        Selection(10, 4).place(image)


def test_senseless_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="`limit` must be at least 1, got 0"):
        ImageOptions(limit=0)
    with pytest.raises(ValueError, match="`max_pixels` must be at least 1, got -5"):
        ImageOptions(max_pixels=-5)


def test_a_part_is_checked_against_what_is_allowed() -> None:
    with pytest.raises(ImagesError, match=r'a folder has no part "test"; allowed: all. Set `part`'):
        ImageOptions(part="test").check_part("a folder", ("all",))


def test_digests_keep_lists_apart() -> None:
    lists = [[], ["ab"], ["a", "b"], [["a", "b"]], [["b", "a"]], ["a", None], ["a", "None"], ["1"], [1], ["\udcff"]]
    assert len({list_digest(items) for items in lists}) == len(lists)
    # Sha256 of the five bytes `"ab"` and a line end, by sha256sum: the form itself is part of old runs' fingerprints.
    assert list_digest(["ab"]) == "a006a20bb15cd6872a823aca9ec7d4d2f6514f2805c1d87ccbf01b5c8dd51804"
