"""What lies beside images: results of polyscan, files of an operating system, notes and tables."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy

from polyscan.errors import ImagesError, JobError, TableError
from polyscan.images import ImageOptions, ImageSource, Reject, open_images
from polyscan.images.left_out import SIDE_SUFFIXES, is_side_file
from polyscan.images.opening import IMAGE_SUFFIXES, PARQUET_SUFFIXES
from polyscan.manifest import settle
from polyscan.pipeline import STAGES
from polyscan.results import Results
from polyscan.run import Run

Encode = Callable[..., bytes]
MANIFEST = json.dumps({"versions": {"polyscan": "0.2.0"}, "stages": {}}).encode()
RUN = {
    "run.json": MANIFEST,
    "job.toml": b"",
    "done/survey/00000-of-00001.json": b"{}",
    "images/part-00000-of-00001.parquet": b"PAR1",
    "maps/index.html": b"<html>",
    "maps/units/1.png": b"\x89PNG",
}


def opened(source: Path | str, **options: object) -> ImageSource:
    return open_images(str(source), options=ImageOptions(**options))  # type: ignore[arg-type]


def paths(source: ImageSource) -> list[str]:
    return [entry.path for entry in source.read(range(len(source)))]


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


@pytest.fixture
def photos(tmp_path: Path, encode: Encode) -> Path:
    return fill(tmp_path / "photos", {"a/1.jpg": encode(), "b/2.jpg": encode(), "b/deep/3.jpg": encode()})


@pytest.mark.parametrize("place", ["run", "b/runs/first", "a-run"])
@pytest.mark.parametrize("without", [(), ("run.json",), ("job.toml", "done/survey/00000-of-00001.json")])
def test_a_run_inside_changes_nothing(photos: Path, place: str, without: tuple[str, ...]) -> None:
    before = opened(photos)
    fill(photos, below(place, {name: content for name, content in RUN.items() if name not in without}))
    after = opened(photos)
    assert (after.digest, after.labels, after.stamps) == (before.digest, before.labels, before.stamps)
    assert paths(after) == paths(before) == ["a/1.jpg", "b/2.jpg", "b/deep/3.jpg"]
    assert before.left_out == ""
    assert after.left_out == f"results folders of polyscan (1): {place}"


def test_a_manifest_as_polyscan_writes_it_marks_a_run(photos: Path) -> None:
    run = Run(str(photos / "run"))
    digest = opened(photos).digest
    run.files.require_writable()  # the first thing a scan does, before it opens the images
    assert opened(photos).digest == digest
    run.save_manifest({"versions": {"polyscan": "0.2.0"}})
    (photos / "run" / "maps").mkdir()
    (photos / "run" / "maps" / "1.png").write_bytes(b"")
    assert opened(photos).digest == digest


def test_a_damaged_manifest_still_marks_a_run(photos: Path) -> None:
    digest = opened(photos).digest
    fill(photos, below("run", {**RUN, "run.json": b'{"versio'}))
    assert opened(photos).digest == digest


def test_runs_inside_runs_are_named_once(photos: Path) -> None:
    fill(photos, below("run", RUN) | below("run/deep", RUN) | below("run2", RUN))
    assert opened(photos).left_out == "results folders of polyscan (2): run, run2"


@pytest.mark.parametrize("content", [b"{}", b"[]", b"no json", b'{"versions": {"other": 1}}', b"[" * 100_000, b"\xff"])
def test_run_json_of_another_program_hides_no_images(photos: Path, content: bytes) -> None:
    fill(photos, {"a/run.json": content})
    assert paths(opened(photos)) == ["a/1.jpg", "b/2.jpg", "b/deep/3.jpg"]


def test_a_scan_into_the_image_folder_resumes(tmp_path: Path) -> None:
    """The first command settles the job before there is a run, the second one and all workers after."""
    job, run = toy.job(tmp_path / "images"), Run(str(tmp_path / "images" / "run"))
    first = settle(STAGES, job, run)
    (tmp_path / "images" / "run" / "maps").mkdir()
    shutil.copy(next((tmp_path / "images").glob("*/*.png")), tmp_path / "images" / "run" / "maps" / "1.png")
    assert settle(STAGES, job, run) == first
    about = run.manifest()["images"]
    assert about["labels"].startswith("class folders, 3 classes (")
    assert about["left_out"] == "results folders of polyscan (1): run"


@pytest.mark.parametrize("run", ["images", "images/", "images/red/..", "link"])
def test_a_scan_does_not_write_among_the_images(tmp_path: Path, run: str) -> None:
    job = toy.job(tmp_path / "images")
    if run == "link":
        (tmp_path / "link").symlink_to(tmp_path / "images")
    with pytest.raises(JobError, match=r"is the folder of the images, so it can't be the results folder, too"):
        settle(STAGES, job, Run(f"{tmp_path}/{run}"))
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["blue", "green", "red"]


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_a_broken_link_called_run_json_hides_no_images(photos: Path) -> None:
    (photos / "a/run.json").symlink_to(photos / "nowhere")
    assert paths(opened(photos)) == ["a/1.jpg", "b/2.jpg", "b/deep/3.jpg"]


def test_a_folder_that_is_itself_a_run(photos: Path) -> None:
    fill(photos, RUN)
    with pytest.raises(ImagesError, match=r"photos is itself the results folder of a scan .* delete run\.json"):
        opened(photos)


def test_a_run_beside_parquet_files(tmp_path: Path, encode: Encode) -> None:
    pq.write_table(pa.table({"image": [encode()]}), tmp_path / "a.parquet")
    fill(tmp_path, below("run", RUN) | {"README.md": b"# A set"})
    source = opened(tmp_path)
    assert paths(source) == ["a.parquet#0"]
    assert source.left_out == (
        "results folders of polyscan (1): run; files that are no images by their names (1): README.md"
    )


@pytest.fixture
def memory() -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://bucket/photos"
    fs.store.clear()


def test_a_run_inside_images_on_an_object_store(memory: str, encode: Encode) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file(f"{memory}/a/1.jpg", encode())
    digest = opened(memory).digest
    for name, content in below("run", RUN).items():
        fs.pipe_file(f"{memory}/{name}", content)
    assert opened(memory).digest == digest
    for name, content in RUN.items():
        fs.pipe_file(f"{memory}/{name}", content)
    with pytest.raises(ImagesError, match="is itself the results folder"):
        opened(memory)


def test_files_that_are_no_images_by_their_names_are_told_and_not_counted(photos: Path, encode: Encode) -> None:
    digest = opened(photos).digest
    beside = {
        "labels.csv": b"a,1",
        "Thumbs.db": b"x",
        "b/desktop.INI": b"x",
        "__MACOSX/a/._1.jpg": b"x",
        "__MACOSX/a/1.jpg": b"x",
        "c/metadata.jsonl": b"{}",
        "photos.zip": b"PK",
    }
    source = opened(fill(photos, beside))
    assert source.digest == digest
    assert source.labels == "class folders, 2 classes (a, b)"
    expected = "files that are no images by their names (6): Thumbs.db, __MACOSX/a/1.jpg, b/desktop.INI ..."
    assert source.left_out == expected


def test_what_might_be_an_image_is_never_left_out(photos: Path) -> None:
    strange = ["a/IMG_0001", "a/x.heic", "a/y.svg", "a/z.jpg_original", "a/note.jpg.txt.png", "a/csv", "a/.5.jpg"]
    source = opened(fill(photos, dict.fromkeys(strange, b"?")))
    assert source.left_out == ""
    rejects = [entry.path for entry in source.read(range(len(source))) if isinstance(entry, Reject)]
    assert rejects == sorted(strange[:-1])  # the last one is hidden


def test_no_ending_of_images_is_among_those_left_out() -> None:
    assert not SIDE_SUFFIXES & {suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES + PARQUET_SUFFIXES}
    assert all(is_side_file(f"a.{suffix}") and is_side_file(f"b/A.{suffix.upper()}") for suffix in SIDE_SUFFIXES)


def test_nothing_but_side_files_is_an_error_that_names_them(tmp_path: Path) -> None:
    fill(tmp_path, {"a.csv": b"x", "b/c.txt": b"x"})
    with pytest.raises(ImagesError, match=r"it has no files but files that are no images by their names \(2\): a\.csv"):
        opened(tmp_path)


@pytest.mark.parametrize("source", ["images", "images/train", "maps/photos", "link"])
def test_a_scan_does_not_write_over_the_images(tmp_path: Path, source: str) -> None:
    """A run has a folder `images` of its own."""
    project = tmp_path / "project"
    painted = toy.paint(project / ("images/all" if source == "link" else source))
    if source == "link":
        (tmp_path / "link").symlink_to(painted)
        painted = tmp_path / "link"
    before = sorted(project.rglob("*"))
    with pytest.raises(JobError, match=r"lie where the run .*project would write its own `(images|maps)`"):
        settle(STAGES, toy.job(painted), Run(str(project)))
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize("name", ["job.toml", "map.parquet", "maps/img/mine.png"])
def test_a_new_run_replaces_no_files_of_others(tmp_path: Path, name: str) -> None:
    job = toy.job(tmp_path / "images")
    fill(tmp_path / "mine", {name: b"mine", "notes.txt": b"other files may be there"})
    with pytest.raises(JobError, match=f"holds no run, but a file that a run would replace: {name}"):
        settle(STAGES, job, Run(f"{tmp_path}/mine"))
    (tmp_path / "mine" / name).unlink()
    settle(STAGES, job, Run(f"{tmp_path}/mine"))
    (tmp_path / "mine" / "run.json").unlink()
    settle(STAGES, job, Run(f"{tmp_path}/mine"))  # as a message about a damaged run.json says


@pytest.mark.parametrize("content", [b"[]", b'"text"', b'{"lr": 0.1, "epochs": 90}'])
def test_run_json_of_another_program_is_no_run(tmp_path: Path, content: bytes) -> None:
    fill(tmp_path / "mine", {"run.json": content})
    with pytest.raises(TableError, match=r"holds no run: its run\.json is not polyscan's"):
        settle(STAGES, toy.job(tmp_path / "images"), Run(f"{tmp_path}/mine"))
    with pytest.raises(TableError, match=r"holds no run: its run\.json is not polyscan's"):
        Results(f"{tmp_path}/mine")
    assert (tmp_path / "mine" / "run.json").read_bytes() == content


def test_a_scan_goes_beside_the_images(tmp_path: Path) -> None:
    settle(STAGES, toy.job(toy.paint(tmp_path / "images-of-toys")), Run(str(tmp_path)))
    assert (tmp_path / "run.json").exists()
