"""swap: chosen units, donors, and the tables of a whole run, against plain computations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import toy

import polyscan
from polyscan.evidence import EvidenceReader
from polyscan.inputs import open_network
from polyscan.report.gallery import RunGallery
from polyscan.report.swap_panel import WORDS
from polyscan.report.unit_map import calibrated_rows
from polyscan.results import Results
from polyscan.shards import Shard
from polyscan.stages import swap
from polyscan.stages.swap.chosen import chosen_units
from polyscan.stages.swap.donors import DonorFinder
from polyscan.stages.swap.effects import ALIGNED, CONDITIONS, CONTROLS, cluster_effect
from polyscan.stages.swap.trial import middle_images
from polyscan.stats.significance import benjamini_hochberg, mean_interval, sign_flip_p, signs
from polyscan.studies.plan import plan

KEY = ["layer", "channel", "evidence", "cluster"]
SWAPS = {
    "swap__enabled": True,
    "swap__units": "all",
    "swap__recipients": 12,
    "swap__donors": 6,
    "swap__draws": 199,
    "swap__virtual_units": 4,
}


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A run of the wide toy with swaps."""
    folder = tmp_path_factory.mktemp("swaps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        return polyscan.scan(toy.wide_job(folder / "images", **SWAPS), str(folder / "run"))


def keys(rows: pd.DataFrame, names: list[str]) -> set[tuple[object, ...]]:
    return set(map(tuple, rows[names].to_numpy()))


def test_every_cluster_of_every_chosen_unit_has_a_row(swapped: Results) -> None:
    causes, clusters, units = (swapped.table(name) for name in ("causes", "clusters", "units"))
    real = causes[causes["role"] == "unit"]
    live = units[(units["role"] == "unit") & ~units["is_dead"]]
    assert keys(real, KEY[:2]) == keys(live, KEY[:2])
    shown = clusters[clusters["is_main"] & (clusters["role"] == "unit")]
    assert keys(shown, KEY) == keys(real[real["evidence"] == "exemplars"], KEY)
    virtual = causes[causes["role"] != "unit"]
    assert set(virtual["role"]) == {"control", "planted", "random"}
    assert (virtual.groupby("layer")["channel"].nunique() == 4).all()
    assert not causes.duplicated(KEY).any()


def test_tables_agree_with_each_other(swapped: Results) -> None:
    causes, swaps = swapped.table("causes"), swapped.table("swaps")
    assert set(causes["absent"]) <= {"", "no donors"}
    tested = causes[causes["absent"] == ""]
    assert len(swaps) == len(CONDITIONS) * len(tested)
    by_cluster = dict(list(swaps.groupby(KEY)))
    for row in tested.itertuples():
        lines = by_cluster[row.layer, row.channel, row.evidence, row.cluster].set_index("condition")
        assert set(lines.index) == set(CONDITIONS)
        assert math.isnan(lines.loc[ALIGNED, "p"])
        # `head` has one position, which sees a patch wherever it lies.
        assert math.isnan(lines.loc["elsewhere", "p"]) == (row.parent == "head")
        assert row.p == lines["p"].max()
        counted = [name for name in CONTROLS if not math.isnan(lines.loc[name, "p"])]
        # Means over donors weigh a donor alike, whatever its number of recipients, so only the order is compared.
        assert (lines["low"] <= lines["effect"])[lines["low"].notna()].all()
        assert len(counted) >= 3
        assert row.before[:2] == row.after[:2] == b"\xff\xd8"
        assert row.before != row.after
    assert (tested["patch_y"] == tested["parent"].map({"fine": 3, "coarse": 5, "head": 8})).all()


def test_q_and_shares_are_those_of_a_plain_computation(swapped: Results) -> None:
    causes = swapped.causes
    for _, of_role in swapped.table("causes").groupby("role"):
        q = benjamini_hochberg(of_role["p"].to_numpy())
        assert np.array_equal(q, causes.loc[of_role.index, "q"], equal_nan=True)
    assert ((causes["q"] <= 0.05) == causes["is_causal"]).all()
    frame = swapped.map.set_index(["layer", "channel"])
    for evidence, column in (("exemplars", "causal_share"), ("deflated", "second_causal_share")):
        rows = causes[(causes["role"] == "unit") & (causes["evidence"] == evidence) & causes["p"].notna()]
        shares = {unit: of_unit["is_causal"].mean() for unit, of_unit in rows.groupby(["layer", "channel"])}
        found = frame[column].dropna().to_dict()
        assert found == pytest.approx(shares)


@pytest.mark.parametrize("layer", ["fine", "coarse", "head", "coarse@planted"])
def test_donors_are_strong_images_outside_the_evidence_at_their_nearest_cluster(swapped: Results, layer: str) -> None:
    job = toy.stored_job(swapped)
    worker = swap.Worker(job, swapped.run)
    about = worker.order.layer(layer)
    channels, wanted = range(about.n_units), worker.chosen[layer]
    rows = worker.donors.candidates(about, channels, wanted)
    rows = worker.donors.assigned(about, wanted, rows, worker._views(rows["image"]))
    exemplars, candidates = swapped.table("exemplars"), swapped.table("candidates")
    reader = EvidenceReader(job, swapped.run)
    clusters = swapped.table("clusters")
    space = reader.main_space(layer)
    n_compared = 0
    for subject in reader.exemplars(layer, channels, space):
        if subject.channel not in wanted:
            continue
        of_unit = rows[(rows["channel"] == subject.channel) & (rows["evidence"] == "exemplars")]
        own = exemplars[(exemplars["layer"] == layer) & (exemplars["channel"] == subject.channel)]
        known = candidates[(candidates["layer"] == layer) & (candidates["channel"] == subject.channel)]
        known = known.sort_values(["activation", "image"], ascending=[False, True])["image"].tolist()
        left = [image for image in known if image not in set(own["image"])]
        assert of_unit["image"].tolist() == left[: len(of_unit)]
        assert len(of_unit) == len(left)
        labels = clusters[(clusters["layer"] == layer) & (clusters["channel"] == subject.channel)]
        labels = labels[labels["is_main"]].sort_values("item")["cluster"].to_numpy()
        seen = subject.sample.seen / np.linalg.norm(subject.sample.seen, axis=1, keepdims=True)
        centres = [seen[labels == label].mean(axis=0) for label in range(labels.max() + 1)]
        vectors = worker.donors._seen(subject, worker.donors._vectors(about, of_unit, worker._views(of_unit["image"])))
        cosines = [[v @ c / np.linalg.norm(c) for c in centres] for v in vectors]
        assert of_unit["cluster"].tolist() == np.argmax(cosines, axis=1).tolist()
        n_compared += len(of_unit)
    assert n_compared > 20


def test_vectors_of_donors_are_those_that_exemplars_have(swapped: Results) -> None:
    job = toy.stored_job(swapped)
    finder = DonorFinder(job, swapped.run, open_network(job), EvidenceReader(job, swapped.run))
    worker = swap.Worker(job, swapped.run)
    for name in ("fine", "coarse", "head"):
        about = worker.order.layer(name)
        rows = swapped.table("exemplars")
        rows = rows[(rows["layer"] == name) & (rows["channel"] == 2)].reset_index(drop=True)
        (subject,) = finder.evidence.exemplars(name, range(2, 3), finder.evidence.main_space(name))
        vectors = finder._vectors(about, rows, worker._views(rows["image"]))
        assert np.allclose(vectors, subject.sample.embeddings, atol=1e-5)


def test_shards_of_any_size_give_the_same_rows(swapped: Results) -> None:
    job = toy.stored_job(swapped)
    worker = swap.Worker(job, swapped.run)
    order = worker.order
    tables = {name: swapped.table(name) for name in ("swaps", "causes")}
    for start, stop in ((0, 1), (3, 7)):
        made = worker(Shard("swap", 0, 1, start, stop))
        layer, channels = order.within_layer(start, stop)
        for name, rows in tables.items():
            wanted = rows[(rows["layer"] == layer.name) & rows["channel"].isin(channels)].reset_index(drop=True)
            found = pd.DataFrame({column: list(made[name][column]) for column in wanted})
            pd.testing.assert_frame_equal(found.astype(wanted.dtypes), wanted)


def test_only_called_units_are_swapped_by_default(swapped: Results) -> None:
    job = toy.stored_job(swapped)
    job = job.model_copy(update={"swap": job.swap.model_copy(update={"units": "called", "level": 0.2})})
    chosen = chosen_units(job, swapped.run)
    frame = swapped.map
    called = {
        (row.layer, row.channel): tuple(
            kind for kind, p in (("exemplars", row.p), ("deflated", row.second_p)) if p <= 0.2
        )
        for row in frame.itertuples()
        if (row.p <= 0.2 or row.second_p <= 0.2) and not row.is_dead
    }
    real = {
        (layer, c): kinds
        for layer, units in chosen.items()
        for c, kinds in units.items()
        if layer in ("fine", "coarse", "head")
    }
    assert real == called
    assert 0 < len(real) < len(frame)


# ---- parts -----------------------------------------------------------------------------------------------------------


def test_effects_are_those_of_a_literal_computation() -> None:
    generator = np.random.default_rng(0)
    before = generator.normal(size=10)
    values = {name: before + generator.normal(1.0 if name == ALIGNED else 0.2, 1, 10) for name in CONDITIONS}
    donors = np.arange(10) % 4
    effect = cluster_effect(values, before, donors, sd=2.0, draws=99, generator=np.random.default_rng(1))
    changes = {name: (values[name] - before) / 2 for name in CONDITIONS}
    by_donor = {name: np.array([change[donors == d].mean() for d in range(4)]) for name, change in changes.items()}
    flips = signs(4, draws=99, generator=np.random.default_rng(1))
    assert len(flips) == 16
    for name in CONTROLS:
        assert effect.p[name] == sign_flip_p((by_donor[ALIGNED] - by_donor[name])[None], flips)[0]
    assert effect.largest_p == max(effect.p.values())
    assert effect.changes[ALIGNED] == pytest.approx(mean_interval(by_donor[ALIGNED]))
    assert effect.changes["random"] == pytest.approx(mean_interval(changes["random"]))
    strongest = max(CONTROLS, key=lambda name: effect.changes[name].mean)
    assert effect.margin == pytest.approx(mean_interval(by_donor[ALIGNED] - by_donor[strongest]))


def test_a_control_that_says_nothing_does_not_count() -> None:
    before, values = np.zeros(8), {name: np.zeros(8) for name in CONDITIONS}
    values[ALIGNED], values["elsewhere"] = np.ones(8), np.ones(8)
    shown = cluster_effect(values, before, np.arange(8), sd=1.0, draws=999, generator=np.random.default_rng(0))
    assert shown.largest_p == 1
    counted = [name for name in CONTROLS if name != "elsewhere"]
    shown = cluster_effect(
        values, before, np.arange(8), sd=1.0, draws=999, generator=np.random.default_rng(0), counted=counted
    )
    assert (shown.largest_p, shown.margin.mean) == (2**-8, 1.0)


def test_one_donor_shows_nothing() -> None:
    values = {name: np.full(6, 5.0 if name == ALIGNED else 0.0) for name in CONDITIONS}
    effect = cluster_effect(
        values, np.zeros(6), np.zeros(6, np.int64), sd=1.0, draws=999, generator=np.random.default_rng(0)
    )
    assert (effect.largest_p, effect.n_donors) == (0.5, 1)
    assert math.isnan(effect.changes[ALIGNED].low)


def test_recipients_come_from_the_middle_and_are_free() -> None:
    peaks, generator = np.arange(100.0), np.random.default_rng(0)
    is_free = np.arange(100) % 2 == 0
    drawn = middle_images(peaks, is_free, 10, generator)
    assert len(set(drawn.tolist())) == 10
    assert ((drawn % 2 == 0) & (drawn >= 25) & (drawn <= 74)).all()
    assert len(middle_images(peaks, is_free, 99, generator)) == 25
    assert len(middle_images(peaks, np.zeros(100, dtype=bool), 10, generator)) == 0
    assert len(middle_images(np.zeros(100), is_free, 10, generator)) == 10  # a unit that is silent on most images


# ---- what may be missing ---------------------------------------------------------------------------------------------


def small_run(tmp_path_factory: pytest.TempPathFactory, **changes: object) -> Results:
    """A run of the small toy, whose null has no power, with swaps of all units."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        job = toy.job(folder / "images", visualize__enabled=False, **{**SWAPS, **changes})
        return polyscan.scan(job, str(folder / "run"))


def test_red_and_blue_drive_the_unit_that_sees_both(tmp_path_factory: pytest.TempPathFactory) -> None:
    results = small_run(tmp_path_factory, swap__recipients=16, swap__donors=16)
    rows = results.table("causes")
    paint = rows[(rows["layer"] == "paint") & (rows["evidence"] == "exemplars")]
    assert toy.DEAD not in set(paint["channel"])
    swaps = results.table("swaps")
    effects = swaps[swaps["layer"] == "paint"].pivot_table(
        index=["channel", "cluster"], columns="condition", values="effect"
    )
    for channel in (toy.RED, toy.RED_OR_BLUE, toy.GREEN):
        of_unit = effects.loc[channel]
        assert (of_unit[ALIGNED] > of_unit["random"] + 0.5).all()
        assert (of_unit[["elsewhere", "ablated_elsewhere"]].abs() < 1e-5).all(axis=None)
    both = paint[paint["channel"] == toy.RED_OR_BLUE]
    assert (both["p"] <= 0.05).all()
    assert len(both) >= 2


def test_without_held_out_images_the_rows_say_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    # All images in one range: `collect` keeps no more than the exemplars.
    results = small_run(tmp_path_factory, collect__images_per_shard=toy.N_IMAGES)
    causes = results.table("causes")
    assert len(causes) > 5
    assert set(causes["absent"]) == {"no donors"}
    assert causes["p"].isna().all()
    assert len(results.table("swaps")) == 0
    assert results.causes["q"].isna().all()
    assert "causal_share" not in results.map


def test_without_images_in_the_middle_the_rows_say_so(swapped: Results) -> None:
    worker = swap.Worker(toy.stored_job(swapped), swapped.run)
    candidates = swapped.table("candidates")
    first = candidates[(candidates["layer"] == "fine") & (candidates["channel"] == 0)]["image"].to_numpy()
    worker.__dict__["_pool"] = np.unique(first)  # a sample that holds none but the unit's own images
    made = worker(Shard("swap", 0, 1, 0, 1))
    assert set(made["causes"]["absent"]) == {"no recipients"}
    assert made["causes"]["n_recipients"] == [0] * len(made["causes"]["absent"])
    assert len(made["swaps"]["effect"]) == 0


def test_nothing_is_swapped_by_default(toy_results: Results) -> None:
    job = toy.stored_job(toy_results)
    assert swap.shards(job, toy_results.run) == []
    assert "causal_share" not in toy_results.map
    with pytest.raises(polyscan.errors.TableError, match=r"swap\.enabled=true"):
        _ = toy_results.causes


def test_a_run_without_called_units_warns(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    results = small_run(tmp_path_factory, swap__units="called", survey__readouts=0)
    assert "no unit has p <= 0.05" in caplog.text
    assert len(results.table("causes")) == 0


# ---- what is made of it ----------------------------------------------------------------------------------------------


def test_the_unit_page_shows_each_cluster_before_and_after(swapped: Results) -> None:
    job = toy.stored_job(swapped)
    frame = swapped.map
    gallery = RunGallery(job, swapped.run, frame, calibrated_rows(swapped.run), by=None)
    causes, tiles = swapped.causes, swapped.table("tiles")
    n_panels = 0
    for card in gallery.cards("coarse"):
        of_unit = causes[(causes["layer"] == "coarse") & (causes["channel"] == card.channel)]
        (panel,) = [panel for panel in card.panels if panel.evidence == "swaps"] or [None]
        if panel is None:
            assert of_unit.empty
            continue
        n_panels += 1
        pictures = tiles[(tiles["layer"] == "coarse") & (tiles["channel"] == card.channel)]
        pictures = pictures[pictures["evidence"] == "swaps"].set_index("item")
        assert panel.size == len(panel.clusters) == len(of_unit)
        for place, (cluster, row) in enumerate(zip(panel.clusters, of_unit.itertuples(), strict=True)):
            (name, verdict), *effects = cluster.names
            assert name.startswith("cluster " if row.evidence == "exemplars" else "second test")
            if row.absent:
                assert verdict == "not tested: no image outside the evidence is nearest to it"
                assert not effects
                assert not cluster.tiles
                continue
            assert verdict.startswith("drives the unit" if row.is_causal else "not shown to drive it")
            assert [words for words, _ in effects] == list(WORDS.values())
            assert [tile.caption for tile in cluster.tiles] == ["before", "after"]
            boxes = pictures.loc[[2 * place, 2 * place + 1], ["left", "top", "width", "height"]]
            assert [(t.left, t.top, t.width, t.height) for t in cluster.tiles] == list(
                boxes.itertuples(index=False, name=None)
            )
    assert n_panels > 5


def test_a_plan_foretells_it(swapped: Results) -> None:
    (row,) = [row for row in plan(toy.stored_job(swapped)).rows if row.stage == "swap"]
    done = swapped.run.ledger.done("swap")
    assert row.shards >= len(done) > 0
    assert row.rows >= len(swapped.table("swaps")) + len(swapped.table("causes"))
    filed = sum(part.bytes for one in done.values() for part in one.parts)
    assert filed / 4 < row.bytes < filed * 4
    assert row.seconds > 0
    assert row.held > 0
