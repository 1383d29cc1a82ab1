"""The pages as a browser draws them from disk: colours, values, keys, links, and no request to anywhere."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from maps import synthetic
from maps.seeing import NEEDS_BROWSER, POINT_OF, Seen, until
from maps.writing import put

from polyscan.maps import Atlas, pages
from polyscan.maps.depth_trend import FAINT
from polyscan.maps.network_map import verdict_group, viridis_table
from polyscan.maps.numbers import number_text

READY_SECONDS = 2.0
INDEX_BYTES = 1_500_000

pytestmark = NEEDS_BROWSER

# Colours of all live pixels of the map, and of all others inside the rows, by layer.
READ_COLORS = """() => {
  const { map } = polyscan.network;
  const canvas = document.getElementById("map");
  const { width, pitch, row, label } = map.frame;
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return map.spans.map((spans, place) => spans.map((span) => {
    const seen = new Set();
    for (let y = place * pitch + label; y < place * pitch + label + row; y++)
      for (let x = span.start; x < span.start + span.width; x++) seen.add(pixels[y * width + x]);
    return Array.from(seen);
  }));
}"""
# Chooses a column; milliseconds until the page is drawn.
SWITCH = """(name) => {
  const by = document.getElementById("by");
  by.value = name;
  const start = performance.now();
  by.dispatchEvent(new Event("change", { bubbles: true }));
  return performance.now() - start;
}"""
# The live part of each row's middle line, as red, green and blue.
MIDDLE_LINES = """() => {
  const { map } = polyscan.network;
  const context = document.getElementById("map").getContext("2d");
  const { pitch, row, label } = map.frame;
  return map.spans.map(([live], place) => {
    const data = context.getImageData(0, place * pitch + label + (row >> 1), live.width, 1).data;
    return Array.from({ length: live.width }, (_, x) => Array.from(data.slice(4 * x, 4 * x + 3)));
  });
}"""
# Where the map lies on the whole page.
CORNER = """() => {
  const box = document.getElementById("map").getBoundingClientRect();
  return [box.left, box.top + scrollY];
}"""


@pytest.fixture(scope="module")
def small() -> Atlas:
    return synthetic.small_atlas()


@pytest.fixture(scope="module")
def large() -> Atlas:
    return synthetic.large_atlas()


@pytest.fixture(scope="module")
def small_maps(small: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(pages(small), tmp_path_factory.mktemp("a map #1 50%"))


@pytest.fixture(scope="module")
def large_maps(large: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(pages(large), tmp_path_factory.mktemp("large"))


def unit_name(atlas: Atlas, unit: int) -> str:
    return f"{atlas.layers[int(atlas.layer_index[unit])].name}:{int(atlas.channel[unit])}"


@pytest.mark.parametrize(
    ("ratio", "width"),
    [
        (1, "equal"),
        (1.5, "true"),
        *(pytest.param(ratio, "equal", marks=pytest.mark.pages) for ratio in (1.25, 1.5, 2)),
    ],
)
def test_a_constant_column_has_one_color_in_narrow_and_wide_layers(
    seen: Any, large_maps: Path, ratio: float, width: str
) -> None:
    page = seen(device_scale_factor=ratio).open(large_maps / "index.html", f"#by=constant&width={width}")
    colors = page.evaluate(READ_COLORS)
    live = {color for spans in colors for color in spans[0]}
    assert len(live) == 1
    assert all(not live & set(spans[2]) for spans in colors), "dead units wear a colour of the scale"


@pytest.mark.parametrize("ratio", [1, 1.25, 1.5, 2])
def test_the_screen_shows_the_canvas_pixel_by_pixel(seen: Any, small_maps: Path, ratio: float) -> None:
    image_module = pytest.importorskip("PIL.Image")
    one = seen(device_scale_factor=ratio, viewport={"width": 1281, "height": 900})
    page = one.open(small_maps / "index.html", "#by=psi")
    frame = page.evaluate("polyscan.network.map.frame")
    lines = page.evaluate(MIDDLE_LINES)
    left, top = page.evaluate(CORNER)
    path = small_maps / f"screen-{ratio}.png"
    page.screenshot(path=str(path))
    pixels = np.asarray(image_module.open(path).convert("RGB"))
    x, y = round(left * ratio), round(top * ratio)
    for place, line in enumerate(lines):
        at = y + place * frame["pitch"] + frame["row"] // 2
        assert np.array_equal(pixels[at, x : x + len(line)], np.array(line)), place


def choose(page: Any, menu: str, value: str) -> None:
    """Chooses in a menu, and waits until a column that is loaded for it is there."""
    page.select_option(menu, value)
    until(page, "!document.getElementById('map-frame').hasAttribute('aria-busy')")


def test_hovering_tells_the_planted_values(seen: Any, large: Atlas, large_maps: Path) -> None:
    page = seen().open(large_maps / "index.html")
    for name in (*(column.name for column in large.columns), "psi"):  # what has been chosen once is told
        choose(page, "#by", name)
    page.evaluate("document.body.style.paddingBottom = '900px'")
    rng = np.random.default_rng(5)
    names = [unit_name(large, unit) for unit in range(len(large.channel))]
    place = {name: unit for unit, name in enumerate(names)}
    shown: set[str] = set()
    for unit in rng.choice(len(names), 50, replace=False):
        x, y = page.evaluate(POINT_OF, names[unit])
        page.mouse.move(x, y)
        tooltip = page.locator("#tooltip")
        name = tooltip.get_attribute("data-unit")
        assert name is not None
        assert name.split(":")[0] == names[unit].split(":")[0]
        texts = dict(zip(tooltip.locator("dt").all_inner_texts(), tooltip.locator("dd").all_inner_texts(), strict=True))
        assert texts["verdict"] == large.verdict[place[name]]
        for column in large.columns:
            value = float(large.values[column.name][place[name]])
            assert texts[column.label] == number_text(float(np.float32(value)), column.kind), (name, column.name)
        shown.add(name)
    assert len(shown) > 40


def test_the_choice_of_column_order_and_width_survives_a_reload(seen: Any, small_maps: Path) -> None:
    page = seen().open(small_maps / "index.html")
    before = page.evaluate(READ_COLORS)
    choose(page, "#by", "psi")
    choose(page, "#sort", "kurtosis")
    page.check("input[value=true]")
    choose(page, "#sort", "kurtosis")
    after = page.evaluate(READ_COLORS)
    assert after != before
    legend = page.locator("#legend").inner_text()
    assert "≤" in legend
    assert "≥" in legend
    assert "PSI" in page.locator("#strip-axis").text_content()
    page.select_option("#verdict", "none")
    after = page.evaluate(READ_COLORS)
    page.reload()
    until(page, "window.READY === true")
    assert page.input_value("#verdict") == "none"
    chosen = [page.input_value("#by"), page.input_value("#sort"), page.is_checked("input[value=true]")]
    assert chosen == ["psi", "kurtosis", True]
    assert page.evaluate(READ_COLORS) == after
    page.evaluate("location.hash = 'by=nonsense&sort=other&verdict=maybe&width=7'")
    until(page, "document.getElementById('by').value === 'n_clusters'")


def test_every_column_switches_quickly(seen: Any, large: Atlas, large_maps: Path) -> None:
    page = seen().open(large_maps / "index.html")
    until(page, "window.TREND_READY === true")
    for column in large.columns:
        assert page.evaluate(SWITCH, column.name) < 2000, (
            column.name
        )  # no speed test: it finds work that grows with the square of the units
        until(page, "!document.getElementById('map-frame').hasAttribute('aria-busy')")
        live = ~large.is_dead & np.isfinite(large.values[column.name])
        assert page.locator("#shown").inner_text().startswith(f"{live.sum():,} of 30,000 units shown")


def test_rows_are_sorted_and_dead_units_come_last_and_hatched(seen: Any, small: Atlas, small_maps: Path) -> None:
    page = seen().open(small_maps / "index.html", "#by=silhouette")
    orders = page.evaluate("Array.from(polyscan.network.map.current.units)")
    parts = page.evaluate("polyscan.network.map.current.parts")
    at = 0
    for depth, (live, unscored, dead) in enumerate(parts):
        units = np.array(orders[at : at + live + unscored + dead])
        at += len(units)
        values = small.values["silhouette"][units]
        assert (small.layer_index[units] == depth).all()
        assert (np.diff(values[:live]) >= 0).all()
        assert not small.is_dead[units[: live + unscored]].any()
        assert np.isnan(values[live : live + unscored]).all()
        assert small.is_dead[units[live + unscored :]].all()
        assert dead == small.layers[depth].n_dead
    for spans in page.evaluate(READ_COLORS):
        for hatched in spans[1:]:
            assert len(hatched) in (0, 2), "a hatch has two colours, ink and paper"
            assert not set(spans[0]) & set(hatched)


@pytest.mark.parametrize("by", ["psi", "gap_q"])
def test_sorted_by_another_column_a_pixel_shows_the_extreme_of_its_units(
    seen: Any, small: Atlas, small_maps: Path, by: str
) -> None:
    page = seen(viewport={"width": 900, "height": 800}).open(small_maps / "index.html", f"#by={by}&sort=kurtosis")
    last = len(small.layers) - 1
    width, live = page.evaluate(f"[polyscan.network.map.frame.width, polyscan.network.map.spans[{last}][0]]")
    shown = np.array(
        page.evaluate(f"Array.from(polyscan.network.map.cells.slice({last * width}, {last * width + live['width']}))")
    )
    units = np.flatnonzero((small.layer_index == last) & ~small.is_dead)
    assert live["count"] == len(units) > live["width"]
    units = units[np.argsort(small.values["kurtosis"][units])]
    heights = small.values[by].astype(np.float32).astype(np.float64)
    if by == "gap_q":  # of p it is the logarithm that is far from the others
        heights = np.log(heights)
    median = np.sort(heights[units])[len(units) // 2]
    edges = np.arange(live["width"] + 1) * len(units) // live["width"]
    best = [max(units[a:b], key=lambda unit: abs(heights[unit] - median)) for a, b in pairwise(edges)]
    assert shown.tolist() == best


def test_a_click_opens_the_unit_and_back_returns_to_it(seen: Any, small: Atlas, small_maps: Path) -> None:
    page = seen().open(small_maps / "index.html", "#by=psi")
    unit = int(np.flatnonzero((small.layer_index == 3) & ~small.is_dead)[5])
    name = unit_name(small, unit)
    page.mouse.click(*page.evaluate(POINT_OF, name))
    page.wait_for_url(lambda url: unquote(url).endswith(f"/unit.html#{name}"))
    until(page, f"document.title.startsWith({json.dumps(name)})")
    page.go_back()
    until(page, "window.READY === true")
    assert page.input_value("#by") == "psi"
    assert page.evaluate("polyscan.network.map.name(polyscan.network.chosen())") == name


def test_the_keyboard_does_the_same(seen: Any, small: Atlas, small_maps: Path) -> None:
    page = seen().open(small_maps / "index.html", "#by=psi")
    page.focus("#find")
    page.keyboard.press("Tab")
    names: list[str] = []
    while page.evaluate("document.activeElement.id") != "map":
        names.append(page.evaluate("document.activeElement.textContent.trim()"))
        page.keyboard.press("Tab")
    assert names[-len(small.layers) :] == [layer.name for layer in small.layers]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    alive = np.flatnonzero((small.layer_index == 1) & ~small.is_dead)
    second = alive[np.argsort(small.values["psi"][alive])][1]
    name = unit_name(small, int(second))
    assert page.locator("#tooltip").get_attribute("data-unit") == name
    assert (
        page.locator("#spoken")
        .inner_text()
        .startswith(f"{name}, PSI {number_text(float(small.values['psi'][second]))}")
    )
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: unquote(url).endswith(f"/unit.html#{name}"))


def test_find_answers_layers_units_and_the_unknown(seen: Any, small: Atlas, small_maps: Path) -> None:
    page = seen().open(small_maps / "index.html")
    answers = {
        "第三层.conv": "第三层.conv · 300 units",
        "schicht/größe <b>&</b>:5": "schicht/größe <b>&</b>:5 · clusters",
        "conv1:99": "conv1 has no unit 99 on this map; it holds 0 to 15.",
        "nothing": "No layer is called “nothing”.",
        "größe": "1 layer has “größe” in the name: schicht/größe <b>&</b>",
    }
    for words, answer in answers.items():
        page.fill("#find", words)
        assert page.locator("#find-answer").inner_text().startswith(answer)
    page.fill("#find", "第三层.conv:7")
    link = page.locator("#find-answer a").get_attribute("href")
    assert unquote(str(link)) == "unit.html#第三层.conv:7"
    page.wait_for_url(lambda url: "unit=第三层.conv:7" in unquote(url))
    assert page.locator("#mark").is_visible()


def test_layers_that_are_dead_or_empty_are_drawn(seen: Any, tmp_path: Path) -> None:
    made = synthetic.atlas({"dead": 40, "empty": 0, "one": 1, "alive": 30}, dead_share=0.0)
    is_dead = made.layer_index == 0
    folder = put(pages(replace(made, is_dead=is_dead)), tmp_path)
    page = seen().open(folder / "index.html", "#unit=dead:7")
    widths = page.evaluate("polyscan.network.map.spans.map((spans) => spans.map((span) => span.width > 0))")
    assert widths == [[False, False, True], [False, False, False], [True, False, False], [True, False, False]]
    assert page.locator("#shown").inner_text() == "31 of 71 units shown · 40 dead"
    page.focus("#map")
    for key in ("ArrowDown", "ArrowDown", "End"):
        page.keyboard.press(key)
    name = page.locator("#tooltip").get_attribute("data-unit")
    assert name is not None
    assert name.startswith("alive:")


def test_the_page_says_where_a_pixel_stands_for_several_units(seen: Any, small_maps: Path) -> None:
    page = seen().open(small_maps / "index.html")
    assert page.locator("#map-note").inner_text().startswith("In 1 of 6 layers units outnumber pixels")
    choose(page, "#sort", "kurtosis")
    assert "furthest from its layer's median" in page.locator("#map-note").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(seen: Any, small_maps: Path, large_maps: Path, scheme: str) -> None:
    one = seen(viewport={"width": 390, "height": 800}, color_scheme=scheme, device_scale_factor=2)
    for path in (
        small_maps / "index.html",
        large_maps / "index.html",
        small_maps / "layer" / "03-schicht-grosse-b-b.html",
    ):
        page = one.open(path)
        if path.name == "index.html":
            until(page, "window.TREND_READY === true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name


def test_the_charts_are_drawn_and_their_absence_is_told(
    seen: Any, small: Atlas, small_maps: Path, tmp_path: Path
) -> None:
    page = seen().open(small_maps / "index.html")
    until(page, "window.TREND_READY === true")
    assert page.locator(".plot svg").count() == len(synthetic.TRENDED) + len(synthetic.CONTROLLED)
    assert not page.locator("#trend-missing").is_visible()
    copy = tmp_path / "copy"
    shutil.copytree(small_maps, copy)
    (copy / "assets" / "vega.js").write_text("")
    page = seen().open(copy / "index.html")
    page.wait_for_selector("#trend-missing:visible")


def test_a_small_p_is_bright_in_equal_steps_of_its_logarithm(seen: Any, small: Atlas, small_maps: Path) -> None:
    page = seen().open(small_maps / "index.html", "#by=gap_q")
    table = np.array([[int(color[at : at + 2], 16) for at in (0, 2, 4)] for color in viridis_table()])
    width = page.evaluate("polyscan.network.map.frame.width")
    for place, line in enumerate(page.evaluate(MIDDLE_LINES)):
        cells = page.evaluate(
            f"Array.from(polyscan.network.map.cells.slice({place * width}, {place * width + len(line)}))"
        )
        q = small.values["gap_q"].astype(np.float32).astype(np.float64)[cells]
        share = -np.log10(q) / 3  # 0 at p = 1, 1 at p = .001 and beyond
        assert np.array_equal(np.array(line), table[np.clip(np.floor(256 * share), 0, 255).astype(int)])
    ends = "[1, 0.1, 0.001, 1e-9, 0].map((p) => new polyscan.Scale(column, map.colors).at(p))"
    found = page.evaluate(
        "() => { const { map } = polyscan.network; const column = map.column('gap_q'); return " + ends + "; }"
    )
    assert found == [0, 85, 255, 255, 255]
    words = page.locator(".chances .end")
    assert words.all_inner_texts() == ["1", ".1", ".05", ".01", "≤ .001"]
    bar = page.locator(".chance-scale .ramp").bounding_box()
    for word, share in zip(words.all(), (0, 1 / 3, 0.43368, 2 / 3, 1), strict=True):
        box = word.bounding_box()
        assert (box["x"] + box["width"] / 2 - bar["x"]) / bar["width"] == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("group", ["several", "probable", "suggestive", "none", "unjudged"])
def test_only_units_of_the_chosen_verdict_keep_their_colour(
    seen: Any, small: Atlas, small_maps: Path, group: str
) -> None:
    page = seen().open(small_maps / "index.html", "#by=psi")
    page.select_option("#verdict", group)
    is_chosen = np.array([verdict_group(word) == group for word in small.verdict]) & ~small.is_dead
    at = 0
    orders = page.evaluate("Array.from(polyscan.network.map.current.units)")
    for parts in page.evaluate("polyscan.network.map.current.parts"):
        live, unscored, dead, others = parts
        units = np.array(orders[at : at + sum(parts)])
        at += len(units)
        assert set(units[:live]) == set(units[is_chosen[units]])
        assert (unscored, dead) == (0, small.is_dead[units].sum())
        assert others == len(units) - live - dead
    assert page.locator("#shown").inner_text().startswith(f"{is_chosen.sum():,} of {len(is_chosen):,} units shown")
    for live, _, _, others in page.evaluate(READ_COLORS):
        assert len(others) <= 1
        assert not set(others) & set(live)


def test_a_weak_layer_is_grey_and_stands_at_one_place_in_both_charts(seen: Any, small: Atlas, small_maps: Path) -> None:
    page = seen().open(small_maps / "index.html", "#by=psi")
    until(page, "window.TREND_READY === true")
    names = [layer.name for layer in small.layers]
    weak = [layer.is_weak for layer in small.layers]
    assert sum(weak) == 1
    item = "getComputedStyle(document.querySelectorAll('#layer-names a')[{}]).fontStyle"
    assert [page.evaluate(item.format(at)) == "italic" for at in range(len(names))] == weak
    chart = 1 + synthetic.TRENDED[1:].index("silhouette")
    points = f"""(part) => Array.from(document.querySelectorAll(
        `[data-chart="{chart}"][data-part=${{part}}] path[aria-roledescription=point]`)).map((point) => {{
        const box = point.getBoundingClientRect();
        const words = point.getAttribute("aria-label").split("; ").slice(0, 2);
        return [words, box.left + box.width / 2, Number(getComputedStyle(point).opacity)];
    }})"""
    above, below = page.evaluate(points, "mean"), page.evaluate(points, "excess")
    with_controls = [name for name in names if name != synthetic.UNPROVED]
    planted = {point.layer: point.excess for point in small.trend if point.column == "silhouette" and point.excess}
    assert list(planted) == with_controls
    assert [words for words, _, _ in below] == [
        [f"layer: {name}", f"excess: {planted[name].mean:g}"] for name in with_controls
    ]
    real = above[-len(names) :]  # drawn over the controls
    place = {name: x for name, (_, x, _) in zip(names, real, strict=True)}
    assert [x for _, x, _ in below] == pytest.approx([place[name] for name in with_controls], abs=1.5)
    assert [opacity for _, _, opacity in real] == pytest.approx([FAINT if is_weak else 1 for is_weak in weak])
    assert below[0][2] == pytest.approx(FAINT)


def test_the_policy_refuses_what_is_not_in_the_folder(browser: Any, small_maps: Path) -> None:
    one = Seen(browser)
    page = one.open(small_maps / "index.html")
    outcome = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'went', () => 'refused')")
    assert outcome == "refused"
    assert any("Content Security Policy" in fault for fault in one.faults)
    one.context.close()


def test_without_scripts_the_table_of_layers_stands_in(seen: Any, small: Atlas, small_maps: Path) -> None:
    one = seen(java_script_enabled=False)
    one.page.goto((small_maps / "index.html").as_uri())
    assert one.page.locator("noscript a").is_visible()
    one.page.locator("#layer-table summary").click()
    rows = one.page.locator("#layer-table tbody tr")
    assert rows.count() == len(small.layers)


def test_thirty_thousand_units_are_painted_in_two_seconds(
    seen: Any, large: Atlas, large_maps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = (large_maps / "index.html").stat().st_size
    page = seen().page
    start = time.perf_counter()
    page.goto((large_maps / "index.html").as_uri(), wait_until="commit")
    until(page, "window.READY === true")
    took = time.perf_counter() - start
    with capsys.disabled():
        sys.stdout.write(f"\nindex.html of 30,000 units: {size / 1e6:.2f} MB, painted after {took:.2f} s\n")
    assert len(large.channel) == 30_000
    assert size < INDEX_BYTES
    assert took < READY_SECONDS
