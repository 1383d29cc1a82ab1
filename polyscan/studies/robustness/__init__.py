"""Scores a finished run again under other settings, each in RUN/variants/<name>/, and measures how far they agree.

A variant is an ordinary run that reuses every stage that would come out the same, so only what differs is computed.
Both maps of a comparison are made from tables, by the present version of the code.
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
from polyscan.manifest import inputs_of
from polyscan.manifest.differing import differences
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
    """The result of one variant.

    Args:
        variant: its settings.
        taken_over: the stages that are reused from the run.
        note: what its numbers can't show; may be empty.
        overall: agreement over all units.
        within_layers: median rho over layers, by number.
        layers: agreement in each layer, by name, in forward order.
    """

    variant: Variant
    taken_over: list[str]
    note: str
    overall: MapAgreement
    within_layers: dict[str, float | None]
    layers: dict[str, MapAgreement]


@dataclass(frozen=True)
class Report:
    """The results of all variants of a run."""

    address: str
    findings: list[Finding]
    skipped: list[Skipped]

    def to_json(self) -> str:
        """The content of `robustness.json`: always the same keys in the same order."""
        variants = [
            {
                "name": finding.variant.name,
                "question": finding.variant.question,
                "changes": dict(finding.variant.changes),
                "taken_over": finding.taken_over,
                "note": finding.note,
                "overall": asdict(finding.overall),
                "within_layers": finding.within_layers,
                "layers": [{"layer": layer, **asdict(agreement)} for layer, agreement in finding.layers.items()],
            }
            for finding in self.findings
        ]
        content = {"about": ABOUT, "variants": variants, "skipped": [asdict(skipped) for skipped in self.skipped]}
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
    """Completes every variant of a finished run, compares each with the run, and writes `robustness.json`.

    Args:
        address: the run.
        embedders: further values of `embed.model`, a variant each.
        rescan: whether to repeat the whole scan with another seed.
        on: `local` or `ray`, as for a scan.
        workers: number of Ray workers, as for a scan.
        watcher: is notified of every shard.

    Raises:
        TableError: if there is no run, or it is not finished.
        JobError: if the run was made by another version of polyscan, or its inputs have changed since.
        ModelError: if an embedder is unknown.
        ShardError: if a shard of a variant failed three times; what is done is kept.
    """
    base = Results(address).run
    job = _checked_job(base)
    with pinned_threads(job):
        frame = unit_map(job, base)
    has_p = "p" in frame and bool(frame["p"].notna().any())
    variants = list(variants_of(job, embedders=embedders, rescan=rescan, has_p=has_p))
    with runner_for(on, workers, job.workers) as runner:
        # All variants are prepared before the first one runs, so that errors come early.
        prepared = [PreparedVariant.prepared(variant, base) for variant in variants if isinstance(variant, Variant)]
        findings = [variant.finding(frame, base, runner, watcher or Silence()) for variant in prepared]
    report = Report(base.address, findings, [variant for variant in variants if isinstance(variant, Skipped)])
    base.storage.put("robustness.json", report.to_json().encode())
    return report


def _checked_job(base: Run) -> Job:
    """The job of a run that is finished, made by this version and writable.

    Raises:
        TableError: if the run is not finished.
        JobError: if it was made by another version, or its folder can't be written.
    """
    require_finished(base, NAMES)
    job = stored_job(base)
    _refuse_other_version(job, base)
    base.files.require_writable()
    return job


# ---- one variant ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PreparedVariant:
    """A variant with its run, whose manifest is written; ready to be completed."""

    variant: Variant
    job: Job
    run: Run
    fingerprints: Mapping[str, str]

    @classmethod
    def prepared(cls, variant: Variant, base: Run) -> PreparedVariant:
        """Writes the manifest of the variant; drops stages that were made from a base that has changed since.

        Raises:
            JobError: if weights or images are not those that the base was made from.
            ModelError: if its embedder is unknown.
        """
        run = Run(f"{base.address}/variants/{variant.name}")
        job = stored_job(base, variant.changes)
        changed_inputs = {"embedder"} if variant.changes_embedder else set[str]()
        fingerprints = pipeline.settle(job, run, redo=_outdated(job, run, base, changed_inputs))
        before, now = (
            {name: digest for name, digest in inputs_of(each).items() if name not in changed_inputs}
            for each in (base, run)
        )
        if changes := list(differences(before, now)):
            raise JobError(
                f"the inputs of {base.address} have changed since it was made ({'; '.join(changes)}), so its variants "
                "would differ in these, too; restore them, or run it again: polyscan scan ... --redo survey"
            )
        return cls(variant, job, run, fingerprints)

    def finding(self, frame: pd.DataFrame, base: Run, runner: Runner, watcher: Watcher) -> Finding:
        """Computes the stages that can't be reused from the base, writes the variant's map, and compares it.

        Args:
            frame: the base's map.
            base: the run whose stages are reused.
            runner: runs the shards.
            watcher: is notified of every shard.
        """
        taken_over = reuse(base, self.run, NAMES)
        for stage in STAGES:
            worker = pipeline.shard_worker(stage, self.job, self.run, self.fingerprints[stage.name])
            pipeline.complete(stage, worker, self.run, runner, _Labelled(self.variant.name, watcher))
        with pinned_threads(self.job):
            other = report.write_map(self.job, self.run)
        layers = {
            str(layer): compared(rows, other[other["layer"] == layer])
            for layer, rows in frame.groupby("layer", sort=False)
        }
        note = _note(base) if self.variant.changes_embedder else ""
        return Finding(self.variant, taken_over, note, compared(frame, other), within_layers(layers), layers)


@dataclass(frozen=True)
class _Labelled:
    """Reports the stages of a variant under its name, without those that are reused."""

    name: str
    watcher: Watcher

    def begin(self, stage: str, *, done: int, total: int) -> None:
        if done < total:
            self.watcher.begin(f"{self.name}: {stage}", done=done, total=total)

    def outcome(self, outcome: Outcome) -> None:
        self.watcher.outcome(outcome)


def _outdated(job: Job, run: Run, base: Run, changed_inputs: set[str]) -> str | None:
    """The first stage of an earlier variant that would come out differently with the base as it is now."""
    kept = {name: digest for name, digest in inputs_of(run).items() if name in changed_inputs}
    return _first_other(job, run, {**inputs_of(base), **kept})


def _refuse_other_version(job: Job, base: Run) -> None:
    """Refuses a run of another version: its variants would differ by more than their settings.

    Raises:
        JobError: if this version would make one of its stages differently.
    """
    if stage := _first_other(job, base, inputs_of(base)):
        raise JobError(
            f"{base.address} was made by another version of polyscan, whose `{stage}` is not that of this version; run "
            f"it again first: polyscan scan {base.address}/job.toml --run {base.address} --redo {stage}"
        )


def _first_other(job: Job, run: Run, inputs: Mapping[str, str]) -> str | None:
    """The first stage of a run whose fingerprint is not that of this job with these inputs."""
    known = run.manifest().get("stages", {})
    present = manifest.stage_entries(STAGES, job, inputs)
    names = (name for name in NAMES if name in known and known[name]["fingerprint"] != present[name]["fingerprint"])
    return next(names, None)


def _note(base: Run) -> str:
    """How many units another embedder affects; empty if all."""
    layers = base.layer_table()
    real = layers[layers["role"] == REAL]
    n_embedded, n_units = int(real["n_units"][real["space"] == "image"].sum()), int(real["n_units"].sum())
    if n_embedded == n_units:
        return ""
    return (
        f"{n_embedded:,} of {n_units:,} units are compared as embedded images; the others are compared in the "
        "network's own features, which no embedder changes"
    )
