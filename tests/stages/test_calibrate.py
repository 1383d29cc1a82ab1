"""calibrate and score: what meets which null, by the tables of whole runs and by hand-made ones."""

from __future__ import annotations

import io
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
from PIL import Image

import polyscan
from polyscan.errors import JobError
from polyscan.evidence import EvidenceReader
from polyscan.job import Job
from polyscan.nulls.calibration import Calibration
from polyscan.results import Results
from polyscan.run import Run
from polyscan.scores import SCORES, separation
from polyscan.scores.score import values_of
from polyscan.stages import calibrate
from polyscan.stages.score.against import NullTable, against, matches

UNDER_NULL = ["null_mean", "null_sd", "p"]
PSI = {"psi", "psi_s", "psi_q", "psi_d"}


def with_group(job: Job, group: str, **changes: object) -> Job:
    return job.model_copy(update={group: getattr(job, group).model_copy(update=changes)})


def main_rows(results: Results) -> pd.DataFrame:
    """Rows of `scores` of exemplars in their layer's own space."""
    job, layers = toy.stored_job(results), results.table("layers").set_index("layer")
    space = layers["space"].replace("image", job.embed.model)
    rows = results.table("scores")
    return rows[(rows["evidence"] == "exemplars") & (rows["space"] == rows["layer"].map(space))]


# ---- null sets -----------------------------------------------------------------------------------------------------


def test_null_sets_are_the_null_readouts_evidence_scored_like_any_other(wide_results: Results) -> None:
    job = toy.stored_job(wide_results)
    nulls = wide_results.table("nulls")
    reader = EvidenceReader(job, wide_results.run)
    scores = {name: score for name, score in job.score_functions().items() if score.tail != "none"}
    of_test = {name: scores[name] for name in ("clarity", "gap", "cut")}  # deflated evidence has these alone
    for layer, space in (("fine", "next"), ("coarse", "own"), ("head", "penultimate")):
        mine = nulls[(nulls["layer"] == layer) & (nulls["null"] == "layer")]
        assert set(mine["space"]) == {space}
        assert sorted(mine["set"].unique()) == list(range(job.survey.readouts))
        readouts = wide_results.table("readouts").set_index("layer").loc[f"{layer}@null"].set_index("channel")
        assert (mine["reach"].to_numpy() == readouts.loc[mine["set"], "reach"].to_numpy()).all()
        for kind, read, of_kind in (("exemplars", reader.exemplars, scores), ("deflated", reader.deflated, of_test)):
            subjects = list(read(f"{layer}@null", range(5), space))
            assert subjects, kind
            for subject in subjects:  # scored one by one, without `prepare`
                expected = dict(values_of(of_kind, subject.sample))
                is_own = (mine["set"] == subject.channel) & (mine["evidence"] == kind)
                found = mine[is_own].set_index("score")["value"].to_dict()
                assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert "dip_p" not in set(nulls["score"]), "a score without a tail has no p, so it needs no null"


def test_the_embedding_null_is_drawn_once_for_all_layers_that_are_compared_as_images(wide_results: Results) -> None:
    job = toy.stored_job(wide_results)
    nulls = wide_results.table("nulls")
    mine = nulls[nulls["null"] == "embedding"]
    assert set(mine["layer"]) == {""}
    assert set(mine["space"]) == {"penultimate"}
    assert mine["set"].nunique() == job.calibrate.embedding_sets
    rows = main_rows(wide_results)
    assert set(rows.loc[rows["null"] == "embedding", "layer"]) == {
        "head",
        *(f"head@{role}" for role in ("control", "planted", "random")),
    }
    assert set(rows.loc[rows["null"] == "layer", "layer"].str.split("@").str[0]) == {"fine", "coarse", "head"}


def test_nulls_that_do_not_hold_their_level_warn_with_what_was_measured(
    toy_results: Results, caplog: pytest.LogCaptureFixture
) -> None:
    job = with_group(toy.stored_job(toy_results), "calibrate", nulls=("layer", "random", "neighbourhoods"))
    with caplog.at_level(logging.WARNING, "polyscan"):
        worker = calibrate.Worker(job, toy_results.run)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "`random`" in said[0]
    assert "67 to 84 %" in said[0]
    assert "`neighbourhoods`" in said[1]
    assert "20 to 53 %" in said[1]
    shards = calibrate.shards(job, toy_results.run)
    made = pd.concat([pd.DataFrame(worker(shard)["nulls"]) for shard in shards[-2:]])
    assert made.groupby("null")["set"].nunique().to_dict() == {"random": 40, "neighbourhoods": 40}
    assert set(made["reach"]) == {1}


def test_the_default_nulls_do_not_warn(toy_results: Results, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "polyscan"):
        calibrate.Worker(toy.stored_job(toy_results), toy_results.run)
    assert not caplog.records


def test_an_unknown_null_is_refused_by_the_job(tmp_path: Path) -> None:
    with pytest.raises(JobError, match='unknown null "gauss"; allowed: layer, embedding, random, neighbourhoods'):
        toy.job(tmp_path / "images", calibrate__nulls=["layer", "gauss"])


def test_any_cut_into_shards_draws_the_same_sets(toy_results: Results) -> None:
    job, whole = toy.stored_job(toy_results), toy_results.table("nulls")
    other = with_group(job, "calibrate", sets_per_shard=11)
    worker = calibrate.Worker(other, toy_results.run)
    made = pd.concat([pd.DataFrame(worker(shard)["nulls"]) for shard in calibrate.shards(other, toy_results.run)])
    keys = ["layer", "null", "evidence", "space", "set", "score"]
    first, again = (
        frame.sort_values(keys)[[*keys, "reach", "value"]].reset_index(drop=True) for frame in (whole, made)
    )
    pd.testing.assert_frame_equal(first, again, check_dtype=False, rtol=1e-12)


def test_sets_beyond_the_full_ones_have_the_scores_of_the_test_alone(wide_results: Results) -> None:
    job, whole = toy.stored_job(wide_results), wide_results.table("nulls")
    fewer = with_group(job, "calibrate", full_sets=30)
    worker = calibrate.Worker(fewer, wide_results.run)
    made = pd.concat([pd.DataFrame(worker(shard)["nulls"]) for shard in calibrate.shards(fewer, wide_results.run)])
    further = whole["set"] >= 30
    is_test = whole["score"].isin(["clarity", "gap", "cut"])
    assert {"layer", "embedding"} <= set(whole.loc[further, "null"]), "or this tests nothing"
    expected = whole[~further | is_test | (whole["evidence"] == "visualizations")].reset_index(drop=True)
    pd.testing.assert_frame_equal(made.reset_index(drop=True), expected, check_dtype=False, rtol=0, atol=0)


def test_each_score_is_compared_with_the_sets_that_have_it() -> None:
    """Separation with all 80 sets, silhouette with its 40: the others have no value, and add nothing to its p."""
    generator = np.random.default_rng(5)
    sets = pd.DataFrame(generator.uniform(0, 1, (80, 4)), columns=["clarity", "gap", "cut", "silhouette"])
    few = sets.assign(silhouette=sets["silhouette"].where(sets.index < 40))
    units = pd.DataFrame(generator.uniform(0, 1, (9, 4)), columns=list(sets), index=pd.RangeIndex(9, name="channel"))
    scores = {name: SCORES[name]() for name in sets}
    by_sets = {
        name: against(units, [NullTable("layer", table)], scores, match="regression").set_index(["score", "channel"])
        for name, table in (("few", few), ("first", sets.head(40)), ("all", sets))
    }
    for score, same in (("silhouette", "first"), ("gap", "all"), ("separation", "all")):
        pd.testing.assert_frame_equal(by_sets["few"].loc[score], by_sets[same].loc[score])
    assert not by_sets["few"].loc["separation"].equals(by_sets["first"].loc["separation"])


# ---- scores against nulls ------------------------------------------------------------------------------------------


def test_every_score_with_a_tail_has_what_the_null_expects_and_a_p(wide_results: Results) -> None:
    rows = main_rows(wide_results)
    units = wide_results.table("units").set_index(["layer", "channel"])
    live = units[~units["is_dead"]]
    for name, score in SCORES.items():
        mine = rows[rows["score"] == name]
        assert {key[:2] for key in zip(mine["layer"], mine["channel"], strict=True)} <= set(live.index)
        if name == "distinctness_words":  # the embedder has no words
            assert mine["value"].isna().all()
        if score.tail == "none" or name == "distinctness_words":
            assert set(mine["null"]) == {""}
            assert mine[UNDER_NULL].isna().all(axis=None)
            continue
        # Sets that no unit has chosen have no activations to weigh pairs by.
        assert set(mine["null"]) == ({"layer"} if name == "monosemanticity" else {"layer", "embedding"}), name
        has_value = mine["value"].notna()
        assert mine.loc[has_value, UNDER_NULL].notna().all(axis=None), name
        assert mine.loc[~has_value, UNDER_NULL].isna().all(axis=None), name
        assert mine.loc[has_value, "p"].between(1 / 81, 1).all()
        assert (mine.loc[has_value, "null_sd"] >= 0).all()
    made = rows[rows["score"].isin({"separation", "psi"})]
    assert made["p"].notna().all()
    for part in ("psi_s", "psi_q", "psi_d"):
        assert rows.loc[rows["score"] == part, "value"].between(0, 1).all()
        assert rows.loc[rows["score"] == part, "p"].isna().all()
    per_unit = rows.groupby(["layer", "channel", "null", "score"]).size()
    assert (per_unit == 1).all()
    scanned = {layer for layer in live.index.get_level_values(0) if not layer.endswith("@null")}
    assert set(rows["layer"]) == scanned, "null readouts are the null, and are not compared with themselves"


def test_planted_pairs_are_found_and_controls_are_not(wide_results: Results) -> None:
    rows = main_rows(wide_results)
    p = rows[(rows["score"] == "separation") & (rows["null"] == "layer")].groupby("layer")["p"]
    share = p.agg(lambda values: float((values <= 0.05).mean()))
    assert share["head@planted"] >= 0.6
    assert share["coarse@planted"] >= 0.4
    for layer in ("fine", "coarse", "head"):
        assert share[f"{layer}@control"] <= 0.25  # of 20 at .05: more has a chance of 1 in 4,000
    assert p.min()["head@planted"] <= 3 / 81


def test_visualizations_without_a_null_have_values_and_no_p(toy_results: Results) -> None:
    rows = toy_results.table("scores")
    mine = rows[rows["evidence"] == "visualizations"]
    assert set(mine["layer"]) == {"paint", "mix"}
    assert set(mine["null"]) == {""}
    assert mine[UNDER_NULL].isna().all(axis=None)
    assert mine.loc[mine["score"] == "semanticity", "value"].notna().all()
    assert set(mine["score"]) >= {name for name, score in SCORES.items() if "visualizations" in score.evidence}
    assert not set(mine["score"]) & {name for name, score in SCORES.items() if "visualizations" not in score.evidence}


def test_virtual_layers_are_never_visualized(toy_results: Results) -> None:
    """Not even where all layers are: that is an option of its own."""
    from polyscan.stages import visualize

    job = with_group(toy.stored_job(toy_results), "visualize", layers="all")
    layers = {unit.layer for unit in visualize.Worker(job, toy_results.run).units}
    assert layers == {"paint", "mix", "head"}


def test_crops_beside_the_main_space_have_values_and_no_null(toy_results: Results) -> None:
    rows = toy_results.table("scores")
    crops = rows[
        (rows["evidence"] == "exemplars") & (rows["space"] == "penultimate") & ~rows["layer"].str.startswith("head")
    ]
    assert set(crops["layer"]) == {"paint", "mix"}, "virtual units' crops are not embedded where they are not compared"
    assert set(crops["null"]) == {""}
    assert crops["p"].isna().all()


def frames(seed: int = 0, n_sets: int = 120, n_units: int = 9) -> tuple[pd.DataFrame, NullTable]:
    """Hand-made values: every score moves with clarity, each in its own way."""
    generator = np.random.default_rng(seed)

    def table(n: int) -> pd.DataFrame:
        clarity = generator.uniform(0.1, 0.7, n)
        columns = {"clarity": clarity}
        for number, name in enumerate([name for name in SCORES if name != "clarity"]):
            slope = (-1) ** number * (1 + number / 5)
            columns[name] = slope * clarity + 0.3 * clarity**2 + generator.standard_normal(n) * (0.05 + 0.1 * clarity)
        return pd.DataFrame(columns)

    values = table(n_units)
    values.index = pd.Index(range(10, 10 + n_units), name="channel")
    values["silhouette_k"] = 2.0
    return values, NullTable("layer", table(n_sets))


@pytest.mark.parametrize("match", ["regression", "nearest"])
def test_values_are_compared_with_null_sets_as_clear_by_the_declared_tail(match: str) -> None:
    values, null = frames()
    rows = against(values, [null], SCORES, match=match)
    clarity, known_clarity = values["clarity"].to_numpy(), null.values["clarity"].to_numpy()
    for name, score in SCORES.items():
        mine = rows[rows["score"] == name].set_index("channel")
        if name == "clarity":  # against itself: the null has no spread, and no unit is off the curve
            within = values["clarity"].between(null.values["clarity"].min(), null.values["clarity"].max())
            assert within.any()
            assert match == "nearest" or (mine.loc[within[within].index, "p"] == 1).all()
            continue
        value, known = values[name].to_numpy(), null.values[name].to_numpy()
        curve = np.polynomial.Polynomial.fit(known_clarity, known, 2)
        low, high = known_clarity.min(), known_clarity.max()
        assert mine["null_mean"].to_numpy() == pytest.approx(curve(np.clip(clarity, low, high)), abs=1e-9)
        sign = {"upper": 1, "lower": -1, "none": np.nan}[score.tail]
        for unit in range(len(values)):
            if score.tail == "none":
                assert np.isnan(mine["p"].iloc[unit])
                continue
            if match == "nearest":
                near = np.argsort(np.abs(known_clarity - clarity[unit]), kind="stable")[:200]
                extreme = (sign * known[near] >= sign * value[unit]).sum()
                expected = (extreme + 1) / (len(near) + 1)
            else:
                fit = Calibration.fit(known, known_clarity, tail=score.tail)
                residuals = (known - curve(known_clarity)) / fit.sd(known_clarity)
                own = (value[unit] - curve(np.clip(clarity[unit], low, high))) / fit.sd(clarity[unit : unit + 1])[0]
                expected = ((sign * residuals >= sign * own - 1e-9).sum() + 1) / (len(known) + 1)
            assert mine["p"].iloc[unit] == pytest.approx(expected, abs=1e-9), name
    part = rows[rows["score"] == "silhouette_k"]
    assert set(part["null"]) == {""}
    assert part["p"].isna().all()


def test_the_way_of_matching_reaches_the_units_own_p() -> None:
    values, null = frames()
    by = {
        match: against(values, [null], SCORES, match=match).set_index(["score", "channel"])
        for match in ("regression", "nearest")
    }
    same = by["regression"].loc["separation"]
    near = by["nearest"].loc["separation"]
    assert np.array_equal(same["value"], near["value"])
    assert not np.array_equal(same["p"], near["p"])
    known = against(null.values.rename_axis("channel"), [null], SCORES, match="nearest").set_index(["score", "channel"])
    null_separation = known.loc["separation", "value"].to_numpy()
    clarity = null.values["clarity"].to_numpy()
    for channel, row in near.iterrows():
        order = np.argsort(np.abs(clarity - values.loc[channel, "clarity"]), kind="stable")[:200]
        expected = ((null_separation[order] >= row["value"]).sum() + 1) / (len(order) + 1)
        assert row["p"] == pytest.approx(expected)


def test_a_unit_that_is_split_deeper_than_all_null_sets_has_the_smallest_p() -> None:
    values, null = frames()
    values.loc[10, "gap"] += 5
    values.loc[10, "cut"] -= 5
    rows = against(values, [null], SCORES, match="regression").set_index(["score", "channel"])
    assert rows.loc[("separation", 10), "p"] == pytest.approx(1 / 121)
    assert rows.loc[("gap", 10), "p"] == pytest.approx(1 / 121)
    assert rows.loc[("cut", 10), "p"] == pytest.approx(1 / 121)
    values.loc[10, "gap"] -= 10
    values.loc[10, "cut"] += 10
    rows = against(values, [null], SCORES, match="regression").set_index(["score", "channel"])
    assert rows.loc[("separation", 10), "p"] == 1


# ---- the exact p -----------------------------------------------------------------------------------------------------


def test_the_exact_p_counts_among_null_sets_that_its_curves_have_not_seen() -> None:
    """Literally: curves of both parts, and of their sum, from one share of the sets; ranks among the others."""
    values, null = frames()
    curve, counted = (half.values for half in null.halves())
    assert sorted([*curve.index, *counted.index]) == list(range(120))
    assert len(curve) == 24

    def statistic(frame: pd.DataFrame) -> np.ndarray:
        residuals = {}
        for part in separation.PARTS:
            fit = Calibration.fit(curve[part].to_numpy(), curve["clarity"].to_numpy(), tail="none")
            residuals[part] = fit.standardised(frame[part].to_numpy(), frame["clarity"].to_numpy())
        return separation.separation(residuals)

    fit = Calibration.fit(statistic(curve), curve["clarity"].to_numpy(), tail="upper")
    of_units, of_sets = (fit.standardised(statistic(frame), frame["clarity"].to_numpy()) for frame in (values, counted))
    expected = [(1 + (of_sets >= own).sum()) / (1 + len(counted)) for own in of_units]
    rows = against(values, [null], SCORES, match="regression")
    mine = rows[rows["score"] == "separation"]
    assert mine["p_exact"].tolist() == pytest.approx(expected)
    assert set(mine["n_exact"]) == {96}
    others = rows[rows["score"] != "separation"]
    assert others["p_exact"].isna().all()
    assert set(others["n_exact"]) == {0}


def test_the_exact_p_of_exchangeable_sets_is_at_most_as_often_small_as_it_says() -> None:
    """Even with the fewest null sets for curves and for counting."""
    levels = np.array([0.05, 0.1, 0.3])
    hits, n = np.zeros(3), 0
    for seed in range(60):
        values, null = frames(seed, n_sets=45, n_units=40)
        rows = against(values, [null], {}, match="regression")
        rows = rows[rows["score"] == "separation"]
        hits += (rows["p_exact"].to_numpy()[:, None] <= levels).sum(axis=0)
        n += len(rows)
    possible = np.floor(levels * 26) / 26  # p of the 25 sets that are counted is a whole number of 26ths
    # The units of one seed share their null: their share varies as a Beta distribution of 25 sets.
    sd = np.sqrt(possible * (1 - possible) * (1 / 27 + 1 / 40) / 60)
    assert (np.abs(hits / n - possible) <= 3 * sd).all()


def test_with_too_few_null_sets_for_curves_and_counting_there_is_no_exact_p() -> None:
    values, null = frames(n_sets=39)
    assert null.halves() is None
    rows = against(values, [null], SCORES, match="regression")
    mine = rows[rows["score"] == "separation"]
    assert mine["p"].notna().all()
    assert mine["p_exact"].isna().all()
    assert set(mine["n_exact"]) == {0}
    values, null = frames(n_sets=60)
    sparse = null.values.copy()
    sparse.loc[10:, list(separation.PARTS)] = np.nan
    rows = against(values, [NullTable("layer", sparse)], SCORES, match="regression")
    assert rows["p_exact"].isna().all()


def test_which_sets_the_curves_are_fitted_on_follows_from_the_seed() -> None:
    _, null = frames()
    other = NullTable("layer", null.values, seed=1)
    assert null.halves()[0].values.equals(null.halves()[0].values)
    assert set(null.halves()[0].values.index) != set(other.halves()[0].values.index)


def test_each_null_is_met_by_itself_and_a_score_without_one_stands_once() -> None:
    values, null = frames()
    other = NullTable("embedding", frames(seed=1)[1].values.drop(columns="cut"))
    rows = against(values, [null, other], SCORES, match="regression")
    assert rows.groupby(["score", "null", "channel"]).size().eq(1).all()
    nulls = rows.groupby("score")["null"].agg(set)
    assert nulls["gap"] == nulls["separation"] == nulls["psi"] == {"layer", "embedding"}
    assert nulls["cut"] == {"layer"}
    assert nulls["silhouette_k"] == {""}
    alone = against(values, [], SCORES, match="regression")
    assert set(alone["null"]) == {""}
    assert not {"separation", "psi"} & set(alone["score"])


@pytest.mark.parametrize("absent", ["alignment", "distinctness"])
def test_there_is_no_psi_without_its_parts(absent: str) -> None:
    values, null = frames()
    rows = against(values.assign(**{absent: np.nan}), [null], SCORES, match="regression")
    assert not set(rows["score"]) & PSI
    assert "psi_words" in set(rows["score"]) or absent == "alignment"
    gone = NullTable("layer", null.values.drop(columns=absent))
    assert not set(against(values, [gone], SCORES, match="regression")["score"]) & PSI
    visualized = values.drop(columns=["alignment", "distinctness", "distinctness_words"])
    assert not [
        name for name in against(visualized, [null], SCORES, match="regression")["score"] if name.startswith("psi")
    ]


def test_psi_is_made_of_its_calibrated_parts() -> None:
    values, null = frames()
    rows = against(values, [null], SCORES, match="regression").set_index(["score", "channel"])
    curve = np.polynomial.Polynomial.fit(null.values["clarity"], null.values["silhouette"], 2)
    for channel, unit in values.iterrows():
        chance = float(curve(np.clip(unit["clarity"], null.values["clarity"].min(), null.values["clarity"].max())))
        s = min(max((unit["silhouette"] - chance) / (1 - chance), 0), 1)
        q, d = (min(max(unit[name], 0), 1) for name in ("alignment", "distinctness"))
        for name, expected in (("psi_s", s), ("psi_q", q), ("psi_d", d), ("psi", s * q * d)):
            assert rows.loc[(name, channel), "value"] == pytest.approx(expected, abs=1e-9)


def test_matches_say_how_well_a_null_speaks_for_a_unit() -> None:
    null = NullTable("layer", pd.DataFrame({"clarity": np.linspace(0.2, 0.6, 81)}))
    values = pd.DataFrame({"clarity": [0.4, 0.1, 0.61, 0.6, 0.25]}, index=pd.Index([3, 4, 5, 6, 7], name="channel"))
    rows = matches(values, null, random_clarity=0.25).set_index("channel")
    # 20 sets at .005 apart: ten steps to either side in the middle, twenty at an edge.
    assert rows.loc[3, "match_radius"] == pytest.approx(0.05)
    assert rows["match_radius"].to_numpy() == pytest.approx([0.05, 0.195, 0.105, 0.095, 0.05], abs=0.0051)
    assert rows["off_range"].tolist() == [False, True, True, True, False]
    assert rows["incoherent"].tolist() == [False, True, False, False, True]
    assert (rows["n_sets"] == 81).all()


# ---- labels --------------------------------------------------------------------------------------------------------


def table_of(folder: Path, target: Path, label_of) -> Path:
    """The painted pictures as one Parquet file with these labels."""
    rows = [(path.read_bytes(), label_of(number)) for number, path in enumerate(sorted(folder.rglob("*.png")))]
    labels = pa.array([label for _, label in rows], type=pa.int64())
    pq.write_table(pa.table({"image": [pixels for pixels, _ in rows], "label": labels}), target)
    return target


@pytest.mark.parametrize("kind", ["one class", "no classes"])
def test_without_two_classes_q_and_psi_are_absent(tmp_path: Path, kind: str, no_pages: None) -> None:
    painted, folder = toy.paint(tmp_path / "painted"), tmp_path / "images"
    target = folder / "all" if kind == "one class" else folder
    target.mkdir(parents=True)
    for number, path in enumerate(sorted(painted.rglob("*.png"))):
        shutil.copy(path, target / f"{number:03d}.png")
    results = polyscan.scan(toy.job(folder, visualize__enabled=False), str(tmp_path / "run"))
    assert results.table("images")["label"].nunique() == (1 if kind == "one class" else 0)
    rows = results.table("scores")
    for name in ("alignment", "distinctness", "distinctness_words"):
        assert rows.loc[rows["score"] == name, "value"].isna().all()
    assert not [name for name in rows["score"].unique() if name.startswith("psi")]
    assert not [name for name in results.map if "psi" in name or "alignment" in name or "distinctness" in name]
    assert results.map["p"].notna().any(), "p needs no labels"


def test_images_without_a_label_are_left_out_of_q_and_no_more(tmp_path: Path, no_pages: None) -> None:
    toy.paint(tmp_path / "painted")
    source = table_of(tmp_path / "painted", tmp_path / "images.parquet", lambda n: None if n % 3 == 0 else n // 20)
    job = toy.job(
        tmp_path / "painted", images__source=str(source), images__label_column="label", visualize__enabled=False
    )
    results = polyscan.scan(job, str(tmp_path / "run"))
    labels = results.table("images").set_index("image")["label"]
    assert labels.isna().sum() == 20
    reader = EvidenceReader(job, Run(results.run.address))
    (subject,) = reader.exemplars("paint", range(toy.RED_OR_BLUE, toy.RED_OR_BLUE + 1), "next")
    images = results.unit("paint", toy.RED_OR_BLUE).exemplars["image"]
    assert subject.sample.labels.tolist() == labels.loc[images].fillna(-1).astype(int).tolist()
    assert -1 in subject.sample.labels
    concepts = results.table("concepts")
    assert concepts.loc[concepts["kind"] == "label", "n"].sum() == 40
    live = results.map[~results.map["is_dead"]]
    assert live[["alignment", "psi", "psi_q"]].notna().all(axis=None)


# ---- too little of something ---------------------------------------------------------------------------------------


def test_without_a_layer_null_scores_are_there_and_no_p(tmp_path: Path, no_pages: None) -> None:
    job = toy.job(tmp_path / "images", survey__readouts=0, visualize__enabled=False)
    results = polyscan.scan(job, str(tmp_path / "run"))
    frame = results.map
    live = frame[~frame["is_dead"]].set_index("layer")
    for name in ("clarity", "silhouette", "semanticity"):
        assert live[name].notna().all(), name
    assert "p" not in frame
    assert "verdict" not in frame
    # The embedding null is a second opinion, and is called so where it is the only one.
    assert live.loc["head", "embedding_null_p"].notna().all()
    assert live.loc[["paint", "mix"], "embedding_null_p"].isna().all()


def test_fewer_null_sets_than_a_p_needs_are_no_null(tmp_path: Path, no_pages: None) -> None:
    job = toy.job(tmp_path / "images", survey__readouts=19, visualize__enabled=False, calibrate__nulls=["layer"])
    results = polyscan.scan(job, str(tmp_path / "run"))
    assert results.table("nulls")["set"].nunique() == 19
    assert set(results.table("scores")["null"]) == {""}
    assert results.table("matches").empty
    assert "p" not in results.map


def test_images_that_are_all_alike(tmp_path: Path) -> None:
    """No unit says anything; the null of embeddings says so, and without it the run comes to its end."""
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (toy.SIDE, toy.SIDE, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, format="PNG")
    for number in range(toy.N_IMAGES):
        (tmp_path / "images" / f"{number:03d}.png").write_bytes(sink.getvalue())
    job = toy.job(tmp_path / "images", visualize__enabled=False)
    with pytest.raises(JobError, match="`embedding` can't be drawn: all 60 embeddings are equal"):
        polyscan.scan(job, str(tmp_path / "run"))
    results = polyscan.scan(with_group(job, "calibrate", nulls=("layer",)), str(tmp_path / "other"))
    assert results.map["is_dead"].all()
    assert results.table("scores").empty
    assert "12" in results.run.storage.read("maps/index.html").decode()


def test_a_constant_unit_is_dead_and_has_neither_scores_nor_clusters(toy_results: Results) -> None:
    units = toy_results.table("units").set_index(["layer", "channel"])
    constant = units.loc[("paint", toy.DEAD)]
    assert constant["sd"] == 0
    assert constant["is_dead"]
    for name in ("scores", "clusters", "matches", "visualizations"):
        rows = toy_results.table(name)
        assert not ((rows["layer"] == "paint") & (rows["channel"] == toy.DEAD)).any(), name
