"""A run under other settings: what is taken over, what is made, and how two maps are compared."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toy
from torchvision.models import squeezenet1_1

from polyscan import cli, manifest, pipeline
from polyscan.errors import JobError, ModelError, TableError
from polyscan.job import Job
from polyscan.report.unit_map import unit_map
from polyscan.results import Results
from polyscan.results.tiers import TIERS
from polyscan.run import Run
from polyscan.run.reuse import require_finished, reuse
from polyscan.shards import Outcome, Receipt, Shard
from polyscan.storage import Storage
from polyscan.studies.robustness import NAMES, Report, robustness
from polyscan.studies.robustness.agreement import ABOUT, NUMBERS, MapAgreement, RankAgreement, compared, within_layers
from polyscan.studies.robustness.variants import Skipped, Variant, variants_of
from polyscan.tables import TABLES

BEFORE_CALIBRATE = list(NAMES[: NAMES.index("calibrate")])
CALLED = ("several", "several, certified")
VERDICTS = (
    "no split shown",
    "suggestive",
    "probably several",
    "several",
    "several, certified",
    "incoherent",
    "off_range",
    "saturated",
    "",
)

# ---- two maps ------------------------------------------------------------------------------------------------------


def random_map(seed: int, n: int = 60) -> pd.DataFrame:
    """Two layers of units with ties, gaps and every verdict."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({"layer": np.repeat(["low", "high"], n // 2), "channel": [*range(n // 2)] * 2})
    for name in NUMBERS:
        frame[name] = generator.integers(0, 12, n) / 12
        frame.loc[generator.random(n) < 0.1, name] = np.nan
    frame["verdict"] = generator.choice(VERDICTS, n)
    frame["is_dead"] = generator.random(n) < 0.1
    return frame


def literal_rho(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's correlation of mean ranks, both from their definitions."""

    def ranks(values: Sequence[float]) -> list[float]:
        return [sum(v < own for v in values) + (sum(v == own for v in values) + 1) / 2 for own in values]

    a, b = ranks([x for x, _ in pairs]), ranks([y for _, y in pairs])
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    products = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    squares = [sum((x - mean) ** 2 for x in side) for side, mean in ((a, mean_a), (b, mean_b))]
    return products / (squares[0] * squares[1]) ** 0.5


def literal_kappa(pairs: Sequence[tuple[object, object]]) -> float:
    """(observed - expected) / (1 - expected), answers counted one by one."""
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    answers = {answer for pair in pairs for answer in pair}
    expected = sum(sum(a == x for a, _ in pairs) / n * (sum(b == x for _, b in pairs) / n) for x in answers)
    return (observed - expected) / (1 - expected)


@pytest.mark.parametrize("seed", range(4))
def test_a_comparison_equals_its_definition(seed: int) -> None:
    one, other = random_map(seed), random_map(seed + 100).drop(index=[3, 17])
    found = compared(one, other.sample(frac=1, random_state=seed))
    rows = {(r["layer"], r["channel"]): r for r in other.to_dict("records")}
    pairs = [(r, rows[r["layer"], r["channel"]]) for r in one.to_dict("records") if (r["layer"], r["channel"]) in rows]
    pairs = [(a, b) for a, b in pairs if not a["is_dead"] and not b["is_dead"]]
    assert found.units == len(pairs)
    for name in NUMBERS:
        known = [(a[name], b[name]) for a, b in pairs if a[name] == a[name] and b[name] == b[name]]
        assert found.rho[name].units == len(known)
        assert found.rho[name].rho == pytest.approx(literal_rho(known), abs=1e-6)
    told = [(a["verdict"], b["verdict"]) for a, b in pairs if a["verdict"] and b["verdict"]]
    assert found.verdicts.units == len(told)
    assert found.verdicts.share == pytest.approx(sum(a == b for a, b in told) / len(told), abs=1e-6)
    assert found.verdicts.kappa == pytest.approx(literal_kappa(told), abs=1e-6)
    judged = [(a in CALLED, b in CALLED) for a, b in told if {a, b} <= set(TIERS)]
    assert found.several.units == len(judged) > 3
    assert found.several.share == pytest.approx(sum(a == b for a, b in judged) / len(judged), abs=1e-6)
    assert found.several.kappa == pytest.approx(literal_kappa(judged), abs=1e-6)


def test_a_map_agrees_with_itself_throughout() -> None:
    found = compared(random_map(0), random_map(0))
    assert [found.rho[name].rho for name in NUMBERS] == [1.0] * len(NUMBERS)
    assert (found.verdicts.share, found.verdicts.kappa) == (1.0, 1.0)
    assert (found.several.share, found.several.kappa) == (1.0, 1.0)


def test_a_reversed_map_disagrees_throughout() -> None:
    one = random_map(0).assign(verdict=["suggestive", "several"] * 30)
    other = one.assign(
        verdict=["several, certified", "no split shown"] * 30, **{name: 2 - one[name] for name in NUMBERS}
    )
    found = compared(one, other)
    assert [found.rho[name].rho for name in NUMBERS] == [-1.0] * len(NUMBERS)
    assert (found.several.share, found.verdicts.share) == (0.0, 0.0)
    assert found.several.kappa == pytest.approx(-1, abs=0.05)


def test_what_has_no_answer_is_none_and_never_nan() -> None:
    one = random_map(0).assign(verdict="suggestive", clarity=0.5)
    found = compared(one, one.drop(columns="psi"))
    assert found.rho["psi"] == RankAgreement(None, 0)
    assert found.rho["clarity"].rho is None
    assert (found.several.share, found.several.kappa) == (1.0, None), "one answer only: chance alone would agree"
    bare = compared(one.drop(columns="verdict"), one)
    assert bare.verdicts.share is bare.several.share is None
    nobody = compared(one, one.assign(is_dead=True))
    assert (nobody.units, nobody.verdicts.units, nobody.rho["gap"]) == (0, 0, RankAgreement(None, 0))


def test_certified_or_not_is_another_verdict_and_the_same_answer() -> None:
    one = random_map(0).assign(verdict=["suggestive", "several"] * 30)
    found = compared(one, one.assign(verdict=["suggestive", "several, certified"] * 30))
    assert found.verdicts.share == pytest.approx(0.5, abs=0.1)
    assert (found.several.share, found.several.kappa) == (1.0, 1.0)


def test_a_unit_with_two_rows_is_refused() -> None:
    one = random_map(0)
    with pytest.raises(pd.errors.MergeError):
        compared(one, pd.concat([one, one]))


def test_the_median_over_layers_leaves_out_small_layers() -> None:
    base = compared(random_map(0), random_map(1))

    def layer(rho: float | None, units: int) -> MapAgreement:
        return replace(base, rho={name: RankAgreement(rho, units) for name in NUMBERS})

    layers = {"a": layer(0.2, 10), "b": layer(0.6, 50), "c": layer(-1.0, 9), "d": layer(None, 50)}
    assert within_layers(layers) == dict.fromkeys(NUMBERS, 0.4)
    assert within_layers({"c": layers["c"]}) == dict.fromkeys(NUMBERS, None)


# ---- which variants ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.paint(tmp_path_factory.mktemp("pictures") / "images")


def named(job: Job, **asked: object) -> dict[str, Variant | Skipped]:
    return {each.name: each for each in variants_of(job, **asked)}  # type: ignore[arg-type]


def changes(variant: Variant | Skipped) -> dict[str, object]:
    assert isinstance(variant, Variant)
    return dict(variant.changes)


def test_the_variants_of_a_job(pictures: Path) -> None:
    found = named(toy.job(pictures, collect__k=41), embedders=["timm:a/b", "timm:a/b"], rescan=True)
    assert {name: changes(each) for name, each in found.items()} == {
        "n-half": {"score.n_exemplars": 20},
        "restarts": {"score.restarts": 3},
        "seed": {"score.seed": 1},
        "match": {"calibrate.match": "nearest"},
        "embedder-timm-a-b": {"embed.model": "timm:a/b", "embed.input_px": None},
        "rescan": {"seed": 1},
    }
    assert list(named(toy.job(pictures))) == ["n-half", "restarts", "seed", "match"], "a rescan is dear"
    other = named(toy.job(pictures, calibrate__match="nearest", score__seed=1, seed=4), rescan=True)
    assert changes(other["match"]) == {"calibrate.match": "regression"}
    assert changes(other["seed"]) == {"score.seed": 2}
    assert changes(other["rescan"]) == {"seed": 5}


@pytest.mark.parametrize(
    ("settings", "asked", "name", "says"),
    [
        ({"collect__k": 39}, {}, "n-half", "half of 39 exemplars is 19; with fewer than 20"),
        ({"collect__k": 41, "score__n_exemplars": 39}, {}, "n-half", "half of 39"),
        ({"collect__k": 41, "embed__n_exemplars": 30}, {}, "n-half", "half of 30"),
        ({"score__restarts": 3}, {}, "restarts", "itself has 3 k-means starts"),
        ({}, {"has_p": False}, "match", "no unit of the run has a p"),
        ({}, {"embedders": ["penultimate"]}, "embedder-penultimate", "is the embedder of the run itself"),
    ],
)
def test_a_variant_that_can_not_be_is_skipped_with_a_sentence(
    pictures: Path, settings: dict[str, object], asked: dict[str, object], name: str, says: str
) -> None:
    skipped = named(toy.job(pictures, **settings), **asked)[name]
    assert isinstance(skipped, Skipped)
    assert says in skipped.reason


# ---- files taken over ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["disk", "memory"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where runs may lie; what is left in the memory file system is removed."""
    address = str(tmp_path) if request.param == "disk" else f"memory://{tmp_path.name}"
    yield address
    Storage(address).remove("")


def small_run(address: str, fingerprint: str = "f0") -> Run:
    """A run of two stages of two shards, with images for all that it has."""
    run = Run(address)
    for stage, table in (("collect", "rejects"), ("visualize", "visualizations")):
        for index in range(2):
            columns = {c.name: [] for c in TABLES[table].columns}
            run.write(Shard(stage, index, 2, index, index + 1), {table: columns}, fingerprint=fingerprint, seconds=1.5)
        run.ledger.note_plan(stage, 2)
    settled(run, collect=fingerprint, visualize=fingerprint)
    return run


def settled(run: Run, **fingerprints: str) -> Run:
    run.save_manifest({"stages": {stage: {"fingerprint": fingerprint} for stage, fingerprint in fingerprints.items()}})
    return run


STAGES = ("collect", "visualize")


def test_a_file_is_taken_over_whole_wherever_it_lies(places: str, tmp_path: Path) -> None:
    source, target = Storage(f"{places}/a"), Storage(f"{places}/b")
    source.put("table/part", b"content")
    target.put("table/part", b"an older one")
    for _ in range(2):  # the second time both are one file already
        target.link("table/part", source)
        assert target.read("table/part") == b"content"
    far = Storage(str(tmp_path / "far"))
    far.link("table/part", target)
    assert far.read("table/part") == b"content"
    target.put("table/part", b"of its own")
    assert source.read("table/part") == b"content"
    with pytest.raises(FileNotFoundError):
        target.link("table/none", source)
    assert target.files() == ["table/part"]
    if source.is_local:
        assert [path.name for path in (tmp_path / "b" / "table").iterdir()] == ["part"], "something was left beside it"


def test_a_file_system_without_links_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = Storage(str(tmp_path / "a")), Storage(str(tmp_path / "b"))
    source.put("x", b"content")
    target.link("x", source)
    assert os.path.samefile(tmp_path / "a" / "x", tmp_path / "b" / "x")

    def across(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", across)
    Storage(str(tmp_path / "c")).link("x", source)
    assert (tmp_path / "c" / "x").read_bytes() == b"content"
    assert not os.path.samefile(tmp_path / "a" / "x", tmp_path / "c" / "x")


def test_only_stages_of_the_same_fingerprint_are_taken_over(places: str) -> None:
    base = small_run(f"{places}/base")
    variant = settled(Run(f"{places}/variant"), collect="f0", visualize="f1")
    assert reuse(base, variant, STAGES) == ["collect"]
    assert variant.ledger.done("collect") == base.ledger.done("collect")
    assert variant.ledger.done("visualize") == {}
    assert [part.file for part in variant.parts("rejects")] == [part.file for part in base.parts("rejects")]
    assert variant.ledger.verify() == []
    assert not any(name.startswith("visualizations") for name in variant.storage.files())


def test_neither_run_can_alter_what_the_other_holds(places: str) -> None:
    base, variant = small_run(f"{places}/base"), Run(f"{places}/variant")
    reuse(base, settled(variant, collect="f0", visualize="f0"), STAGES)
    shard = Shard("collect", 0, 2, 0, 1)
    columns = {c.name: [] for c in TABLES["rejects"].columns}
    before = base.ledger.done_record(shard)
    variant.write(shard, {"rejects": columns}, fingerprint="other", seconds=0.0)
    assert variant.parts("rejects")[0].sha256 != base.parts("rejects")[0].sha256, "the test writes what was there"
    variant.clear("visualize")
    assert base.ledger.verify() == variant.ledger.verify() == []
    assert base.ledger.done_record(shard) == before
    assert len(base.ledger.done("visualize")) == 2


@pytest.mark.parametrize("n_links", range(8))
def test_an_interrupted_reuse_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_links: int) -> None:
    base = small_run(str(tmp_path / "base"))
    variant = settled(Run(str(tmp_path / "variant")), collect="f0", visualize="f0")
    linked: list[str] = []
    real = Storage.link

    def interrupted(self: Storage, name: str, source: Storage) -> None:
        if len(linked) == n_links:
            raise KeyboardInterrupt
        linked.append(name)
        real(self, name, source)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "link", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reuse(base, variant, STAGES)
    assert variant.ledger.verify() == [], "a done record names a part that is not there"
    again: list[str] = []
    monkeypatch.setattr(Storage, "link", lambda self, name, source: (again.append(name), real(self, name, source)))
    assert reuse(base, variant, STAGES) == list(STAGES)
    assert len(again) == 8 - n_links // 2 * 2, "a shard that was taken over was taken over again"
    assert [variant.ledger.done(stage) for stage in STAGES] == [base.ledger.done(stage) for stage in STAGES]


def test_what_can_not_be_taken_over_is_said(places: str) -> None:
    base = small_run(f"{places}/base")
    with pytest.raises(TableError, match=r"has no run\.json to compare fingerprints by"):
        reuse(base, Run(f"{places}/variant"), STAGES)
    variant = settled(Run(f"{places}/variant"), collect="f0", visualize="f0")
    lost = base.parts("rejects")[1].file
    base.storage.remove(lost)
    with pytest.raises(TableError, match=f"has lost {lost}; the same `polyscan scan` makes it again"):
        reuse(base, variant, STAGES)
    base.storage.remove("done/visualize/00000-of-00002.json")
    with pytest.raises(TableError, match="not finished: `visualize` has 1 of 2 shards left; run `polyscan scan` again"):
        require_finished(base, STAGES)
    with pytest.raises(TableError, match="not finished: `embed` has not begun"):
        require_finished(base, ["embed"])
    with pytest.raises(TableError, match="not finished: `collect` has 2 of 2 shards left"):
        require_finished(settled(base, collect="f1"), STAGES)  # done, but with other settings


# ---- the study -----------------------------------------------------------------------------------------------------


class Ledger:
    """Notes which shards were done, and may interrupt after so many."""

    def __init__(self, most: int | None = None) -> None:
        self.begun: list[str] = []
        self.done: list[tuple[str, int]] = []
        self.most = most

    def begin(self, stage: str, *, done: int, total: int) -> None:
        self.begun.append(stage)

    def outcome(self, outcome: Outcome) -> None:
        assert isinstance(outcome, Receipt)
        self.done.append((self.begun[-1], outcome.shard.index))
        if len(self.done) == self.most:
            raise KeyboardInterrupt


def small_job(pictures: Path, **settings: object) -> Job:
    small = {"visualize__enabled": False, "embed__crops": False, "network__layers": ["paint", "head"],
             "survey__controls": 2, "survey__planted": 2, "survey__readouts": 24, "calibrate__embedding_sets": 24,
             "score__max_clusters": 2, "score__units_per_shard": 8, "score__restarts": 3}  # fmt: skip
    return toy.job(pictures, **{**small, **settings})


def scanned(job: Job, address: Path, *, redo: str | None = None) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.report, "draw", lambda *_: None)  # takes longer than all stages here
        pipeline.scan(job, Run(str(address)), pipeline.in_process, redo=redo)
    return Run(str(address))


def contents(folder: Path) -> dict[str, str]:
    """Sha256 of every file of a run, its variants left out."""
    files = (path for path in folder.rglob("*") if path.is_file() and "variants" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tables_of(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in contents(folder).items() if name.endswith(".parquet")}


def follow(run: Run, first: str) -> list[str]:
    """A stage and those behind it that have something to do."""
    return [stage for stage in NAMES[NAMES.index(first) :] if run.ledger.planned(stage)]


@pytest.fixture(scope="module")
def studied(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report, Ledger, dict[str, str]]:
    """A finished run, what came of it, what was done for that, and what lay there before."""
    address = tmp_path_factory.mktemp("studied") / "run"
    scanned(small_job(pictures), address)
    before, ledger = contents(address), Ledger()
    return address, robustness(str(address), watcher=ledger), ledger, before


def test_the_run_itself_is_left_as_it_was(studied: tuple[Path, Report, Ledger, dict[str, str]]) -> None:
    address, _, _, before = studied
    after = contents(address)
    assert after.pop("robustness.json")
    assert after == before


def test_only_what_differs_is_computed(studied: tuple[Path, Report, Ledger, dict[str, str]]) -> None:
    address, report, ledger, _ = studied
    base = Run(str(address))
    assert [finding.variant.name for finding in report.findings] == ["seed", "match"]
    assert ledger.begun == [f"{name}: {stage}" for name in ("seed", "match") for stage in follow(base, "calibrate")]
    for finding in report.findings:
        assert finding.taken_over == BEFORE_CALIBRATE
        variant = Run(f"{address}/variants/{finding.variant.name}")
        for stage in BEFORE_CALIBRATE:
            for file in base.storage.files(f"done/{stage}"):
                assert os.path.samefile(base.storage.path(file), variant.storage.path(file))
            for record in base.ledger.done(stage).values():
                for part in record.parts:
                    assert os.path.samefile(base.storage.path(part.file), variant.storage.path(part.file))
        for stage in follow(base, "calibrate"):
            fingerprints = [{r.fingerprint for r in run.ledger.done(stage).values()} for run in (base, variant)]
            assert fingerprints[0].isdisjoint(fingerprints[1])


def test_a_variant_is_an_ordinary_finished_run(studied: tuple[Path, Report, Ledger, dict[str, str]]) -> None:
    address, _, _, _ = studied
    variant = Results(f"{address}/variants/seed")
    require_finished(variant.run, NAMES)
    assert variant.run.ledger.verify() == []
    assert "seed = 1\n" in (address / "variants" / "seed" / "job.toml").read_text().partition("[score]")[2]
    assert len(variant.map) == 8
    assert "verdict" in variant.map
    nulls = [run.read("nulls", where={"null": "embedding"}) for run in (Run(str(address)), variant.run)]
    assert len(nulls[0]) == len(nulls[1]) > 0
    assert not nulls[0]["value"].equals(nulls[1]["value"]), "the pooled null was drawn with the same seed"


def test_what_is_reported_is_the_comparison_of_the_two_maps(
    studied: tuple[Path, Report, Ledger, dict[str, str]], pictures: Path
) -> None:
    address, report, _, _ = studied
    one = unit_map(small_job(pictures), Run(str(address)))
    assert not (address / "map.parquet").exists(), "nothing was drawn here"
    for finding in report.findings:
        other = Results(f"{address}/variants/{finding.variant.name}").map
        assert finding.overall == compared(one, other)
        assert finding.overall.units == int((~one["is_dead"]).sum()) >= 5
        assert list(finding.layers) == ["paint", "head"]
        head = [frame[frame["layer"] == "head"] for frame in (one, other)]
        assert finding.layers["head"] == compared(*head)


def test_the_file_is_plain_and_its_keys_stand_in_order(studied: tuple[Path, Report, Ledger, dict[str, str]]) -> None:
    address, _, _, _ = studied
    text = (address / "robustness.json").read_text()
    content = json.loads(text)
    assert list(content) == ["about", "variants", "skipped"]
    assert content["about"] == ABOUT
    for variant in content["variants"]:
        assert list(variant) == [
            "name",
            "question",
            "changes",
            "taken_over",
            "note",
            "overall",
            "within_layers",
            "layers",
        ]
        assert list(variant["overall"]) == ["units", "rho", "verdicts", "several"]
        assert list(variant["overall"]["rho"]) == list(variant["within_layers"]) == list(NUMBERS)
    assert [skipped["name"] for skipped in content["skipped"]] == ["n-half", "restarts"]
    assert str(address) not in text
    assert "NaN" not in text


def test_the_same_settings_are_taken_over_whole_and_give_the_same_map(
    studied: tuple[Path, Report, Ledger, dict[str, str]], pictures: Path, tmp_path: Path
) -> None:
    address, _, _, _ = studied
    job, variant, ledger = small_job(pictures), Run(str(tmp_path / "twin")), Ledger()
    pipeline.settle(job, variant)
    assert reuse(Run(str(address)), variant, NAMES) == list(NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.report, "draw", lambda *_: None)
        pipeline.scan(job, variant, pipeline.in_process, watcher=ledger)
    assert ledger.done == []
    assert tables_of(tmp_path / "twin") == tables_of(address)
    one, twin = unit_map(job, Run(str(address))), pipeline.report.write_map(job, variant)
    pd.testing.assert_frame_equal(one, twin)
    found = compared(one, twin)
    assert {found.rho[name].rho for name in NUMBERS} == {1.0}
    assert found.verdicts.share == 1.0


def test_nothing_is_done_twice(studied: tuple[Path, Report, Ledger, dict[str, str]]) -> None:
    address, report, _, _ = studied
    ledger = Ledger()
    before = {path: path.stat().st_mtime_ns for path in (address / "variants").rglob("done/**/*.json")}
    again = robustness(str(address), watcher=ledger)
    assert (ledger.begun, ledger.done) == ([], [])
    assert again == report
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_study_resumes_with_the_same_result(
    studied: tuple[Path, Report, Ledger, dict[str, str]], tmp_path: Path
) -> None:
    address, report, whole, _ = studied
    copy = tmp_path / "run"
    shutil.copytree(address, copy, ignore=shutil.ignore_patterns("variants", "robustness.json"))
    n_first = sum(name.startswith("seed") for name, _ in whole.done) + 2
    first, second = Ledger(most=n_first), Ledger()
    with pytest.raises(KeyboardInterrupt):
        robustness(str(copy), watcher=first)
    assert not (copy / "robustness.json").exists()
    found = robustness(str(copy), watcher=second)
    assert first.done + second.done == whole.done
    assert found.findings == report.findings
    assert (copy / "robustness.json").read_text() == (address / "robustness.json").read_text()
    for name in ("seed", "match"):
        assert tables_of(copy / "variants" / name) == tables_of(address / "variants" / name)


def test_a_base_made_anew_makes_its_variants_anew(
    studied: tuple[Path, Report, Ledger, dict[str, str]], pictures: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(studied[0], copy)
    scanned(small_job(pictures, score__seed=7), copy, redo="calibrate")
    ledger = Ledger(most=1)
    with pytest.raises(KeyboardInterrupt):
        robustness(str(copy), watcher=ledger)
    assert ledger.done == [("seed: calibrate", 0)]
    assert "seed = 8" in (copy / "variants" / "seed" / "job.toml").read_text()
    for name in ("seed", "match"):
        variant = Run(f"{copy}/variants/{name}")
        assert variant.ledger.verify() == []
        assert variant.ledger.done("score") == {}, "scores of the base as it was were kept"


def test_another_embedder_embeds_and_judges_anew(
    studied: tuple[Path, Report, Ledger, dict[str, str]], tmp_path: Path
) -> None:
    copy, weights = tmp_path / "run", tmp_path / "weights.pth"
    shutil.copytree(studied[0], copy)
    torch.manual_seed(0)
    torch.save(squeezenet1_1().state_dict(), weights)
    ledger = Ledger()
    model = f"torchvision:squeezenet1_1/{weights}"
    report = robustness(str(copy), embedders=[model], watcher=ledger)
    finding = report.findings[-1]
    name = finding.variant.name
    assert re.fullmatch(r"embedder-torchvision-squeezenet1_1-[0-9a-f]{8}", name)
    assert ledger.begun == [f"{name}: {stage}" for stage in follow(Run(str(copy)), "embed")]
    assert finding.taken_over == BEFORE_CALIBRATE[:-1]
    assert finding.note.startswith("3 of 8 units are compared as embedded images")
    paint, head = finding.layers["paint"], finding.layers["head"]
    assert paint.rho["clarity"].rho == 1.0, "its own features are the same"
    assert head.rho["clarity"].rho is not None
    base, variant = Results(str(copy)).run, Results(f"{copy}/variants/{name}")
    values = [unit_map(toy.job(copy, embed__model=m), r) for m, r in (("penultimate", base), (model, variant.run))]
    head_clarity = [frame["clarity"][frame["layer"] == "head"].to_numpy() for frame in values]
    assert not np.allclose(head_clarity[0], head_clarity[1]), "the embedder was not another"
    assert variant.run.ledger.verify() == []


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.fixture
def finished(studied: tuple[Path, Report, Ledger, dict[str, str]], tmp_path: Path) -> Path:
    """A finished run without variants that a test may spoil."""
    copy = tmp_path / "run"
    shutil.copytree(studied[0], copy, ignore=shutil.ignore_patterns("variants", "robustness.json"))
    return copy


def command(words: Sequence[object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Status, output and errors of the console script with these words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["polyscan", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_the_command_prints_a_row_a_variant_and_what_was_skipped(
    studied: tuple[Path, Report, Ledger, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, report, _, _ = studied
    status, out, err = command(["robustness", address, "--quiet"], capsys)
    assert (status, err) == (0, "")
    for finding in report.findings:
        row = next(line for line in out.splitlines() if line.startswith(f"{finding.variant.name}\t"))
        numbers = row.split("\t")[1:]
        its = finding.overall
        values = [its.rho["gap"].rho, its.rho["separation"].rho, its.rho["psi"].rho, its.verdicts.share]
        assert numbers == [*(f"{value:.2f}" for value in values), numbers[4], str(its.units)]
        assert numbers[4] == ("-" if its.several.kappa is None else f"{its.several.kappa:.2f}")
        assert f"{finding.variant.name}: {finding.variant.question}" in out
    assert "skipped n-half: half of 8 exemplars is 4" in out
    assert out.splitlines()[-1] == f"{address}/robustness.json"


def test_an_unfinished_run_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next((finished / "done" / "score").glob("*.json")).unlink()
    status, out, err = command(["robustness", finished], capsys)
    assert (status, out) == (2, "")
    assert "is not finished: `score` has 1 of " in err
    assert "`polyscan scan`" in err
    assert not (finished / "variants").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--embedder", "clip"], 'unknown embedder "clip"; write torchvision:NAME/WEIGHTS'),
        (["--on", "slurm"], '`on` must be "local" or "ray", got "slurm"'),
        (["--workers", "0"], "`workers` must be at least 1, got 0"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    finished: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    status, _, err = command(["robustness", finished, *words], capsys)
    assert status == 2
    assert says in err
    assert not list(finished.glob("variants/*/done"))
    assert not (finished / "robustness.json").exists()


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="holds no run"):
        robustness(str(tmp_path))


def test_a_run_of_another_version_is_refused(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = {**TABLES, "matches": replace(TABLES["matches"], version=99)}
    monkeypatch.setattr(manifest, "TABLES", newer)
    with pytest.raises(JobError, match=r"made by another version of polyscan, whose `score` is not.*--redo score"):
        robustness(str(finished))
    assert not (finished / "variants").exists()


def test_a_run_of_other_images_is_refused_and_can_be_mended(finished: Path, pictures: Path) -> None:
    picture = next((pictures / "red").iterdir())
    away = picture.rename(pictures.parent / picture.name)
    try:
        with pytest.raises(JobError, match=r"have changed since it was made \(images: .*; restore them"):
            robustness(str(finished))
    finally:
        away.rename(picture)
    assert not list(finished.glob("variants/*/done"))
    with pytest.raises(ModelError, match='unknown embedder "clip"'):  # it gets past the images, and no further
        robustness(str(finished), embedders=["clip"])
    assert Run(f"{finished}/variants/seed").manifest()["images"]["n"] == toy.N_IMAGES
