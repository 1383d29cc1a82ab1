"""Ways through a run's pages: by pointer, keys, address and search; and names that are text wherever they stand."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from maps.conftest import Drawn
from maps.seeing import NEEDS_BROWSER, POINT_OF, Seen, until

from benchmarks.synthetic.network import ODD_NAMES, ONE_UNIT

pytestmark = [*NEEDS_BROWSER, pytest.mark.pages]
See = Callable[..., Seen]
FIND_MS = 100
MOST_NAMES = 6  # that one answer links
# Writes words into the field; resolves with what it took until their answer stood there, in ms.
ANSWERED = """(words) => new Promise((resolve) => {
  const field = document.getElementById("find");
  const line = document.getElementById("find-answer");
  line.replaceChildren();
  field.value = words;
  const start = performance.now();
  new MutationObserver((_, one) => { one.disconnect(); setTimeout(() => resolve(performance.now() - start)); })
    .observe(line, { childList: true });
  field.dispatchEvent(new Event("input", { bubbles: true }));
})"""


def live_unit(many: Drawn, layer: str) -> str:
    rows = many.frame[(many.frame["layer"] == layer) & ~many.frame["is_dead"]]
    return f"{layer}:{rows['channel'].iloc[len(rows) // 2]}"


def is_shown(page: Any, name: str) -> None:
    """The unit page of that unit, by address, title and headline."""
    until(page, "window.polyscan && polyscan.unitPage && polyscan.unitPage.shown() !== null")
    assert page.evaluate("polyscan.unitPage.shown()") == name
    assert unquote(page.url).endswith(f"unit.html#{name}")
    assert page.title().startswith(name)
    assert page.locator("h1").inner_text() == name


def test_a_click_opens_the_unit_and_back_leads_to_the_same_score_and_place(seen: See, many: Drawn) -> None:
    page = seen(viewport={"width": 1280, "height": 600}).open(many.maps / "index.html")
    page.select_option("#by", "kurtosis")
    until(page, "!document.getElementById('map-frame').hasAttribute('aria-busy')")
    at = page.evaluate(POINT_OF, live_unit(many, many.layers[-5]))
    page.mouse.move(*at)
    name = page.locator("#tooltip").get_attribute("data-unit")
    place = page.evaluate("scrollY")
    assert place > 0
    page.mouse.click(*at)
    page.wait_for_url("**/unit.html#*")
    is_shown(page, name)
    page.go_back()
    until(page, "window.READY === true")
    assert page.input_value("#by") == "kurtosis"
    assert page.evaluate("polyscan.network.map.name(polyscan.network.chosen())") == name
    until(page, f"Math.abs(scrollY - {place}) < 3")


def test_arrow_keys_and_enter_do_the_same(seen: See, many: Drawn) -> None:
    page = seen().open(many.maps / "index.html", "#by=kurtosis")
    page.focus("#map")
    for key in ("ArrowDown", "ArrowDown", "End", "ArrowLeft", "ArrowLeft", "Home", "ArrowRight"):
        page.keyboard.press(key)
    layer = many.layers[2]
    alive = many.frame[(many.frame["layer"] == layer) & ~many.frame["is_dead"]].sort_values("kurtosis")
    name = f"{layer}:{alive['channel'].iloc[1]}"
    assert page.locator("#tooltip").get_attribute("data-unit") == name
    page.keyboard.press("Enter")
    page.wait_for_url("**/unit.html#*")
    is_shown(page, name)
    page.go_back()
    until(page, "window.READY === true")
    assert page.input_value("#by") == "kurtosis"
    assert page.evaluate("polyscan.network.map.name(polyscan.network.chosen())") == name


@pytest.mark.parametrize("layer", ["conv1", ONE_UNIT, *ODD_NAMES])
def test_a_pasted_address_opens_its_unit(seen: See, many: Drawn, layer: str) -> None:
    name = live_unit(many, layer)
    one = seen()
    is_shown(one.open(many.maps / "unit.html", f"#{name}"), name)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("conv1:999999", "conv1 has no unit 999999."),
        ("nowhere:1", "No layer is called “nowhere”"),
        ("conv1", "names no unit"),
    ],
)
def test_an_unknown_unit_is_told(seen: See, many: Drawn, address: str, words: str) -> None:
    page = seen().open(many.maps / "unit.html", f"#{address}")
    assert words in page.locator("#fault").inner_text()
    assert not page.locator("#unit").is_visible()


@pytest.mark.parametrize("words", ["straßenlaterne", "丹顶鹤", "<script>", '"><img', "=2+2", "no such name"])
def test_names_are_found_in_a_tenth_of_a_second_and_all_are_counted(seen: See, many: Drawn, words: str) -> None:
    one = seen()
    page = one.open(many.maps / "index.html")
    assert not any("names.js" in url for url in one.requests)
    page.fill("#find", "aa")
    until(page, "document.getElementById('find-answer').textContent.includes('no unit')")
    assert sum("names.js" in url for url in one.requests) == 1
    page.fill("#find", words)
    # Without waiting: names are there, and one answer after another shall not be timed but the last.
    assert min(page.evaluate(ANSWERED, words) for _ in range(3)) < FIND_MS
    names = many.frame["names"].fillna("").str.lower()
    n = int(names.str.contains(words.lower(), regex=False).sum())
    text = page.locator("#find-answer").inner_text()
    if not n:
        assert text == f"No layer and no unit is called “{words}”."
        return
    assert f"{min(n, MOST_NAMES)} of {n:,} units with this name: " in text
    like = [layer for layer in many.layers if words.lower() in layer.lower()]
    links = page.locator("#find-answer a").all_inner_texts()
    assert links[: len(like)] == like
    first = many.frame[names.str.contains(words.lower(), regex=False)].iloc[:MOST_NAMES]
    assert links[len(like) :] == [f"{layer}:{c}" for layer, c in zip(first["layer"], first["channel"], strict=True)]


def test_layers_and_units_are_found_without_the_names(seen: See, many: Drawn) -> None:
    one = seen()
    page = one.open(many.maps / "index.html")
    for layer in ("conv1", *ODD_NAMES):
        n = int((many.frame["layer"] == layer).sum())
        assert page.evaluate(ANSWERED, layer) < FIND_MS
        assert page.locator("#find-answer").inner_text() == f"{layer} · {n:,} units"
        name = live_unit(many, layer)
        assert page.evaluate(ANSWERED, name) < FIND_MS
        assert page.locator("#find-answer a").inner_text() == name
        assert page.locator("#mark").is_visible()
    assert not any("names.js" in url for url in one.requests)


# --- names are text ---


def pages_of(many: Drawn) -> list[tuple[Path, str]]:
    """The front page, pages of odd layers, and of units in them."""
    rng = np.random.default_rng(11)
    odd = [layer for layer in ODD_NAMES if layer in many.layers]
    units = [f"#{live_unit(many, layer)}" for layer in rng.permutation(odd)]
    return [
        (many.maps / "index.html", ""),
        *((many.page_of(layer), "") for layer in odd[:3]),
        *((many.maps / "unit.html", unit) for unit in units[:5]),
    ]


def test_nothing_that_is_called_a_script_runs_and_nothing_is_asked_for(seen: See, many: Drawn) -> None:
    one = seen()
    for path, hash_ in pages_of(many):
        page = one.open(path, hash_)
        page.wait_for_timeout(200)
        assert page.evaluate("window.hit") is None
        assert page.locator("img[onerror], main b, main script:not([type])").count() == 0
        assert page.locator("meta[http-equiv=Content-Security-Policy]").count() == 1
    page = one.open(many.maps / "index.html", "#unit=" + ODD_NAMES[0] + ":0")
    assert set(ODD_NAMES) <= set(page.locator("#layer-names a").all_inner_texts())
    called = many.frame[many.frame["names"].fillna("").str.contains("<script>", regex=False)].iloc[0]
    page = one.open(many.maps / "unit.html", f"#{called['layer']}:{called['channel']}")
    assert "<script>window.hit=1</script>" in page.locator(".cluster-name").all_inner_texts()
    assert page.evaluate("window.hit") is None


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and what it was asked for."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_the_policy_keeps_pages_from_asking_even_this_machine(
    browser: Any, many: Drawn, listener: tuple[str, list[str]]
) -> None:
    address, asked = listener
    ask = """(address) => Promise.allSettled([
      fetch(address + "/fetch"),
      new Promise((resolve, reject) => {
        const image = new Image();
        image.onload = resolve;
        image.onerror = reject;
        image.src = address + "/img";
        document.body.append(image);
      }),
    ]).then((all) => all.map((one) => one.status))"""
    for path, hash_ in pages_of(many)[:1] + pages_of(many)[3:5]:
        one = Seen(browser)
        page = one.open(path, hash_)
        assert page.evaluate(ask, address) == ["rejected", "rejected"]
        assert sum("Content Security Policy" in fault for fault in one.faults) >= 2
        one.context.close()
    one = Seen(browser)
    one.page.set_content("<p>a page without a policy</p>")
    one.page.evaluate(ask, address)
    one.context.close()
    assert set(asked) == {"/fetch", "/img"}  # the listener hears who may ask
    assert len(asked) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(seen: See, many: Drawn, scheme: str) -> None:
    one = seen(viewport={"width": 390, "height": 800}, color_scheme=scheme, device_scale_factor=2)
    for path, hash_ in [*pages_of(many), (many.maps / "unit.html", "#no:where")]:
        page = one.open(path, hash_)
        if path.name == "index.html":
            until(page, "window.TREND_READY === true")
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, (path.name, hash_)
