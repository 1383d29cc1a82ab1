"""What `plan` foretells against what comes to pass: never too little, and exact where nothing is left to chance."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy

from polyscan.pipeline import STAGES
from polyscan.results import Results
from polyscan.studies.plan import plan
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.status import status_of

EXACT = {"survey", "collect", "combine"}  # stages whose shards hang on nothing that a scan finds out
UNITS_OF_TOY, UNITS_OF_WIDE = 12, 46


@pytest.mark.parametrize("fixture", ["toy_results", "wide_results"])
def test_no_stage_makes_more_than_was_foretold(fixture: str, request: pytest.FixtureRequest) -> None:
    results: Results = request.getfixturevalue(fixture)
    job = toy.stored_job(results)
    rows = plan(job).rows
    assert [row.stage for row in rows] == [stage.name for stage in STAGES]
    foretold = {row.stage: row for row in rows if row.shards}
    done = {row.stage: row for row in status_of(results.run.address) if row.rows or row.done}
    assert set(foretold) == set(done)
    for stage, row in done.items():
        assert row.rows <= foretold[stage].rows, stage
        assert row.done <= foretold[stage].shards, stage
    for stage in EXACT:
        assert done[stage].done == foretold[stage].shards, stage
    assert all(row.seconds > 0 and row.bytes > 0 for row in foretold.values())


def test_the_wide_toy_fills_its_survey_and_collect_to_the_row(wide_results: Results) -> None:
    """Of the wide toy every virtual unit can be made, and thinned readouts alone have fewer candidates."""
    foretold = {row.stage: row.rows for row in plan(toy.stored_job(wide_results)).rows}
    tables = wide_results.run.read
    layers = tables("layers")
    per_shard = 2 * int(layers["n_units"].sum())
    k = 20
    assert foretold["collect"] == per_shard * (1 + k) + toy.N_WIDE
    assert len(tables("moments")) == per_shard
    assert foretold["combine"] == (per_shard // 2) * (1 + k)


def test_counts_are_of_real_units(tmp_path: Path) -> None:
    outlined = plan(toy.job(tmp_path / "images", visualize__enabled=False))
    assert (outlined.n_layers, outlined.n_units, outlined.n_images) == (3, UNITS_OF_TOY, toy.N_IMAGES)
    # 60 images are too few for a second test: a quarter of them is fewer than twice k.
    idle = ["deflate", "recollect", "recombine", "visualize", "swap"]
    assert [row.stage for row in outlined.rows if not row.shards] == idle


def rows_of(tmp_path: Path, **changes: object) -> dict[str, int]:
    """Foretold rows by stage."""
    outlined = plan(toy.job(tmp_path / "images", visualize__enabled=False, **changes))
    return {row.stage: row.rows for row in outlined.rows}


def test_a_job_without_readouts_has_no_null_and_no_virtual_unit(tmp_path: Path) -> None:
    bare = rows_of(tmp_path, survey__readouts=0, calibrate__nulls=["layer"])
    assert bare["calibrate"] == 0
    assert bare["combine"] == UNITS_OF_TOY * (1 + toy.K)


def test_both_signs_add_each_unit_once_more(tmp_path: Path) -> None:
    up, both = rows_of(tmp_path), rows_of(tmp_path, survey__sign="both")
    assert both["combine"] - up["combine"] == UNITS_OF_TOY * (1 + toy.K)
    assert both["score"] > up["score"]
    assert both["calibrate"] == up["calibrate"]


def test_sets_beyond_the_full_ones_have_three_rows(tmp_path: Path) -> None:
    """Of three layers' nulls and the embedding null, with 40 sets each, 20 have clarity, gap and cut alone."""
    full, fewer = (rows_of(tmp_path, calibrate__full_sets=n)["calibrate"] for n in (40, 20))
    assert fewer == full // 2 + 4 * 20 * 3


def test_the_pool_is_embedded_only_where_a_layer_is_compared_there(tmp_path: Path) -> None:
    def pool(**changes: object) -> tuple[bool, int]:
        outlook = Outlook(toy.job(tmp_path / "images", visualize__enabled=False, **changes))
        return outlook.has_pool, outlook.n_pooled_nulls

    assert pool(network__layers=["mix", "head"]) == (True, 1)
    assert pool(network__layers=["mix"]) == (False, 0)
    assert pool(network__layers=["mix", "head"], embed__pool=False) == (False, 0)
    assert pool(network__layers=["head"], calibrate__nulls=["layer", "embedding", "random"]) == (True, 2)


def test_visualized_virtual_units_are_counted(tmp_path: Path) -> None:
    def shards(**changes: object) -> int:
        return next(row.shards for row in plan(toy.job(tmp_path / "images", **changes)).rows
                    if row.stage == "visualize")  # fmt: skip

    # `paint` and `mix`, 5 and 4 units, 2 a shard; then 3 each of null, control and planted for either.
    assert shards() == 3 + 2
    assert shards(visualize__virtual_units=3) == 7 + 7
