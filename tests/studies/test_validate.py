"""`polyscan validate`: what it measures by slow twins, what it draws, and the whole of it on the wide toy."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy

from polyscan import pipeline
from polyscan.run import Run
from polyscan.studies import scanning, validate
from polyscan.studies.validate import labelled
from polyscan.studies.validate.measures import measures
from polyscan.studies.validate.truth import purity, source_of

GATE = "separation"


def rows_of(score: str, layer: str, kind: str, concepts: int, p: list[float], value: list[float]) -> pd.DataFrame:
    """Rows as `planted_rows` gives them, with a null of mean 1 and sd 2."""
    return pd.DataFrame(
        {
            "layer": layer,
            "type": kind,
            "concepts": concepts,
            "channel": range(len(p)),
            "score": score,
            "value": value,
            "null_mean": 1.0,
            "null_sd": 2.0,
            "p": p,
            "is_artefact": False,
        }
    )


NOTHING = pd.DataFrame(columns=["layer", "type", "channel", "purity"])


def test_rates_are_shares_of_p_and_the_area_is_the_share_of_pairs_in_order() -> None:
    controls, plants = [0.01, 0.05, 0.06, 0.5], [0.01, 0.02, 0.2]
    beyond = {"control": [0.0, 3.0, 1.0, 2.0], "planted": [5.0, 2.0, 0.5]}
    rows = pd.concat(
        [
            rows_of(GATE, "a", "control", 1, controls, beyond["control"]),
            rows_of(GATE, "a", "planted", 2, plants, beyond["planted"]),
        ]
    )
    found = measures(rows, pd.DataFrame(), NOTHING)[GATE]
    assert found["fpr_05"] == {"a": {"control": 0.5}}
    assert found["power_05"] == {"a": {"planted": pytest.approx(2 / 3)}}
    assert found["n"] == {"a": {"control": 4.0, "planted": 3.0}}
    pairs = [(s, o) for s, o in itertools.product(beyond["planted"], beyond["control"])]
    expected = sum(1.0 if s > o else 0.5 if s == o else 0.0 for s, o in pairs) / len(pairs)
    assert found["auroc"] == {"a": {"planted": pytest.approx(expected)}}


def test_a_score_of_the_lower_tail_counts_the_other_way() -> None:
    rows = pd.concat(
        [
            rows_of("cut", "a", "control", 1, [0.5] * 3, [0.8, 0.9, 1.0]),
            rows_of("cut", "a", "planted", 2, [0.01] * 3, [0.1, 0.2, 0.3]),
        ]
    )
    assert measures(rows, pd.DataFrame(), NOTHING)["cut"]["auroc"] == {"a": {"planted": 1.0}}


def test_the_false_share_is_that_of_benjamini_and_hochberg_layer_by_layer_and_of_all_at_once() -> None:
    def layer(name: str, n_bad: int) -> pd.DataFrame:
        # 90 controls of which n_bad are as small as the 10 plants: BH at .1 finds all of these, and nothing else.
        controls = [1e-4] * n_bad + [0.9] * (90 - n_bad)
        return pd.concat(
            [
                rows_of(GATE, name, "control", 1, controls, [0.0] * 90),
                rows_of(GATE, name, "planted", 2, [1e-4] * 10, [1.0] * 10),
            ]
        )

    found = measures(pd.concat([layer("a", 0), layer("b", 5)]), pd.DataFrame(), NOTHING)[GATE]["fdr_10"]
    assert found["a"] == {"planted": 0.0}
    assert found["b"] == {"planted": pytest.approx(5 / 15)}
    assert found["all layers"] == {"planted": pytest.approx(5 / 25)}
    few = pd.concat([rows_of(GATE, "a", "control", 1, [0.5] * 90, [0.0] * 90), layer("b", 0).iloc[90:95]])
    assert "fdr_10" not in measures(few, pd.DataFrame(), NOTHING)[GATE], "9 plants are not a tenth of 90 and themselves"


def test_the_number_of_clusters_is_asked_of_what_was_found_alone() -> None:
    p = [0.01, 0.04, 0.05, 0.2]
    rows = pd.concat(
        [
            rows_of(GATE, "a", "three", 3, p, [1.0] * 4),
            rows_of("silhouette_k", "a", "three", 3, [np.nan] * 4, [3.0, 2.0, 3.0, 2.0]),
            rows_of(GATE, "a", "control", 1, [0.01], [1.0]),
            rows_of("silhouette_k", "a", "control", 1, [np.nan], [2.0]),
        ]
    )
    found = measures(rows, pd.DataFrame(), pd.DataFrame({"layer": "a", "type": "three", "purity": [0.5, 1.0]}))[GATE]
    assert found["k_exact"] == {"a": {"three": pytest.approx(2 / 3)}}
    assert found["purity"] == {"a": {"three": 0.75}}


def test_an_exemplar_came_from_the_part_that_has_it_at_the_same_place() -> None:
    def exemplars(*places: tuple[int, int, int, int]) -> pd.DataFrame:
        return pd.DataFrame(places, columns=["channel", "image", "y", "x"])

    of_sources = exemplars((7, 1, 0, 0), (7, 2, 3, 3), (9, 2, 4, 4), (9, 5, 1, 1), (9, 1, 0, 0))
    unit = exemplars((0, 1, 0, 0), (0, 2, 3, 3), (0, 2, 4, 4), (0, 5, 1, 1), (0, 8, 0, 0))
    assert source_of(unit, of_sources, [7, 9]).tolist() == [0, 0, 1, 1, -1]
    assert source_of(unit, of_sources, [9, 7]).tolist() == [0, 1, 0, 0, -1]


def test_purity_leaves_out_what_has_no_source() -> None:
    clusters, sources = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, -1])
    assert purity(clusters, sources) == pytest.approx(4 / 5)
    assert np.isnan(purity(clusters, np.full(6, -1)))


def test_labelled_sets_have_the_shares_they_say_and_every_class_its_turn() -> None:
    labels = np.repeat(np.arange(6), 20)
    labels[:3] = -1  # class 0 has 17 images left: too few for a set of one class
    draws = {name: (concepts, draw) for name, concepts, draw in labelled._draws(labels, 20)}
    assert {name: concepts for name, (concepts, _) in draws.items()} == {
        "one class": 1,
        "50/50": 2,
        "70/30": 2,
        "85/15": 2,
        "three classes": 3,
    }
    generator = np.random.default_rng(0)
    turns = [labels[draws["one class"][1](generator)] for _ in range(10)]
    assert [set(turn.tolist()) for turn in turns] == [{1}, {2}, {3}, {4}, {5}] * 2
    for name, sizes in {"50/50": [10, 10], "70/30": [6, 14], "85/15": [3, 17], "three classes": [6, 7, 7]}.items():
        for _ in range(5):
            drawn = draws[name][1](generator)
            assert len(set(drawn.tolist())) == 20
            assert sorted(np.unique(labels[drawn], return_counts=True)[1].tolist()) == sizes
            assert -1 not in labels[drawn]
    assert list(labelled._draws(None, 20)) == []
    assert [name for name, _, _ in labelled._draws(np.zeros(30, dtype=np.int64), 20)] == ["one class"]


def test_the_job_is_widened_by_what_measuring_needs_and_no_more(tmp_path: Path) -> None:
    job = toy.wide_job(tmp_path / "images", survey__controls=500, visualize__enabled=True)
    wide = validate.widened(job)
    assert (wide.survey.controls, wide.survey.planted) == (500, validate.PLANTED)
    assert set(wide.survey.plants) == set(validate.KINDS)
    assert not wide.visualize.enabled
    assert wide.collect == job.collect
    assert wide.calibrate == job.calibrate


def test_on_the_toy_one_thing_is_rarely_called_several_and_pairs_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pages: None
) -> None:
    monkeypatch.setattr(validate, "CONTROLS", 60)
    monkeypatch.setattr(validate, "PLANTED", 20)
    monkeypatch.setattr(labelled, "SETS", 20)
    run = Run(str(tmp_path / "run"))
    with scanning.runner_for("local", None) as runner:
        found = validate.measured(toy.wide_job(tmp_path / "images"), run, runner, watcher=pipeline.Silence())
    gate = found[GATE]
    layers = set(run.layer_table()["parent"])
    assert layers <= {*gate["n"], "head"}
    assert "images" in gate["n"], "the toy's images have classes, and its head sees whole images"
    rates = [rate["control"] for layer, rate in gate["fpr_05"].items() if layer != "images"]
    assert np.mean(rates) < 0.15
    assert max(power.get("planted", 0) for power in gate["power_05"].values()) > 0.5
    assert json.loads((tmp_path / "run" / validate.REPORT).read_text()) == found
    page = (tmp_path / "run" / "maps" / "validation.html").read_text()
    assert "planted" in page
    assert "all layers" in page
    # Rates are those of the rows that the run holds.
    scores = run.read("scores")
    deflated = scores[(scores["score"] == GATE) & (scores["evidence"] == "deflated")]
    scores = scores[scores["evidence"] == "exemplars"]
    second = found[f"second_{GATE}"]
    for measure, role in (("fpr_05", "control"), ("power_05", "planted50")):
        for layer, rate in second[measure].items():
            p = deflated[deflated["layer"] == f"{layer}@{role}"]["p"].dropna()
            assert rate[role] <= (p <= 0.05).mean(), "an artefact is not called"
    assert "both-tests" in page
    for layer, rate in gate["fpr_05"].items():
        if layer != "images":
            mine = scores[(scores["layer"] == f"{layer}@control") & (scores["score"] == GATE)]
            mine = mine[(mine["evidence"] == "exemplars") & (mine["null"] == "layer")]
            assert rate["control"] == pytest.approx((mine["p"].dropna() <= 0.05).mean())
