"""What a run was made from: each stage's fingerprint, `run.json`, and the error message if a fingerprint differs.

Law: a stage's fingerprint covers its settings, its tables' versions and the fingerprints of what it reads. Tables with
another fingerprint are refused, never mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from polyscan.errors import JobError
from polyscan.inputs import (
    check_unchanged,
    digests_and_facts,
    note_stamps,
    open_images,
)
from polyscan.inputs.readable import check_readable
from polyscan.inputs.unchanged import STAMPS
from polyscan.job import Job, k_warning, settings_of
from polyscan.manifest.differing import of_images, refuse_other_settings, refuse_other_values
from polyscan.nulls.calibration import LEAST_SETS
from polyscan.run import Run
from polyscan.run.folder import OWN_NAMES
from polyscan.storage import Storage
from polyscan.tables import TABLES
from polyscan.vision.memory import enough_memory

EVERYWHERE = ("seed", "threads", "device")
"""Settings that every table depends on."""


@dataclass(frozen=True)
class Stage:
    """One stage of a scan.

    Args:
        module: defines `shards(job, run)` and `Worker(job, run)`; its last name is the stage's name.
        reads: the stages and inputs (`network`, `code`, `images`, `directions`, `distance`, `embedder`,
            `words`) that it reads.
        settings: groups of the job that its tables depend on.
        uses_gpu: whether its workers hold a network.
        batches: groups of the job whose `batch` is halved if memory runs out.
    """

    module: ModuleType
    reads: tuple[str, ...]
    settings: tuple[str, ...] = ()
    uses_gpu: bool = False
    batches: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.module.__name__.rpartition(".")[2]


def settle(
    stages: Sequence[Stage], job: Job, run: Run, *, redo: str | None = None, verify: bool = False
) -> dict[str, str]:
    """Opens all inputs of the job, so that errors are raised before anything runs, and writes `run.json`.

    Args:
        stages: in their order.
        job: the settings, with k as a number.
        run: its results folder.
        redo: a stage to redo, with all stages that depend on it.
        verify: whether all images that the run has read are compared with those that are there now, not only those
            of files that were written again.

    Returns:
        Each stage's fingerprint.

    Raises:
        JobError: if the run was made with other settings or inputs, its folder is that of the images or holds another
            program's files of the same names, or `redo` is not a stage.
        ImagesError: if the images can't be opened, or none of a few can be read.
        TableError: if its run.json is damaged, or another program's.
    """
    manifest = run.manifest()
    images = open_images(job)
    _refuse_folderof_images(job, run)
    if not manifest:
        _refuse_files_of_others(run)
    check_readable(images, job.images.source)
    with enough_memory(job.network.name, job.network.input_px):
        inputs, about = digests_and_facts(job, images)
    entries = stage_entries(stages, job, inputs)
    if redo is not None and redo not in entries:
        raise JobError(f'unknown stage "{redo}" after --redo; stages: {", ".join(entries)}')
    redone = _following(stages, redo) if redo else set[str]()
    about["images"]["settings"] = job.images.model_dump(mode="json", exclude={"source"})
    refuse_other_settings(run, manifest, entries, redone, list(of_images(manifest, about)))
    for stage in redone:
        run.clear(stage)
    if manifest and "survey" not in redone:
        refuse_other_values(run, manifest, about)
        check_unchanged(run, images, every=verify)
    note_stamps(run, images)
    run.save_manifest({**manifest, **about, "stages": {**manifest.get("stages", {}), **entries}})
    run.files.put("job.toml", job.to_toml().encode())
    return {name: entry["fingerprint"] for name, entry in entries.items()}


def _refuse_files_of_others(run: Run) -> None:
    """Refuses to begin a run in a folder that has files which the run would replace."""
    if run.files.content(STAMPS) is not None or run.storage.files("done"):
        return  # a run whose run.json is lost
    taken = [name for name in ("job.toml", "map.parquet") if run.storage.exists(name)]
    taken += run.storage.files("maps")
    if taken:
        raise JobError(
            f"{run.address} holds no run, but a file that a run would replace: {taken[0]}; allowed is any folder "
            "without such a file. Use another --run, or move the file."
        )


def _refuse_folderof_images(job: Job, run: Run) -> None:
    """Refuses to write a run among the images themselves: its files could not be told from them, or replace them."""
    source = Storage(job.images.source)
    if source.is_same(run.storage):
        raise JobError(
            f"{run.address} is the folder of the images, so it can't be the results folder, too; allowed is any other "
            "folder, also one inside it. Use another --run."
        )
    for storage in (source, *([Storage(job.images.root)] if job.images.root else [])):
        _refuse_images_inside(run, storage)


def _refuse_images_inside(run: Run, images: Storage) -> None:
    for name in OWN_NAMES:
        if run.storage.holds(images, name):
            raise JobError(
                f"the images at {images.address} lie where the run {run.address} would write its own `{name}`; allowed "
                "is any folder in which they don't. Use another --run."
            )


def warnings_of(job: Job, run: Run) -> Iterator[str]:
    """What a user should know of the inputs of a run before it goes on, one sentence each."""
    about = run.manifest()
    name, images = about["network"]["name"], about["images"]
    if about["network"]["is_untrained"]:
        yield f"{name} is untrained: its weights are random, as the job asks"
    if not about["is_traced"]:
        yield f"{name} can't be traced ({about['untraced_because']}): layers are read at their modules' own outputs"
    for layer, why in about["left_out"].items():
        yield f"layer {layer} of {name} is not scanned: {why}"
    if images["labels"].startswith("none found"):
        yield f"labels: {images['labels']}"
    if images["left_out"]:
        yield f"not counted as images: {images['left_out']}"
    if few := k_warning(job.k, images["n"]):
        yield few
    if 0 < job.survey.readouts < LEAST_SETS:
        yield (
            f"no unit will be judged: survey.readouts = {job.survey.readouts}, but a null needs {LEAST_SETS} readouts "
            "of a layer at least, and hundreds for a small p"
        )


def note_cpu(run: Run, cpu: str) -> list[str]:
    """Records a kind of CPU that shards ran on; returns the other kinds recorded before."""
    manifest = run.manifest()
    known: list[str] = manifest.get("cpus", [])
    if cpu not in known:
        run.save_manifest({**manifest, "cpus": sorted({*known, cpu})})
    return [kind for kind in known if kind != cpu]


# ---- fingerprints ----------------------------------------------------------------------------------------------------


def stage_entries(stages: Sequence[Stage], job: Job, inputs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Settings and fingerprint of each stage; a stage's fingerprint covers those of what it reads."""
    entries: dict[str, dict[str, Any]] = {}
    known = dict(inputs)
    for stage in stages:
        settings = settings_of(job, (*EVERYWHERE, *stage.settings))
        reads = {name: known[name] for name in stage.reads}
        known[stage.name] = fingerprint(stage.name, settings, reads)
        inputs_read = {name: known[name] for name in stage.reads if name in inputs}
        entries[stage.name] = {"fingerprint": known[stage.name], "settings": settings, "inputs": inputs_read}
    return entries


def fingerprint(stage: str, settings: Mapping[str, Any], reads: Mapping[str, str]) -> str:
    """Hash of a stage's settings, its tables' schema versions and the fingerprints of what it reads.

    Args:
        stage: its name.
        settings: plain values.
        reads: fingerprint or digest of each stage or input that it reads, by name.
    """
    versions = {table.name: table.version for table in TABLES.values() if table.stage == stage}
    content = {"stage": stage, "settings": settings, "versions": versions, "reads": dict(reads)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def inputs_of(run: Run) -> dict[str, str]:
    """Digests of a run's inputs, by name."""
    entries = run.manifest().get("stages", {}).values()
    return {name: digest for entry in entries for name, digest in entry["inputs"].items()}


def _following(stages: Sequence[Stage], redo: str) -> set[str]:
    """A stage and all stages that read it, directly or not."""
    following = {redo}
    for stage in stages:
        if following & set(stage.reads):
            following.add(stage.name)
    return following
