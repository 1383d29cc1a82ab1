"""What a run was made from: each stage's fingerprint, `run.json`, and the error message if a fingerprint differs.

Law: a stage's fingerprint covers its settings, its tables' versions and the fingerprints of what it reads. Tables with
another fingerprint are refused, never mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType
from typing import Any

from polyscan.errors import JobError
from polyscan.inputs import (
    check_unchanged,
    different_layers,
    digests_and_facts,
    note_stamps,
    open_images,
)
from polyscan.inputs.readable import check_readable
from polyscan.inputs.unchanged import STAMPS
from polyscan.job import Job, settings_of
from polyscan.run import Run
from polyscan.run.folder import OWN_NAMES
from polyscan.storage import Storage
from polyscan.tables import TABLES
from polyscan.vision.memory import enough_memory

EVERYWHERE = ("seed", "threads", "device")
"""Settings that every table depends on."""


INPUTS = {
    "network": "the network's weights",
    "code": "the sources of the network's code",
    "images": "the image files, by name and size,",
    "distance": "the weights of the perceptual distance",
    "embedder": "the weights or the code of the embedder",
    "words": "the words of `embed.vocabulary`",
}


@dataclass(frozen=True)
class Stage:
    """One stage of a scan.

    Args:
        module: defines `shards(job, run)` and `Worker(job, run)`; its last name is the stage's name.
        reads: the stages and inputs (`network`, `code`, `images`, `distance`, `embedder`, `words`) that it reads.
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
        job: the settings.
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
    _refuse_folder_of_images(job, run)
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
    _refuse_other_settings(run, manifest, entries, redone, list(_of_images(manifest, about)))
    for stage in redone:
        run.clear(stage)
    if manifest and "survey" not in redone:
        _refuse_other_values(run, manifest, about)
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


def _refuse_folder_of_images(job: Job, run: Run) -> None:
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


def warnings_of(run: Run) -> Iterator[str]:
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


# ---- what differs ----------------------------------------------------------------------------------------------------


def _refuse_other_settings(
    run: Run, manifest: Mapping[str, Any], entries: Mapping[str, Any], redone: set[str], of_images: Sequence[str]
) -> None:
    for stage, entry in entries.items():
        before = manifest.get("stages", {}).get(stage)
        if before is None or stage in redone or before["fingerprint"] == entry["fingerprint"]:
            continue
        inputs = _changed(before["inputs"], entry["inputs"], of_images)
        changed = [*differences(before["settings"], entry["settings"]), *inputs]
        what = "; ".join(changed) or "another version of its tables"
        made_by = manifest.get("versions", {}).get("polyscan")
        by = "" if made_by in (None, version("polyscan")) else f" by polyscan {made_by}"
        raise JobError(
            f"{run.address} was made{by} with other settings or inputs (`{stage}` {before['fingerprint'][:4]}, here "
            f"{entry['fingerprint'][:4]}: {what}). Use a new --run, restore what differs, or redo the stage with "
            f"--redo {stage}."
        )


def _refuse_other_values(run: Run, manifest: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Refuses a network whose weights and code look the same but that gives other values, as of another library."""
    before, now = manifest.get("network", {}), about["network"]
    kinds = ("values_on_noise", "values_on_images")
    if layers := [layer for kind in kinds for layer in different_layers(before.get(kind, {}), now[kind])]:
        raise JobError(
            f"{about['network']['name']} gives other values than when {run.address} was made (first at layer "
            f"{layers[0]}): its code, or a library that it uses, has changed. Use a new --run, restore the code, or "
            "redo the stages with --redo survey."
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Each key whose value differs, as `[collect] k: 100 in the run, 64 here`."""
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{path}[{key}] " if not path else f"{path}{key}.")
        else:
            yield f"{path}{key}: {_short(old)} in the run, {_short(new)} here"


def _of_images(manifest: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """The settings of [images] that differ; none if the run does not record them."""
    before = manifest.get("images", {}).get("settings")
    if before is not None:
        yield from differences({"images": before}, {"images": about["images"]["settings"]})


def _changed(before: Mapping[str, str], now: Mapping[str, str], of_images: Sequence[str]) -> Iterator[str]:
    """Each input whose digest differs, in words; of the images the settings, if some differ."""
    for name in now:
        if before.get(name) == now[name]:
            continue
        if name == "images" and of_images:
            yield from of_images
        else:
            yield f"{INPUTS[name]} differ from those of the run"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
