"""The page of a unit as a browser shows it from disk: numbers, pictures, the ways on, and what it says of faults."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
from maps import seeing, synthetic
from maps.seeing import NEEDS_BROWSER, looking, until
from maps.writing import put
from PIL import Image

from polyscan.maps import Atlas, NullPlace, Site, UnitCard, urls
from polyscan.maps.numbers import number_text
from polyscan.maps.one_file import one_file
from polyscan.maps.templating import CONTENT_POLICY
from polyscan.maps.unit_data import BLOCK_UNITS, SCHEMA, Standing

UNIT_BYTES = 200_000
UNIT_SECONDS = 2.0
WIDE = "layer4.1.conv2@pca"
ODD = "schicht/größe <b>&</b>"
NUMBERS = """() => Object.fromEntries(
  Array.from(document.querySelectorAll("#numbers dd"), (cell) => [cell.dataset.column, cell.textContent]))"""
# Where each picture of the page lies in its sprite, in the sprite's pixels: left, top, width, height.
PARTS = """() => Array.from(document.querySelectorAll(".tile-frame"), (frame) => {
  const image = frame.querySelector("img");
  const outer = frame.getBoundingClientRect();
  const inner = image.getBoundingClientRect();
  const zoom = inner.width / image.naturalWidth;
  return [outer.left - inner.left, outer.top - inner.top, outer.width, outer.height].map((size) => size / zoom);
})"""

pytestmark = [*NEEDS_BROWSER, pytest.mark.pages]


class Edited:
    """A gallery with some cards exchanged."""

    def __init__(self, gallery: Any, *cards: UnitCard) -> None:
        self.gallery = gallery
        self.changed = {(card.layer, card.channel): card for card in cards}

    def cards(self, layer: str) -> list[UnitCard]:
        return [self.changed.get((layer, card.channel), card) for card in self.gallery.cards(layer)]

    def sprite(self, layer: str, channel: int) -> bytes | None:
        return self.gallery.sprite(layer, channel)

    def null(self, layer: str) -> Any:
        return self.gallery.null(layer)


def written(atlas: Atlas, folder: Path, *layers: int) -> Path:
    """The whole maps folder; or, where places of layers are named, only what their units' pages need."""
    site = Site(atlas)
    names = needed(atlas, layers) if layers else site.names()
    return put(((name, site.content(name)) for name in names), folder)


def needed(atlas: Atlas, layers: Iterable[int]) -> Iterator[str]:
    yield from ("assets/polyscan.css", "unit.html")
    n_layers = len(atlas.layers)
    for layer in layers:
        channels = atlas.channel[atlas.layer_index == layer].tolist()
        for block in sorted({channel // BLOCK_UNITS for channel in channels}):
            yield urls.block_address(layer, n_layers, block)
        for card in atlas.gallery.cards(atlas.layers[layer].name):
            if card.sprite is not None and card.channel in channels:
                yield urls.sprite_address(layer, n_layers, card.channel)


@pytest.fixture(scope="module")
def small() -> Atlas:
    """Six layers of 16 to 200 units with odd names."""
    widths = synthetic.SMALL_LAYERS | {synthetic.UNPROVED: 100, WIDE: 200}
    return synthetic.calibrated(synthetic.atlas(widths))


@pytest.fixture(scope="module")
def maps(small: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(small, tmp_path_factory.mktemp("a map #1 50%"))


class Seen(seeing.Seen):
    """The same of a unit's page."""

    def unit(self, folder: Path, layer: str, channel: int) -> Any:
        """The page of that unit, filled."""
        self.page.goto((folder / "unit.html").as_uri() + f"#{quote(layer, safe='')}:{channel}")
        stands(self.page, f"{layer}:{channel}")
        return self.page

    def at(self, folder: Path, hash_: str) -> Any:
        """The page at that address, whatever it says."""
        self.page.goto((folder / "unit.html").as_uri() + hash_)
        until(self.page, "document.getElementById('unit').getAttribute('aria-busy') === 'false'")
        return self.page


def stands(page: Any, name: str) -> None:
    until(page, f"polyscan.unitPage.shown() === {json.dumps(name)}")


@pytest.fixture
def seen(browser: Any) -> Iterator[Any]:
    with looking(browser, Seen) as start:
        yield start


def unit_of(atlas: Atlas, row: int) -> tuple[str, int]:
    return atlas.layers[int(atlas.layer_index[row])].name, int(atlas.channel[row])


def fault(page: Any) -> str:
    """The sentence that stands instead of a unit."""
    assert page.locator("#fault").is_visible()
    assert not page.locator("#unit").is_visible()
    assert page.evaluate("polyscan.unitPage.shown()") is None
    return page.locator("#fault").inner_text()


def test_numbers_equal_the_atlas_to_the_printed_digits(seen: Any, small: Atlas, maps: Path) -> None:
    """Columns, verdict and rank of 50 units are the atlas', as float32, in the words of the map's tooltip."""
    standing = Standing.of(small)
    rng = np.random.default_rng(3)
    one = seen()
    for row in rng.choice(len(small.channel), 50, replace=False):
        layer, channel = unit_of(small, int(row))
        page = one.unit(maps, layer, channel)
        expected = {
            column.name: number_text(float(np.float32(small.values[column.name][row])), column.kind)
            for column in small.columns
        }
        assert page.evaluate(NUMBERS) == expected, (layer, channel)
        assert page.locator("#verdict strong").inner_text() == small.verdict[row]
        place = standing.place.get((int(small.layer_index[row]), channel))
        rank = "–" if place is None else f"{place + 1:,} of {len(standing.units):,} live, scored units"
        assert page.locator("#rank").inner_text() == rank
        assert page.title() == f"{layer}:{channel} · {small.title}"
        assert page.locator("h1").inner_text() == f"{layer}:{channel}"


def test_numbers_near_a_tie_of_rounding_are_written_as_on_the_map(seen: Any, small: Atlas, tmp_path: Path) -> None:
    """The shortest decimal of a float32 may round to other digits than the float32 does; the latter are shown."""
    values = np.asarray(small.values["psi"]).copy()
    values[:16] = np.array([0.12345, 0.98765, 0.20005, 0.34565] * 4, dtype=np.float32)
    folder = written(replace(small, values={**small.values, "psi": values}, layers=small.layers), tmp_path, 0)
    one = seen()
    written_ways = set()
    for channel in range(4):
        text = one.unit(folder, "conv1", channel).evaluate(NUMBERS)["psi"]
        assert text == number_text(float(np.float32(values[channel])))
        written_ways.add(text == number_text(float(str(np.float32(values[channel])))))
    assert False in written_ways, "no value of this test would tell the two roundings apart"


def test_charts_tell_their_numbers(seen: Any, small: Atlas, maps: Path) -> None:
    """Each chart is an image with its numbers in words; bars, points and marks are as many as the data's."""
    page = seen().unit(maps, "layer1.0.conv2", 3)
    card = small.gallery.cards("layer1.0.conv2")[3]
    null = small.gallery.null("layer1.0.conv2")
    charts = page.locator(".unit-chart svg[role=img]")
    histogram, elbow, plane = (charts.nth(at).get_attribute("aria-label") for at in range(3))
    assert f"{sum(null.counts)} null sets" in histogram
    assert "z = 3.000: value 0.2100" in histogram
    assert "mean 0.1200, sd 0.03000" in histogram
    assert page.locator(".unit-chart .bar").count() == sum(count > 0 for count in null.counts)
    assert "0.2000 with 2" in elbow
    assert "0.3880 with 8" in elbow
    assert page.locator(".unit-chart .dot").count() == 7
    assert page.locator(".marked-name").all_text_contents() == ["z = 3.000", "elbow at 8"]
    sizes = np.bincount(card.plane.cluster)
    assert plane.endswith(": " + ", ".join(f"cluster {'ABCDEF'[at]} {size}" for at, size in enumerate(sizes)) + ".")
    for at, size in enumerate(sizes):
        assert page.locator(f".point .shape-{at}").count() == size
    assert page.locator(".cluster-letter").all_text_contents() == list("ABCDEF"[: len(sizes)])


def test_the_marked_line_stands_where_the_unit_lies(seen: Any, small: Atlas, tmp_path: Path) -> None:
    """The line's place among the bars is the unit's z; one far beyond them is drawn at the edge with its number."""
    cards = {card.channel: card for card in small.gallery.cards("conv1")}
    near = replace(cards[1], null=NullPlace(0.15, 0.12, 0.03))
    far = replace(cards[2], null=NullPlace(6.12, 0.12, 0.03))
    flat = replace(cards[4], null=NullPlace(0.5, 0.12, 0.0))
    folder = written(replace(small, gallery=Edited(small.gallery, near, far, flat)), tmp_path, 0)
    one = seen()
    page = one.unit(folder, "conv1", 1)
    bars = page.evaluate("Array.from(document.querySelectorAll('.bar'), (bar) => Number(bar.getAttribute('x')))")
    line = float(page.locator(".marked").first.get_attribute("x1"))
    first = -4 + 0.25 * next(at for at, count in enumerate(small.gallery.null("conv1").counts) if count)
    per_sd = (bars[1] - bars[0]) / 0.25
    assert (line - bars[0]) / per_sd == pytest.approx(1 - first, abs=0.01)
    page = one.unit(folder, "conv1", 2)
    assert page.locator(".marked-name").first.text_content() == "z = 200.0 →"
    assert float(page.locator(".marked").first.get_attribute("x1")) <= 320
    assert "does not vary" in one.unit(folder, "conv1", 4).locator(".unit-chart").first.inner_text()


def test_each_cluster_has_a_row_with_its_words_and_pictures(seen: Any, small: Atlas, maps: Path) -> None:
    """Sizes, shares, names or their want, activations and origins are the card's, in its order."""
    row = next(at for at in range(len(small.channel)) if small.values["n_clusters"][at] == 3 and small.channel[at] % 3)
    layer, channel = unit_of(small, row)
    channel -= channel % 3 == 2
    card = next(card for card in small.gallery.cards(layer) if card.channel == channel and len(card.panels) == 2)
    page = seen().unit(maps, layer, channel)
    for panel in card.panels:
        rows = page.locator(f"[data-evidence={panel.evidence}] .cluster")
        assert rows.count() == len(panel.clusters)
        for at, cluster in enumerate(panel.clusters):
            head = rows.nth(at).locator("h3").inner_text()
            share = int(100 * cluster.size / panel.size + 0.5)
            assert f"{cluster.size} of {panel.size} ({share} %)" in head
            for name, fit in cluster.names:
                assert f"{name} {fit}" in head
            assert ("no name above chance" in head) == (panel.evidence == "exemplars" and not cluster.names)
            captions = rows.nth(at).locator("figcaption").all_inner_texts()
            assert captions == [tile.caption for tile in cluster.tiles]
            titles = page.evaluate(
                "([evidence, at]) => Array.from(document.querySelectorAll(`[data-evidence=${evidence}] .cluster`)[at]"
                ".querySelectorAll('.tile-frame'), (frame) => frame.title)",
                [panel.evidence, at],
            )
            assert titles == [tile.title for tile in cluster.tiles]
    said = page.locator(".apart").all_inner_texts()
    assert len(said) == 1
    letters = page.locator("h3 strong").all_inner_texts()
    assert len(set(letters)) == len(letters), "clusters of different evidence share a name"


def test_each_tile_shows_its_own_part_of_its_own_unit(seen: Any, small: Atlas, maps: Path) -> None:
    """The first picture on the screen is of the unit's own colour, and each tile's frame lies where the card says."""
    rng = np.random.default_rng(8)
    one = seen(viewport={"width": 1280, "height": 1600})
    live = np.flatnonzero(~small.is_dead)
    for row in rng.choice(live, 12, replace=False):
        layer, channel = unit_of(small, int(row))
        page = one.unit(maps, layer, channel)
        until(page, "Array.from(document.querySelectorAll('.tile img')).every((image) => image.naturalWidth > 0)")
        card = small.gallery.card(int(small.layer_index[row]), channel)
        tiles = [tile for panel in card.panels for cluster in panel.clusters for tile in cluster.tiles]
        places = [(tile.left, tile.top, tile.width, tile.height) for tile in tiles]
        assert np.allclose(page.evaluate(PARTS), places, atol=0.2)
        at = next(place for place, box in enumerate(places) if box[:2] == (0, 0))
        frame = page.locator(".tile-frame").nth(at)
        frame.scroll_into_view_if_needed()
        shot = Image.open(io.BytesIO(frame.screenshot())).convert("RGB")
        seen_color = np.asarray(shot)[shot.height // 2, shot.width // 2].astype(int)
        color = synthetic.marker(int(small.layer_index[row]), channel)
        assert np.abs(seen_color - color).max() <= 12, (layer, channel)


def test_pictures_are_lazy_and_only_those_of_the_unit(seen: Any, maps: Path) -> None:
    """Opening a unit asks for its own block and its own sprite; pictures out of reach wait."""
    one = seen(viewport={"width": 1280, "height": 300})
    page = one.unit(maps, WIDE, 70)
    until(page, "Array.from(document.querySelectorAll('.tile img')).some((image) => image.naturalWidth > 0)")
    asked = [url.partition("/img/")[2] for url in one.requests if "/img/" in url]
    assert set(asked) == {"05/70.jpg"}
    data = [url.partition("/data/")[2] for url in one.requests if "/data/" in url]
    assert data == [f"05/{70 // BLOCK_UNITS}.js"]
    lazy = page.evaluate("Array.from(document.querySelectorAll('.tile img'), (image) => image.loading)")
    assert set(lazy) == {"lazy"}
    far = seen(viewport={"width": 1280, "height": 300})
    move = "document.getElementById('panels').style.marginTop = '9000px'"
    far.page.add_init_script(f"document.addEventListener('DOMContentLoaded', () => ({move}))")
    page = far.unit(maps, WIDE, 71)
    page.wait_for_timeout(300)
    assert not [url for url in far.requests if "/img/" in url]
    page.locator(".tile").first.scroll_into_view_if_needed()
    until(page, "document.querySelector('.tile img').naturalWidth > 0")


def test_keys_and_links_lead_on_as_told(seen: Any, small: Atlas, maps: Path) -> None:
    """j and k step through the layer, h and l through the rank; each link tells the same address as its key."""
    standing = Standing.of(small)
    index = [layer.name for layer in small.layers].index("layer2.0.conv2")
    page = seen().unit(maps, "layer2.0.conv2", 10)
    at = standing.place[index, 10]

    def named(unit: tuple[int, int]) -> str:
        return f"{small.layers[unit[0]].name}:{unit[1]}"

    for key, name in {
        "j": "layer2.0.conv2:11",
        "k": "layer2.0.conv2:9",
        "h": named(standing.units[at - 1]),
        "l": named(standing.units[at + 1]),
    }.items():
        link = page.locator(f"#way-{key}")
        assert unquote(link.get_attribute("href")) == f"unit.html#{name}"
        assert key in link.locator("kbd").inner_text()
        page.keyboard.press(key)
        stands(page, name)
        assert page.title().startswith(name + " · ")
        page.go_back()
        stands(page, "layer2.0.conv2:10")
    page.locator("#way-j").click()
    stands(page, "layer2.0.conv2:11")
    page.go_back()
    page.go_forward()
    stands(page, "layer2.0.conv2:11")


def test_the_ends_of_layer_and_rank_lead_nowhere(seen: Any, small: Atlas, maps: Path) -> None:
    """The first unit has no previous one, the last no next one, the most no more, and keys for them do nothing."""
    standing = Standing.of(small)
    most = standing.units[0]
    one = seen()
    for (layer, channel), key in {
        ("conv1", 0): "k",
        ("conv1", 15): "j",
        (small.layers[most[0]].name, most[1]): "h",
    }.items():
        page = one.unit(maps, layer, channel)
        assert page.locator(f"#way-{key}").get_attribute("href") is None
        page.keyboard.press(key)
        page.wait_for_timeout(50)
        stands(page, f"{layer}:{channel}")


def test_keys_are_letters_where_one_types(seen: Any, maps: Path) -> None:
    """No key leads away from a field or together with Ctrl, Alt, Shift or Meta."""
    page = seen().unit(maps, "conv1", 5)
    page.focus("#wanted")
    page.keyboard.type("jkhl")
    assert page.input_value("#wanted") == "jkhl"
    page.evaluate("document.activeElement.blur()")
    for held in ("Control", "Alt", "Shift", "Meta"):
        page.keyboard.press(f"{held}+j")
    page.wait_for_timeout(50)
    stands(page, "conv1:5")


def test_steps_go_over_scanned_units_only(seen: Any, small: Atlas, tmp_path: Path) -> None:
    """In a layer of which every fifth unit was scanned j leads from 5 to 10, and 6 is told to be unscanned."""
    first = (small.layer_index != 1) | (small.channel % 5 == 0)
    cut = {name: np.asarray(values)[first] for name, values in small.values.items()}
    sampled = replace(
        small,
        layer_index=small.layer_index[first],
        channel=small.channel[first],
        is_dead=small.is_dead[first],
        values=cut,
        verdict=[word for word, kept in zip(small.verdict, first, strict=True) if kept],
    )
    folder = written(sampled, tmp_path, 1)
    one = seen()
    page = one.unit(folder, "layer1.0.conv2", 5)
    page.keyboard.press("j")
    stands(page, "layer1.0.conv2:10")
    said = fault(one.at(folder, "#layer1.0.conv2:6"))
    assert said.startswith(
        "layer1.0.conv2:6 was not scanned in this run. 7 of its 32 units were scanned, between 0 and 30."
    )


def test_links_lead_to_the_map_the_layer_and_the_nearest(seen: Any, small: Atlas, maps: Path) -> None:
    """The map is opened with this unit marked, the layer's page is the layer's, each nearest unit is the card's."""
    page = seen().unit(maps, ODD, 40)
    places = urls.layer_addresses([layer.name for layer in small.layers])
    assert page.locator("#to-layer").get_attribute("href") == places[3] + "#unit=40"
    assert page.locator("#to-layer").inner_text() == ODD
    assert (maps / places[3]).is_file()
    near = small.gallery.cards(ODD)[40].nearest
    links = page.locator("#nearest a")
    assert [unquote(link.get_attribute("href")) for link in links.all()] == [f"unit.html#{ODD}:{n}" for _, n, _ in near]
    assert page.locator("#nearest .cosine").all_inner_texts() == [number_text(cosine) for _, _, cosine in near]
    links.nth(1).click()
    stands(page, f"{ODD}:{near[1][1]}")
    assert page.evaluate("document.activeElement.id") == "unit-name"
    page.go_back()
    stands(page, f"{ODD}:40")
    assert page.locator("#to-map").get_attribute("href") == f"index.html#unit={quote(f'{ODD}:40', safe='')}"
    page.locator("#to-map").click()
    until(page, "window.READY === true")
    assert page.input_value("#find") == f"{ODD}:40"
    assert page.locator("#mark").is_visible()
    page.go_back()
    stands(page, f"{ODD}:40")


def test_the_field_opens_a_unit_or_says_why_not(seen: Any, small: Atlas, maps: Path) -> None:
    """`layer:unit` leads there; a layer alone, no such unit and no such layer are answered, and the unit stays."""
    page = seen().unit(maps, "conv1", 1)
    assert page.locator("#layer-names option").count() == len(small.layers)
    for text, words in {
        "conv1": "It holds units 0 to 15. Add one, as in conv1:0.",
        "conv1:": "Add one, as in conv1:0.",
        "conv1:x": "names no unit",
        "conv1:16": "conv1 has no unit 16. It holds units 0 to 15.",
        "LAYER2": "Similar names: layer2.0.conv2.",
        "nowhere:3": "No layer is called “nowhere” in this network.",
    }.items():
        page.fill("#wanted", text)
        page.keyboard.press("Enter")
        until(page, f"document.getElementById('go-answer').textContent.includes({json.dumps(words)})")
        stands(page, "conv1:1")
    page.fill("#wanted", f"{ODD}:7")
    page.keyboard.press("Enter")
    stands(page, f"{ODD}:7")
    assert page.locator("#go-answer").text_content() == ""


@pytest.mark.parametrize(
    ("hash_", "words"),
    [
        ("", "No unit is named in the address. Write layer:unit above"),
        ("#", "No unit is named in the address."),
        ("#conv1", "“conv1” names no unit."),
        ("#conv1:99", "conv1 has no unit 99. It holds units 0 to 15."),
        ("#conv1:-1", "“conv1:-1” names no unit."),
        ("#conv9:1", "No layer is called “conv9” in this network."),
        ("#%E0%A4:1", "No layer is called “%E0%A4” in this network."),
        ("#%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E:1", "No layer is called “<img src=x onerror=alert(1)>” in this"),
    ],
)
def test_what_is_not_there_is_said(seen: Any, maps: Path, hash_: str, words: str) -> None:
    """An address that names no unit gives a sentence with what to do, and the next address is followed."""
    page = seen().at(maps, hash_)
    assert words in fault(page)
    assert page.evaluate("document.querySelectorAll('main img, h1 *, #fault *').length") == 0
    page.evaluate("location.hash = 'conv1:2'")
    stands(page, "conv1:2")
    assert not page.locator("#fault").is_visible()


def test_data_that_are_missing_or_of_another_run_are_told(seen: Any, small: Atlas, maps: Path, tmp_path: Path) -> None:
    """A lost, broken, foreign or exchanged data file each have their own sentence; other units still open."""
    folder = tmp_path / "copy"
    shutil.copytree(maps, folder, ignore=shutil.ignore_patterns("img"))
    first = folder / "data" / "00" / "0.js"
    text = first.read_text()
    one = seen()
    one.may_lack = True
    for content, words in {
        None: "data/00/0.js is missing or broken.",
        text.replace('"run":"invented"', '"run":"other"'): "data/00/0.js belongs to another run than this page.",
        text.replace('"schema":1', '"schema":0'): "was made by another version of polyscan",
        (folder / "data" / "01" / "0.js").read_text(): "data/00/0.js holds the data of other units.",
        text.replace('"units":{"0":', '"units":{"77":'): "The data of conv1 hold no unit 0.",
    }.items():
        first.unlink(missing_ok=True)
        if content is not None:
            assert content != text
            first.write_text(content)
        one.page.goto("about:blank")
        said = fault(one.at(folder, "#conv1:0"))
        assert words in said
        assert "polyscan show RUN" in said
        if content is None:
            one.page.keyboard.press("j")
            until(one.page, "document.querySelector('h1').textContent === 'conv1:1'")
        page = one.unit(folder, "layer1.0.conv2", 1)
        assert page.locator("#unit").is_visible()


def test_what_a_unit_lacks_is_said_in_its_place(seen: Any, small: Atlas, maps: Path, tmp_path: Path) -> None:
    """No null, no visualizations, no pictures, no names: a sentence stands where each would have been."""
    card = small.gallery.cards("conv1")[1]
    no_picture = replace(card, sprite=None, missing=("Its crops were not kept (show.pictures is off).",))
    nameless = replace(
        small.gallery.cards("conv1")[2],
        panels=[
            replace(panel, clusters=[replace(cluster, names=()) for cluster in panel.clusters]) for panel in card.panels
        ],
        missing=("No names: the job has no [name].", "Half of its images were rejected."),
    )
    bare = replace(
        small.gallery.cards("conv1")[4], panels=(), plane=None, elbow=None, null=None, sprite=None, missing=()
    )
    folder = written(replace(small, gallery=Edited(small.gallery, no_picture, nameless, bare)), tmp_path, 0)
    one = seen()
    page = one.unit(maps, synthetic.UNPROVED, 30)
    assert "There is no null for this unit." in page.locator(".unit-chart").first.inner_text()
    page = one.unit(maps, "layer1.0.conv2", 5)
    sentence = "No visualizations: the job visualizes a sample of units."
    assert sentence in page.locator(".unit-chart").nth(1).inner_text()
    assert page.locator("[data-evidence=visualizations] .absent").inner_text() == sentence
    assert page.locator("#missing").inner_text() == ""
    page = one.unit(folder, "conv1", 1)
    assert page.locator("[data-evidence=exemplars] > .absent").inner_text() == no_picture.missing[0]
    assert page.locator(".tile").count() == 0
    page = one.unit(folder, "conv1", 2)
    panel = page.locator("[data-evidence=exemplars]").inner_text()
    assert panel.count(nameless.missing[0]) == 1
    assert "no name above chance" not in panel
    page = one.unit(folder, "conv1", 4)
    assert "No pictures of this unit" in page.locator("#panels").inner_text()
    dead = next(at for at in np.flatnonzero(small.is_dead) if small.layer_index[at] != 0)
    page = one.unit(maps, *unit_of(small, int(dead)))
    assert page.locator("#missing").inner_text().startswith("A dead unit")
    assert page.locator(".unit-chart, .tile").count() == 0


def test_odd_names_are_text(seen: Any, small: Atlas, tmp_path: Path) -> None:
    """Tags in layers, names, facts, captions and titles are shown as they are written, and run nothing."""
    tag = "<img src=x onerror=alert(1)>"
    card = small.gallery.cards("conv1")[1]
    exemplars = card.panels[0]
    clusters = [
        replace(one, names=((tag, ".9"),), tiles=[replace(tile, caption=tag, title=tag) for tile in one.tiles])
        for one in exemplars.clusters
    ]
    odd = replace(
        card,
        facts=((tag, tag),),
        panels=[replace(exemplars, facts=((tag, tag),), clusters=clusters)],
        missing=(tag, f"names {tag}"),
    )
    layers = [replace(layer, name=tag if at == 1 else layer.name) for at, layer in enumerate(small.layers)]
    made = replace(small, title=f"net {tag}", layers=layers, gallery=Renamed(Edited(small.gallery, odd), tag))
    folder = written(made, tmp_path, 0, 1, 3)
    one = seen()
    page = one.unit(folder, "conv1", 1)
    assert page.evaluate("document.querySelectorAll('img[src=x], img[onerror]').length") == 0
    assert page.locator(".cluster-name").first.inner_text() == tag
    assert page.locator("#facts").inner_text().count(tag) == 2
    assert page.locator("#missing").inner_text() == tag
    assert page.locator(".tile figcaption").first.inner_text() == tag
    assert page.title() == f"conv1:1 · net {tag}"
    page = one.unit(folder, tag, 3)
    assert page.locator("h1").inner_text() == f"{tag}:3"
    assert page.input_value("#command") == f"polyscan figure RUN unit '{tag}:3' --out unit.html"
    page = one.unit(folder, ODD, 3)
    assert page.locator("h1").inner_text() == f"{ODD}:3"
    assert page.locator("h1 b").count() == 0
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "copy.html").write_bytes(one_file(made, "conv1", 1))
    one.page.goto((alone / "copy.html").as_uri())
    stands(one.page, "conv1:1")
    assert one.page.locator(".cluster-name").first.inner_text() == tag


class Renamed(Edited):
    """A gallery whose second layer is called otherwise."""

    def __init__(self, gallery: Any, name: str) -> None:
        super().__init__(gallery)
        self.name = name

    def own(self, layer: str) -> str:
        return "layer1.0.conv2" if layer == self.name else layer

    def cards(self, layer: str) -> list[UnitCard]:
        found = self.gallery.cards(self.own(layer))
        return [replace(card, layer=layer, nearest=()) for card in found] if layer == self.name else found

    def sprite(self, layer: str, channel: int) -> bytes | None:
        return self.gallery.sprite(self.own(layer), channel)

    def null(self, layer: str) -> Any:
        return self.gallery.null(self.own(layer))


@pytest.mark.parametrize("is_open", [True, False])
def test_the_address_is_copied_or_lies_marked(seen: Any, maps: Path, is_open: bool) -> None:
    """Copy puts the address into the clipboard; where the browser refuses, it lies selected in a field."""
    one = seen()
    one.page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: (text) => "
        f"{'(window.copied = text, Promise.resolve())' if is_open else 'Promise.reject(new Error())'} }} }})"
    )
    page = one.unit(maps, ODD, 40)
    page.click("#copy-address")
    until(page, "document.getElementById('copied').textContent !== ''")
    if is_open:
        assert page.evaluate("window.copied") == page.url
        assert page.locator("#copied").inner_text() == "Copied."
        assert not page.locator("#address").is_visible()
        return
    assert page.locator("#address").is_visible()
    assert page.evaluate("document.activeElement.id === 'address' && document.activeElement.value") == page.url
    page.locator("summary").click()
    page.click("#copy-command")
    expected = f"polyscan figure RUN unit '{ODD}:40' --out unit.html"
    until(page, "document.activeElement.id === 'command'")
    assert page.evaluate("document.activeElement.value") == expected
    chosen = page.evaluate("[document.activeElement.selectionStart, document.activeElement.selectionEnd]")
    assert chosen == [0, len(expected)]


def test_a_copy_in_one_file_opens_alone(seen: Any, small: Atlas, maps: Path, tmp_path: Path) -> None:
    """In an empty folder it shows what the page shows, asks for nothing, and leads nowhere."""
    content = one_file(small, ODD, 40)
    assert len(content) < UNIT_BYTES
    assert CONTENT_POLICY.replace("'", "&#39;") in content.decode()
    one = seen()
    page = one.unit(maps, ODD, 40)
    parts = ("#verdict", "#head-numbers", "#numbers", "#panels", "#charts", "#nearest", "#facts")
    expected = [page.locator(part).inner_text() for part in parts]
    path = tmp_path / "unit.html"
    path.write_bytes(content)
    alone = seen()
    page = alone.page
    page.goto(path.as_uri())
    stands(page, f"{ODD}:40")
    assert [page.locator(part).inner_text() for part in parts] == expected
    assert page.locator("a, form, button").count() == 0
    page.locator(".tile").first.scroll_into_view_if_needed()
    until(page, "document.querySelector('.tile img').naturalWidth > 0")
    assert all(url.startswith("data:") or url.endswith("/unit.html") for url in alone.requests)
    source = page.locator(".tile img").first.get_attribute("src")
    assert base64.b64decode(source.partition(",")[2]) == small.gallery.sprite(ODD, 40)
    page.keyboard.press("j")
    page.wait_for_timeout(50)
    stands(page, f"{ODD}:40")


def test_a_copy_of_an_unknown_unit_is_refused(small: Atlas) -> None:
    """The message names what was asked for, what there is and what to do."""
    with pytest.raises(ValueError, match=r"layer 'conv' is not in torchvision.*nearest: conv1.*Name one of its layers"):
        one_file(small, "conv", 1)
    with pytest.raises(ValueError, match=r"conv1 has no unit 16 in this run; it holds 16 units, 0 to 15\. Name one"):
        one_file(small, "conv1", 16)


def test_scripts_and_style_of_a_copy_close_no_element(small: Atlas) -> None:
    """The file has as many closing script and style tags as the template wrote, whatever is inside."""
    text = one_file(small, "conv1", 0).decode()
    assert text.count("</script") == 3
    assert text.count("</style") == 1
    assert text.count("<!--") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(seen: Any, maps: Path, small: Atlas, tmp_path: Path, scheme: str) -> None:
    """At 390 pixels no page scrolls sideways: units with and without pictures, faults, and the copy."""
    one = seen(viewport={"width": 390, "height": 800}, color_scheme=scheme, device_scale_factor=2)
    wide = "document.documentElement.scrollWidth"
    dead = unit_of(small, int(np.flatnonzero(small.is_dead)[0]))
    for layer, channel in ((ODD, 40), (WIDE, 150), (synthetic.UNPROVED, 30), dead):
        page = one.unit(maps, layer, channel)
        assert page.evaluate(wide) <= 390, (layer, channel)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        page.evaluate("document.getElementById('address').hidden = false")
        assert page.evaluate(wide) <= 390, (layer, channel)
    assert one.at(maps, "#" + "x" * 300 + ":1").evaluate(wide) <= 390
    path = tmp_path / "unit.html"
    path.write_bytes(one_file(small, ODD, 40))
    one.page.goto(path.as_uri())
    assert one.page.evaluate(wide) <= 390


def opened(seen: Any, maps: Path) -> tuple[dict[str, int], float]:
    """Bytes of each file that opening one unit of the widest layer loads, and seconds until the unit stands."""
    one = seen()
    start = time.perf_counter()
    page = one.unit(maps, WIDE, 100)
    took = time.perf_counter() - start
    until(page, "document.querySelector('.tile img').naturalWidth > 0")
    root = unquote(maps.as_uri()) + "/"
    asked = [unquote(url) for url in one.requests if not url.startswith("data:")]
    files = {url.partition("#layer4")[0].removeprefix(root) for url in asked}
    return {name: (maps / name).stat().st_size for name in sorted(files)}, took


def test_opening_a_unit_is_quick_and_loads_its_own_files_alone(
    seen: Any, maps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A unit stands in two seconds, out of the page, the style, one script of data and one sprite."""
    sizes, took = opened(seen, maps)
    with capsys.disabled():
        sys.stdout.write(f"\none unit: {sum(sizes.values()) / 1e3:.0f} KB {sizes}, painted after {took:.2f} s\n")
    block = urls.block_address(5, 6, 100 // BLOCK_UNITS)
    assert set(sizes) == {"unit.html", "assets/polyscan.css", "img/05/100.jpg", block}
    assert took < UNIT_SECONDS


@pytest.mark.xfail(
    BLOCK_UNITS > 32, reason=f"{BLOCK_UNITS} units lie in one script: some 100 KB of them alone", strict=True
)
def test_opening_a_unit_loads_less_than_200_kilobytes(seen: Any, maps: Path) -> None:
    """Page, style, data and pictures of one unit together."""
    assert sum(opened(seen, maps)[0].values()) < UNIT_BYTES


def test_scripts_and_site_cut_a_layer_into_the_same_blocks() -> None:
    """The script that asks for a block counts as the one that writes it."""
    text = (files("polyscan.maps") / "assets" / "blocks.js").read_text()
    assert f"const BLOCK_UNITS = {BLOCK_UNITS};" in text
    assert f"const SCHEMA = {SCHEMA};" in text
