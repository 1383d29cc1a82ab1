"""Names from data, made to hurt: escaped on every page, in no file name, and nothing written beside the run."""

from __future__ import annotations

import csv
import html.parser
import json
import os
import re
import sys
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
from fuzz.strange import FILES, LAYERS, NAMES
from PIL import Image

import polyscan
from polyscan.errors import JobError
from polyscan.images import ImageOptions, Picture, Reject, open_images
from polyscan.job import fill, parse
from polyscan.results import Results
from polyscan.run import Run

TITLE = "".join(NAMES[:4])


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its elements, its attributes, its words, and what scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words = ""
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [str(value) for name, value in attrs if name in ("href", "src")]
        self.words += "".join(str(value) for name, value in attrs if name in ("title", "alt", "aria-label"))
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            about, text = self.scripts[-1]
            self.scripts[-1] = (about, text + data)
        else:
            self.words += data


def pages(run: Path) -> dict[str, Page]:
    return {
        str(path.relative_to(run / "maps")): Page(path.read_bytes().decode())
        for path in sorted((run / "maps").rglob("*.html"))
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with strange images in Parquet, and the finished run on a strange network beside them."""
    home = tmp_path_factory.mktemp("strange")
    random = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for number in range(60):
        stream = BytesIO()
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(stream, "PNG")
        name = NAMES[number % len(NAMES)]
        rows.append({"image": {"bytes": stream.getvalue(), "path": f"{name}/{number}{name}"}, "label": name})
    rows.append({"image": {"bytes": b"no image", "path": f"bad {NAMES[0]}"}, "label": NAMES[0]})
    pq.write_table(pa.Table.from_pylist(rows), home / "strange.parquet")
    job = toy.job(
        home / "strange.parquet",
        network__name="fuzz.strange:network",
        survey__readouts=10,
        survey__controls=2,
        survey__planted=2,
        score__units_per_shard=64,
        picture__units_per_shard=64,
        visualize__layers=[glob_of(LAYERS[0])],
        show__title=TITLE,
        show__pictures_per_layer=1,
    )
    polyscan.scan(job, str(home / "run"))
    return home


def glob_of(name: str) -> str:
    """The name as a pattern that means itself."""
    return re.sub(r"([\[*?])", r"[\1]", name)


def test_every_name_comes_through_the_tables(home: Path) -> None:
    """What is read is what was written, to the character."""
    results = Results(str(home / "run"))
    layers = results.table("layers")
    assert set(layers["layer"][layers["layer"] == layers["parent"]]) == {*LAYERS, "head"}
    images = results.table("images")
    assert set(images["label_name"]) == set(NAMES)
    assert images["path"][0] == f"{NAMES[0]}/0{NAMES[0]}"
    assert results.table("rejects")["path"].tolist() == [f"bad {NAMES[0]}"]
    assert set(results.map["layer"]) == {*LAYERS, "head"}


def words_of(path: Path) -> str:
    """Every text of a script of units, as the page gets it."""
    script = path.read_text(encoding="utf-8")
    assert "<" not in script, "it could close the element that loads it"
    found: list[str] = []

    def gather(value: object) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            for each in value.values():
                gather(each)
        elif isinstance(value, list):
            for each in value:
                gather(each)

    gather(json.loads(script.removeprefix("polyscan.deliver(").removesuffix(");\n")))
    return "\n".join(found)


def test_pages_hold_names_as_words_and_nothing_else(home: Path, toy_results: Results) -> None:
    """No element, no attribute and no script that the pages of a plain run have not."""
    plain = pages(Path(toy_results.run.address))
    strange = pages(home / "run")
    assert len(strange) == len(LAYERS) + 3  # the head's, the units' and the front page
    elements = set().union(*(page.elements for page in plain.values()))
    attributes = set().union(*(page.attributes for page in plain.values()))
    own_scripts = {text for page in plain.values() for about, text in page.scripts if "type" not in about}
    of_plain = {json.dumps(about) for page in plain.values() for about, _ in page.scripts}
    for name, page in strange.items():
        assert set(page.elements) <= elements, name
        assert page.attributes <= attributes, name
        assert not [each for each in page.attributes if each.startswith("on")], name
        assert {re.sub(r"\.\./", "", json.dumps(about)) for about, _ in page.scripts} <= {
            re.sub(r"\.\./", "", each) for each in of_plain
        }, name
        for about, text in page.scripts:
            if about.get("type") == "application/json":
                json.loads(text)
            elif text.strip():
                assert text in own_scripts, name
        for address in page.addresses:
            assert re.fullmatch(r"[\w./#%=:-]*|data:(image/[\w+;,=/%-]*|,)", address, re.ASCII), (name, address)
            assert ":" not in address.partition("#")[0] or address.startswith("data:"), (name, address)
    front = strange["index.html"].words
    assert TITLE in front
    cards = "".join(words_of(path) for path in (home / "run" / "maps" / "data").glob("*/*.js"))
    for name in (*NAMES[:4], NAMES[8], NAMES[9], NAMES[10]):
        assert name.replace(".", "·") in front + cards, name
        assert f"{name}/" in cards, f"no tile tells where it came from: {name}"


def test_no_name_gets_into_a_file_name_or_out_of_the_run(home: Path) -> None:
    """Files are called by numbers and plain letters; beside the run there is what was there before."""
    assert sorted(path.name for path in home.iterdir()) == ["run", "strange.parquet"]
    for path in (home / "run").rglob("*"):
        relative = str(path.relative_to(home / "run"))
        assert re.fullmatch(r"[A-Za-z0-9._/-]{1,120}", relative), relative
        assert not path.is_symlink()


def test_the_trend_is_a_table_whatever_layers_are_called(home: Path) -> None:
    """Line ends, quotes and commas of a name stay within its cell, and none of them is a formula."""
    with open(home / "run" / "maps" / "trend.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert len({len(row) for row in rows}) == 1
    cells = {cell for row in rows for cell in row}
    assert {name if name[:1] not in "=+-@" else f"'{name}" for name in LAYERS} <= cells
    assert "'=HYPERLINK(1)" in cells
    assert not any(cell.startswith("=") for cell in cells)


def test_strange_file_names_are_read(tmp_path: Path) -> None:
    """Classes and files of a folder; a name that is no valid text is shown with its bytes in hexadecimal."""
    pixels = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    for name in FILES:
        (tmp_path / name).mkdir()
        pixels.save(tmp_path / name / f"{name}.png")
    names = [os.fsencode(name) for name in FILES]
    if os.name == "posix" and os.uname().sysname == "Linux":
        Path(os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff\xfe")).mkdir()
        pixels.save(os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff\xfe/\xff.png"))
        names.append(rb"\xff\xfe")
    source = open_images(str(tmp_path), options=ImageOptions())
    found = list(source.read(range(len(source))))
    assert all(isinstance(entry, Picture) for entry in found), found
    assert sorted(entry.label_name for entry in found if isinstance(entry, Picture)) == sorted(map(os.fsdecode, names))
    for entry in found:
        entry.path.encode()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names that are no text exist on Linux only")
@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\xfe", rb"a\xe9b", "Größe".encode(), b"caf\xe9/\\"])
def test_a_folder_of_any_name_is_written_to_job_toml_and_run_json(tmp_path: Path, name: bytes) -> None:
    """TOML is UTF-8, so a byte of a path that is not is escaped; reading finds the folder again."""
    folder = Path(os.fsdecode(os.fsencode(str(tmp_path)) + b"/" + name))
    (folder / "a").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "a" / "1.png")
    job = fill({"network.name": "net:build", "images.source": str(folder), "collect.k": 8})
    again = parse(job.to_toml().encode(), "job.toml")
    assert again == job
    assert [entry.path for entry in open_images(again.images.source, options=ImageOptions()).read([0])] == ["a/1.png"]
    run = Run(str(tmp_path / "run"))
    run.save_manifest({"network": {}, "images": {"source": again.images.source}})
    assert run.manifest()["images"]["source"] == str(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names that are no text exist on Linux only")
def test_a_results_folder_that_is_not_utf8_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = Run(os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9"))
    with pytest.raises(JobError, match=r"caf\\xe9 can't be the results folder: its path must be valid UTF-8"):
        run.files.require_writable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names that are no text exist on Linux only")
def test_parquet_files_of_any_name_are_read(tmp_path: Path) -> None:
    stream = BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    folder = Path(os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff/label=caf\xe9"))
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"image": [stream.getvalue()]}), tmp_path / "a.parquet")
    (tmp_path / "a.parquet").rename(folder / os.fsdecode(b"\xfe.parquet"))
    for source in (tmp_path, folder, folder / os.fsdecode(b"\xfe.parquet")):
        (entry,) = open_images(str(source), options=ImageOptions()).read([0])
        assert isinstance(entry, Picture)
        assert entry.path.endswith(r"\xfe.parquet#0")
        assert entry.label_name == (r"caf\xe9" if source == tmp_path else "")


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_links_out_of_the_folder_are_followed_and_tell_nothing_of_where_they_point(tmp_path: Path) -> None:
    """As `listing` says: links on a disk are followed; a path in the tables is always within the source."""
    secret, root = tmp_path / "secret place", tmp_path / "images"
    (secret / "deep").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(secret / "1.png")
    (secret / "deep" / "notes").write_text("a password")
    (root / "class").mkdir(parents=True)
    (root / "class" / "linked").symlink_to(secret)
    (root / "class" / "one.png").symlink_to(secret / "1.png")
    found = list(open_images(str(root), options=ImageOptions()).read(range(3)))
    assert [type(entry) for entry in found] == [Picture, Reject, Picture]
    paths = [entry.path for entry in found]
    assert paths == ["class/linked/1.png", "class/linked/deep/notes", "class/one.png"]
    assert all("secret" not in str(vars(entry)) and "password" not in str(vars(entry)) for entry in found)
