"""show: the map and the pages say what the tables say; looked at in a real browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy

import polyscan
from polyscan.run import Results
from polyscan.stages.show.contents import atlas_of, statement
from polyscan.stages.show.unit_map import unit_map

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run"]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("show")
    return polyscan.scan(toy.job(folder / "images"), str(folder / "run"))


def test_the_map_holds_every_score_of_every_unit(results: Results) -> None:
    frame = results.map
    rows = results.table("scores")
    for row in rows.itertuples():
        column = row.score if row.evidence == "exemplars" else f"{row.evidence}_{row.score}"
        found = frame[(frame["layer"] == row.layer) & (frame["channel"] == row.channel)][column].iloc[0]
        assert found == row.value or (np.isnan(found) and np.isnan(row.value))
    pd.testing.assert_frame_equal(frame, unit_map(results.run)[list(frame)], check_dtype=False)


def test_cluster_shares_are_those_of_the_clusters(results: Results) -> None:
    frame, clusters = results.map, results.table("clusters")
    for row in frame[~frame["is_dead"]].itertuples():
        own = clusters[
            (clusters["layer"] == row.layer)
            & (clusters["channel"] == row.channel)
            & (clusters["evidence"] == "exemplars")
        ]
        shares = own["cluster"].value_counts(normalize=True).sort_values(ascending=False)
        assert [float(share) for share in row.cluster_shares.split()] == pytest.approx(shares.tolist(), abs=0.0051)
        assert row.n_clusters == own["cluster"].nunique() == row.semanticity_k


def test_the_trend_is_the_layers_mean_within_its_interval(results: Results) -> None:
    frame = results.map
    atlas = atlas_of(toy.job(Path(results.run.manifest()["images"]["source"])), results.run, frame)
    live = frame[~frame["is_dead"]]
    for point in atlas.trend:
        values = live[live["layer"] == point.layer][point.column].dropna()
        assert point.n == len(values)
        if point.n:
            assert point.mean == pytest.approx(values.mean())
            assert point.low <= point.mean <= point.high
            assert point.quantiles[2] == pytest.approx(values.median())


def test_the_statement_counts_and_claims_no_trend(results: Results) -> None:
    frame = results.map
    checked = frame["visualization_beats_data"].dropna()
    said = statement(frame)
    assert f"{int(checked.sum())} of {len(checked)} visualized units" in said
    assert "No depth trend is claimed" in said
    assert "Visualization" not in statement(frame.drop(columns="visualization_beats_data"))


@pytest.mark.browser
def test_a_real_browser_shows_the_pages_without_an_error_or_a_request(results: Results) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("there is no chromium on this machine")
    folder = Path(results.run.address) / "maps"
    heard: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        page = browser.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: request.url.startswith("file:") or heard.append(request.url))
        page.goto((folder / "index.html").as_uri())
        page.wait_for_timeout(1000)
        assert page.evaluate("window.READY === true")
        assert "of 12 units shown" in page.locator("#shown").inner_text()
        for layer in sorted((folder / "layer").glob("*.html")):
            page.goto(layer.as_uri())
            page.wait_for_timeout(300)
            pictures = page.evaluate(
                "Array.from(document.images).filter(i => i.complete && i.naturalWidth === 0).length"
            )
            assert pictures == 0, f"{layer.name} has pictures that are not there"
        browser.close()
    assert heard == []
