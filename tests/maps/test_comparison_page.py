"""The page of a comparison: what is written, and what a browser draws of it from disk."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from maps.planted_comparison import COLUMNS, LAYERS, METRICS, NASTY, comparison, written
from maps.seeing import NEEDS_BROWSER, Seen, until

from polyscan.maps.comparison import Comparison
from polyscan.maps.comparison_charts import COLORS, DASHES, SHAPES, styles
from polyscan.maps.comparison_page import comparison_files, tint
from polyscan.maps.numbers import number_text

See = Callable[..., Seen]


# ---- files ---------------------------------------------------------------------------------------------------------


def test_the_page_comes_last_and_all_that_it_loads_is_in_the_folder() -> None:
    found = dict(comparison_files(comparison()))
    assert list(found)[-1] == "index.html"
    page = found["index.html"].decode()
    asked = set(re.findall(r'(?:src|href)="([^"#:]+)"', page))
    assert asked <= set(found)
    assert {"assets/compare.js", "assets/compare.css", "assets/vega.js", "comparison.csv"} <= asked
    assert "http" not in page.replace("http-equiv", "").replace("https://vega.github.io/schema/vega-lite/", "")


def test_no_number_is_written_that_json_does_not_know_and_no_name_is_a_formula() -> None:
    found = dict(comparison_files(comparison(4)))
    content = json.loads(found["comparison.json"])
    assert content["overall"][0]["own_units"] is None
    assert b"NaN" not in found["comparison.json"]
    assert "'=1+1" in found["comparison.csv"].decode()


def test_runs_without_a_name_of_their_own_are_refused() -> None:
    one = comparison(2)
    for runs in (one.runs[:1], [one.runs[0]] * 2):
        with pytest.raises(ValueError, match="each with a name of its own"):
            list(comparison_files(replace(one, runs=runs)))


def test_eight_runs_differ_in_colour_mark_and_dash_and_more_are_a_series() -> None:
    assert [len(set(each)) for each in (COLORS, SHAPES, DASHES)] == [8, 8, 8]
    colors = [style.color for style in styles(20)]
    greens = [int(color[3:5], 16) for color in colors]
    assert len(set(colors)) == 20
    assert greens == sorted(greens), "viridis grows lighter"


def test_colour_is_centred_on_0_and_deepest_at_the_common_end() -> None:
    assert tint(0.0, 3.0) == tint(math.nan, 3.0) == tint(0.0, 0.0) == ""
    up, down = tint(1.5, 3.0), tint(-1.5, 3.0)
    assert up != down
    assert up.split("/")[1] == down.split("/")[1], "equal sizes, equal depth"
    page = dict(comparison_files(comparison(4)))["index.html"].decode()
    tints = re.findall(r'style="background:rgb\(([\d ]+) / ([.\d]+)\)"', page)
    assert max(float(depth) for _, depth in tints) == 0.75


# ---- in a browser --------------------------------------------------------------------------------------------------


class TestInABrowser:
    """The pages as they are drawn."""

    pytestmark = NEEDS_BROWSER

    def test_numbers_on_the_page_are_those_of_the_json_and_names_are_text(self, seen: See, tmp_path: Path) -> None:
        folder = written(comparison(4), tmp_path)
        content = json.loads((folder / "comparison.json").read_text())
        page = seen().open(folder / "index.html")
        for run, name in enumerate(NASTY[1:], start=1):
            table = page.locator("table.differences").nth(run - 1)
            cells = iter(table.locator("tbody td").all_text_contents())
            found = {(d["layer"], d["column"]): d for d in content["differences"] if d["run"] == run}
            for layer in LAYERS:
                for column in COLUMNS:
                    its = found[layer, column.name]
                    ends = f"{number_text(its['low'])} to {number_text(its['high'])}"
                    assert next(cells) == number_text(its["mean"]) + ends
            assert name in page.locator("summary").all_text_contents()[run - 1]
        shown = page.locator("#network tbody td").all_text_contents()
        wanted = [
            f"{number_text(its['mean'])}{number_text(its['low'])} to {number_text(its['high'])}"
            for column in COLUMNS
            for its in content["network"]
            if its["column"] == column.name
        ]
        assert shown == wanted
        assert page.locator("table.verdicts").first.locator("tbody tr").nth(1).inner_text().split() == ["suggestive", "0", "1,200", "4"]  # noqa: E501  # fmt: skip
        assert page.locator("main b, main i, main u, main script").count() == 0
        assert page.locator("h1").inner_text() == " · ".join(NASTY[:3])
        assert "why <2>" in page.locator("#unit-by-unit").inner_text()

    def test_each_run_is_drawn_in_every_chart(self, seen: See, tmp_path: Path) -> None:
        page = seen().open(written(comparison(3), tmp_path) / "index.html")
        assert page.locator(".plot svg").count() == 2 * len(COLUMNS)
        first = page.locator("[data-part=layers]").first
        assert first.locator(".mark-symbol path").count() == 3 * len(LAYERS)
        fills = {path.get_attribute("fill") for path in first.locator(".mark-symbol path").all()}
        assert fills == set(COLORS[:3])
        assert {path.get_attribute("stroke-dasharray") for path in first.locator(".mark-line path").all()} != {None}

    def test_run_by_run_is_drawn_across_what_is_chosen(self, seen: See, tmp_path: Path) -> None:
        page = seen().open(written(comparison(3), tmp_path) / "index.html")
        rows = "polyscan.comparison.spec(document.querySelector('[data-part=network]')).datasets.points.map((p) => p.x)"
        assert page.input_value("#across") == "accuracy"
        assert page.evaluate(rows) == list(METRICS["accuracy"][:3])
        before = page.locator("[data-part=network] svg").first.inner_html()
        page.select_option("#across", "step")
        until(page, "window.READY === true")
        assert page.evaluate(rows) == list(METRICS["step"][:3])
        assert page.locator("[data-part=network] svg").first.inner_html() != before
        page.select_option("#across", label="place in the order given")
        until(page, "window.READY === true")
        assert page.evaluate(rows) == [1, 2, 3]

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("given", [comparison(3), comparison(12, n_layers=20), comparison(3, is_one_network=False)])
    def test_nothing_is_wider_than_a_phone(self, seen: See, tmp_path: Path, given: Comparison, scheme: str) -> None:
        one = seen(viewport={"width": 390, "height": 900}, color_scheme=scheme)
        page = one.open(written(given, tmp_path) / "index.html")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == 390

    def test_without_the_charts_library_the_page_says_so(self, seen: See, tmp_path: Path) -> None:
        folder = written(comparison(2), tmp_path)
        (folder / "assets" / "vega.js").unlink()
        one = seen()
        one.may_lack = True
        assert one.open(folder / "index.html").locator(".charts-missing").first.is_visible()
