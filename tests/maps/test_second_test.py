"""The second test on the pages: beside the first on each of them, and on none of a run that has none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maps import synthetic
from maps.seeing import NEEDS_BROWSER, Seen, looking, until
from maps.writing import put

from polyscan.maps import Atlas, Site
from polyscan.maps.atlas import Cluster, MapColumn, Panel, Rate, SecondRow, Tile, UnitCard
from polyscan.maps.index_page import index_page
from polyscan.maps.layer_page import layer_page
from polyscan.maps.validation import both_tests, validation_page

VERDICTS = ("probably several", "off range", "", "no split shown")
STRENGTHS = (0.618, 0.5, np.nan, -0.04)
MEANING = "the images that its main meaning leaves unexplained stand apart."


def with_second(made: Atlas) -> Atlas:
    """The atlas with a second test in each layer but the last; verdicts and strengths go round."""
    n = len(made.channel)
    row = SecondRow(Rate(0.04, 0.01, 0.13, 41), Rate(0.77, 0.6, 0.9, 42), None, Rate(0.19, 0.1, 0.3, 43), 7)
    layers = [*(replace(layer, second=row) for layer in made.layers[:-1]), made.layers[-1]]
    column = MapColumn("second_strength", "second test: strength", "of the second part", is_key=True)
    return replace(
        made,
        layers=layers,
        columns=[*made.columns, column],
        values={**made.values, column.name: np.resize(STRENGTHS, n)},
        second_verdict=np.resize(VERDICTS, n).tolist(),
        second_meanings={"probably several": MEANING, "": "it has no second test."},
    )


@pytest.fixture(scope="module")
def plain() -> Atlas:
    return synthetic.calibrated(synthetic.atlas({"first": 16, "last": 8}, dead_share=0.1))


@pytest.fixture(scope="module")
def second(plain: Atlas) -> Atlas:
    return with_second(plain)


def test_the_front_page_has_a_table_of_the_second_test(plain: Atlas, second: Atlas) -> None:
    assert "second test" not in index_page(plain).decode()
    _, found, table = index_page(second).decode().partition("<caption>The second test: ")
    assert found
    table = table[: table.index("</table>")]
    assert ".04<small>[.01, .13], 41 controls</small>" in table
    assert ".77<small>[.60, .90], 42 pairs</small>" in table
    assert ".19<small>[.10, .30], 43 units</small>" in table
    assert "random directions" not in table, "no layer has any"
    first, last = table.split('<tr><th scope="row">')[1:]
    assert '<td class="number">7</td>' in first
    assert last.count("–</td>") == 4


def test_extreme_units_have_both_verdicts(second: Atlas) -> None:
    page = index_page(second).decode()
    assert '<td class="second">probably several <small>.62</small></td>' in page
    assert '<td class="second">no split shown <small>−.04</small></td>' in page
    assert '<td class="second">–</td>' in page


def test_a_layers_page_has_the_rates_of_both_tests(second: Atlas) -> None:
    with_rates, without = (layer_page(second, place).decode() for place in (0, 1))
    _, found, facts = with_rates.partition("The second test: ")
    assert found
    facts = facts[: facts.index("</dl>")]
    assert "<dt>false positives at p ≤ .05</dt><dd>.04 [.01, .13], 41 controls</dd>" in facts
    assert "<dt>units that are several, at least (95 %)</dt><dd>7</dd>" in facts
    assert "The second test" not in without


def test_the_csv_file_has_the_rates_of_both_tests(second: Atlas) -> None:
    rows = list(csv.DictReader(io.StringIO(Site(second).content("trend.csv").decode())))
    of_second = ("second_fpr_05", "second_power_05", "second_random_05", "second_at_least")
    assert {tuple(row[name] for name in of_second) for row in rows if row["layer"] == "first"} == {
        ("0.04", "0.77", "", "7.0")
    }
    assert {tuple(row[name] for name in of_second) for row in rows if row["layer"] == "last"} == {("",) * 4}


def test_a_list_of_verdicts_of_another_length_is_refused(second: Atlas) -> None:
    with pytest.raises(ValueError, match="`second_verdict` holds 2 units"):
        Site(replace(second, second_verdict=["several", "dead"]))


# ---- the unit page -------------------------------------------------------------------------------------------------


class OneKindMore:
    """The gallery with a panel of unexplained images, of which a part is shown, between the other two."""

    def __init__(self, gallery: Any) -> None:
        self.gallery = gallery

    def cards(self, layer: str) -> list[UnitCard]:
        tiles = [Tile(0, 0, 64, 64, "3.1"), Tile(64, 0, 64, 64, "2.9")]
        panel = Panel("deflated", 12, [("its halves differ by", "border")], [Cluster(12, tiles)])
        cards = self.gallery.cards(layer)
        return [replace(card, panels=[*card.panels[:1], panel, *card.panels[1:]]) for card in cards]

    def sprite(self, layer: str, channel: int) -> bytes | None:
        return self.gallery.sprite(layer, channel)

    def null(self, layer: str) -> Any:
        return self.gallery.null(layer)


@pytest.fixture
def seen(browser: Any) -> Iterator[Any]:
    with looking(browser, Seen) as start:
        yield start


@pytest.mark.pages
@NEEDS_BROWSER[0]
@NEEDS_BROWSER[1]
@NEEDS_BROWSER[2]
def test_a_units_page_has_a_line_for_each_test(seen: Any, second: Atlas, plain: Atlas, tmp_path: Path) -> None:
    def opened(made: Atlas, channel: int) -> Any:
        folder = put(((name, Site(made).content(name)) for name in Site(made).names()), tmp_path / made.run)
        page = seen().page
        page.goto((folder / "unit.html").as_uri() + f"#first:{channel}")
        until(page, f"polyscan.unitPage.shown() === 'first:{channel}'")
        return page

    made = replace(second, gallery=OneKindMore(second.gallery))
    live = [channel for channel in range(16) if not made.is_dead[channel]]
    probable = next(
        channel for channel in live if made.second_verdict[channel] == "probably several" and channel % 3 != 2
    )
    page = opened(made, probable)
    assert page.locator("#second-verdict").inner_text() == f"second test: probably several, strength .62: {MEANING}"
    note = page.locator(".unit-panel .apart")
    assert note.locator("xpath=..").get_attribute("data-evidence") == "visualizations"
    assert "12, 2 shown" in page.locator('[data-evidence="deflated"] h2').inner_text()
    without = next(channel for channel in live if made.second_verdict[channel] == "")
    page = opened(made, without)
    assert page.locator("#second-verdict").inner_text() == "second test: no verdict: it has no second test."
    page = opened(replace(plain, run="plain"), live[0])
    assert not page.locator("#second-verdict").is_visible()


# ---- the validation page -------------------------------------------------------------------------------------------


def rates(control: float, planted: float) -> dict[str, Any]:
    power = {"a": {"planted": planted, "planted50": planted / 2}, "b": {"planted": planted / 2}}
    return {"fpr_05": {"a": {"control": control, "same": 0.5}}, "power_05": power, "n": {"a": {"control": 9.0}}}


def test_both_tests_stand_side_by_side_with_their_means() -> None:
    both = both_tests({"separation": rates(0.05, 0.8), "second_separation": rates(0.1, 0.4)})
    assert both is not None
    assert both.types == ["control", "planted", "planted50"]
    a, b, mean = (dict(zip(both.types, pairs, strict=True)) for _, pairs in both.rows)
    assert a == {"control": (0.05, 0.1), "planted": (0.8, 0.4), "planted50": (0.4, 0.2)}
    assert b == {"control": (None, None), "planted": (0.4, 0.2), "planted50": (None, None)}
    assert mean["control"] == (0.05, 0.1)
    assert mean["planted"] == (pytest.approx(0.6), pytest.approx(0.3))
    assert both_tests({"separation": rates(0.05, 0.8)}) is None


def test_the_page_of_a_validation_shows_both_tests_only_where_there_are_two() -> None:
    kinds = {"planted": (2, "the larger of two")}
    both = {"separation": rates(0.05, 0.8), "second_separation": rates(0.1, 0.4)}
    page = validation_page(both, kinds, title="net").decode()
    assert page.count('<th scope="col" class="number">second</th>') == 3
    assert '<th scope="row">mean of layers</th><td class="number">.05</td><td class="number">.10</td>' in page
    assert "both-tests" not in validation_page({"separation": rates(0.05, 0.8)}, kinds, title="net").decode()
