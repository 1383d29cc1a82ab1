"""disentangle: takes units apart into purer readouts, scans these on other images, and says whether they are purer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyscan import pipeline
from polyscan.errors import JobError, TableError, suggestion
from polyscan.inputs import CollectedImages, check_worker, open_images, open_network, pinned_threads
from polyscan.job import Job
from polyscan.pipeline import STAGES
from polyscan.results import Results, stored_job
from polyscan.run import Run
from polyscan.run.reuse import require_finished
from polyscan.studies.disentangle import files
from polyscan.studies.disentangle.explained import explained
from polyscan.studies.disentangle.gathering import gathered
from polyscan.studies.disentangle.hows import HOWS
from polyscan.studies.disentangle.parts import UnitPart, Wishes
from polyscan.studies.disentangle.purity import Purity, purities, sentences, write_purity
from polyscan.studies.network_input import input_settings
from polyscan.studies.scanning import runner_for
from polyscan.studies.writing import writing_out
from polyscan.units import Unit

FRESH_RUN = "run"
OTHER_HALF = {"first": "second", "second": "first"}
__all__ = ["HOWS", "Disentangled", "UnitPart", "Purity", "Wishes", "disentangle", "scan_parts"]


@dataclass(frozen=True, eq=False)
class Disentangled:
    """Units taken apart.

    Args:
        run: where they were found.
        job: the run's.
        folder: what was written.
        parts: of all units, unit by unit.
        shares: by unit and number of a part, the share of the unit's variance that it explains, and that all do.
        left: units that the method gives no part of: too few images, or no second test.
        directions: the files of directions by layer.
    """

    run: Run
    job: Job
    folder: Path
    parts: Sequence[UnitPart]
    shares: files.Shares
    left: Sequence[Unit]
    directions: Mapping[str, str]


def disentangle(
    address: str,
    units: Sequence[str] = (),
    *,
    top: int | None = None,
    how: str = "vectors",
    wishes: Wishes | None = None,
    to: str | None = None,
) -> Disentangled:
    """Takes units of a finished run apart, and writes directions, `parts.csv`, `items.csv` and a job.

    Args:
        address: the run.
        units: as `layer:channel`; virtual ones, as `layer@planted:3`, too.
        top: or the so many units with the largest separation.
        how: a key of `HOWS`.
        wishes: the threshold and the like.
        to: the folder to write to; default: `disentangled-HOW` in the run's folder.

    Raises:
        JobError: if units are neither named nor counted, the method is unknown or can't be used for a unit, or the
            folder can't be written.
        TableError: if the run is not finished, or has no such unit.
    """
    if how not in HOWS:
        raise JobError(f'unknown way "{how}" after --how; {suggestion(how, HOWS)}')
    run = Results(address).run
    require_finished(run, [stage.name for stage in STAGES])
    job, wishes = stored_job(run), wishes or Wishes()
    chosen = _chosen(Results(address), units, top)
    folder = Path(to) if to else _beside(run, how)
    with pinned_threads(job):
        network, source = open_network(job), open_images(job)
        check_worker(job, run, network, source)
        images = CollectedImages(source, run)
        of = HOWS[how].of
        found = gathered(job, run, network, images, chosen, of=of)
        taken = {whole.unit: HOWS[how].take_apart(whole, found.moments[whole.parent], wishes) for whole in found.wholes}
        parts = [part for of_unit in taken.values() for part in of_unit]
        left = [unit for unit, of_unit in taken.items() if not of_unit]
        if not parts:
            raise JobError(
                f"--how {how} gives no part of {', '.join(map(str, left[:3]))}: they have too few images, or, for "
                "`second`, no second test; choose other units, or another --how"
            )
        shares = explained(job, run, network, images, parts, of=of)
    with writing_out(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        directions = files.write_directions(folder, parts, of)
        files.write_tables(folder, parts, shares, wishes.separation)
        files.write_job(folder, _with(job, directions, job.images))
        files.write_splits(folder, parts, job, input_settings(network.preprocessing))
    return Disentangled(run, job, folder, parts, shares, left, directions)


def scan_parts(
    found: Disentangled,
    images: Mapping[str, Any] | None = None,
    *,
    on: str | None = None,
    workers: int | None = None,
    watcher: pipeline.Watcher | None = None,
) -> tuple[Sequence[Purity], Sequence[str]]:
    """Scans parts on images that they were not found on, beside the network's units, and compares them with wholes.

    Args:
        found: the parts.
        images: settings of [images] that other images have; default: the other half, where the run has one half.
        on: `local` or `ray`, as for a scan.
        workers: number of Ray workers, as for a scan.
        watcher: is notified of every shard.

    Returns:
        The rows of `purity.csv`, and what they say.

    Raises:
        JobError: if there are no other images.
    """
    job = _with(found.job, found.directions, _other_images(found.job, images))
    fresh = Run(str(found.folder / FRESH_RUN))
    with runner_for(on, workers, job.workers) as runner:
        pipeline.scan(job, fresh, runner, watcher=watcher)
    with writing_out(str(found.folder)):
        files.write_job(found.folder, job)
        rows = purities(found.parts, found.shares, found.run, Results(fresh.address))
        write_purity(found.folder, rows)
    return rows, [*_overlap(found, fresh), *sentences(rows)]


def _chosen(results: Results, units: Sequence[str], top: int | None) -> list[Unit]:
    if bool(units) == (top is not None):
        raise JobError("name units, as in --units layer4:17 (may be repeated), or give --top N: one of the two")
    if top is not None:
        if top < 1:
            raise JobError(f"`--top` must be at least 1, got {top}")
        rows = results.top(top)
        return [Unit(str(layer), int(channel)) for layer, channel in zip(rows["layer"], rows["channel"], strict=True)]
    order = {layer.name: layer.n_units for layer in results.run.layers()}
    chosen = [_parsed(text) for text in dict.fromkeys(units)]
    for unit in chosen:
        if unit.channel >= order.get(unit.layer, 0):
            raise TableError(f"{results.run.address} has no unit {unit}; {suggestion(unit.layer, order)}")
    return chosen


def _parsed(text: str) -> Unit:
    try:
        return Unit.parse(text)
    except ValueError as error:
        raise TableError(str(error)) from error


def _beside(run: Run, how: str) -> Path:
    if not run.storage.is_local:
        raise JobError(f"{run.address} is not on a disk; give a folder on a disk by --to")
    return Path(run.storage.path(f"disentangled-{how}"))


def _with(job: Job, directions: Mapping[str, str], images: Any) -> Job:
    """The job with other directions and images; k stays, so that parts and wholes have as many exemplars."""
    absolute = {layer: str(Path(path).resolve()) for layer, path in directions.items()}
    return job.model_copy(update={"directions": absolute, "images": images})


def _other_images(job: Job, changes: Mapping[str, Any] | None) -> Any:
    """Settings of images other than the job's."""
    changes = dict(changes or {})
    if not changes and job.images.half:
        changes = {"half": OTHER_HALF[job.images.half]}
    images = type(job.images).model_validate({**job.images.model_dump(), **changes})
    if images == job.images:
        raise JobError(
            "there are no images that the parts were not found on: this run has all of its source. Give others by "
            '--images, or scan one half first (images.half = "first"), so that the parts are scanned on the other'
        )
    return images


def _overlap(found: Disentangled, fresh: Run) -> list[str]:
    """A warning if images of the parts' evidence are among the fresh ones."""
    used = np.unique(np.concatenate([part.images for part in found.parts]))
    before = found.run.read("images", ["image", "checksum"])
    before = set(before[before["image"].isin(used)]["checksum"]) - {""}
    n_both = len(before & set(fresh.read("images", ["checksum"])["checksum"]))
    return [f"{n_both} of {len(used)} images that the parts were found on are among the other images, too."] * (
        n_both > 0
    )
