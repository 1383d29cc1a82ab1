"""A run and its units in a notebook: the frame alone and offline, the picture where frames are taken out."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from places import TESTS

from polyscan.maps.figures.rows import viridis
from polyscan.maps.index_page import index_page
from polyscan.maps.templating import asset_files
from polyscan.results import Results, front_page, notebook, unit_card
from polyscan.storage import Storage

CHROMIUM = shutil.which("chromium")
OUTPUT_BYTES = 700_000
HEAD = '<!doctype html><meta charset="utf-8"><body>'
MOST_COLORS = """() => {
  const canvas = document.getElementById("map");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(pixels.buffer)).size;
}"""


def load_synthetic():
    path = TESTS / "maps" / "synthetic.py"
    spec = importlib.util.spec_from_file_location("notebook_synthetic", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Elements(HTMLParser):
    """All elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [words for name, words in self.found if name == tag]


def stripped(html: str) -> str:
    """What viewers leave that take out frames and scripts."""
    return re.sub(r"<(iframe|script)\b.*?</\1>", "", html, flags=re.DOTALL)


def picture_of(address: str | None) -> Image.Image:
    assert address is not None
    kind, _, data = address.partition(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return picture.convert("RGB")


def is_of_the_scale(pixels: np.ndarray) -> np.ndarray:
    """Which pixels wear a colour of the scale."""
    code = pixels[..., :3].astype(np.int64) @ np.array([65536, 256, 1])
    return np.isin(code, viridis().astype(np.int64) @ np.array([65536, 256, 1]))


def test_the_picture_and_the_top_units_remain_where_frames_are_taken_out(toy_results: Results) -> None:
    html = toy_results._repr_html_()
    left = Elements(stripped(html))
    assert not left.named("iframe")
    (image,) = left.named("img")
    assert is_of_the_scale(np.asarray(picture_of(image["src"]))).mean() > 0.1
    text = "".join(left.text)
    assert "12 units in 3 layers" in text
    top = notebook.top_table(toy_results.map, front_page.front_page(toy_results.run.storage))
    assert top
    assert top in stripped(html)
    assert "paint:" in top


def test_the_bundle_holds_the_same_map_as_a_picture(toy_results: Results) -> None:
    """For what is made of a notebook without a browser."""
    bundle = toy_results._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png"}
    assert bundle["text/html"] == toy_results._repr_html_()
    assert bundle["image/png"] in bundle["text/html"]


def test_the_frame_leads_nowhere_and_loads_nothing(toy_results: Results) -> None:
    """No address of another file is left in it, and the pages' policy is."""
    (frame,) = Elements(toy_results._repr_html_()).named("iframe")
    assert frame["sandbox"] == "allow-scripts"
    page = Elements(frame["srcdoc"] or "")
    for tag, words in page.found:
        assert not {"src", "action", "data"} & set(words), tag
        assert words.get("href", "data:") == "data:", tag
    (policy,) = [words for words in page.named("meta") if words.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in (policy["content"] or "")


def test_a_run_without_pages_and_one_without_a_map_say_so(toy_results: Results, tmp_path: Path) -> None:
    shutil.copytree(toy_results.run.address, tmp_path / "run")
    (tmp_path / "run" / "maps" / "index.html").unlink()
    assert "<code>polyscan show</code> draws its map" in Results(str(tmp_path / "run"))._repr_html_()
    (tmp_path / "run" / "map.parquet").unlink()
    assert "not finished" in Results(str(tmp_path / "run"))._repr_html_()


@pytest.fixture(scope="module")
def large_output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output for 30,000 units in 50 layers, drawn from a page as `show` writes it."""
    atlas = load_synthetic().large_atlas()
    storage = Storage(str(tmp_path_factory.mktemp("large")))
    for name, content in asset_files():
        storage.put(f"maps/{name}", content)
    storage.put("maps/index.html", index_page(atlas))
    names = np.array([layer.name for layer in atlas.layers])
    frame = pd.DataFrame({"layer": names[atlas.layer_index], "channel": atlas.channel, "is_dead": atlas.is_dead})
    frame = frame.assign(**{column.name: atlas.values[column.name] for column in atlas.columns})
    page = front_page.front_page(storage)
    assert page is not None
    return notebook.map_html(page, notebook.map_picture(page, frame)) + notebook.top_table(frame, page)


def test_the_output_of_thirty_thousand_units_is_small(large_output: str) -> None:
    assert len(large_output.encode()) < OUTPUT_BYTES


# ---- one unit ------------------------------------------------------------------------------------------------------


def test_a_card_shows_the_crops_by_cluster_strongest_first(toy_results: Results) -> None:
    frame = toy_results.map
    row = frame[~frame["is_dead"]].iloc[0]
    unit = toy_results.unit(row["layer"], row["channel"])
    card = Elements(unit._repr_html_())
    pictures = card.named("img")
    assert pictures
    for words in pictures:
        picture_of(words["src"])
    kept = dict(zip(*toy_results.table("thumbnails")[["item", "image"]].to_numpy().T, strict=True))
    first = unit.exemplars.sort_values("rank").iloc[0]
    assert base64.b64encode(kept[first["crop"]]).decode() in (pictures[0]["src"] or "")
    assert f"{row['layer']}:{row['channel']}" in "".join(card.text)


def clusters(labels: list[int], bic: list[int], space: str = "own") -> pd.DataFrame:
    n = len(labels)
    return pd.DataFrame(
        {
            "evidence": "exemplars",
            "space": space,
            "is_main": space == "own",
            "item": range(n),
            "cluster": labels,
            "cluster_bic": bic,
        }
    )


@pytest.mark.parametrize(
    ("n_clusters", "ranks"),
    [(2.0, [[1, 2, 3], [0, 4]]), (1.0, [[1, 2, 3], [0, 4]]), (np.nan, [[0, 1, 2], [4], [3]])],
)
def test_exemplars_are_shown_in_their_best_clusters(n_clusters: float, ranks: list[list[int]]) -> None:
    """Whatever the verdict; by BIC's clusters where there is none."""
    both = pd.concat([clusters([0, 1, 1, 1, 0], [0, 0, 0, 2, 1]), clusters([0] * 5, [0] * 5, "clip")])
    exemplars = pd.DataFrame({"rank": [4, 3, 2, 1, 0]})
    groups = unit_card.grouped(pd.Series({"n_clusters": n_clusters}), exemplars, both)
    assert [sorted(rows["rank"]) for rows in groups] == [sorted(each) for each in ranks]
    assert all(rows["rank"].is_monotonic_increasing for rows in groups)


def test_a_card_and_the_top_units_have_both_verdicts(toy_results: Results) -> None:
    columns = [str(name) for name in toy_results.map if str(name).startswith("second_")]
    first_alone = toy_results.map.drop(columns=columns)
    frame = first_alone.assign(second_verdict="off_range", second_strength=0.618)
    page = front_page.front_page(toy_results.run.storage)
    assert "<th>second test</th>" in notebook.top_table(frame, page)
    assert notebook.top_table(frame, page).count("<td>off range, strength .62</td>") > 3
    row = frame[~frame["is_dead"]].iloc[0]
    assert unit_card.verdict_line(row).endswith(" · second test: off range, strength .62</p>")
    assert "<th>second test: strength</th>" in unit_card.numbers(row)
    assert "second test" not in unit_card.verdict_line(frame[frame["is_dead"]].iloc[0])
    assert "second test" not in notebook.top_table(first_alone, page)
    assert "second test" not in unit_card.verdict_line(first_alone[~frame["is_dead"]].iloc[0])


def test_names_in_a_card_are_text(toy_results: Results) -> None:
    """A name that is markup makes no element."""
    evil = '<img src="x" onerror="alert(1)">'
    row = pd.Series({"is_dead": False, "verdict": evil, "names": evil, "psi": 0.5})
    card = Elements(unit_card.card(evil, row, [], pd.DataFrame()))
    assert not card.named("img")
    assert "".join(card.text).count(evil) == 3
    table = Elements(notebook.table([evil], [[evil]], evil))
    assert not table.named("img")


# ---- in a browser --------------------------------------------------------------------------------------------------


def in_a_browser(test):
    """Marks a test that drives Chromium."""
    # playwright leaves the loop and its pipes to the garbage collector
    test = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")(
        test
    )
    return pytest.mark.browser(pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")(test))


def opened(path: Path):
    """The page in a real browser; gives back the tab, what it says and what it asks for, and what ends it all."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright = api.sync_playwright().start()
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    tab = browser.new_page(viewport={"width": 1200, "height": 1400})
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())

    def end() -> None:
        browser.close()
        playwright.stop()

    return tab, said, asked, end


@pytest.mark.parametrize("size", ["small", "large"])
@in_a_browser
def test_the_map_is_painted_in_its_frame_and_asks_for_nothing(
    size: str, toy_results: Results, large_output: str, tmp_path: Path
) -> None:
    """Painted, silent, no request but the page itself; a click, a key and the menu neither fail nor lead away."""
    path = tmp_path / "output.html"
    path.write_text(HEAD + (toy_results._repr_html_() if size == "small" else large_output))
    tab, said, asked, end = opened(path)
    try:
        frame = tab.frames[1]
        frame.wait_for_function("() => window.READY === true")
        assert frame.evaluate(MOST_COLORS) > 3
        canvas = frame.locator("#map")
        canvas.hover()
        frame.wait_for_selector("#tooltip:not([hidden])")
        canvas.click()
        canvas.press("ArrowRight")
        canvas.press("Enter")
        menu = frame.locator("#by")
        menu.select_option(index=menu.locator("option").count() - 1)
        tab.wait_for_timeout(300)
        assert frame.url == "about:srcdoc"
        assert not frame.get_by_text("click for its page").is_visible()
        assert said == []
        assert asked == [path.as_uri()]
    finally:
        end()


@in_a_browser
def test_where_scripts_do_not_run_the_picture_is_seen(toy_results: Results, tmp_path: Path) -> None:
    """The frame then hides nothing: the picture behind it has the colours of the scale on the screen."""
    path = tmp_path / "output.html"
    html = toy_results._repr_html_()
    assert 'sandbox="allow-scripts"' in html
    path.write_text(HEAD + html.replace('sandbox="allow-scripts"', 'sandbox=""'))
    tab, _, _, end = opened(path)
    try:
        tab.wait_for_timeout(300)
        with Image.open(io.BytesIO(tab.screenshot())) as screen:
            assert is_of_the_scale(np.asarray(screen.convert("RGB"))).mean() > 0.02
    finally:
        end()
