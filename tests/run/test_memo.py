"""Values kept by key: made once, dropped oldest first, forgotten all together."""

from __future__ import annotations

from polyscan.run.memo import Memo


def test_a_value_is_made_once_and_the_oldest_goes_first() -> None:
    made: list[int] = []

    def square(key: int) -> int:
        made.append(key)
        return key * key

    memo = Memo(square, most=2)
    assert [memo(key) for key in (2, 3, 2, 4, 3, 2)] == [4, 9, 4, 16, 9, 4]
    assert made == [2, 3, 4, 2], "4 pushed out 2, the oldest; 3 was still there"
    memo.forget()
    assert memo(3) == 9
    assert made == [2, 3, 4, 2, 3]


def test_none_and_empty_values_are_kept_too() -> None:
    made: list[str] = []
    memo = Memo(made.append)
    assert memo("a") is memo("a") is None
    assert made == ["a"]
