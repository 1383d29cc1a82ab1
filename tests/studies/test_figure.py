"""Figures for papers: true colours, equal bytes, and a sentence for everything that is wrong."""

from __future__ import annotations

import importlib.util
import io
import re
import struct
import sys
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import TESTS

from polyscan import cli
from polyscan.maps import Atlas, LayerRow, MapColumn
from polyscan.maps.figures import (
    ENDINGS,
    LayerSample,
    UnitSample,
    layer_figure,
    map_figure,
    trend_figure,
    unit_figure,
)
from polyscan.maps.figures.rows import HATCH_INK, HATCH_PAPER, map_rows, viridis
from polyscan.results import Results

NARROW, WIDE = 80, 2000
PITCH, GAP, WIDTH = 20, 2, 700
PDF_BYTES = 200_000
FIRST_BYTES = {"pdf": b"%PDF", "svg": b"<", "png": b"\x89PNG"}


def load_synthetic():
    spec = importlib.util.spec_from_file_location("figure_synthetic", TESTS / "maps" / "synthetic.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


synthetic = load_synthetic()


@pytest.fixture(scope="module")
def small() -> Atlas:
    return synthetic.small_atlas()


def of_one_column(values: dict[str, np.ndarray], kind: str = "real", dead: int = 0) -> Atlas:
    """An atlas of these layers; the first `dead` units of each are dead."""
    names = list(values)
    index = np.repeat(np.arange(len(names)), [len(each) for each in values.values()])
    channel = np.concatenate([np.arange(len(each)) for each in values.values()])
    rows = [LayerRow(name, at, len(values[name]), dead, "") for at, name in enumerate(names)]
    column = MapColumn("score", "score", "", kind)  # type: ignore[arg-type]
    numbers = {"score": np.concatenate(list(values.values())).astype(np.float64)}
    return Atlas("net", (), "", rows, index, channel, channel < dead, [column], numbers, [])


def rows_of(atlas: Atlas):
    return map_rows(atlas, atlas.columns[0], width=WIDTH, pitch=PITCH, gap=GAP, ppi=100)


def colors(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, pixels.reshape(-1, pixels.shape[-1])[:, :3].tolist()))


def scale_colors() -> set[tuple[int, ...]]:
    return colors(viridis()[None])


def embedded_images(pdf: bytes) -> list[np.ndarray]:
    """The images that the PDF holds: colours, or places in a palette."""
    found: list[np.ndarray] = []
    for match in re.finditer(rb"/Subtype /Image", pdf):
        start = pdf.index(b"stream", match.start()) + len(b"stream\n")
        words = pdf[pdf.rindex(b" obj", 0, match.start()) : start]
        assert b"/SMask" not in words, "the rows are opaque"
        width, height, bits = (number_in(words, name) for name in (b"Width", b"Height", b"BitsPerComponent"))
        inflated = zlib.decompressobj()
        inflated.decompress(pdf[start:])
        data = pdf[start : len(pdf) - len(inflated.unused_data)]
        found.append(png_of(data, width, height, bits, is_rgb=b"/Indexed" not in words))
    return found


def number_in(words: bytes, name: bytes) -> int:
    match = re.search(rb"/" + name + rb" (\d+)", words)
    assert match is not None
    return int(match.group(1))


def png_of(data: bytes, width: int, height: int, bits: int, *, is_rgb: bool) -> np.ndarray:
    """A PDF's image stream has PNG's own filters, so a PNG around it decodes it: RGB, or places in a palette."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, bits, 2 if is_rgb else 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture)
    return pixels if is_rgb else pixels[..., None]


# ---- the map -----------------------------------------------------------------------------------------------------


def constant() -> Atlas:
    return of_one_column({"narrow": np.full(NARROW, 0.5), "wide": np.full(WIDE, 0.5)})


def test_a_constant_column_has_exactly_one_colour_in_a_png() -> None:
    """No pixel is mixed, in layers of 80 and of 2,000 units."""
    atlas = constant()
    with Image.open(io.BytesIO(map_figure(atlas, atlas.columns[0], "png"))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    middle = tuple(viridis()[128].tolist())
    is_middle = (pixels == middle).all(axis=2)
    rows = is_middle.sum(axis=1)
    across = int(rows.max())
    full = np.flatnonzero(rows == across)
    assert across > 1000
    starts = full[np.flatnonzero(np.diff(full, prepend=-9) > 1)]
    assert len(starts) == 2, "two rows, each a rectangle of one colour"
    for start in starts:
        left = int(np.flatnonzero(is_middle[start])[0])
        # The pixels all around the rectangle are white: none is half a colour.
        assert colors(pixels[start - 1 : start, left : left + across]) == {(255, 255, 255)}
        assert colors(pixels[start : start + 1, left - 1 : left]) == {(255, 255, 255)}
        assert colors(pixels[start : start + 1, left + across : left + across + 1]) == {(255, 255, 255)}


def test_a_constant_column_has_exactly_one_colour_in_a_pdf() -> None:
    """The image inside the PDF holds one colour and the white gaps, nothing between."""
    atlas = constant()
    images = embedded_images(map_figure(atlas, atlas.columns[0], "pdf"))
    rows = max(images, key=lambda image: image.size)
    assert rows.shape[1] > 1000
    assert len(colors(rows)) == 2
    assert (rows == rows[:, :1]).all(), "each line is of one colour"
    _, counts = np.unique(rows[:, 0], axis=0, return_counts=True)
    assert counts.max() > 0.9 * len(rows), "the rest are the gaps"


@pytest.mark.parametrize("n_units", [1, NARROW, WIDTH, WIDE])
def test_every_pixel_is_one_units_colour_and_both_ends_are_there(n_units: int) -> None:
    """What each pixel shows is a value of the layer, rising from its least to its largest."""
    values = np.random.default_rng(0).normal(size=n_units)
    rows = rows_of(of_one_column({"only": values, "other": np.linspace(-3, 3, 50)}))
    line = rows.pixels[0]
    low, high = rows.scale["low"], rows.scale["high"]
    places = np.clip(np.floor((np.float32(np.sort(values)).astype(float) - low) / (high - low) * 256), 0, 255).astype(
        int
    )
    own = viridis()[places]
    assert colors(line[None]) <= colors(own[None])
    assert tuple(line[0]) == tuple(own[0])
    assert tuple(line[-1]) == tuple(own[-1])
    assert (rows.pixels[: PITCH - GAP] == line).all(), "a row is the same in its whole height"
    assert colors(rows.pixels[PITCH - GAP : PITCH]) == {(255, 255, 255)}
    if n_units <= WIDTH:
        assert len(colors(line[None])) == len(colors(own[None])), "each unit has a pixel where there is room"


def test_dead_and_unscored_units_lie_right_and_in_no_colour_of_the_scale() -> None:
    """Hatched, each its own way; a layer without a live unit has nothing else."""
    values = np.linspace(0, 1, 100)
    values[50:60] = np.nan
    rows = rows_of(of_one_column({"mixed": values, "all dead": np.full(10, 0.3)}, dead=10))
    shown, unscored, dead = rows.spans[0]
    assert rows.counts == [(80, 10, 10), (0, 0, 10)]
    assert shown.start == 0 < unscored.start < dead.start
    assert dead.start + dead.width == WIDTH
    hatched = rows.pixels[: PITCH - GAP, unscored.start :]
    assert colors(hatched) == {HATCH_INK, HATCH_PAPER}
    assert not colors(hatched) & scale_colors()
    assert colors(rows.pixels[:1, : shown.width]) <= scale_colors()
    assert rows.spans[1][2].width == WIDTH
    first, second = (rows.pixels[: PITCH - GAP, span.start : span.start + 30] for span in (unscored, dead))
    assert not np.array_equal(first, second)


def test_counts_have_a_colour_each_and_p_a_logarithmic_scale() -> None:
    """Equal counts are equally coloured; p = 1, .01 and .001 lie at the scale's beginning, two thirds and end."""
    rows = rows_of(of_one_column({"only": np.array([1.0, 2, 2, 5])}, "count"))
    assert rows.scale["steps"] == [1, 2, 5]
    assert colors(rows.pixels[:1]) == {tuple(viridis()[at].tolist()) for at in (0, 128, 255)}
    rows = rows_of(of_one_column({"only": np.array([1.0, 0.01, 0.001, 1e-9, 0.0])}, "p"))
    third = 256 * 2 // 3
    assert colors(rows.pixels[:1]) == {tuple(viridis()[at].tolist()) for at in (0, third, 255)}


def test_a_pdf_of_thirty_thousand_units_is_small_and_has_letters() -> None:
    """Under 200 KB, its fonts embedded as type 42, which PDF calls TrueType or CIDFontType2."""
    atlas = synthetic.large_atlas()
    pdf = map_figure(atlas, next(column for column in atlas.columns if column.name == "psi"), "pdf")
    assert len(pdf) < PDF_BYTES
    assert b"/Type3" not in pdf
    assert b"/TrueType" in pdf or b"/CIDFontType2" in pdf


def test_names_are_text_and_no_formulas() -> None:
    """A name with dollars, markup and control characters stands in the SVG as it is."""
    atlas = of_one_column({"a$\\frac{1}{2}$b <i>&": np.arange(9.0), "c\x00\n": np.arange(9.0)})
    atlas = replace(atlas, title="net $x$")
    words = [text.text for text in ET.fromstring(map_figure(atlas, atlas.columns[0], "svg")).iter() if text.text]
    assert "a$\\frac{1}{2}$b <i>&" in words
    assert "net $x$" in words
    assert "c\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}" in words


# ---- all figures ---------------------------------------------------------------------------------------------------


def drawn(atlas: Atlas, ending: str) -> dict[str, bytes]:
    """Each kind of figure of the small atlas."""
    column = atlas.columns[2]
    live = (atlas.layer_index == 3) & ~atlas.is_dead
    layer = LayerSample(
        "x", column, atlas.values[column.name][live], atlas.values["kurtosis"][live], (), np.arange(9.0)
    )
    name = atlas.layers[3].name
    card = next(card for card in atlas.gallery.cards(name) if card.panels)
    sprite = atlas.gallery.sprite(name, card.channel)
    unit = UnitSample(card, [("PSI", ".5")], "several", sprite, atlas.gallery.null(name))
    return {
        "map": map_figure(atlas, column, ending),
        "depth-trend": trend_figure(atlas, [column.name], ending),
        "layer": layer_figure("net", layer, ending),
        "unit": unit_figure("net", unit, ending),
    }


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_numbers_give_the_same_bytes_without_a_date(small: Atlas, ending: str) -> None:
    first, second = drawn(small, ending), drawn(small, ending)
    for kind, content in first.items():
        assert content == second[kind], kind
        assert content.startswith(FIRST_BYTES[ending]) or content.lstrip().startswith(FIRST_BYTES[ending]), kind
        assert not re.search(rb"CreationDate|ModDate|<dc:date>|tIME", content), kind


def test_a_unit_without_pictures_and_one_with_a_broken_sprite_are_drawn(small: Atlas) -> None:
    """A figure says what is missing; it never fails for want of a picture."""
    name = small.layers[3].name
    dead = next(card for card in small.gallery.cards(name) if not card.panels)
    live = next(card for card in small.gallery.cards(name) if card.panels)
    words = unit_figure("net", UnitSample(dead, [], "dead"), "svg").decode()
    assert dead.missing[0] in words
    assert unit_figure("net", UnitSample(live, [], "one", b"no picture"), "png").startswith(FIRST_BYTES["png"])


def test_a_layer_without_the_score_is_refused() -> None:
    nothing = np.full(4, np.nan)
    with pytest.raises(ValueError, match="no live unit of conv1 has `psi`"):
        layer_figure("net", LayerSample("conv1", MapColumn("psi", "PSI", ""), nothing, nothing), "png")


# ---- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `polyscan figure` in this process; gives back its status, what it says, and what it complains of."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["polyscan", "figure", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_each_kind_is_written_in_each_ending_and_its_folder_made(command, toy_results: Results, tmp_path: Path) -> None:
    row = toy_results.map[~toy_results.map["is_dead"]].iloc[0]
    names = {"map": (), "depth-trend": (), "layer": (row["layer"],), "unit": (f"{row['layer']}:{row['channel']}",)}
    for kind, name in names.items():
        for ending in (*ENDINGS, *(["html"] if kind == "unit" else [])):
            out = tmp_path / "new" / f"{kind}.{ending}"
            status, said, complaint = command(toy_results.run.address, kind, *name, "--out", out)
            assert (status, said.strip(), complaint) == (0, str(out), "")
            assert out.read_bytes().lstrip().startswith(FIRST_BYTES.get(ending, b"<!doctype html>"))
    page = (tmp_path / "new" / "unit.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page), "one file opens alone"


def test_a_score_may_be_chosen(command, toy_results: Results, tmp_path: Path) -> None:
    """The figure of another column is another figure, and names it."""
    for score in ("clarity", "kurtosis"):
        assert command(toy_results.run.address, "map", "--score", score, "--out", tmp_path / f"{score}.svg")[0] == 0
    clarity, kurtosis = ((tmp_path / f"{score}.svg").read_text() for score in ("clarity", "kurtosis"))
    assert "units of each layer, by clarity" in clarity
    assert "units of each layer, by kurtosis" in kurtosis


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("network", "--out", "x.pdf"), 'unknown figure "network"; there are: map, depth-trend, layer, unit'),
        (("map",), "`figure map` writes pdf, svg, png; `--out` is missing"),
        (("map", "--out", "x.gif"), '`figure map` writes pdf, svg, png; "x.gif" has another ending'),
        (("map", "--out", "x.html"), '"x.html" has another ending'),
        (("map", "paint", "--out", "x.pdf"), 'shows the whole run and takes no name, got "paint"'),
        (("layer", "--out", "x.pdf"), "`figure layer` needs the name of a layer"),
        (("layer", "pain", "--out", "x.pdf"), 'has no layer "pain"; nearest: paint'),
        (("unit", "paint", "--out", "x.pdf"), '"paint" is not the name of a unit; write LAYER:CHANNEL'),
        (("unit", "paint:99", "--out", "x.pdf"), "has no unit paint:99; paint has units 0 to"),
        (("map", "--score", "claritty", "--out", "x.pdf"), "the map has no score `claritty`; nearest: clarity"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(command, toy_results: Results, words, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, complaint = command(toy_results.run.address, *words)
    assert status == 2
    assert not out
    assert said in complaint
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_folder_that_is_no_run_is_said(command, tmp_path: Path) -> None:
    status, _, complaint = command(tmp_path, "map", "--out", tmp_path / "x.pdf")
    assert status == 2
    assert "holds no run" in complaint
