"""The layer page as a browser draws it from disk: its charts, its table, and pictures that come when they are seen."""

from __future__ import annotations

import math
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maps import seeing, synthetic
from maps.seeing import NEEDS_BROWSER, looking, until
from maps.writing import put

from polyscan.maps import Association, Atlas, MapColumn, Mean, Site
from polyscan.maps.layer_page import layer_page, q_column, rho_text
from polyscan.maps.network_map import verdict_group
from polyscan.maps.numbers import MINUS, number_text
from polyscan.maps.urls import layer_addresses, unit_address

ODD, WIDE, DEAD = "größe <b>&</b>", "layer4.1.conv2@pca", "all dead"
LAYERS = {ODD: 96, "第三层.conv": 40, WIDE: 1800, DEAD: 20}
ODD_LABEL = '"><img src=x onerror=alert(1)>'
ODD_VERDICT = "<i>odd</i>"
READY_SECONDS = 2.0

pytestmark = [*NEEDS_BROWSER, pytest.mark.pages]

CHANNELS = """() => Array.from(document.querySelectorAll("#unit-box tbody tr"), (row) => Number(row.id.slice(5)))"""
# Channel and the middle of the first picture of each line whose pictures lie wholly inside the window and the box.
FIRST_PICTURES = """() => {
  const box = document.getElementById("unit-box").getBoundingClientRect();
  const top = document.querySelector("#unit-box thead").getBoundingClientRect().bottom;
  const bottom = Math.min(box.bottom, innerHeight);
  return Array.from(document.querySelectorAll("#unit-box tbody tr:not(.dead)")).flatMap((row) => {
    const at = row.getBoundingClientRect();
    if (at.top < top || at.bottom > bottom) return [];
    const image = row.querySelector(".tile img");
    if (!image || !image.complete || !image.naturalWidth) return [null];
    const tile = row.querySelector(".tile-frame").getBoundingClientRect();
    return [[Number(row.id.slice(5)), tile.left + tile.width / 2, tile.top + tile.height / 2]];
  });
}"""
CELLS = """(channel) => Array.from(document.querySelectorAll(`#unit-${channel} .number`), (cell) => cell.textContent)"""
BAR_HEIGHTS = """() => Array.from(document.querySelector(".plot-frame").querySelectorAll(".bar"),
    (bar) => Number(bar.getAttribute("height")))"""


def invented_rho(place: int, at: int) -> float:
    return round(-0.4 + 0.13 * place + 0.07 * at, 2)


def make_atlas() -> Atlas:
    """Four layers, one of them dead; each association has a rho of its own, kurtosis and PSI have none."""
    made = synthetic.calibrated(synthetic.atlas(LAYERS))
    names = list(LAYERS)
    is_dead = made.is_dead | (made.layer_index == names.index(DEAD))
    scored = ("n_clusters", "silhouette", "psi", "gap_q")
    values = {
        name: np.where(is_dead, np.nan, column) if name in scored else column for name, column in made.values.items()
    }
    values["sparsity"] = np.random.default_rng(4).beta(6, 2, len(is_dead))
    columns = [replace(one, label=ODD_LABEL) if one.name == "constant" else one for one in made.columns]
    associations = [
        Association(name, column, beside, 1000 + place, invented_rho(place, at), -0.5, 0.6)
        for place, name in enumerate(names)
        for at, (column, beside) in enumerate((c, b) for c in scored if c != "psi" for b in ("kurtosis", "sparsity"))
    ]
    verdict = [
        "dead" if is_dead[unit] else ODD_VERDICT if unit % 7 == 6 else word for unit, word in enumerate(made.verdict)
    ]
    gallery = synthetic.SyntheticGallery(LAYERS, is_dead, np.nan_to_num(values["n_clusters"], nan=1.0))
    layers = [replace(row, n_dead=int(is_dead[made.layer_index == row.depth].sum())) for row in made.layers]
    trend = [replace(point, n=0) if point.layer == DEAD else point for point in made.trend]
    far = ("第三层.conv", "psi")  # its controls lie where no unit does
    trend = [
        replace(point, control=Mean(-0.7, -0.8, -0.6, 40), excess=Mean(1.0, 0.9, 1.1, 40))
        if (point.layer, point.column) == far
        else point
        for point in trend
    ]
    return replace(
        made,
        layers=layers,
        trend=trend,
        is_dead=is_dead,
        values=values,
        columns=[*columns, MapColumn("sparsity", "sparsity", "share of images without a peak")],
        associations=associations,
        verdict=verdict,
        gallery=gallery,
    )


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return make_atlas()


@pytest.fixture(scope="module")
def maps(atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a map #1 50%")
    site = Site(atlas)
    return put(((name, site.content(name)) for name in site.names() if name != "index.html"), folder)


class Seen(seeing.Seen):
    """The same of a layer's page."""

    def open(self, folder: Path, layer: str, hash_: str = "") -> Any:
        self.page.goto("about:blank")
        self.page.goto((folder / page_of(layer)).as_uri() + hash_)
        until(self.page, "window.READY === true")
        return self.page


@pytest.fixture
def seen(browser: Any) -> Iterator[Any]:
    with looking(browser, Seen) as start:
        yield start


def page_of(layer: str) -> str:
    return layer_addresses(list(LAYERS))[list(LAYERS).index(layer)]


def units_of(atlas: Atlas, layer: str) -> np.ndarray:
    """Places of the layer's units, by channel."""
    return np.flatnonzero(atlas.layer_index == list(LAYERS).index(layer))


def caption(page: Any, at: int) -> str:
    return page.locator("#plots figcaption").nth(at).inner_text()


# --- the table ---


def test_all_lines_are_there_and_pictures_come_as_they_are_scrolled_to(seen: Any, maps: Path) -> None:
    one = seen()
    page = one.open(maps, WIDE)
    page.wait_for_timeout(500)
    assert page.evaluate(CHANNELS) == list(range(1800))
    assert len(one.pictures()) < 20
    page.evaluate("location.hash = 'unit=1500'")
    until(page, "document.querySelectorAll('#unit-1500 .tile img').length > 0")
    page.wait_for_timeout(500)
    assert any(url.endswith("/1500.jpg") for url in one.pictures())
    assert len(one.pictures()) < 60
    box = page.locator("#unit-1500").bounding_box()
    assert 0 < box["y"] < 900


@pytest.mark.parametrize(
    "hash_",
    ["#sort=psi&direction=down&verdict=several", "#sort=kurtosis&only=q", "#unit=1500", "#sort=:verdict&text=cert"],
)
def test_each_lines_pictures_are_its_units(seen: Any, maps: Path, tmp_path: Path, hash_: str) -> None:
    image_module = pytest.importorskip("PIL.Image")
    page = seen().open(maps, WIDE, hash_)
    page.evaluate("document.getElementById('unit-box').scrollIntoView()")
    until(page, f"(({FIRST_PICTURES})()).length > 5 && (({FIRST_PICTURES})()).every(Boolean)")
    place = list(LAYERS).index(WIDE)

    def wrong() -> list[int]:
        page.screenshot(path=str(tmp_path / "lines.png"))
        pixels = np.asarray(image_module.open(tmp_path / "lines.png").convert("RGB")).astype(int)
        return [
            channel
            for channel, x, y in page.evaluate(FIRST_PICTURES)
            if np.abs(pixels[int(y), int(x)] - synthetic.marker(place, channel)).max() > 14
        ]

    end = time.perf_counter() + 10
    while wrong() and time.perf_counter() < end:  # a picture is painted a moment after it is there
        time.sleep(0.05)
    assert wrong() == []


def test_cells_hold_the_atlas_numbers_to_the_printed_digits(seen: Any, atlas: Atlas, maps: Path) -> None:
    page = seen().open(maps, WIDE)
    units = units_of(atlas, WIDE)
    rng = np.random.default_rng(8)
    for channel in rng.choice(len(units), 50, replace=False):
        at = int(rng.integers(len(atlas.columns)))
        column = atlas.columns[at]
        value = float(np.float32(atlas.values[column.name][units[channel]]))
        assert page.evaluate(CELLS, int(channel))[at] == number_text(value, column.kind), (channel, column.name)


def expected_order(atlas: Atlas, layer: str, key: str, *, falls: bool) -> list[int]:
    units = units_of(atlas, layer)
    if key == ":channel":
        return sorted(range(len(units)), reverse=falls)
    if key == ":verdict":
        values: list[Any] = [atlas.verdict[unit] for unit in units]
        known = list(range(len(units)))
    else:
        values = [float(np.float32(value)) for value in atlas.values[key][units]]
        known = [channel for channel, value in enumerate(values) if not math.isnan(value)]
    last = [channel for channel in range(len(units)) if channel not in set(known)]
    known.sort(key=lambda channel: values[channel], reverse=falls)  # stable both ways
    return [*known, *last]


def test_each_head_sorts_with_what_is_missing_last_and_ties_by_channel(seen: Any, atlas: Atlas, maps: Path) -> None:
    page = seen().open(maps, ODD)
    keys = [":channel", ":verdict", *(column.name for column in atlas.columns)]
    buttons = page.locator("#unit-box thead button")
    assert buttons.count() == len(keys)
    ties = 0
    for key, button in reversed(list(zip(keys, buttons.all(), strict=True))):
        directions = set()
        for _ in range(2):
            button.click()
            direction = page.locator("#unit-box th[aria-sort]")
            assert direction.count() == 1
            falls = direction.get_attribute("aria-sort") == "descending"
            assert page.evaluate(CHANNELS) == expected_order(atlas, ODD, key, falls=falls), (key, falls)
            directions.add(falls)
        assert directions == {False, True}
        ties += key == "constant"
    assert ties == 1
    assert np.isnan(atlas.values["silhouette"][units_of(atlas, ODD)]).any()


def test_filters_keep_what_they_say_and_the_count_is_right(seen: Any, atlas: Atlas, maps: Path) -> None:
    page = seen().open(maps, WIDE)
    units = units_of(atlas, WIDE)
    verdict = [atlas.verdict[unit] for unit in units]
    q = atlas.values["gap_q"][units].astype(np.float32)
    rng = np.random.default_rng(2)
    for group, only_q, text in [
        ("", False, ""),
        *((group, False, "") for group in ("several", "probable", "none", "unjudged")),
        ("", True, ""),
        ("", False, "150"),
        ("", False, "CERT"),
        ("", False, "<i>"),
        ("several", True, str(rng.integers(10))),
        ("none", True, "no such word"),
    ]:
        page.select_option("#verdict", group)
        page.set_checked("#only-q", only_q)
        page.fill("#text", text)
        expected = [
            channel
            for channel in range(len(units))
            if (not group or verdict_group(verdict[channel]) == group)
            and (not only_q or q[channel] < 0.05)
            and (text.lower() in str(channel) or text.lower() in verdict[channel].lower())
        ]
        assert page.evaluate(CHANNELS) == expected, (group, only_q, text)
        assert page.locator("#shown").inner_text() == f"{len(expected):,} of 1,800 units shown"


# --- the charts ---


def test_rho_and_its_interval_are_the_atlas_own(seen: Any, atlas: Atlas, maps: Path) -> None:
    page = seen().open(maps, ODD)
    for one in (one for one in atlas.associations if one.layer == ODD):
        page.select_option("#by", one.column)
        at = 1 + ("kurtosis", "sparsity").index(one.beside)
        rho = f"{one.rho:.2f}".replace("-", MINUS)
        assert f"rank correlation {rho} [{MINUS}0.50 to 0.60], 1,000 units" in caption(page, at)
    page.select_option("#by", "psi")
    assert "No correlation was computed." in caption(page, 1)
    page.select_option("#by", "kurtosis")
    heads = page.locator("#plots figcaption strong").all_inner_texts()
    assert "kurtosis against kurtosis" not in heads
    assert len(heads) == 2 + ("gap against its null" in heads)  # the distribution and sparsity; not against itself


def test_a_rho_that_is_not_a_number_is_told_in_words() -> None:
    assert rho_text(Association("a", "b", "c", 7, math.nan, math.nan, math.nan)).endswith(
        "not defined over these 7 units"
    )
    assert (
        rho_text(Association("a", "b", "c", 7, 0.5, math.nan, math.nan)) == "Spearman's rank correlation 0.50, 7 units"
    )


def test_bars_are_the_live_scored_units_and_the_others_are_counted_beside(seen: Any, atlas: Atlas, maps: Path) -> None:
    page = seen().open(maps, WIDE)
    units = units_of(atlas, WIDE)
    clusters = atlas.values["n_clusters"][units]
    _, counts = np.unique(clusters[np.isfinite(clusters)], return_counts=True)
    heights = np.array(page.evaluate(BAR_HEIGHTS))
    assert len(heights) == len(counts)
    assert heights / heights.max() == pytest.approx(counts / counts.max(), abs=0.01)
    dead = int(atlas.is_dead[units].sum())
    assert f"{len(units) - dead:,} live, scored units; not drawn: {dead} dead." in caption(page, 0)
    page.select_option("#by", "silhouette")
    live = int(np.isfinite(atlas.values["silhouette"][units]).sum())
    out = f"not drawn: {dead} dead and {len(units) - dead - live} without this score."
    assert f"{live:,} live, scored units; {out}" in caption(page, 0)
    point = next(one for one in atlas.trend if one.layer == WIDE and one.column == "silhouette")
    assert point.control is not None
    assert f"dashed: single-concept controls {number_text(point.control.mean)}." in caption(page, 0)
    lines = page.evaluate("Array.from(document.querySelectorAll('.marker'), (line) => Number(line.getAttribute('x1')))")
    assert lines[0] < lines[1]  # controls lie lower than units, by the invented excess


def test_the_axis_reaches_to_controls_that_lie_where_no_unit_does(seen: Any, maps: Path) -> None:
    page = seen().open(maps, "第三层.conv", "#by=psi")
    frame = page.locator(".plot-frame").first
    left = float(frame.locator(".marker.control").get_attribute("x1"))
    first_bar = min(float(bar.get_attribute("x")) for bar in frame.locator(".bar").all())
    assert 46 <= left < first_bar


def test_a_point_tells_its_unit_and_opens_it(seen: Any, atlas: Atlas, maps: Path) -> None:
    page = seen().open(maps, ODD, "#by=psi")
    units = units_of(atlas, ODD)
    order = sorted(units[~atlas.is_dead[units]], key=lambda unit: np.float32(atlas.values["kurtosis"][unit]))
    link = page.locator(".point-link").first
    link.focus()
    for key, unit in (("End", order[-1]), ("Home", order[0]), ("ArrowRight", order[1]), ("ArrowUp", order[2])):
        page.keyboard.press(key)
        psi = number_text(float(np.float32(atlas.values["psi"][unit])))
        name = f"{ODD}:{atlas.channel[unit]}"
        assert link.get_attribute("aria-label").startswith(f"{name}, PSI {psi}, kurtosis")
        assert link.get_attribute("href") == "../" + unit_address(ODD, int(atlas.channel[unit]))
        tooltip = page.locator("#tooltip")
        assert tooltip.get_attribute("data-unit") == name
        assert tooltip.locator(".current dd").inner_text() == psi
    box = link.bounding_box()
    page.mouse.move(5, 5)
    page.keyboard.press("End")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("#tooltip").get_attribute("data-unit") == f"{ODD}:{atlas.channel[order[2]]}"
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url(re.compile(rf"/unit\.html#.*:{atlas.channel[order[2]]}$"))


def test_a_fingers_first_tap_tells_and_its_second_one_opens(seen: Any, maps: Path) -> None:
    page = seen(has_touch=True, viewport={"width": 390, "height": 800}).open(maps, ODD, "#by=psi")
    link = page.locator(".point-link").first
    link.evaluate("(link) => link.scrollIntoView({ block: 'center' })")
    box = link.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.touchscreen.tap(x, y)
    assert page.locator("#tooltip").is_visible()
    assert "/layer/" in page.url
    name = page.locator("#tooltip").get_attribute("data-unit")
    page.touchscreen.tap(x, y)
    page.wait_for_url(re.compile(rf"/unit\.html#.*:{name.rpartition(':')[2]}$"))


def test_a_null_is_drawn_where_the_units_places_in_it_are_known(
    seen: Any, atlas: Atlas, maps: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    for part in ("assets", "data/00", "img/00", "layer"):
        shutil.copytree(maps / part, folder / part)
    path = folder / page_of(ODD)
    path.write_bytes(layer_page(atlas, 0, atlas.gallery.cards(ODD)))
    one = seen()
    page = one.open(folder, ODD)
    live = int((~atlas.is_dead[units_of(atlas, ODD)]).sum())
    assert f"Bars: {live} units" in caption(page, 3)
    frame = page.locator(".plot-frame").nth(3)
    assert frame.locator(".bar").count() == 1  # all units were given z = 3
    assert frame.locator(".null-line").count() == 1
    assert b'"null":null' in (maps / page_of("第三层.conv")).read_bytes()


# --- the page ---


def test_a_layer_that_is_all_dead_renders(seen: Any, maps: Path) -> None:
    page = seen().open(maps, DEAD, "#by=psi")
    assert caption(page, 0).endswith("No live unit has this score; not drawn: 20 dead.")
    assert page.evaluate(CHANNELS) == list(range(20))
    page.evaluate("document.getElementById('unit-box').scrollIntoView()")
    until(page, "document.querySelectorAll('.strip-words').length > 5")
    assert page.locator(".strip-words").first.inner_text().startswith("A dead unit")
    assert page.locator("#shown").inner_text() == "20 of 20 units shown"


def test_the_choices_survive_a_reload_and_nonsense_is_ignored(seen: Any, maps: Path) -> None:
    page = seen().open(maps, ODD)
    page.select_option("#by", "gap_q")
    page.locator("#unit-box thead button", has_text="PSI").click()
    page.select_option("#verdict", "several")
    page.check("#only-q")
    page.fill("#text", "1")
    before = page.evaluate(CHANNELS), page.locator("#plots figcaption").all_inner_texts()
    assert before[0]
    page.reload()
    until(page, "window.READY === true")
    assert (page.evaluate(CHANNELS), page.locator("#plots figcaption").all_inner_texts()) == before
    assert (page.input_value("#by"), page.input_value("#text"), page.is_checked("#only-q")) == ("gap_q", "1", True)
    page.evaluate("location.hash = 'by=none&sort=:none&direction=left&verdict=maybe'")
    until(page, "document.getElementById('by').value === 'n_clusters'")
    assert page.evaluate(CHANNELS) == list(range(96))


def test_a_unit_that_is_asked_for_is_marked_or_answered(seen: Any, maps: Path) -> None:
    page = seen().open(maps, ODD, "#unit-90")
    assert page.locator("tr.asked").get_attribute("id") == "unit-90"
    assert not page.locator("#asked").is_visible()
    page.evaluate("location.hash = 'unit=99'")
    until(page, "!document.getElementById('asked').hidden")
    assert page.locator("#asked").inner_text() == f"{ODD} has no unit 99 in this run."
    page.evaluate("location.hash = 'unit=5&text=7'")
    until(page, "document.getElementById('asked').textContent.includes('not among the units shown')")


def test_names_are_text_and_run_nothing(seen: Any, atlas: Atlas, maps: Path) -> None:
    page = seen().open(maps, ODD, "#by=constant")
    page.evaluate("document.getElementById('unit-box').scrollIntoView()")
    assert page.locator("h1").inner_text() == ODD
    assert page.locator("#unit-box thead").inner_text().count(ODD_LABEL) == 1
    assert caption(page, 0).startswith(ODD_LABEL)
    assert page.locator("#unit-6 .said").inner_text() == ODD_VERDICT
    assert page.locator("img[onerror], main b, main i").count() == 0
    assert page.locator("#unit-6 a").get_attribute("href") == "../" + unit_address(ODD, 6)


@pytest.mark.parametrize("lost", ["data", "img"])
def test_missing_files_are_told_in_the_pictures_place_and_numbers_stay(
    browser: Any, atlas: Atlas, maps: Path, tmp_path: Path, lost: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(maps, folder, ignore=shutil.ignore_patterns(lost))
    one = Seen(browser)
    page = one.open(folder, ODD)
    page.evaluate("document.getElementById('unit-box').scrollIntoView()")
    until(page, "document.querySelectorAll('.pictures.lost').length > 5")
    words = page.locator(".pictures.lost").first.inner_text()
    assert words.startswith("No pictures: ")
    assert re.search(r"(data/00/0\.js|img/00/\d+\.jpg) is missing", words)
    unit = units_of(atlas, ODD)[0]
    value = float(np.float32(atlas.values["psi"][unit]))
    assert number_text(value) in page.evaluate(CELLS, 0)
    one.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("layer", list(LAYERS))
def test_nothing_but_the_tables_is_wider_than_a_phone(seen: Any, maps: Path, scheme: str, layer: str) -> None:
    one = seen(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    page = one.open(maps, layer, "#by=gap_q")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    inner, outer = page.evaluate(
        "(() => { const b = document.getElementById('unit-box'); return [b.scrollWidth, b.clientWidth]; })()"
    )
    assert inner > outer


def test_without_scripts_the_scores_stand_in(seen: Any, maps: Path) -> None:
    one = seen(java_script_enabled=False)
    one.page.goto((maps / page_of(ODD)).as_uri())
    assert "map.parquet" in one.page.locator("noscript p").inner_text()
    assert one.page.locator("#numbers-title").is_visible()
    assert not one.page.locator("#units-title").is_visible()


def test_the_column_of_q_is_found_by_its_name(atlas: Atlas) -> None:
    assert q_column(atlas) == {"name": "gap_q", "label": "q of the gap"}
    assert q_column(replace(atlas, columns=[one for one in atlas.columns if one.kind != "p"])) is None


def test_a_page_of_1800_units_is_ready_in_two_seconds(
    seen: Any, maps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = seen().page
    start = time.perf_counter()
    page.goto((maps / page_of(WIDE)).as_uri(), wait_until="commit")
    until(page, "window.READY === true")
    took = time.perf_counter() - start
    with capsys.disabled():
        sys.stdout.write(f"\nlayer page of 1,800 units: ready after {took:.2f} s\n")
    assert took < READY_SECONDS
