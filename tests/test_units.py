"""The fixed order of units, and how one is written."""

import pytest

from polyscan.units import Layer, Unit, UnitOrder

ORDER = UnitOrder([Layer("b.conv", 1, 3), Layer("a", 0, 2), Layer("b.conv@null", 2, 4)])


def test_order_is_depth_then_channel_whatever_order_the_layers_come_in() -> None:
    assert [str(unit) for unit in ORDER][:6] == ["a:0", "a:1", "b.conv:0", "b.conv:1", "b.conv:2", "b.conv@null:0"]
    assert len(ORDER) == 9


def test_number_and_unit_are_each_others_inverse() -> None:
    assert [ORDER.number(ORDER[number]) for number in range(len(ORDER))] == list(range(9))
    assert list(ORDER) == [ORDER[number] for number in range(9)]
    assert ORDER.start("b.conv") == 2


def test_a_virtual_layer_has_a_parent_and_a_role() -> None:
    assert [(layer.parent, layer.role) for layer in ORDER.layers] == [
        ("a", "unit"),
        ("b.conv", "unit"),
        ("b.conv", "null"),
    ]
    assert (Layer("conv#2@planted", 0, 1).parent, Layer("conv#2@planted", 0, 1).role) == ("conv#2", "planted")


@pytest.mark.parametrize("number", [-1, 9])
def test_a_number_outside_is_refused(number: int) -> None:
    with pytest.raises(IndexError, match=r"outside 0\.\.8"):
        ORDER[number]


def test_unknown_units_are_refused() -> None:
    with pytest.raises(KeyError):
        ORDER.number(Unit("c", 0))
    with pytest.raises(KeyError, match=r"channels 0\.\.1, not 2"):
        ORDER.number(Unit("a", 2))


@pytest.mark.parametrize("text", ["layer1.0.conv1:17", "a:b:3", "layer#2:0", "conv@planted:5"])
def test_written_and_read_again_a_unit_is_the_same(text: str) -> None:
    assert str(Unit.parse(text)) == text


@pytest.mark.parametrize("text", ["conv1", "conv1:", ":3", "conv1:-1", "conv1:x", ""])
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a unit"):
        Unit.parse(text)
