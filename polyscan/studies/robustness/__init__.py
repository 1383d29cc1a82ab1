"""The same finished run under other settings, each in RUN/variants/<name>/, and how far its units' numbers agree.

A variant is an ordinary run that takes over every stage that would come out the same, so only what differs is computed.
The maps that are compared are both made from tables by the same code, now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from polyscan import manifest, pipeline, report
from polyscan.errors import JobError
from polyscan.inputs import pinned_threads
from polyscan.job import Job
from polyscan.manifest import differences, inputs_of
from polyscan.pipeline import STAGES, Silence, Watcher
from polyscan.report.unit_map import unit_map
from polyscan.results import Results, stored_job
from polyscan.run import Run
from polyscan.run.reuse import require_finished, reuse
from polyscan.shards import Outcome, Runner
from polyscan.studies.robustness.agreement import ABOUT, MapAgreement, compared, within_layers
from polyscan.studies.robustness.variants import Skipped, Variant, variants_of
from polyscan.studies.scanning import runner_for
from polyscan.units import REAL

NAMES = tuple(stage.name for stage in STAGES)


@dataclass(frozen=True)
class Finding:
    """What came of one variant.

    Args:
        variant: its settings.
        taken_over: the stages that it shares with the run.
        note: what its numbers can't tell; may be empty.
        overall: all units.
        within_layers: median rho over layers, by number.
        layers: each by its name, in forward order.
    """

    variant: Variant
    taken_over: list[str]
    note: str
    overall: MapAgreement
    within_layers: dict[str, float | None]
    layers: dict[str, MapAgreement]


@dataclass(frozen=True)
class Report:
    """All variants of a run."""

    address: str
    findings: list[Finding]
    skipped: list[Skipped]

    def to_json(self) -> str:
        """Content of `robustness.json`: the same keys in the same order, whatever was found."""
        variants = [
            {
                "name": finding.variant.name,
                "question": finding.variant.question,
                "changes": dict(finding.variant.changes),
                "taken_over": finding.taken_over,
                "note": finding.note,
                "overall": asdict(finding.overall),
                "within_layers": finding.within_layers,
                "layers": [{"layer": layer, **asdict(its)} for layer, its in finding.layers.items()],
            }
            for finding in self.findings
        ]
        content = {"about": ABOUT, "variants": variants, "skipped": [asdict(each) for each in self.skipped]}
        return json.dumps(content, indent=2, allow_nan=False) + "\n"


def robustness(
    address: str,
    *,
    embedders: Sequence[str] = (),
    rescan: bool = False,
    on: str | None = None,
    workers: int | None = None,
    watcher: Watcher | None = None,
) -> Report:
    """Brings every variant of a finished run to its end, compares each with the run, and writes `robustness.json`.

    Args:
        address: the run.
        embedders: further `embed.model`s, a variant each.
        rescan: whether the whole scan is made again with another seed.
        on: `local` or `ray`, as for a scan.
        workers: Ray workers, as for a scan.
        watcher: is told of every shard.

    Raises:
        TableError: if there is no run, or it is not finished.
        JobError: if the run was made by another version, or of other inputs than there are now.
        ModelError: if an embedder is none.
        ShardError: if a shard of a variant failed three times; what is done is kept.
    """
    base = Results(address).run
    require_finished(base, NAMES)
    job = stored_job(base)
    _refuse_other_version(job, base)
    base.files.require_writable()
    with pinned_threads(job):
        frame = unit_map(job, base)
    has_p = "p" in frame and bool(frame["p"].notna().any())
    asked = list(variants_of(job, embedders=embedders, rescan=rescan, has_p=has_p))
    with runner_for(on, workers, job.workers) as runner:
        # All before the first one works: what is wrong with any is said before anything runs.
        prepared = [PreparedVariant.prepared(variant, base) for variant in asked if isinstance(variant, Variant)]
        findings = [bench.finding(frame, base, runner, watcher or Silence()) for bench in prepared]
    report = Report(base.address, findings, [each for each in asked if isinstance(each, Skipped)])
    base.storage.put("robustness.json", report.to_json().encode())
    return report


# ---- a variant made ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PreparedVariant:
    """A variant with its run, settled and ready to be brought to its end."""

    variant: Variant
    job: Job
    run: Run
    fingerprints: Mapping[str, str]

    @classmethod
    def prepared(cls, variant: Variant, base: Run) -> PreparedVariant:
        """Settles the variant's manifest; what was made of a base that has changed since is forgotten.

        Raises:
            JobError: if weights or images are not those that the base was made of.
            ModelError: if its embedder is none.
        """
        run = Run(f"{base.address}/variants/{variant.name}")
        job = stored_job(base, variant.changes)
        its_own = {"embedder"} if variant.changes_embedder else set[str]()
        fingerprints = pipeline.settle(job, run, redo=_outdated(job, run, base, its_own))
        before, now = ({k: v for k, v in inputs_of(each).items() if k not in its_own} for each in (base, run))
        if found := list(differences(before, now)):
            raise JobError(
                f"{base.address} was made of other things than there are now ({'; '.join(found)}), so its variants "
                "would differ in these, too; restore them, or make the run anew: polyscan scan ... --redo survey"
            )
        return cls(variant, job, run, fingerprints)

    def finding(self, frame: pd.DataFrame, base: Run, runner: Runner, watcher: Watcher) -> Finding:
        """Does what the base has not done in the same way, writes the variant's map, and compares it.

        Args:
            frame: the base's map.
            base: what is taken over from.
            runner: where workers live.
            watcher: is told of every shard.
        """
        taken_over = reuse(base, self.run, NAMES)
        for stage in STAGES:
            worker = pipeline.shard_worker(stage, self.job, self.run, self.fingerprints[stage.name])
            pipeline.complete(stage, worker, self.run, runner, _Labelled(self.variant.name, watcher))
        with pinned_threads(self.job):
            other = report.write_map(self.job, self.run)
        layers = {
            str(layer): compared(mine, other[other["layer"] == layer])
            for layer, mine in frame.groupby("layer", sort=False)
        }
        note = _note(base) if self.variant.changes_embedder else ""
        return Finding(self.variant, taken_over, note, compared(frame, other), within_layers(layers), layers)


@dataclass(frozen=True)
class _Labelled:
    """Tells of a variant's stages under its name, and not of those that are taken over."""

    name: str
    watcher: Watcher

    def begin(self, stage: str, *, done: int, total: int) -> None:
        if done < total:
            self.watcher.begin(f"{self.name}: {stage}", done=done, total=total)

    def outcome(self, outcome: Outcome) -> None:
        self.watcher.outcome(outcome)


def _outdated(job: Job, run: Run, base: Run, its_own: set[str]) -> str | None:
    """The first stage of a variant that is not what it would be made of the base as it is now."""
    kept = {name: digest for name, digest in inputs_of(run).items() if name in its_own}
    return _first_other(job, run, {**inputs_of(base), **kept})


def _refuse_other_version(job: Job, base: Run) -> None:
    """A base that this version would not make: its variants would differ by more than their settings."""
    if stage := _first_other(job, base, inputs_of(base)):
        raise JobError(
            f"{base.address} was made by another version of polyscan, whose `{stage}` is not today's; make it anew "
            f"first: polyscan scan {base.address}/job.toml --run {base.address} --redo {stage}"
        )


def _first_other(job: Job, run: Run, inputs: Mapping[str, str]) -> str | None:
    """The first stage of a run that is not what this job makes of these inputs."""
    known = run.manifest().get("stages", {})
    wanted = manifest.stage_entries(STAGES, job, inputs)
    names = (name for name in NAMES if name in known and known[name]["fingerprint"] != wanted[name]["fingerprint"])
    return next(names, None)


def _note(base: Run) -> str:
    """An embedder has no say where units are compared in the network's own features."""
    layers = base.layer_table()
    real = layers[layers["role"] == REAL]
    n_embedded, n_units = int(real["n_units"][real["space"] == "image"].sum()), int(real["n_units"].sum())
    if n_embedded == n_units:
        return ""
    return (
        f"{n_embedded:,} of {n_units:,} units are compared as embedded images; the others are compared in the "
        "network's own features, which no embedder changes"
    )
