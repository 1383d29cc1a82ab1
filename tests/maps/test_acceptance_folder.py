"""The maps as a folder: moved, read-only, served, with parts lost, and one unit of it in a file of its own."""

from __future__ import annotations

import shutil
import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from maps.conftest import Drawn
from maps.seeing import NEEDS_BROWSER, Seen, until

from benchmarks.synthetic.network import ALL_DEAD, ODD_NAMES
from polyscan.maps.one_file import one_file
from polyscan.report import drawn_atlas
from polyscan.studies.showing import served, stored_job

pytestmark = [*NEEDS_BROWSER, pytest.mark.pages]
See = Callable[..., Seen]
ONE_FILE_BYTES = 200_000
N_NAMES = 60
AWKWARD = "a folder #1 at 50% größe 丹"


@pytest.fixture
def moved(few: Drawn, tmp_path: Path) -> Drawn:
    """The same maps in a folder of an awkward name."""
    shutil.copytree(few.maps, tmp_path / AWKWARD / "maps")
    return Drawn(few.plan, few.run, tmp_path / AWKWARD / "maps", few.frame)


def test_moved_and_read_only_it_works(seen: See, moved: Drawn) -> None:
    for path in (moved.maps, *moved.maps.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    one = seen()
    page = one.open(moved.maps / "index.html")
    until(page, "window.TREND_READY === true")
    page.select_option("#by", "kurtosis")
    until(page, "polyscan.network.map.column('kurtosis').cells !== undefined")
    page.locator("#layer-names a").first.click()
    page.wait_for_url("**/layer/*.html")
    until(page, "window.READY === true")
    page.evaluate("document.getElementById('unit-box').scrollIntoView()")
    until(page, "Array.from(document.querySelectorAll('.tile img')).some((image) => image.naturalWidth > 0)")
    page.locator("#unit-box tbody tr:not(.dead) a").first.click()
    page.wait_for_url("**/unit.html#*")
    until(page, "Array.from(document.querySelectorAll('.tile img')).some((image) => image.naturalWidth > 0)")
    for path in (moved.maps, *moved.maps.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_what_is_served_is_what_lies_in_the_folder_and_nothing_else(few: Drawn) -> None:
    files = sorted(str(path.relative_to(few.maps)) for path in few.maps.rglob("*") if path.is_file())
    rng = np.random.default_rng(1)
    names = {"index.html", "unit.html", *rng.choice(files, N_NAMES, replace=False).tolist()}
    with served(few.run.address, 0, {}) as front:
        root = front.removesuffix("index.html")
        for name in sorted(names):
            with urllib.request.urlopen(root + quote(name)) as answer:
                assert answer.read() == (few.maps / name).read_bytes(), name
        for name in ("none.html", "data/00/999.js", "data/0/0.js", "img/99/0.jpg", "../run.json", "%2e%2e/job.toml"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(root + name)


def test_without_its_data_each_page_says_so(browser: object, moved: Drawn) -> None:
    shutil.rmtree(moved.maps / "data")
    one = Seen(browser)  # it complains of the lost files, as it should
    page = one.open(moved.maps / "unit.html", "#conv1:0")
    assert page.locator("#fault").inner_text().startswith("data/00/0.js is missing")
    assert page.locator("#fault").is_visible()
    page = one.open(moved.maps / "index.html")
    page.select_option("#by", "kurtosis")
    until(page, "document.getElementById('shown').textContent.includes('is missing')")
    assert page.locator("#shown").is_visible()
    page = one.open(moved.page_of("conv1"))
    page.evaluate("document.getElementById('unit-box').scrollIntoView()")
    until(page, "document.querySelectorAll('.pictures.lost').length > 0")
    assert "is missing" in page.locator(".pictures.lost").first.inner_text()
    one.context.close()


@pytest.mark.parametrize("layer", ["conv1", *ODD_NAMES[:2], ALL_DEAD])
def test_a_copy_of_one_unit_opens_alone(seen: See, few: Drawn, tmp_path: Path, layer: str) -> None:
    rows = few.frame[few.frame["layer"] == layer].sort_values("is_dead", kind="stable")
    channel = int(rows["channel"].iloc[0])
    content = one_file(drawn_atlas(stored_job(few.run, {}), few.run), layer, channel)
    assert len(content) < ONE_FILE_BYTES
    (tmp_path / "copy").mkdir()
    path = tmp_path / "copy" / "unit.html"
    path.write_bytes(content)
    one = seen()
    page = one.open(path)
    assert page.locator("h1").inner_text() == f"{layer}:{channel}"
    assert {url for url in one.requests if url.startswith("file:")} == {path.as_uri()}
    if layer != ALL_DEAD:
        until(page, "Array.from(document.querySelectorAll('.tile img')).every((image) => image.naturalWidth > 0)")
        assert page.locator(".tile img").count() > 0
    shown = page.locator("#numbers dd[data-column=psi]").inner_text()
    assert (
        shown == "–"
        if layer == ALL_DEAD
        else float(shown) == pytest.approx(few.row(f"{layer}:{channel}")["psi"], rel=1e-3)
    )
