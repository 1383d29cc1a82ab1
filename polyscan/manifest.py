"""What a run was made from: each stage's fingerprint, `run.json`, and the error message if a fingerprint differs.

Law: a stage's fingerprint covers its settings, its tables' versions and the fingerprints of what it reads. Tables with
another fingerprint are refused, never mixed.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType
from typing import Any

from polyscan.errors import JobError
from polyscan.images import ImageSource
from polyscan.inputs import check_network, open_distance, open_embedder, open_images, open_reader
from polyscan.job import Job, settings_of
from polyscan.run import Run
from polyscan.storage import Storage
from polyscan.tables import TABLES
from polyscan.vision.checking import peaks_on_noise
from polyscan.vision.devices import arithmetic
from polyscan.vision.embedders import Embedder
from polyscan.vision.readouts import Reader, chosen_layers

EVERYWHERE = ("seed", "threads", "device")
"""Settings that every table depends on."""
PACKAGES = ("polyscan", "torch", "pyarrow", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Stage:
    """One stage of a scan.

    Args:
        module: defines `shards(job, run)` and `Worker(job, run)`; its last name is the stage's name.
        reads: the stages and inputs (`network`, `images`, `distance`, `embedder`) whose results it reads.
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


def settle(stages: Sequence[Stage], job: Job, run: Run, *, redo: str | None = None) -> dict[str, str]:
    """Opens all inputs of the job, so that errors are raised before anything runs, and writes `run.json`.

    Args:
        stages: in their order.
        job: the settings.
        run: its results folder.
        redo: a stage to redo, with all stages that depend on it.

    Returns:
        Each stage's fingerprint.

    Raises:
        JobError: if the run was made with other settings, its folder is that of the images, or `redo` is not a stage.
    """
    inputs, about = opened(job)
    _refuse_folder_of_images(job, run)
    entries = stage_entries(stages, job, inputs)
    if redo is not None and redo not in entries:
        raise JobError(f'unknown stage "{redo}" after --redo; stages: {", ".join(entries)}')
    manifest = run.manifest()
    redone = _following(stages, redo) if redo else set[str]()
    _refuse_other_settings(run, manifest, entries, redone)
    for stage in redone:
        run.clear(stage)
    run.save_manifest({**manifest, **about, "stages": {**manifest.get("stages", {}), **entries}})
    run.files.put("job.toml", job.to_toml().encode())
    return {name: entry["fingerprint"] for name, entry in entries.items()}


def _refuse_folder_of_images(job: Job, run: Run) -> None:
    """Refuses to write a run among the images themselves: later its files could not be told from them."""
    if Storage(job.images.source).is_same(run.storage):
        raise JobError(
            f"{run.address} is the folder of the images, so it can't be the results folder, too; allowed is any other "
            "folder, also one inside it. Use another --run."
        )


def opened(job: Job) -> tuple[dict[str, str], dict[str, Any]]:
    """Digests of the inputs, and what the run records about them."""
    reader = open_reader(job)
    images = open_images(job)
    about_network = _about_network(job, reader)
    check_network(job, reader, images)
    embedder = open_embedder(job, reader.network)
    distance = _distance_version(job, reader)
    digests = {
        "network": about_network["network"]["digest"],
        "images": images.digest,
        "distance": str(distance),
        "embedder": embedder.digest,
    }
    about = {
        **about_network,
        "images": {**_about_images(images), "source": job.images.source, "digest": digests["images"]},
        "embedder": _about_embedder(embedder),
        "distance": distance,
        **_about_machine(),
    }
    return digests, about


def _distance_version(job: Job, reader: Reader) -> str | None:
    """Version of the perceptual distance; None if the job makes no visualizations."""
    if not job.visualize.enabled:
        return None
    chosen_layers([point.layer for point in reader.points], job.visualize.layers)  # raises if a name is wrong
    return open_distance(job, reader.network).version


def _about_network(job: Job, reader: Reader) -> dict[str, Any]:
    network = {
        "name": job.network.name,
        "weights": job.network.weights,
        "weights_taken": reader.network.weights_taken,
        "is_untrained": reader.network.is_untrained,
        "digest": reader.network.digest,
        "peaks_on_noise": peaks_on_noise(reader),
    }
    return {
        "network": network,
        "left_out": dict(reader.left_out),
        "is_traced": reader.is_traced,
        "untraced_because": reader.untraced_because,
        "input_px": reader.network.preprocessing.input_px,
        "device": str(reader.network.device),
    }


def _about_images(images: ImageSource) -> dict[str, Any]:
    return {"n": len(images), "labels": images.labels, "left_out": images.left_out}


def _about_embedder(embedder: Embedder) -> dict[str, Any]:
    return {"name": embedder.name, "digest": embedder.digest, "input_px": embedder.preprocessing.input_px}


def _about_machine() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "gpu": arithmetic(),
    }


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


def _refuse_other_settings(run: Run, manifest: Mapping[str, Any], entries: Mapping[str, Any], redone: set[str]) -> None:
    for stage, entry in entries.items():
        before = manifest.get("stages", {}).get(stage)
        if before is None or stage in redone or before["fingerprint"] == entry["fingerprint"]:
            continue
        changed = [*differences(before["settings"], entry["settings"]), *differences(before["inputs"], entry["inputs"])]
        what = "; ".join(changed) or "another version of its tables"
        made_by = manifest.get("versions", {}).get("polyscan")
        by = "" if made_by in (None, version("polyscan")) else f" by polyscan {made_by}"
        raise JobError(
            f"{run.address} was made{by} with other settings (`{stage}` {before['fingerprint'][:4]}, here "
            f"{entry['fingerprint'][:4]}: {what}). Use a new --run, restore the settings, or redo the stage with "
            f"--redo {stage}."
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


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
