"""Images that a run has read: touched and copied ones go on, replaced ones are refused, whatever their times."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image

from polyscan import pipeline
from polyscan.errors import JobError, ShardError
from polyscan.images import ImageOptions, open_images
from polyscan.inputs.unchanged import STAMPS, check_unchanged, note_stamps
from polyscan.job import Job
from polyscan.run import Run

REPLACED = "red/000.ppm has the same name and size as when .* was made, but another content. Use a new --run"


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of one size in bytes, and a run that has read them."""
    folder = tmp_path_factory.mktemp("unchanged")
    toy.paint(folder / "images")
    for path in sorted((folder / "images").rglob("*.png")):
        Image.open(path).save(path.with_suffix(".ppm"))
        path.unlink()
    job, run = job_of(folder), Run(str(folder / "run"))
    fingerprints = pipeline.settle(job, run)
    for stage in pipeline.STAGES[:2]:
        worker = pipeline.shard_worker(stage, job, run, fingerprints[stage.name])
        pipeline.complete(stage, worker, run, pipeline.in_process, pipeline.Silence())
    return folder


@pytest.fixture
def folder(scanned: Path, tmp_path: Path) -> Path:
    """A copy of it: all files have other times."""
    shutil.copytree(scanned, tmp_path / "copy", copy_function=shutil.copyfile)
    return tmp_path / "copy"


def job_of(folder: Path) -> Job:
    return toy.job(folder / "images")


def replace(path: Path, *, time: os.stat_result | None = None) -> None:
    """Another picture of the same size."""
    pixels = np.random.default_rng(0).integers(0, 256, (toy.SIDE, toy.SIDE, 3), dtype=np.uint8)
    before = path.stat().st_size
    Image.fromarray(pixels).save(path)
    assert path.stat().st_size == before
    if time is not None:
        os.utime(path, ns=(time.st_atime_ns, time.st_mtime_ns))


def test_every_image_that_was_read_has_its_checksum(scanned: Path) -> None:
    run, source = Run(str(scanned / "run")), open_images(str(scanned / "images"), options=ImageOptions())
    pictures = {picture.image: picture.checksum for picture in source.read(range(len(source)))}
    for table in ("sample", "images"):
        rows = run.read(table)
        assert dict(zip(rows["image"], rows["checksum"], strict=True)) == pictures


def test_a_copy_with_other_times_goes_on(folder: Path) -> None:
    run = Run(str(folder / "run"))
    before = run.files.content(STAMPS)
    pipeline.settle(job_of(folder), run)
    assert run.files.content(STAMPS) != before, "the times are those of the copy now"


def test_nothing_is_read_if_no_file_was_written_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, source = Run(str(folder / "run")), open_images(str(folder / "images"), options=ImageOptions())
    note_stamps(run, source)
    read: list[int] = []
    contents = type(source).contents
    monkeypatch.setattr(type(source), "contents", lambda self, ids: (read.extend(ids), contents(self, ids))[1])
    check_unchanged(run, source)
    assert read == []
    os.utime(folder / "images" / "red" / "003.ppm")
    source = open_images(str(folder / "images"), options=ImageOptions())
    check_unchanged(run, source)
    assert read == list(source.images_of_file("red/003.ppm"))
    assert len(read) == 1


def test_a_replaced_image_is_refused_and_nothing_is_lost(folder: Path) -> None:
    run = Run(str(folder / "run"))
    pipeline.settle(job_of(folder), run)
    victim = folder / "images" / "red" / "000.ppm"
    content, manifest = victim.read_bytes(), run.manifest()
    replace(victim)
    for _ in range(2):  # the refusal itself must not be what makes it pass
        with pytest.raises(JobError, match=REPLACED):
            pipeline.settle(job_of(folder), run)
    assert run.manifest() == manifest
    victim.write_bytes(content)
    pipeline.settle(job_of(folder), run)


def test_a_replaced_image_whose_times_were_put_back_is_found_too(folder: Path) -> None:
    run = Run(str(folder / "run"))
    pipeline.settle(job_of(folder), run)
    victim = folder / "images" / "red" / "000.ppm"
    replace(victim, time=victim.stat())
    with pytest.raises(JobError, match=REPLACED):
        pipeline.settle(job_of(folder), run)


def test_verify_reads_all_images(folder: Path) -> None:
    """Where even the stamps say that nothing has changed, as on a file system without times."""
    run = Run(str(folder / "run"))
    replace(folder / "images" / "red" / "000.ppm")
    toy.forge_stamps(folder / "run", folder / "images")
    pipeline.settle(job_of(folder), run)
    with pytest.raises(JobError, match=REPLACED):
        pipeline.settle(job_of(folder), run, verify=True)


@pytest.mark.parametrize("damage", [b"", b"no gzip", None])
def test_without_stamps_all_images_are_compared(folder: Path, damage: bytes | None) -> None:
    run = Run(str(folder / "run"))
    path = folder / "run" / STAMPS
    path.unlink() if damage is None else path.write_bytes(damage)
    pipeline.settle(job_of(folder), run)
    path.unlink()
    replace(folder / "images" / "red" / "000.ppm")
    with pytest.raises(JobError, match=REPLACED):
        pipeline.settle(job_of(folder), run)


def test_an_image_that_changes_under_a_scan_is_an_error_where_it_is_read_again(folder: Path) -> None:
    """`collect` has read it, and `embed` cuts its crops out of what is there now."""
    job, run = job_of(folder), Run(str(folder / "run"))
    pipeline.scan(job, run, pipeline.in_process)
    replace(folder / "images" / "red" / "000.ppm")
    toy.forge_stamps(folder / "run", folder / "images")
    with pytest.raises(ShardError, match=r"red/000\.ppm has another content than when `collect` read it; restore it"):
        pipeline.scan(job, run, pipeline.in_process, redo="embed")


def test_redo_from_the_first_stage_takes_the_new_images(folder: Path) -> None:
    run = Run(str(folder / "run"))
    replace(folder / "images" / "red" / "000.ppm")
    with pytest.raises(JobError, match=REPLACED):
        pipeline.settle(job_of(folder), run, redo="collect")
    pipeline.settle(job_of(folder), run, redo="survey")
    assert not len(run.read("images"))
