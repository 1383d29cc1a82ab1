"""show: the map and the pages say what the tables say, and claim no more; looked at in a real browser."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy
from PIL import Image

from polyscan.evidence import EvidenceReader
from polyscan.job import Job
from polyscan.maps.atlas import Atlas, LayerRow, Mean, Rate, TrendPoint, UnitCard
from polyscan.maps.numbers import number_text
from polyscan.report import draw
from polyscan.report.contents import atlas_of
from polyscan.report.rates import Bounds, bounds, layer_rates
from polyscan.report.statements import statements
from polyscan.report.trend import depth_trend
from polyscan.report.unit_map import calibrated_rows, nearest_units, unit_map
from polyscan.report.verdicts import VERDICTS, verdicts
from polyscan.results import Results
from polyscan.results.at_least import AtLeast
from polyscan.results.tiers import NO_SPLIT, PROBABLY, SUGGESTIVE, TIERS
from polyscan.run import Run
from polyscan.scores import SCORES
from polyscan.stats.significance import benjamini_yekutieli, group_benjamini_hochberg, storey_by_group
from polyscan.units import parent_and_role

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run"]  # fmt: skip
KEY = ["layer", "channel"]
WORST_LOSS = 14  # of 255, of noise of 16 px that is twice a JPEG


@pytest.fixture(scope="module")
def drawn(toy_results: Results) -> tuple[Job, pd.DataFrame, Atlas]:
    job, frame = toy.stored_job(toy_results), toy_results.map
    return job, frame, atlas_of(job, toy_results.run, frame, calibrated_rows(toy_results.run))


# ---- the map -------------------------------------------------------------------------------------------------------


def test_the_map_has_each_real_unit_once_and_no_virtual_one(toy_results: Results, wide_results: Results) -> None:
    for results in (toy_results, wide_results):
        frame, units = results.map, results.table("units")
        assert not frame["layer"].str.contains("@").any()
        assert units["layer"].str.contains("@").any()
        real = units[~units["layer"].str.contains("@")].sort_values(["depth", "channel"])
        assert frame[KEY].to_numpy().tolist() == real[KEY].to_numpy().tolist()
        assert frame["sd"].tolist() == real["sd"].tolist()


def test_the_map_holds_every_score_of_every_unit_in_its_own_space_and_the_rest_by_name(toy_results: Results) -> None:
    frame = toy_results.map.set_index(KEY)
    main = {"paint": "next", "mix": "own", "head": "penultimate"}
    compared = 0
    for row in toy_results.table("scores").itertuples():
        if "@" in row.layer:
            continue
        prefix = "" if row.evidence == "exemplars" else f"{row.evidence}_"
        if row.evidence == "exemplars" and row.space != main[row.layer]:
            prefix = "crops_"
        found = frame.get(f"{prefix}{row.score}")
        if found is None:
            assert np.isnan(row.value) or row.null == "embedding", "only what no unit has a value of has no column"
            continue
        if row.null == "embedding" and row.score in {"separation", "psi", "psi_s", "psi_q", "psi_d"}:
            continue  # these are made of residuals from a null; the map has those from the first
        assert found[row.layer, row.channel] == pytest.approx(row.value, nan_ok=True), (row.layer, row.score)
        compared += 1
    assert compared > 200
    job = toy.stored_job(toy_results)
    again = unit_map(job, toy_results.run)
    assert set(again) == set(toy_results.map)
    pd.testing.assert_frame_equal(toy_results.map, again[list(toy_results.map)], check_dtype=False)


def test_p_is_the_separations_against_the_first_null_and_q_is_over_all_live_real_units(wide_results: Results) -> None:
    frame, rows = wide_results.map.set_index(KEY), wide_results.table("scores")
    rows = rows[(rows["evidence"] == "exemplars") & (rows["score"] == "separation")]
    p = rows[(rows["null"] == "layer") & ~rows["layer"].str.contains("@")].set_index(KEY)["p"]
    assert frame["p"].dropna().to_dict() == p.to_dict()
    assert set(p.index) == set(frame.index[~frame["is_dead"]])
    # Benjamini & Hochberg, literally: q of the i-th smallest is the least p_j m / j of those behind it.
    ordered, m = sorted(p.to_numpy()), len(p)
    q = {value: min(ordered[j] * m / (j + 1) for j in range(m) if ordered[j] >= value) for value in ordered}
    assert frame["q"].dropna().to_numpy() == pytest.approx([q[value] for value in frame["p"].dropna()])
    harmonic = sum(1 / i for i in range(1, m + 1))
    assert frame["q_by"].dropna().to_numpy() == pytest.approx(np.minimum(frame["q"].dropna() * harmonic, 1))
    second = rows[(rows["null"] == "embedding") & (rows["layer"] == "head")]
    assert frame["embedding_null_p"].dropna().tolist() == second["p"].tolist()
    assert set(frame.index[frame["embedding_null_p"].notna()].get_level_values(0)) == {"head"}


def test_cluster_shares_are_those_of_the_best_clusters(toy_results: Results) -> None:
    frame, clusters = toy_results.map, toy_results.table("clusters")
    main = {"paint": "next", "mix": "own", "head": "penultimate"}
    for row in frame[~frame["is_dead"]].itertuples():
        own = clusters[
            (clusters["layer"] == row.layer)
            & (clusters["channel"] == row.channel)
            & (clusters["evidence"] == "exemplars")
            & (clusters["space"] == main[row.layer])
        ]
        assert len(own) == toy.K
        shares = own["cluster"].value_counts(normalize=True).sort_values(ascending=False)
        assert [float(share) for share in row.cluster_shares.split()] == pytest.approx(shares.tolist(), abs=0.0051)
        assert own["cluster"].nunique() == row.silhouette_k
        assert own["cluster_bic"].nunique() == row.semanticity_k


def with_fdr(results: Results, fdr: float) -> Job:
    job = toy.stored_job(results)
    return job.model_copy(update={"show": job.show.model_copy(update={"fdr": fdr})})


def test_the_number_of_clusters_is_one_unless_the_unit_is_called_several(wide_results: Results) -> None:
    frame = wide_results.map
    has_p = frame["p"].notna()
    several = frame["verdict"].str.startswith("several")
    assert (frame.loc[has_p & ~several, "n_clusters"] == 1).all()
    assert frame.loc[~has_p, "n_clusters"].isna().all()
    # With another line between one and several the same units have their silhouette's number.
    again = unit_map(with_fdr(wide_results, 0.999), wide_results.run)
    called = again["verdict"].str.startswith("several")
    assert called.sum() > several.sum()
    assert (again.loc[called, "q"] <= 0.999).all()
    assert (again.loc[called, "n_clusters"] == again.loc[called, "silhouette_k"]).all()
    assert (again.loc[called, "n_clusters"] >= 2).all()
    assert (again.loc[~called & again["p"].notna(), "n_clusters"] == 1).all()


# ---- verdicts ------------------------------------------------------------------------------------------------------

PLAIN = {
    "p": 0.4,
    "q": 0.6,
    "q_group": 0.5,
    "q_storey": 0.5,
    "dip_p": 0.5,
    "off_range": False,
    "artefact": "",
    "incoherent": False,
    "saturated": False,
    "is_dead": False,
}
SEVERAL = {"p": 0.001, "q": 0.02}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "no split shown"),
        ({"p": 0.05}, "suggestive"),
        ({"p": 0.0501}, "no split shown"),
        ({"q": 0.0501, "p": 0.001}, "suggestive"),
        ({"q_group": 0.1, "p": 0.001}, "probably several"),
        ({"q_group": 0.101, "p": 0.001}, "suggestive"),
        ({"q_group": 0.01, "p": 0.0501}, "no split shown"),  # an adaptive q may be small where no p is
        ({"q_storey": 0.001, "p": 0.001}, "suggestive"),  # another q decides
        ({**SEVERAL, "q_group": 0.01}, "several"),
        ({"q_group": 0.01, "off_range": True}, "off_range"),
        ({"q": 0.05, "p": 0.001}, "several"),
        (SEVERAL, "several"),
        ({**SEVERAL, "dip_p": 0.05}, "several, certified"),
        ({**SEVERAL, "dip_p": 0.051}, "several"),
        ({**SEVERAL, "dip_p": np.nan}, "several"),
        ({"dip_p": 0.001}, "no split shown"),  # a certificate alone calls nothing several
        ({"incoherent": True}, "incoherent"),
        ({**SEVERAL, "dip_p": 0.001, "incoherent": True}, "incoherent"),
        ({**SEVERAL, "off_range": True}, "off_range"),
        ({**SEVERAL, "artefact": "border"}, "artefact"),
        ({"p": 0.04, "q": 0.4, "artefact": "border"}, "artefact"),
        ({"p": 0.06, "q": 0.4, "artefact": "border"}, "no split shown"),
        ({**SEVERAL, "artefact": "letterbox", "off_range": True}, "off_range"),
        ({**SEVERAL, "off_range": True, "incoherent": True}, "incoherent"),
        ({**SEVERAL, "saturated": True, "off_range": True, "incoherent": True}, "saturated"),
        ({"p": np.nan, "q": np.nan}, ""),
        ({"p": np.nan, "q": np.nan, "is_dead": True, "saturated": True}, "dead"),
    ],
)
def test_each_verdict_by_hand(changes: dict[str, object], expected: str) -> None:
    frame = pd.DataFrame([PLAIN, {**PLAIN, **changes}], index=[7, 3])
    found = verdicts(frame, fdr=0.05)
    assert found.to_dict() == {7: "no split shown", 3: expected}
    assert set(found) <= set(VERDICTS)


def test_without_a_certificate_units_can_be_called_several() -> None:
    frame = pd.DataFrame([PLAIN, {**PLAIN, **SEVERAL}]).drop(columns="dip_p")
    assert verdicts(frame, fdr=0.05).tolist() == ["no split shown", "several"]


def test_the_rate_of_false_discoveries_is_the_jobs() -> None:
    frame = pd.DataFrame([{**PLAIN, "q": q} for q in (0.05, 0.1, 0.2)])
    assert verdicts(frame, fdr=0.1).tolist() == ["several", "several", "no split shown"]
    assert verdicts(frame, fdr=0.05).tolist() == ["several", "no split shown", "no split shown"]
    probable = frame.assign(p=0.05, q=0.5, q_group=[0.2, 0.3, 0.4], q_storey=[0.3, 0.2, 0.4])
    for by, expected in (("group", [PROBABLY, SUGGESTIVE, SUGGESTIVE]), ("storey", [SUGGESTIVE, PROBABLY, SUGGESTIVE])):
        assert verdicts(probable, fdr=0.05, probable_fdr=0.2, probable_by=by).tolist() == expected


def test_another_tests_columns_give_its_own_verdict() -> None:
    """Its own p, q and reasons where it has them; the map's reasons where it has none."""
    own = {"second_p": 0.001, "second_q": 0.01, "second_q_group": 0.01, "second_off_range": False}
    frame = pd.DataFrame([{**PLAIN, **own, **more} for more in (
        {}, {"off_range": True}, {"second_off_range": True}, {"saturated": True}, {"second_q": 0.06},
        {"second_p": np.nan}, {"is_dead": True},
    )])  # fmt: skip
    found = verdicts(frame, fdr=0.05, prefix="second_").tolist()
    assert found == ["several", "several", "off_range", "saturated", PROBABLY, "", "dead"]


def test_the_map_has_each_q_over_all_units_or_by_layer(wide_results: Results) -> None:
    frame = wide_results.map
    p = frame["p"].to_numpy()
    layer = frame["layer"].to_numpy()
    assert frame["q_by"].to_numpy() == pytest.approx(benjamini_yekutieli(p), nan_ok=True)
    assert frame["q_storey"].to_numpy() == pytest.approx(storey_by_group(p, layer), nan_ok=True)
    assert frame["q_group"].to_numpy() == pytest.approx(group_benjamini_hochberg(p, layer), nan_ok=True)


def test_every_verdict_has_a_meaning(toy_results: Results, wide_results: Results) -> None:
    for results in (toy_results, wide_results):
        frame = results.map
        assert set(frame["verdict"]) <= set(VERDICTS)
        assert ((frame["verdict"] == "dead") == frame["is_dead"]).all()
        assert (
            frame.loc[frame["off_range"] & ~frame["incoherent"] & ~frame["saturated"], "verdict"] == "off_range"
        ).all()


# ---- nearest units -------------------------------------------------------------------------------------------------


def test_the_nearest_unit_is_that_of_the_nearest_mean_of_exemplars(wide_results: Results) -> None:
    job, run, frame = toy.stored_job(wide_results), wide_results.run, wide_results.map
    evidence = EvidenceReader(job, run)
    n_checked = 0
    for layer, rows in frame[~frame["is_dead"]].groupby("layer"):
        name = str(layer)
        subjects = list(evidence.exemplars(name, range(10_000), evidence.main_space(name)))
        means = {}
        for subject in subjects:
            unit = [x / np.linalg.norm(x) for x in subject.sample.seen]
            mean = sum(unit) / len(unit)
            means[subject.channel] = mean / np.linalg.norm(mean)
        for _, row in rows.iterrows():
            cosines = {c: float(m @ means[row["channel"]]) for c, m in means.items() if c != row["channel"]}
            best = max(cosines.values())
            assert row["nearest_cosine"] == pytest.approx(best, abs=1e-5)
            told = str(row["nearest_unit"]).rpartition(":")
            assert told[0] == name
            assert cosines[int(told[2])] == pytest.approx(best, abs=1e-5)
            n_checked += 1
    assert n_checked > 5
    assert frame.loc[frame["is_dead"], "nearest_unit"].isna().all()


def test_a_double_is_the_nearest_and_one_alone_has_none() -> None:
    class Stored:
        def __init__(self, rows: list[tuple[str, int, list[float]]]) -> None:
            self.rows = rows

        def read(self, _: str) -> pd.DataFrame:
            return pd.DataFrame(self.rows, columns=["layer", "channel", "embedding"])

    rows = [("a", 0, [1.0, 0.0]), ("a", 3, [0.0, 1.0]), ("a", 4, [1.0, 0.0]), ("b", 0, [1.0, 0.0])]
    found = nearest_units(Stored(rows)).set_index(["layer", "channel"])  # pyright: ignore[reportArgumentType]
    assert found["nearest_unit"].to_dict() == {("a", 0): "a:4", ("a", 3): "a:0", ("a", 4): "a:0"}
    assert found["nearest_cosine"].tolist() == [1.0, 0.0, 1.0]
    assert nearest_units(Stored([])).empty  # pyright: ignore[reportArgumentType]


# ---- rates ---------------------------------------------------------------------------------------------------------


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Both roots of (share - x)^2 = z^2 x (1 - x) / n."""
    z2 = 1.959963984540054**2
    roots = np.roots([1 + z2 / n, -(2 * hits / n + z2 / n), (hits / n) ** 2])
    return float(roots.min()), float(roots.max())


def named(layer: str) -> dict[str, str]:
    parent, role = parent_and_role(layer)
    return {"layer": layer, "parent": parent, "role": role}


def calibrated(p_by_layer: dict[str, list[float]], **changes: object) -> pd.DataFrame:
    about = {"score": "separation", "prefix": "", "is_main": True, "value": 1.0}
    about |= {"is_invalid": False, "is_artefact": False}
    rows = [
        {**named(layer), "channel": channel, **about, "p": p, **changes}
        for layer, values in p_by_layer.items()
        for channel, p in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_rates_are_shares_of_p_up_to_a_twentieth() -> None:
    made = calibrated({
        "a": [0.001] * 3,
        "a@control": [0.05, 0.2, 0.3, 0.9, 0.0501, np.nan],
        "a@planted": [0.01, 0.02, 0.05, 0.5],
        "b": [0.5],
        "b@control": [0.5] * 4,
        "c@planted": [0.6, 0.01, 0.7],
    })  # fmt: skip
    beside = calibrated({"a@control": [0.001] * 50}, prefix="embedding_null_", is_main=False)
    other = calibrated({"a@control": [0.001] * 50}, score="gap")
    rates = layer_rates(pd.concat([made, beside, other]))
    assert set(rates) == {"a", "b", "c"}
    a, b, c = (rates[name] for name in "abc")
    assert (a.fpr.mean, a.n_controls) == (1 / 5, 5)
    assert (a.power.mean, a.n_planted) == (3 / 4, 4)
    assert (a.fpr.low, a.fpr.high) == pytest.approx(wilson(1, 5))
    assert (a.power.low, a.power.high) == pytest.approx(wilson(3, 4))
    assert (b.fpr.mean, b.power, b.n_planted) == (0, None, 0)
    assert b.fpr.low == 0 < b.fpr.high
    assert (c.fpr, c.power.mean) == (None, 1 / 3)
    assert (a.is_weak, b.is_weak, c.is_weak) == (False, False, True)


def test_what_has_an_artefact_is_not_called() -> None:
    made = calibrated({"a@control": [0.01, 0.5], "a@planted": [0.01, 0.02, 0.5, 0.6]})
    found = layer_rates(made.assign(is_artefact=made["p"] == 0.01))["a"]
    assert (found.fpr.mean, found.n_controls, found.power.mean, found.n_planted) == (0, 2, 1 / 4, 4)


def test_rates_on_the_page_are_those_of_the_virtual_units(wide_results: Results) -> None:
    job = toy.stored_job(wide_results)
    rows = calibrated_rows(wide_results.run)
    atlas = atlas_of(job, wide_results.run, wide_results.map, rows)
    scores = wide_results.table("scores")
    is_main = (scores["evidence"] == "exemplars") & (scores["null"] == "layer")
    scores = scores[is_main & (scores["score"] == "separation")]
    artefacts = wide_results.table("artefacts")
    artefacts = artefacts[(artefacts["evidence"] == "exemplars") & (artefacts["artefact"] != "")]
    for layer in atlas.layers:
        for role, rate in (("control", layer.fpr), ("planted", layer.power)):
            p = scores[scores["layer"] == f"{layer.name}@{role}"].set_index("channel")["p"]
            is_called = (p <= 0.05) & ~p.index.isin(artefacts[artefacts["layer"] == f"{layer.name}@{role}"]["channel"])
            assert (rate.share, rate.n) == (pytest.approx(is_called.mean()), len(p))
            assert rate.low <= rate.share <= rate.high
    assert set(layer_rates(rows)) == {"fine", "coarse", "head"}


def test_a_layers_second_row_is_of_its_deflated_evidence(wide_results: Results) -> None:
    frame, rows = wide_results.map, calibrated_rows(wide_results.run)
    atlas = atlas_of(toy.stored_job(wide_results), wide_results.run, frame, rows)
    scores = wide_results.table("scores")
    scores = scores[(scores["score"] == "separation") & (scores["evidence"] == "deflated")]
    artefacts = wide_results.table("artefacts")
    artefacts = artefacts[(artefacts["artefact"] != "") & (artefacts["evidence"] == "deflated")]
    n_judged = 0
    for layer in atlas.layers:
        assert layer.second is not None
        for role, rate in (("control", layer.second.fpr), ("planted", layer.second.power)):
            p = scores[scores["layer"] == f"{layer.name}@{role}"].set_index("channel")["p"].dropna()
            is_called = (p <= 0.05) & ~p.index.isin(artefacts[artefacts["layer"] == f"{layer.name}@{role}"]["channel"])
            assert (rate.share, rate.n) == (pytest.approx(is_called.mean()), len(p))
        judged = frame[(frame["layer"] == layer.name) & frame["second_verdict"].isin(TIERS)]
        assert (layer.second.p_05 is None) == judged.empty
        if layer.second.p_05:
            assert layer.second.p_05.n == len(judged)
            assert layer.second.p_05.share == pytest.approx((judged["second_p"] <= 0.05).mean())
            n_judged += len(judged)
    assert n_judged > 0
    assert atlas.second_verdict == frame["second_verdict"].str.replace("_", " ").tolist()
    assert set(atlas.second_verdict) <= set(atlas.second_meanings)
    assert {column.name for column in atlas.columns if column.name.startswith("second_")} == {
        "second_separation", "second_p", "second_q", "second_strength"
    }  # fmt: skip
    (claim,) = [claim for claim in atlas.claims if claim.text.startswith("Second test")]
    assert sum(claim.inputs["second_verdicts"].values()) == len(frame)


def test_the_second_test_has_a_trend_beside_its_own_controls(wide_results: Results) -> None:
    rows = calibrated_rows(wide_results.run)
    atlas = atlas_of(toy.stored_job(wide_results), wide_results.run, wide_results.map, rows)
    scores = wide_results.table("scores")
    scores = scores[(scores["score"] == "separation") & (scores["evidence"] == "deflated")]
    for column, of_score in (("second_separation", "value"), ("second_p", "p")):
        for point in (point for point in atlas.trend if point.column == column):
            values = scores.loc[scores["layer"] == f"{point.layer}@control", of_score].dropna()
            assert point.control.n == len(values)
            assert point.control.mean == pytest.approx(values.mean())
            assert point.excess.mean == pytest.approx(point.mean - values.mean())


# ---- the trend -----------------------------------------------------------------------------------------------------


def test_the_trend_is_the_layers_mean_within_its_interval(drawn: tuple[Job, pd.DataFrame, Atlas]) -> None:
    _, frame, atlas = drawn
    live = frame[~frame["is_dead"]]
    for point in atlas.trend:
        if point.column not in frame:
            continue  # a share of units
        values = live[live["layer"] == point.layer][point.column].dropna()
        assert point.n == len(values)
        if point.n:
            assert point.mean == pytest.approx(values.mean())
            assert point.low <= point.mean <= point.high
            assert point.quantiles[2] == pytest.approx(values.median())


def test_the_excess_is_real_less_controls(wide_results: Results) -> None:
    job, frame = toy.stored_job(wide_results), wide_results.map
    atlas = atlas_of(job, wide_results.run, frame, calibrated_rows(wide_results.run))
    scores = wide_results.table("scores")
    scores = scores[scores["null"].isin({"layer", ""}) & (scores["evidence"] == "exemplars")]
    compared = set()
    for point in atlas.trend:
        if point.excess is None or point.column.startswith("second_"):
            continue
        mine = scores[(scores["layer"] == f"{point.layer}@control")]
        name = {"p": "separation"}.get(point.column, point.column)
        values = mine.loc[mine["score"] == name, "p" if point.column == "p" else "value"].dropna()
        assert point.control.n == point.excess.n == len(values)
        assert point.control.mean == pytest.approx(values.mean())
        assert point.excess.mean == pytest.approx(point.mean - values.mean())
        assert point.excess.low <= point.excess.mean <= point.excess.high
        compared.add(point.column)
    assert compared >= {"gap", "p", "clarity", "separation"}
    assert "kurtosis" not in compared, "controls have no row in the map"
    again = list(depth_trend(job, frame, atlas.layers, atlas.columns, calibrated_rows(wide_results.run)))
    lows = [point.low for point in atlas.trend if point.column in frame]
    assert [point.low for point in again] == pytest.approx(lows, nan_ok=True)


# ---- what is claimed -----------------------------------------------------------------------------------------------


def layers_of(n: int, *, power: float | None = 0.9, fpr: float | None = 0.04) -> list[LayerRow]:
    rate = {name: None if share is None else Rate(share, 0, 1, 40) for name, share in (("fpr", fpr), ("power", power))}
    return [LayerRow(f"l{depth}", depth, 10, 0, "own output", "", **rate) for depth in range(n)]


def trend_of(excesses: list[float | None], column: str = "gap") -> list[TrendPoint]:
    nowhere = (0.0,) * 5
    return [
        TrendPoint(
            column, f"l{depth}", depth, 10, 0, 0, 0, nowhere, None, None if e is None else Mean(e, e - 1, e + 1, 40)
        )
        for depth, e in enumerate(excesses)
    ]


WORDS = {"certified": "several, certified", "none": NO_SPLIT, "probable": PROBABLY}


def judged(**counts: int) -> pd.DataFrame:
    names = [WORDS.get(name, name) for name, n in counts.items() for _ in range(n)]
    return pd.DataFrame({"layer": "l0", "verdict": names, "p": 0.5, "q": np.linspace(0.12, 0.9, len(names))})


def said(toy_results: Results, frame: pd.DataFrame, layers: list[LayerRow], trend: list[TrendPoint]) -> str:
    return " ".join(claim.text for claim in statements(toy.stored_job(toy_results), frame, layers, trend))


def test_units_are_counted_among_those_that_can_be_judged(toy_results: Results) -> None:
    frame = judged(none=40, suggestive=12, probable=8, several=30, certified=10, incoherent=7, off_range=5, saturated=3)
    text = said(toy_results, pd.concat([frame, judged(dead=2)]), layers_of(2), [])
    assert "Of 100 judged units, 40 (40.0%) are called several at a false discovery rate of 5% (10 of them" in text
    assert "; 8 more are probably several, at 10% if the estimate holds" in text
    assert "; 12 more are suggestive (p <= .05), and 40 show no split" in text
    assert "; units that can't be judged: 7 incoherent, 5 off range, 3 saturated." in text
    nobody = said(toy_results, judged(none=5), layers_of(2), [])
    assert "Of 5 judged units, 0 (0.0%) are called several" in nobody
    assert "at a false discovery rate of 5% (the smallest q is 0.12);" in nobody
    assert "can't be judged" not in nobody
    assert "No unit can be judged (4 incoherent)." in said(toy_results, judged(incoherent=4), layers_of(2), [])


def test_the_proof_is_the_layers_mean(toy_results: Results) -> None:
    layers = [*layers_of(3, power=0.9, fpr=0.05), *layers_of(1, power=0.3, fpr=0.01)]
    text = said(toy_results, judged(none=5), layers, [])
    assert "At p <= .05, 4.0% of single-concept controls are called several" in text
    assert "75% of planted pairs" in text
    assert "; 1 of 4 layers find fewer than half of them and are greyed out." in text
    assert "planted" not in said(toy_results, judged(none=5), layers_of(3, power=None), [])
    assert "controls are called" not in said(toy_results, judged(none=5), layers_of(3, fpr=None), [])


def test_what_channels_have_more_than_random_directions_is_said_with_its_sign(toy_results: Results) -> None:
    def about(share: float) -> str:
        frame = pd.DataFrame({"layer": "l0", "verdict": NO_SPLIT, "p": [0.01] * 90 + [0.5] * 210, "q": 0.5})
        (layer,) = layers_of(1)
        return said(toy_results, frame, [replace(layer, random=Rate(share, 0.0, 1.0, 40))], [])

    beside = "30.0% have p <= .05, against {} of random directions of the same layers: {} (95 % interval"
    assert "Channels split more often than random directions: " + beside.format("5.0%", "+25.0%") in about(0.05)
    assert "Channels split less often than random directions: " + beside.format("80.0%", "-50.0%") in about(0.8)
    assert "not shown to differ from random directions: " + beside.format("25.0%", "+5.0%") in about(0.25)
    assert "random directions of the same" not in said(toy_results, judged(none=5), layers_of(2), [])


def test_each_bound_stands_beside_those_of_virtual_units(toy_results: Results) -> None:
    found = Bounds(AtLeast(40, 100, 9), AtLeast(0, 20, 0), AtLeast(6, 20, 1))
    claims = list(statements(toy.stored_job(toy_results), judged(none=5), layers_of(2), [], found))
    (claim,) = [claim for claim in claims if claim.text.startswith("At least")]
    assert claim.text.startswith("At least 40 of these 100 units (40%) are several (95 %)")
    assert "6 of 20 random directions (30%), 0 of 20 single-concept controls (0%)." in claim.text
    assert claim.inputs["units"] == {"n": 40, "of": 100, "by_closed_testing": 9}
    assert "At least" not in said(toy_results, judged(none=5), layers_of(2), [])


def test_bounds_are_of_valid_virtual_units_of_the_judged_layers() -> None:
    """Strong controls in a layer without judged units, and those that are off range, do not count."""
    p = (1 + np.arange(200)) / 201
    small = np.full(200, 1 / 201)
    units = pd.DataFrame({"layer": "a", "p_exact": small, "n_exact": 200})
    parts = {"a@random": (small, False), "a@control": (p, False), "b@random": (small, False), "a@off": (small, True)}
    rows = pd.concat([
        calibrated({layer.replace("off", "random"): values.tolist()}, is_invalid=off).assign(n_exact=200)
        for layer, (values, off) in parts.items()
    ])  # fmt: skip
    found = bounds(units, rows.assign(p_exact=rows["p"]))
    assert found.units.of == found.random.of == found.controls.of == 200
    assert found.units.n == found.random.n > 180
    assert found.controls.n == 0
    assert bounds(units.drop(columns="p_exact"), rows) == Bounds(None, None, None)


def test_rates_of_random_directions_leave_out_what_cannot_be_judged() -> None:
    valid = calibrated({"a@random": [0.01, 0.5], "a@control": [0.5]})
    invalid = calibrated({"a@random": [0.01] * 9, "a@control": [0.01]}, is_invalid=True)
    rates = layer_rates(pd.concat([valid, invalid]))["a"]
    assert (rates.random.mean, rates.n_random) == (0.5, 2)
    assert (rates.fpr.mean, rates.n_controls) == (0.5, 2)


def test_the_excess_weighs_layers_by_their_judged_units(toy_results: Results) -> None:
    frame = pd.DataFrame(
        {
            "layer": ["l0"] * 300 + ["l1"] * 110,
            "verdict": [NO_SPLIT] * 270 + ["several"] * 30 + [PROBABLY] * 100 + ["incoherent"] * 10,
            "p": [0.06] * 240 + [0.05] * 30 + [0.001] * 30 + [0.5] * 100 + [0.001] * 10,
            "q": 0.04,
        }
    )
    layers = [*layers_of(1, fpr=0.08), *layers_of(2, fpr=0.04)[1:]]
    text = said(toy_results, frame, layers, [])
    assert "15.0% of judged units have p <= .05, against 7.0% of single-concept controls" in text
    assert "in the same layers: an excess of 8.0%" in text
    low, high = (float(words.split("%")[0]) / 100 for words in text.partition("interval ")[2].split(" to ")[:2])
    # Each layer's counts are binomial: 300 units and 100 units, 40 controls each.
    variance = (0.75**2) * (0.2 * 0.8 / 300 + 0.08 * 0.92 / 40) + 0.25**2 * (0.04 * 0.96 / 40)
    assert (low, high) == pytest.approx((0.08 - 1.96 * variance**0.5, 0.08 + 1.96 * variance**0.5), abs=0.02)
    assert "excess" not in said(toy_results, frame, layers_of(2, fpr=None), [])


def test_a_trend_is_claimed_only_where_enough_layers_support_it(toy_results: Results) -> None:
    def about(excesses: list[float | None], layers: list[LayerRow]) -> str:
        return said(toy_results, judged(none=5), layers, trend_of(excesses))

    rising = [0.1 * depth for depth in range(8)]
    assert "Units' gap minus that of their layer's controls rises with depth (Spearman's rho 1.00" in about(
        rising, layers_of(8)
    )
    assert "falls with depth (Spearman's rho -1.00" in about(rising[::-1], layers_of(8))
    assert "No depth trend is claimed: 7 layers have controls and a power of at least 0.5, 8 are needed." in about(
        rising[:7], layers_of(7)
    )
    assert "No depth trend is claimed: 3 layers" in about([*rising[:3], None, None, None], layers_of(6))
    weak = [*layers_of(3), *layers_of(8, power=0.49)[3:]]
    assert "No depth trend is claimed: 3 layers" in about(rising, weak)
    assert "No depth trend is claimed: 0 layers" in about(rising, layers_of(8, power=None)), "power that is not known"
    flat = about([0.1, 0.0, 0.2, -0.1, 0.15, 0.05, 0.1, 0.02], layers_of(8))
    assert "No depth trend is claimed: units' gap minus that of their layer's controls does not follow depth" in flat
    assert "does not follow depth (Spearman's rho nan" in about([0.1] * 8, layers_of(8))
    assert "with depth" not in said(toy_results, judged(none=5), layers_of(8), trend_of(rising, column="clarity"))


def test_without_a_null_nothing_is_claimed(toy_results: Results) -> None:
    for frame in (judged(none=5).drop(columns="p"), judged(none=5).assign(p=np.nan)):
        text = said(toy_results, frame, layers_of(8), trend_of([0.1 * depth for depth in range(8)]))
        assert text == "No unit is judged, and no depth trend is claimed: this run has no null, or too few null sets."


def test_visualizations_are_counted(toy_results: Results) -> None:
    frame = judged(none=5).assign(visualization_beats_data=[1.0, 1.0, 0.0, np.nan, 1.0])
    text = said(toy_results, frame, layers_of(1), [])
    assert "For 3 of 4 visualized units (75%), visualization finds an image" in text
    assert "visualization" not in said(toy_results, judged(none=5), layers_of(1), [])


def test_the_page_says_what_is_wanting(drawn: tuple[Job, pd.DataFrame, Atlas]) -> None:
    _, frame, atlas = drawn
    notes = " ".join(atlas.notes)
    assert "Each unit has only 8 exemplars; with fewer than 20, hardly any unit can be called several." in notes
    assert "null sets reach down only to the top 1 x 8 of them" in notes
    assert "It does not prove that the unit answers to only one thing." in notes
    assert "No depth trend is claimed: " in atlas.statement
    visualized = frame["visualization_beats_data"].dropna()
    assert f"{int(visualized.sum())} of {len(visualized)} visualized units" in atlas.statement
    assert {column.name for column in atlas.columns} <= set(frame)
    assert all(frame[column.name].notna().any() for column in atlas.columns)
    assert dict(atlas.facts)["dead"] == str(int(frame["is_dead"].sum()))
    spaces = {layer.name: layer.space for layer in atlas.layers}
    assert spaces == {"paint": "features of mix", "mix": "its own features", "head": "embedded images"}


def cards_of(atlas: Atlas) -> list[UnitCard]:
    return [card for layer in atlas.layers for card in atlas.gallery.cards(layer.name)]


def test_every_unit_has_a_card_and_every_live_one_pictures(drawn: tuple[Job, pd.DataFrame, Atlas]) -> None:
    _, frame, atlas = drawn
    cards = cards_of(atlas)
    assert [(card.layer, card.channel) for card in cards] == list(frame[KEY].itertuples(index=False, name=None))
    for card, is_dead in zip(cards, frame["is_dead"], strict=True):
        sprite = atlas.gallery.sprite(card.layer, card.channel)
        assert (sprite is None) == (card.sprite is None) == is_dead
        if is_dead:
            assert card.missing == ("A dead unit: it does not respond, so nothing was scored.",)
            continue
        assert sprite is not None
        width, height = Image.open(io.BytesIO(sprite)).size
        assert (width, height) == card.sprite
        tiles = [tile for panel in card.panels for cluster in panel.clusters for tile in cluster.tiles]
        boxes = [(tile.left, tile.top, tile.left + tile.width, tile.top + tile.height) for tile in tiles]
        assert len(set(boxes)) == len(boxes) > 0
        assert all(0 <= left < right <= width and 0 <= top < bottom <= height for left, top, right, bottom in boxes)


def test_cards_show_the_best_split_of_every_unit(drawn: tuple[Job, pd.DataFrame, Atlas]) -> None:
    """Whatever the verdict; the map's number of clusters stays gated. The plane has the panel's clusters, in order."""
    _, frame, atlas = drawn
    n_clusters, best = (frame.set_index(KEY)[name] for name in ("n_clusters", "silhouette_k"))
    assert (n_clusters < best).any()
    for card in cards_of(atlas):
        if not card.panels:
            continue
        (panel,) = [panel for panel in card.panels if panel.evidence == "exemplars"]
        if np.isfinite(n_clusters[card.layer, card.channel]):
            assert len(panel.clusters) == best[card.layer, card.channel]
        sizes = [cluster.size for cluster in panel.clusters]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(sizes) == panel.size == toy.K
        assert card.plane is not None
        assert np.bincount(card.plane.cluster).tolist() == sizes
        assert np.abs(np.concatenate([card.plane.x, card.plane.y])).max() <= 1


def test_a_tile_tells_its_own_exemplars_activation_and_image(
    drawn: tuple[Job, pd.DataFrame, Atlas], toy_results: Results
) -> None:
    """And the picture in the sprite is that exemplar's thumbnail."""
    _, _, atlas = drawn
    tiles, exemplars = toy_results.table("tiles"), toy_results.table("exemplars")
    images = toy_results.table("images").set_index("image")
    thumbnails = toy_results.table("thumbnails").set_index("item")["image"]
    seen = 0
    for card in cards_of(atlas):
        panel = next((panel for panel in card.panels if panel.evidence == "exemplars"), None)
        if panel is None:
            continue
        its = exemplars[(exemplars["layer"] == card.layer) & (exemplars["channel"] == card.channel)].set_index("rank")
        mine = tiles[(tiles["layer"] == card.layer) & (tiles["channel"] == card.channel)]
        mine = mine[mine["evidence"] == "exemplars"].set_index(["left", "top"])["item"]
        sheet = atlas.gallery.sprite(card.layer, card.channel)
        assert sheet is not None
        pixels = np.asarray(Image.open(io.BytesIO(sheet)).convert("RGB")).astype(int)
        for cluster in panel.clusters:
            for tile in cluster.tiles:
                row = its.loc[mine[tile.left, tile.top]]
                assert tile.caption == number_text(float(row["activation"]))
                assert tile.title.startswith(str(images.loc[row["image"], "path"]))
                whole = np.asarray(Image.open(io.BytesIO(thumbnails[row["crop"]])).convert("RGB")).astype(int)
                part = pixels[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
                assert part.shape == whole.shape
                assert np.abs(part - whole).mean() < WORST_LOSS
                seen += 1
    assert seen > 50


def test_a_units_place_on_its_null_is_the_tables(drawn: tuple[Job, pd.DataFrame, Atlas], toy_results: Results) -> None:
    rows = toy_results.table("scores")
    rows = rows[(rows["score"] == "gap") & (rows["null"] == "layer") & (rows["evidence"] == "exemplars")]
    rows = rows.set_index(KEY)
    _, _, atlas = drawn
    placed = [card for card in cards_of(atlas) if card.null is not None]
    assert placed
    for card in placed:
        assert card.null is not None
        row = rows.loc[(card.layer, card.channel)]
        assert card.null.z == pytest.approx((row["value"] - row["null_mean"]) / row["null_sd"])
        null = atlas.gallery.null(card.layer)
        assert null is not None
        nulls = toy_results.run.read("nulls", where={"layer": card.layer})
        nulls = nulls[(nulls["evidence"] == "exemplars") & (nulls["null"] == "layer") & (nulls["score"] == "gap")]
        assert sum(null.counts) == nulls["value"].notna().sum()


def test_nearest_units_are_the_maps(drawn: tuple[Job, pd.DataFrame, Atlas]) -> None:
    _, frame, atlas = drawn
    nearest = frame.set_index(KEY)[["nearest_unit", "nearest_cosine"]]
    checked = 0
    for card in cards_of(atlas):
        if card.nearest:
            layer, channel, cosine = card.nearest[0]
            row = nearest.loc[(card.layer, card.channel)]
            assert (f"{layer}:{channel}", cosine) == (row["nearest_unit"], pytest.approx(row["nearest_cosine"]))
            assert [c for *_, c in card.nearest] == sorted((c for *_, c in card.nearest), reverse=True)
            assert (card.layer, card.channel) not in {(layer, channel) for layer, channel, _ in card.nearest}
            checked += 1
    assert checked > 5


def test_only_so_many_units_have_pictures_where_so_many_are_wanted(toy_results: Results) -> None:
    job = toy.stored_job(toy_results)
    for most in (0, 2):
        few = job.model_copy(update={"show": job.show.model_copy(update={"pictures_per_layer": most})})
        atlas = atlas_of(few, toy_results.run, toy_results.map, calibrated_rows(toy_results.run))
        for layer in atlas.layers:
            pictured = [card for card in atlas.gallery.cards(layer.name) if card.sprite is not None]
            assert len(pictured) <= most


def test_what_an_older_drawing_left_is_gone(toy_results: Results, tmp_path: Path) -> None:
    """But for what others put there."""
    shutil.copytree(toy_results.run.address, tmp_path / "run")
    maps = tmp_path / "run" / "maps"
    for name in ("data/77/0.js", "img/00/12345.jpg", "layer/99-old.html"):
        (maps / name).parent.mkdir(parents=True, exist_ok=True)
        (maps / name).write_text("old")
    (maps / "validation.html").write_text("of another study")
    run = Run(str(tmp_path / "run"))
    draw(toy.stored_job(toy_results), run)
    left = {str(path.relative_to(maps)) for path in maps.rglob("*") if path.is_file() and path.stat().st_size < 20}
    assert left == {"validation.html"}


def test_the_shares_of_small_q_are_counts(drawn: tuple[Job, pd.DataFrame, Atlas]) -> None:
    _, frame, atlas = drawn
    points = {point.layer: point for point in atlas.trend if point.column == "share_q_05"}
    for layer, q in frame.groupby("layer")["q"]:
        known = q.dropna()
        if len(known):
            assert points[layer].mean == pytest.approx((known < 0.05).mean())
            assert points[layer].n == len(known)
            assert points[layer].low <= points[layer].mean <= points[layer].high
    assert [column.name for column in atlas.shares] == ["share_q_05"]


def test_every_score_of_the_registry_can_colour_the_map(wide_results: Results) -> None:
    atlas = atlas_of(
        toy.stored_job(wide_results),
        wide_results.run,
        wide_results.map,
        calibrated_rows(wide_results.run),
    )
    columns = {column.name: column for column in atlas.columns}
    assert set(columns) >= set(SCORES) - {"distinctness_words"}
    assert all(column.label and column.help for column in columns.values())
    assert {name for name, column in columns.items() if column.kind == "p"} >= {"p", "q", "dip_p", "psi_p"}


@pytest.mark.browser
def test_a_real_browser_shows_the_pages_without_an_error_or_a_request(toy_results: Results) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("there is no chromium on this machine")
    folder = Path(toy_results.run.address) / "maps"
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
