"""Runs side by side: what is equal, what is planted, what corresponds, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import toy
from stats.plain_bootstrap import ends, plain_means

import polyscan
from polyscan import cli
from polyscan.errors import JobError, TableError
from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import Comparison, LayerDifference, OverallDifference
from polyscan.report.unit_map import calibrated_rows
from polyscan.results import Results
from polyscan.results.tiers import TIERS
from polyscan.stats.significance import Interval, spearman, wilson_interval
from polyscan.storage import Storage
from polyscan.studies.compare import compare
from polyscan.studies.compare.differing import correspondence, differing
from polyscan.studies.compare.means import Cell, Difference, cells_of, difference, overall, resampled
from polyscan.studies.compare.metrics import metrics_of
from polyscan.studies.compare.runs import ComparedRun, common_columns, opened
from polyscan.studies.compare.sentences import statement
from polyscan.studies.compare.units import spearman_interval

PLANTED = 0.3


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A whole run of the toy without pages: another architecture, other images."""
    folder = tmp_path_factory.mktemp("painted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        job = toy.job(folder / "images", visualize__enabled=False)
        return polyscan.scan(job, str(folder / "run")).run.address


@pytest.fixture
def copied(wide_results: Results, tmp_path: Path) -> Callable[..., str]:
    """Copies the wide run under a name, its map changed."""

    def copy(name: str, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> str:
        folder = tmp_path / name
        shutil.copytree(wide_results.run.address, folder)
        frame = change(pd.read_parquet(folder / "map.parquet"))
        frame.to_parquet(folder / "map.parquet", index=False)
        return str(folder)

    return copy


def raised(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(gap=frame["gap"] + PLANTED)


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=3)


def runs_of(*addresses: str) -> list[ComparedRun]:
    return opened(addresses)


def differences(found: Comparison, column: str) -> list[LayerDifference]:
    return [each for each in found.differences if each.column == column]


def overall_of(found: Comparison, column: str) -> OverallDifference:
    (one,) = [each for each in found.overall if each.column == column]
    return one


# ---- laws ----------------------------------------------------------------------------------------------------------


def test_a_run_compared_with_itself_differs_by_exactly_0_and_none_is_claimed(copied: Any) -> None:
    one = copied("one")
    found = compare([one, one]).comparison
    assert found.differences
    assert {(each.mean, each.low, each.high) for each in found.differences} == {(0.0, 0.0, 0.0)}
    assert {(each.mean, each.is_claimed) for each in found.overall} == {(0.0, False)}
    assert len(found.statements) == 2
    assert all("no difference" in sentence for sentence in found.statements)
    assert (found.warnings, found.differing) == ([], [])
    table = found.pairings[0].table
    assert table is not None
    assert not any(table.changed.values())
    assert {round(rho.rho, 12) for rho in table.rhos if rho.rho == rho.rho} == {1.0}
    assert table.verdicts is not None
    counts = np.array(table.verdicts.counts)
    assert counts.sum() == np.trace(counts) == table.n


@pytest.mark.parametrize("same_training", [True, False])
def test_a_planted_difference_is_found_with_its_sign(copied: Any, same_training: bool) -> None:
    low, high = copied("low"), copied("high", raised)
    up = compare([low, high], same_training=same_training).comparison
    down = compare([high, low], same_training=same_training).comparison
    for found, sign, word in ((up, 1, "higher in high than in low"), (down, -1, "lower in low than in high")):
        gaps = differences(found, "gap")
        assert [each.mean for each in gaps] == pytest.approx([sign * PLANTED] * len(gaps))
        assert all(each.is_paired == same_training for each in gaps)
        its = overall_of(found, "gap_excess")
        assert its.is_claimed
        assert its.mean == pytest.approx(sign * PLANTED)
        assert word in found.statements[0]
        assert "no difference" in found.statements[1], "no verdict was changed"
    assert (up.pairings[0].table is not None) == same_training


def test_independent_sides_of_one_run_differ_by_0_with_an_interval_around_it(copied: Any) -> None:
    one = copied("one")
    found = compare([one, one], same_training=False).comparison
    gaps = differences(found, "gap")
    assert all(each.mean == 0 and each.low < 0 < each.high for each in gaps)
    assert not any(each.is_claimed for each in found.overall)


def test_the_order_of_rows_in_the_map_changes_nothing(copied: Any) -> None:
    straight = compare([copied("one"), copied("two", raised)], same_training=False).address
    numbers = Path(straight, "comparison.json").read_text()
    for name, change in (("one", shuffled), ("two", lambda frame: shuffled(raised(frame)))):
        shutil.rmtree(Path(straight).parent / name)
        copied(name, change)
    again = compare([str(Path(straight).parent / name) for name in ("one", "two")], same_training=False).address
    assert Path(again, "comparison.json").read_text() == numbers


def test_a_layers_mean_and_controls_are_those_of_the_front_page(copied: Any, wide_results: Results) -> None:
    (one, _) = runs_of(copied("one"), copied("two"))
    frame = wide_results.map
    cells = cells_of(one, common_columns([one]))
    rows = calibrated_rows(wide_results.run)
    for layer in one.widths:
        live = frame[(frame["layer"] == layer) & ~frame["is_dead"]]
        control = rows[(rows["prefix"] == "") & (rows["layer"] == f"{layer}@control") & (rows["score"] == "gap")]
        gap, excess = cells["gap", layer].interval, cells["gap_excess", layer].interval
        assert gap.mean == pytest.approx(live["gap"].mean())
        assert excess.mean == pytest.approx(live["gap"].mean() - control["value"].mean())
        assert gap.low <= gap.mean <= gap.high
        judged = live["verdict"].isin(TIERS)
        if judged.any():
            several = live["verdict"].str.startswith("several")[judged].mean()
            assert cells["several_share", layer].interval.mean == pytest.approx(several)


# ---- numbers -------------------------------------------------------------------------------------------------------


def cell(values: Any, column: str = "gap", place: int = 0, controls: Any = ()) -> Cell:
    values, controls = np.asarray(values, dtype=np.float64), np.asarray(controls, dtype=np.float64)
    draws = resampled(values, place)
    ends = Interval(values.mean(), *np.quantile(draws, (0.025, 0.975)))
    if column.endswith("_share"):
        ends = wilson_interval(int(values.sum()), len(values))
    return Cell((column, "a", place), np.arange(len(values)), values, controls, draws, ends)


def test_differences_agree_with_the_plain_bootstrap() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(0, 1, 80), generator.normal(0.5, 2, 80)
    loose = difference(cell(a), cell(b, place=1), is_paired=False)
    means = [plain_means(side, generator, 4000) for side in (b, a)]
    plain = (b.mean() - a.mean(), *ends(means[0] - means[1]))
    assert loose is not None
    assert loose.interval == pytest.approx(plain, abs=0.05)
    tied = difference(cell(a), cell(b, place=1), is_paired=True)
    plain = ((b - a).mean(), *ends(plain_means(b - a, generator, 4000)))
    assert tied is not None
    assert tied.interval == pytest.approx(plain, abs=0.05)
    assert (tied.n, tied.is_paired, loose.is_paired) == (80, True, False)


def test_shares_have_newcombes_interval() -> None:
    first, other = cell([1] * 48 + [0] * 32, "several_share"), cell([1] * 56 + [0] * 14, "several_share", 1)
    found = difference(first, other, is_paired=False)
    assert found is not None
    assert found.interval == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4), "Newcombe 1998, table II, (a), method 10"
    nobody = difference(cell([0] * 10, "several_share"), cell([0] * 10, "several_share", 1), is_paired=False)
    assert nobody is not None
    assert nobody.interval.low < 0 < nobody.interval.high, "no unit of ten is no proof that there is none"


def test_pairs_without_a_unit_in_both_are_no_difference() -> None:
    first = cell([1.0, 2.0])
    assert difference(first, replace(cell([1.0, 2.0], place=1), channels=np.array([7, 8])), is_paired=True) is None


def layers(*means: float) -> list[Difference]:
    return [Difference(Interval(mean, mean, mean), 10, False) for mean in means]


def test_a_claim_needs_the_interval_and_one_sign_all_along() -> None:
    means = [0.2, 0.21, 0.22, 0.2]
    assert overall(layers(*means), means).is_claimed
    assert not overall(layers(*means), [-mean for mean in means]).is_claimed, "own live units say the reverse"
    outer = [9.0, *[-0.01] * 3, 9.0]
    found = overall(layers(*outer), outer)
    assert found.inner < 0 < found.interval.mean
    assert not found.is_claimed
    assert not overall(layers(5.0, 5.0), [5.0, 5.0]).is_claimed, "nothing is left without the first and the last"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {},
            "no difference between A and B is claimed (mean difference +0.5, 95 % interval −0.1 to +1.1 over 6 layers",
        ),
        ({"low": 0.1, "is_claimed": True}, "higher in B than in A by 0.5 on average (95 % interval +0.1 to +1.1"),
        ({"mean": -0.5, "low": -1, "high": -0.1, "is_claimed": True}, "lower in B than in A by 0.5"),
        ({"low": 0.1, "without_ends": -0.2}, "−0.2 without the first and the last one, which differs in sign)"),
        ({"low": 0.1, "own_units": -0.3}, "−0.3 with all live units of each run, which differs in sign)"),
        ({"n": 2}, "only 2 layers of the same name have numbers in both, and 3 are needed"),
    ],
)
def test_the_sentence_follows_the_numbers(changes: dict[str, Any], says: str) -> None:
    row = OverallDifference(1, "gap", 6, 0.5, -0.1, 1.1, 0.4, 0.5, is_claimed=False)
    assert says in statement(MapColumn("gap", "gap", ""), "A", "B", replace(row, **changes))


def test_without_a_difference_one_comparison_in_twenty_has_an_interval_without_0() -> None:
    generator = np.random.default_rng(0)
    trials = [overall(layers(*means), means).interval for means in generator.normal(size=(2000, 5)).tolist()]
    assert 0.035 < np.mean([low > 0 or high < 0 for _, low, high in trials]) < 0.065


def test_the_interval_of_rho_covers_the_true_one_in_95_percent() -> None:
    generator, r, n = np.random.default_rng(0), 0.6, 60
    true = 6 / np.pi * np.arcsin(r / 2)  # of Gaussian pairs
    pairs = generator.multivariate_normal([0, 0], [[1, r], [r, 1]], size=(1000, n))
    ends = [spearman_interval(spearman(each[:, 0], each[:, 1]), n) for each in pairs]
    assert 0.93 < np.mean([low < true < high for low, high in ends]) < 0.97
    assert spearman_interval(1.0, 50) == (1.0, 1.0)
    assert all(np.isnan(spearman_interval(0.3, 9)))


# ---- which units correspond ----------------------------------------------------------------------------------------


def told(run: ComparedRun, name: str, weights: str, digest: str) -> ComparedRun:
    return replace(run, manifest={**run.manifest, "network": {"name": name, "weights": weights, "digest": digest}})


@pytest.mark.parametrize(
    ("first", "other", "asked", "holds", "says"),
    [
        (("a", "w.pt", "1"), ("a", "w.pt", "1"), None, True, "the same weights"),
        (("a", "w/epoch_1.pt", "1"), ("a", "w/epoch_20.pt", "2"), None, True, "only in the training step"),
        (("a", "w/epoch_1.pt", "1"), ("b", "w/epoch_20.pt", "2"), None, False, "--same-training"),
        (("a", "seed_1/epoch_1.pt", "1"), ("a", "seed_2/epoch_1.pt", "2"), None, False, "--same-training"),
        (("a", "seed_1.pt", "1"), ("a", "seed_2.pt", "2"), None, False, "does not record"),
        (("a", "", "1"), ("a", "", "2"), None, False, "--same-training"),
        (("a", "", ""), ("a", "", ""), None, False, "--same-training"),
        (("a", "x.pt", "1"), ("b", "y.pt", "2"), True, True, "--same-training says"),
        (("a", "w.pt", "1"), ("a", "w.pt", "1"), False, False, "--different-trainings"),
    ],
)  # fmt: skip
def test_units_are_compared_only_where_it_is_known_that_they_correspond(
    copied: Any, first: Any, other: Any, asked: bool | None, holds: bool, says: str
) -> None:
    runs = runs_of(copied("one"), copied("two"))
    found = correspondence(told(runs[0], *first), told(runs[1], *other), asked)
    assert (found.holds, says in found.why) == (holds, True), found.why


def test_other_architectures_are_not_compared_unit_by_unit_and_the_page_says_why(copied: Any, painted: str) -> None:
    wide = copied("wide")
    compared = compare([wide, painted])
    found = compared.comparison
    assert found.pairings[0].table is None
    assert found.layers == []
    assert "only wide has a layer fine" in found.pairings[0].why
    page = Path(compared.address, "index.html").read_text()
    assert "only wide has a layer fine, so channels can&#39;t correspond" in page
    assert {mean.place for mean in found.means if mean.run == 1} == {0.0, 0.5, 1.0}
    assert {each.layer for each in found.differences} == {"head"}, "the one name that both have"
    assert all("1 layer of the same name has numbers" in sentence for sentence in found.statements)
    assert "images.digest" in {row.name for row in found.differing}
    assert "images" in found.warnings[0]
    with pytest.raises(JobError, match=r"--same-training says .* but only wide has a layer fine"):
        compare([wide, painted], same_training=True)


def test_verdicts_that_change_are_counted_and_units_that_change_most_come_first(copied: Any) -> None:
    def flipped(frame: pd.DataFrame) -> pd.DataFrame:
        place = frame.index[~frame["is_dead"] & (frame["verdict"] == "no split shown")][2]
        frame.loc[place, "verdict"] = "several"
        frame.loc[place, "gap"] += 5
        return frame

    one, two = copied("one"), copied("two", flipped)
    table = compare([one, two]).comparison.pairings[0].table
    assert table is not None
    assert table.verdicts is not None
    words, counts = table.verdicts.words, np.array(table.verdicts.counts)
    assert counts.sum() - np.trace(counts) == counts[words.index("no split shown"), words.index("several")] == 1
    (changed,) = table.changed["gap"]
    assert changed.change == pytest.approx(5)
    assert changed.verdicts == ("no split shown", "several")


# ---- inputs --------------------------------------------------------------------------------------------------------


def test_what_differs_is_listed_and_what_only_costs_time_is_not(copied: Any) -> None:
    one, two = runs_of(copied("one"), copied("two"))
    manifest = json.loads(json.dumps(two.manifest))
    manifest["images"]["digest"] = "0" * 64
    for entry in manifest["stages"].values():
        settings = entry["settings"]
        if "calibrate" in settings:
            settings["calibrate"] |= {"nulls": ["embedding"], "sets_per_shard": 7}
        if "collect" in settings:
            settings["collect"]["batch"] = 3
    rows = differing([one, replace(two, manifest=manifest)])
    assert {row.name: row.spoils for row in rows} == {"images.digest": "images", "calibrate.nulls": "nulls"}


def test_refusals(copied: Any, tmp_path: Path) -> None:
    one = copied("one")
    with pytest.raises(JobError, match="two runs or more, got 1"):
        compare([one])
    with pytest.raises(TableError, match="holds no run"):
        compare([one, str(tmp_path / "nothing")])
    bare = copied("bare")
    Path(bare, "map.parquet").unlink()
    with pytest.raises(TableError, match=r"has no map\.parquet"):
        compare([one, bare])
    keep = ["layer", "channel", "depth", "is_dead"]
    with pytest.raises(TableError, match="no score in common"):
        compare([one, copied("other", lambda frame: frame[keep])])
    foreign = copied("foreign", lambda frame: frame.assign(layer=frame["layer"] + "?"))
    with pytest.raises(TableError, match="its table `layers` does not have"):
        compare([one, foreign])
    assert not (tmp_path / "comparison").exists(), "nothing is written of what is refused"


METRICS = [
    ("", "begins with 'nothing'"),
    ("accuracy\n1\n", "begins with 'accuracy'"),
    ("run,a,a\none,1,1\ntwo,1,1\n", "every name once"),
    ("run,a\none,1\n", "no line for the run .*two"),
    ("run,a\none,1\ntwo,2\nthree,3\n", "'three', which is not compared"),
    ("run,a\none,1\none,2\n", "names the run .* again"),
    ("run,a\none,1\ntwo,\n", "line 3 .* has no value for a"),
    ("run,a\none,1\ntwo,high\n", "line 3 .* has 'high' for a; allowed are finite numbers"),
    ("run,a\none,1\ntwo,nan\n", "has 'nan' for a"),
    ("run,a\none,1\ntwo\n", "line 3 .* has 1 fields, the first line 2"),
]


@pytest.mark.parametrize(("text", "says"), METRICS)
def test_a_wrong_metric_file_is_refused_with_its_line(copied: Any, tmp_path: Path, text: str, says: str) -> None:
    runs = runs_of(copied("one"), copied("two"))
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(JobError, match=says):
        metrics_of(str(tmp_path / "m.csv"), runs)
    with pytest.raises(JobError, match="there is no such file"):
        metrics_of(str(tmp_path / "none.csv"), runs)


def test_runs_are_named_in_the_metric_file_by_address_folder_or_place(copied: Any, tmp_path: Path) -> None:
    one, two = copied("one"), copied("two")
    runs = runs_of(one, two, two)
    (tmp_path / "m.csv").write_text(f"\ufeffrun, step ,accuracy\n2,20,.5\n{one}/,10,.25\n\n3,30,.75\n")
    assert metrics_of(str(tmp_path / "m.csv"), runs) == {"step": [10, 20, 30], "accuracy": [0.25, 0.5, 0.75]}
    (tmp_path / "m.csv").write_text("run,a\none,1\ntwo,2\n3,3\n")
    with pytest.raises(JobError, match="2 runs have this name; give the place instead: 2 or 3"):
        metrics_of(str(tmp_path / "m.csv"), runs)


# ---- files and the command -----------------------------------------------------------------------------------------


def test_csv_and_json_hold_the_same_numbers_in_full(copied: Any) -> None:
    compared = compare([copied("one"), copied("two", raised)], same_training=False)
    content = json.loads(Path(compared.address, "comparison.json").read_text())
    rows = list(csv.DictReader(io.StringIO(Path(compared.address, "comparison.csv").read_text())))
    kinds = {
        "layer mean": "means",
        "network mean": "network",
        "layer difference": "differences",
        "overall difference": "overall",
    }
    for kind, key in kinds.items():
        mine = [row for row in rows if row["kind"] == kind]
        assert len(mine) == len(content[key]) > 0
        for row, its in zip(mine, content[key], strict=True):
            assert row["column"] == its["column"]
            assert [float(row[name]) if row[name] else None for name in ("mean", "low", "high")] == [
                its[name] for name in ("mean", "low", "high")
            ]
    assert [run["address"].rpartition("/")[2] for run in content["runs"]] == ["one", "two"]
    assert (content["seed"], content["draws"]) == (0, 1000)


def test_any_address_is_written_to(copied: Any) -> None:
    one = copied("one")
    address = compare([one, one], out="memory://side/by/side").address
    storage = Storage(address)
    assert storage.files()[-1] == "index.html"
    assert b"Layer by layer" in storage.read("index.html")
    storage.remove("")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `polyscan compare` in this process; its status, output and messages."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["polyscan", "compare", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_the_command_prints_a_table_and_the_page(command: Any, copied: Any, tmp_path: Path) -> None:
    one, two = copied("one"), copied("[red]", raised)
    (tmp_path / "m.csv").write_text("run,accuracy\n1,0.5\n2,0.75\n")
    status, out, err = command(one, two, "--metric", tmp_path / "m.csv", "--same-training")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == f"{tmp_path}/comparison/index.html"
    assert "[red] less one, units live in both" in out
    assert "0.3000 [0.3000 to 0.3000]" in out
    for layer in ("fine", "coarse", "head"):
        assert layer in out
    assert "higher in [red] than in one by 0.3 on average" in out
    assert json.loads((tmp_path / "comparison" / "comparison.json").read_text())["metrics"] == {"accuracy": [0.5, 0.75]}
    status, _, err = command(one)
    assert (status, "two runs or more" in err) == (2, True)
    status, _, err = command(one, two, "--metric", tmp_path / "none.csv")
    assert (status, "there is no such file" in err) == (2, True)


@pytest.mark.slow
def test_checkpoints_of_one_training_are_known_by_their_names(tmp_path: Path, no_pages: None) -> None:
    """Two real scans: the weights' names tell that they are a series, and a dead unit counts in no pair."""
    import torch

    network = toy.network()
    for epoch, scale in ((1, 0.3), (2, 1.0)):
        torch.save({k: v * scale for k, v in network.state_dict().items()}, tmp_path / f"epoch_{epoch}.pt")
        weights = str(tmp_path / f"epoch_{epoch}.pt")
        job = toy.job(tmp_path / "images", network__weights=weights, visualize__enabled=False, embed__crops=False)
        polyscan.scan(job, str(tmp_path / f"run_{epoch}"))
    found = compare([str(tmp_path / "run_1"), str(tmp_path / "run_2")]).comparison
    assert "only in the training step" in found.pairings[0].why
    table = found.pairings[0].table
    assert table is not None
    assert table.n == sum(run.n_units for run in found.runs) / 2
    assert table.n_live <= table.n - max(run.n_dead for run in found.runs)
