"""The page of a comparison: what is written, and what a browser draws of it from disk."""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyscan.maps.atlas import Column
from polyscan.maps.comparison import (
    Changed,
    Comparison,
    Differing,
    LayerDifference,
    LayerMean,
    NetworkMean,
    OverallDifference,
    Pairing,
    Rho,
    RunFacts,
    UnitTable,
    Verdicts,
)
from polyscan.maps.comparison_charts import COLORS, DASHES, SHAPES, styles
from polyscan.maps.comparison_page import comparison_files, tint
from polyscan.maps.numbers import number_text

NASTY = ("plain", "<script>alert(1)</script>", "größe \"&'\N{SNOWMAN}", "=1+1")
LAYERS = ("conv1", "<b>mid</b>", "third.0.conv", "head")
COLUMNS = (
    Column("gap", "gap", "how much closer"),
    Column("several_share", "called several", "share of judged units"),
    Column("p", "p <i>", "chance", "p"),
)
METRICS = {"accuracy": (0.1, 0.5, 0.8, 0.9), "step": (0.0, 100.0, 1000.0, 5000.0)}
CHROMIUM = shutil.which("chromium")


def comparison(n_runs: int = 3, *, n_layers: int = 4, is_one_network: bool = True) -> Comparison:
    """Runs with planted numbers and names that would break a page."""
    generator = np.random.default_rng(0)
    names = [NASTY[at] if at < len(NASTY) else f"run {at}" for at in range(n_runs)]
    layers = [LAYERS[at] if at < len(LAYERS) else f"layer{at}" for at in range(n_layers)]
    means: list[LayerMean] = []
    differences: list[LayerDifference] = []
    for run in range(n_runs):
        for column in COLUMNS:
            for depth, layer in enumerate(layers):
                mean, half = generator.normal(0.1 * run, 0.2), generator.uniform(0.01, 0.1)
                numbers = (mean, mean - half, mean + half)
                means.append(LayerMean(run, column.name, layer, depth, depth / (n_layers - 1), 10 + depth, *numbers))
                if run:
                    change = numbers if depth else (0.0, 0.0, 0.0)
                    differences.append(LayerDifference(run, column.name, layer, 9, *change, True, change[0] / 0.3))
    network = [
        NetworkMean(run, c.name, n_layers, 0.1 * run, 0.1 * run - 0.05, 0.1 * run + 0.05)
        for run in range(n_runs)
        for c in COLUMNS
    ]
    overall = [
        OverallDifference(run, c.name, n_layers, 0.1 * run, 0.01, 0.2, 0.1, math.nan, is_claimed=run == 1)
        for run in range(1, n_runs)
        for c in COLUMNS
    ]
    changed = Changed("<b>mid</b>:3", (0.1, 0.5), 0.4, (0.5, 0.01), (math.nan, 0.04), ("one", "several, certified"))
    verdicts = Verdicts(["dead", "one", "several"], [[1, 0, 0], [0, 1200, 4], [0, 2, 7]])
    rhos = [Rho("gap", "gap", 0.5, 0.4, 0.6, 40, 0.3), Rho("p", "p <i>", math.nan, math.nan, math.nan, 4, math.nan)]
    table = UnitTable(1214, 1213, {"gap": [changed], "PSI": []}, verdicts, rhos)
    return Comparison(
        title=" · ".join(names[:3]),
        runs=[
            RunFacts(name, f"runs/{name}", "toy:<u>net</u>", "w.pt", "abc", "photos, 60", "own", n_layers, 50, 2)
            for name in names
        ],
        statements=[f"Units' gap: no difference between {names[0]} and {names[1]} is claimed."],
        warnings=["The runs' images differ."],
        differing=[Differing("images.digest", [str(at) for at in range(n_runs)], "images")],
        columns=COLUMNS,
        layers=layers if is_one_network else [],
        means=means,
        network=network,
        differences=differences,
        overall=overall,
        pairings=[
            Pairing(run, f"why <{run}>", table if run == 1 else None) for run in range(1, n_runs)
        ],
        metrics={name: [*values, *range(6, n_runs + 2)][:n_runs] for name, values in METRICS.items()},
        notes=["a note"],
        seed=0,
        draws=1000,
    )  # fmt: skip


def written(given: Comparison, folder: Path) -> Path:
    for name, content in comparison_files(given):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path")
    with api.sync_playwright() as player:
        made = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Opens a folder's page; at the end it has neither complained nor asked for anything beyond the folder."""
    contexts: list[Any] = []
    faults: list[str] = []
    requests: list[str] = []

    def start(folder: Path, width: int = 1280, scheme: str = "light") -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on(
            "console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((folder / "index.html").as_uri())
        until(page, "window.READY === true")
        return page

    yield start
    for context in contexts:
        context.close()
    assert not faults
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)


def until(page: Any, claim: str, timeout_s: float = 30) -> None:
    """Waits for a claim to hold; playwright's own waiting evaluates strings, which the pages' policy refuses."""
    end = time.perf_counter() + timeout_s
    while time.perf_counter() < end:
        if page.evaluate(claim):
            return
        time.sleep(0.01)
    raise AssertionError(f"{claim} did not hold within {timeout_s} s")


IN_BROWSER = [
    pytest.mark.browser,
    # playwright leaves the loop and its pipes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


class TestInABrowser:
    """The pages as they are drawn."""

    pytestmark = IN_BROWSER

    def test_numbers_on_the_page_are_those_of_the_json_and_names_are_text(self, opened: Any, tmp_path: Path) -> None:
        folder = written(comparison(4), tmp_path)
        content = json.loads((folder / "comparison.json").read_text())
        page = opened(folder)
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
        assert page.locator("table.verdicts").first.locator("tbody tr").nth(1).inner_text().split() == ["one", "0", "1,200", "4"]  # noqa: E501  # fmt: skip
        assert page.locator("main b, main i, main u, main script").count() == 0
        assert page.locator("h1").inner_text() == " · ".join(NASTY[:3])
        assert "why <2>" in page.locator("#unit-by-unit").inner_text()

    def test_each_run_is_drawn_in_every_chart(self, opened: Any, tmp_path: Path) -> None:
        page = opened(written(comparison(3), tmp_path))
        assert page.locator(".plot svg").count() == 2 * len(COLUMNS)
        first = page.locator("[data-part=layers]").first
        assert first.locator(".mark-symbol path").count() == 3 * len(LAYERS)
        fills = {path.get_attribute("fill") for path in first.locator(".mark-symbol path").all()}
        assert fills == set(COLORS[:3])
        assert {path.get_attribute("stroke-dasharray") for path in first.locator(".mark-line path").all()} != {None}

    def test_run_by_run_is_drawn_across_what_is_chosen(self, opened: Any, tmp_path: Path) -> None:
        page = opened(written(comparison(3), tmp_path))
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
    def test_nothing_is_wider_than_a_phone(self, opened: Any, tmp_path: Path, given: Comparison, scheme: str) -> None:
        page = opened(written(given, tmp_path), 390, scheme)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == 390

    def test_without_the_charts_library_the_page_says_so(self, browser: Any, tmp_path: Path) -> None:
        folder = written(comparison(2), tmp_path)
        (folder / "assets" / "vega.js").unlink()
        context = browser.new_context()
        page = context.new_page()
        page.goto((folder / "index.html").as_uri())
        until(page, "window.READY === true")
        assert page.locator(".charts-missing").first.is_visible()
        context.close()
