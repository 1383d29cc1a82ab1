"""Every kind of page under axe-core: no fault that it calls serious or critical, light and dark, narrow and wide."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from maps.conftest import Drawn
from maps.planted_comparison import comparison, written
from maps.seeing import NEEDS_BROWSER, Seen, until

from benchmarks.synthetic.network import ALL_DEAD, ODD_NAMES
from polyscan.maps import validation_page
from polyscan.maps.one_file import one_file
from polyscan.report import drawn_atlas
from polyscan.studies.showing import stored_job

axe = pytest.importorskip(
    "axe_playwright_python", reason="axe-playwright-python, which holds axe-core, is not installed"
)

pytestmark = [*NEEDS_BROWSER, pytest.mark.pages]
See = Callable[..., Seen]
GRAVE = ("serious", "critical")
FAULTS = """() => axe.run(document, { resultTypes: ["violations"] }).then((found) =>
  found.violations.map((one) => [one.impact, one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))]))"""
PAGES = ("index", "layer", "layer of odd name", "dead layer", "unit", "dead unit", "unknown unit", "one file")
STUDIES = ("compared", "series", "validated")
SIGHTS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def copy(few: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copy") / "unit.html"
    path.write_bytes(one_file(drawn_atlas(stored_job(few.run, {}), few.run), "conv1", live_channel(few)))
    return path


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(comparison(3), tmp_path_factory.mktemp("compared"))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(comparison(12, n_layers=20), tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def validated(few: Drawn) -> Path:
    """The page that `validate` puts beside the others."""
    rates = {"a<b>": {"control": 0.05, "planted": 0.75}, "layer2": {"control": 0.0}}
    kinds = {"planted": (2, "two readouts in one unit")}
    path = few.maps / "validation.html"
    path.write_bytes(validation_page({"separation": {"fpr_05": rates, "n": rates}}, kinds, title="a <network>"))
    return path


def live_channel(few: Drawn) -> int:
    """A unit of the first layer that has all there is to see."""
    rows = few.frame[(few.frame["layer"] == "conv1") & ~few.frame["is_dead"]]
    return int(rows["channel"].iloc[0])


def address(few: Drawn, kind: str, copy: Path) -> tuple[Path, str]:
    unit, live = few.maps / "unit.html", live_channel(few)
    return {
        "index": (few.maps / "index.html", ""),
        "layer": (few.page_of("conv1"), ""),
        "layer of odd name": (few.page_of(ODD_NAMES[0]), ""),
        "dead layer": (few.page_of(ALL_DEAD), ""),
        "unit": (unit, f"#conv1:{live}"),
        "dead unit": (unit, f"#{ALL_DEAD}:0"),
        "unknown unit": (unit, "#conv1:99999"),
        "one file": (copy, ""),
    }[kind]


def grave_faults(page: Any) -> list[Any]:
    """What axe-core calls serious or critical, twice: a page that is just being painted has other colours."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8") + "; null")
    found = [fault for fault in page.evaluate(FAULTS) if fault[0] in GRAVE]
    if not found:
        return []
    page.wait_for_timeout(500)
    return [fault for fault in page.evaluate(FAULTS) if fault[0] in GRAVE]


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize(("width", "scheme"), SIGHTS)
def test_no_page_has_a_grave_fault(seen: See, few: Drawn, copy: Path, width: int, scheme: str, kind: str) -> None:
    path, hash_ = address(few, kind, copy)
    page = seen(viewport={"width": width, "height": 900}, color_scheme=scheme).open(path, hash_)
    if kind == "index":
        until(page, "window.TREND_READY === true")
    assert grave_faults(page) == []


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize(("width", "scheme"), SIGHTS)
def test_no_page_of_a_study_has_a_grave_fault(
    seen: See, request: pytest.FixtureRequest, width: int, scheme: str, study: str
) -> None:
    path = request.getfixturevalue(study)
    one = seen(viewport={"width": width, "height": 900}, color_scheme=scheme)
    one.page.goto((path if path.is_file() else path / "index.html").as_uri())
    if path.is_dir():
        until(one.page, "window.READY === true")
    one.page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert grave_faults(one.page) == []
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_fault_would_be_found(browser: Any) -> None:
    one = Seen(browser)
    one.page.set_content("<html lang=en><title>a</title><main><img src='data:,'></main></html>")
    assert [fault[1] for fault in grave_faults(one.page)] == ["image-alt"]
    one.context.close()
