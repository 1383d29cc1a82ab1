"""Image files made to hurt: a picture or a reason, in bounded time and memory, and never the end of the process.

`make fuzz N=10000 SEED=3` decodes so many; `make test` a few hundred.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz import jury, pictures

from polyscan.images import ImageOptions, Picture, Reject, open_images
from polyscan.images.decode import MOST_SCANS, decode, has_many_scans

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of memory and time as POSIX has them")

N = int(os.environ.get("FUZZ_N", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
IS_LONG = "FUZZ_N" in os.environ
KINDS = ("empty: ", "huge: ", "truncated: ", "corrupt: ", "unsupported: ", "not an image")
PER_PROCESS = 2_500
QUICK_BOMBS = [name for name in pictures.BOMBS if pictures.HEAVY not in name and not name.startswith("png i")]


def verdicts_of(folder: Path, *what: str) -> tuple[list[dict[str, Any]], str]:
    """What a jury says of each file, and its stderr; a jury that dies fails the test by the file's name."""
    path = folder / "verdicts"
    done = subprocess.run(
        [sys.executable, "-W", "error", jury.__file__, str(path), *what],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2))},
    )
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    at = rows[-1].get("begin", "none") if rows else "none"
    assert done.returncode == 0, f"ended with {done.returncode} at {at}:\n{done.stderr[-2000:]}"
    return [row for row in rows if "end" in row], done.stderr


def faults(verdicts: list[dict[str, Any]]) -> Iterator[str]:
    """Files that came to neither a picture nor a reason of one line."""
    for verdict in verdicts:
        outcome = verdict["outcome"]
        is_line = "\n" not in outcome and len(outcome) < 300 and outcome.isprintable()
        if not is_line or not outcome.startswith(("picture", *KINDS)):
            yield f"{verdict['end']}: {outcome[:300]!r}"


@pytest.mark.timeout(600)
def test_mutants_are_pictures_or_reasons(tmp_path: Path) -> None:
    """Nothing raised, no crash, no file of more than 10 s or 1 GiB, and stderr has libtiff's few lines at most."""
    found: list[dict[str, Any]] = []
    for first in range(0, N, PER_PROCESS):
        count = min(PER_PROCESS, N - first)
        verdicts, stderr = verdicts_of(tmp_path, str(SEED), str(first), str(count))
        assert len(verdicts) == count
        assert not list(faults(verdicts))
        assert len(stderr.splitlines()) <= count / 4, stderr[-2000:]
        assert "Traceback" not in stderr
        assert "Warning" not in stderr
        found += verdicts
    kinds = {verdict["outcome"].split()[0].rstrip(":") for verdict in found}
    # All must occur, or the mutations would test one path only.
    assert kinds >= {"picture", "huge", "truncated", "corrupt", "unsupported", "not"}
    if IS_LONG:
        slowest = max(found, key=lambda verdict: verdict["seconds"])
        print(f"{len(found)} files; slowest {slowest}; peak {found[-1]['peak_kib'] >> 10} MiB")  # noqa: T201


def test_bombs_are_defused(tmp_path: Path) -> None:
    """A file that says it is huge, or is packed a thousandfold, is a reason or a small picture at once."""
    verdicts, _ = verdicts_of(tmp_path, "bombs", *QUICK_BOMBS)
    assert not list(faults(verdicts))
    outcomes = {verdict["end"]: verdict["outcome"] for verdict in verdicts}
    arrays = ("npy that says it is huge",)
    for name in ("png 60,000 x 60,000", "webp canvas", "jpeg of many scans", "bmp of ends of lines", *arrays):
        assert outcomes[name].startswith("huge: "), (name, outcomes[name])
    for name in ("gif without end", "gif comment", "tiff loop"):
        assert outcomes[name].startswith("picture ("), (name, outcomes[name])


@pytest.mark.skipif(not IS_LONG, reason="takes a minute; `make fuzz` runs it")
def test_the_largest_pictures_that_are_allowed_take_less_than_a_gigabyte(tmp_path: Path) -> None:
    """Each by itself: what one leaves behind must not be the next one's fault."""
    for name in [name for name in pictures.BOMBS if name not in QUICK_BOMBS]:
        verdicts, _ = verdicts_of(tmp_path, "bombs", name)
        assert not list(faults(verdicts))
        print(verdicts)  # noqa: T201


def test_the_jury_would_see_a_file_that_takes_too_much(tmp_path: Path) -> None:
    """A process that is killed for its time names the file; one that is short of memory says that it was raised."""
    code = (
        "import sys; from fuzz import jury, pictures; jury.{limit} = {value}; jury.decode = lambda *_: {decoder};"
        "jury.main(sys.argv[1], '0', '7', '1')"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2))}
    path = tmp_path / "verdicts"

    def judged(**words: str) -> tuple[int, list[dict[str, Any]]]:
        command = [sys.executable, "-c", code.format(**words), str(path)]
        done = subprocess.run(command, capture_output=True, check=False, env=env)
        return done.returncode, [json.loads(line) for line in path.read_text().splitlines()]

    status, rows = judged(limit="PATIENCE_S", value="0", decoder="[0 for _ in iter(int, 1)]")
    assert status < 0
    assert "file 7" in rows[-1]["begin"]
    if sys.platform == "linux":
        _, rows = judged(limit="ROOM", value="1 << 24", decoder="bytearray(1 << 25)")
        assert list(faults([row for row in rows if "end" in row]))


def test_the_same_seed_makes_the_same_files() -> None:
    """A seed and a number name a file for good."""
    once = [pictures.mutant(SEED, index) for index in range(60)]
    pictures.sound_files.cache_clear()
    assert [pictures.mutant(SEED, index) for index in range(60)] == once
    assert [pictures.mutant(SEED + 1, index) for index in range(60)] != once


def test_sound_files_are_pictures() -> None:
    """What is mutated is readable before; an ICO alone is of no kind that photos come in."""
    for name, content in pictures.sound_files().items():
        outcome = decode(content, jury.MAX_PIXELS)
        assert isinstance(outcome, str) == (name == "ico"), (name, outcome)


def test_a_folder_of_mutants_gives_a_picture_or_a_reject_for_every_file(tmp_path: Path) -> None:
    """Nothing vanishes: a reject names its file and what is wrong with it."""
    contents = [pictures.mutant(SEED, index)[1] for index in range(80)]
    for number, content in enumerate(contents):
        (tmp_path / f"{number:03d}.jpg").write_bytes(content)
    source = open_images(str(tmp_path), options=ImageOptions(max_pixels=1_000_000))
    found = list(source.read(range(len(source))))
    assert [entry.path for entry in found] == [f"{number:03d}.jpg" for number in range(80)]
    assert {type(entry) for entry in found} == {Picture, Reject}
    for entry in found:
        assert isinstance(entry, Picture) or entry.reason.startswith(KINDS), entry


@pytest.mark.parametrize("n_scans", [MOST_SCANS - 1, MOST_SCANS])
def test_a_jpeg_may_have_so_many_scans(n_scans: int) -> None:
    """The limit is the same for every JPEG, wherever else its bytes look like a scan's beginning."""
    content = pictures.scan_bomb(64, n_scans)  # and the first one
    assert has_many_scans(content) == (n_scans + 1 > MOST_SCANS)
    looks_like = b"\xff\xe5" + (2 + 40_000).to_bytes(2, "big") + b"\xff\xda\xff\x00" * 10_000
    sound = pictures.sound_files()["jpeg"]
    for full_of_markers in (sound[:2] + looks_like + sound[2:], sound + b"\xff\xda" * 1000):
        assert not has_many_scans(full_of_markers)
        assert isinstance(decode(full_of_markers, 10_000), np.ndarray)
