"""The files of the maps folder: names, escaping, links, packed numbers, sprites. No browser."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import math
import re
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np
import pytest
from maps import synthetic
from PIL import Image

from polyscan.maps import (
    Atlas,
    Cluster,
    LayerRow,
    MapColumn,
    Mean,
    NoUnits,
    Panel,
    Rate,
    Site,
    Statement,
    Tile,
    TrendPoint,
    UnitCard,
    pages,
    validation_page,
)
from polyscan.maps.depth_trend import FAINT, trend_charts
from polyscan.maps.network_map import (
    color_scale,
    column_script,
    map_data,
    packed,
    packed_bits,
    packed_counts,
    viridis_table,
)
from polyscan.maps.numbers import number_text
from polyscan.maps.one_file import one_file
from polyscan.maps.sprites import MARGIN_COLOR, EncodedPicture, cells, sprite
from polyscan.maps.templating import CONTENT_POLICY, script_json
from polyscan.maps.urls import layer_addresses, slug, unit_address

EVIL = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)>'
WORST_LOSS = 12  # of 255, a flat colour through JPEG


@pytest.fixture(scope="module")
def small() -> Atlas:
    return synthetic.small_atlas()


@pytest.fixture(scope="module")
def files(small: Atlas) -> dict[str, bytes]:
    made = list(pages(small))
    assert len({name for name, _ in made}) == len(made), "a file was made twice"
    assert made[-1][0] == "index.html"
    return dict(made)


def tiny_atlas(name: str = "conv1", **changes: object) -> Atlas:
    """One layer of four units, the last one dead."""
    values = {"k": np.array([1, 3, 2, np.nan]), "psi": np.array([0.1, 0.7, np.nan, 0.9])}
    columns = (MapColumn("k", "K", "clusters", "count"), MapColumn("psi", "PSI", "index"))
    trend = (TrendPoint("k", name, 0, 3, 2.0, 1.5, 2.5, (1.0, 1.0, 2.0, 3.0, 3.0)),)
    made = Atlas(
        title="net",
        facts=(("units", "4"),),
        statement="No trend is claimed.",
        layers=(LayerRow(name, 0, 4, 1, "itself"),),
        layer_index=np.zeros(4, dtype=np.int64),
        channel=np.arange(4),
        is_dead=np.array([False, False, False, True]),
        columns=columns,
        values=values,
        trend=trend,
    )
    return replace(made, **changes)


class OneCard(NoUnits):
    """A gallery of one unit."""

    def __init__(self, card: UnitCard) -> None:
        self.card = card

    def cards(self, layer: str) -> list[UnitCard]:
        return [self.card]

    def sprite(self, layer: str, channel: int) -> bytes | None:
        return flat((9, 9, 9), (8, 8), "JPEG") if channel == self.card.channel else None


def flat(color: tuple[int, int, int], size: tuple[int, int], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, kind)
    return stream.getvalue()


def unpacked(cells: dict[str, object]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(str(cells["data"])), dtype=np.dtype(str(cells["type"])).newbyteorder("<"))


def json_of(page: bytes, name: str) -> dict[str, object]:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page.decode(), re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


# --- names and escaping ---


@pytest.mark.parametrize("name", ["a/b", "../../etc", "CON", "größe", "第三层", "x" * 400, "a b#c%d?", EVIL, "."])
def test_a_layer_name_becomes_a_safe_file_name(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(name))
    assert len(slug(name)) <= 60


def test_layers_with_one_slug_get_pages_of_their_own() -> None:
    names = ["Conv", "conv", "co/nv", "co.nv", *(f"l{index}" for index in range(120))]
    places = layer_addresses(names)
    assert len(set(places)) == len(names)
    assert places == sorted(places)


def test_words_of_the_atlas_run_nothing() -> None:
    tile = Tile(0, 0, 8, 8, EVIL, EVIL)
    panel = Panel("exemplars", 1, ((EVIL, EVIL),), [Cluster(1, [tile], ((EVIL, EVIL),))])
    card = UnitCard(EVIL, 1, ((EVIL, EVIL),), [panel], missing=(EVIL,), sprite=(8, 8))
    column = MapColumn("k", EVIL, EVIL, "count")
    made = dict(
        pages(
            tiny_atlas(
                EVIL,
                title=EVIL,
                statement=EVIL,
                facts=((EVIL, EVIL),),
                notes=(EVIL,),
                columns=(column,),
                gallery=OneCard(card),
                verdict=(EVIL,) * 4,
                names=(EVIL,) * 4,
                run=EVIL,
                layers=(LayerRow(EVIL, 0, 4, 1, EVIL, EVIL, power=Rate(0.1, 0.0, 0.2, 9)),),
            )
        )
    )
    texts = [content.decode() for name, content in made.items() if name.endswith(".html")]
    assert len(texts) >= 3, "the front page, the page of a unit, and one for each layer"
    scripts = [content.decode() for name, content in made.items() if name.startswith("data/")]
    assert len(scripts) == 2, "a block and the names"
    assert not any("<" in text for text in scripts)
    for text in texts:
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text or "\\u003c/script" in text
        assert text.count("<script") == text.count("</script>")


def test_json_in_a_page_closes_no_element_and_holds_no_nan() -> None:
    text = str(script_json({"a": EVIL, "b": [float("nan"), float("inf"), 1.5], "c": "ü层"}))
    assert "<" not in text
    assert ">" not in text
    assert json.loads(text) == {"a": EVIL, "b": [None, None, 1.5], "c": "ü层"}


def test_every_page_has_language_title_and_policy(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        if name.endswith(".html"):
            text = content.decode()
            assert '<html lang="en">' in text
            assert re.search(r"<title>[^<]+</title>", text)
            assert html.escape(CONTENT_POLICY, quote=True) in text or CONTENT_POLICY in html.unescape(text)
            assert "http://" not in text.replace("http://www.w3.org/2000/svg", "").replace("https://vega.github.io", "")


# --- links ---


def test_a_warning_stands_on_every_page(files: dict[str, bytes]) -> None:
    warned = replace(tiny_atlas(), warning="This network is <untrained>.")
    said = b'<aside class="notice" aria-label="Warning">This network is &lt;untrained&gt;.</aside>'
    made = {name: content for name, content in pages(warned) if name.endswith(".html")}
    assert len(made) > 2
    made["one file"] = one_file(warned, warned.layers[0].name, int(warned.channel[0]))
    made["validation"] = validation_page({}, {}, title="toy", warning=warned.warning)
    for name, content in made.items():
        assert content.count(said) == 1, name
    assert not any(b'aria-label="Warning"' in content for content in files.values())


def test_every_link_leads_to_a_file_that_was_made(files: dict[str, bytes]) -> None:
    n_links = 0
    for name, content in files.items():
        if not name.endswith(".html"):
            continue
        for address in re.findall(r'(?:href|src)="([^"]+)"', content.decode()):
            if address.startswith("data:"):
                continue
            path, _, anchor = html.unescape(address).partition("#")
            target = resolved(PurePosixPath(name).parent, unquote(path)) if path else name
            assert target in files, f"{name} points to {address}"
            if anchor and not target.startswith("unit.html") and not anchor.startswith("unit="):
                assert f'id="{anchor}"' in files[target].decode()
            n_links += 1
    assert n_links > 80


def resolved(folder: PurePosixPath, path: str) -> str:
    parts: list[str] = []
    for part in (folder / path).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def test_every_unit_has_data_and_every_live_one_a_sprite(small: Atlas, files: dict[str, bytes]) -> None:
    """16 units a script, called by their channels; the sprite lies where the data say."""
    for index, layer in enumerate(small.layers):
        blocks = [name for name in files if name.startswith(f"data/{index:02d}/")]
        units = [unit for name in blocks for unit in block_of(files[name])["units"].items()]
        channels = small.channel[small.layer_index == index]
        assert sorted(int(channel) for channel, _ in units) == sorted(channels.tolist()), layer.name
        assert all(len(block_of(files[name])["units"]) <= 16 for name in blocks)
        for channel, unit in units:
            dead = bool(small.is_dead[(small.layer_index == index) & (small.channel == int(channel))][0])
            assert unit["dead"] == dead
            assert (unit["sprite"] is None) == dead
            assert dead or Image.open(io.BytesIO(files[unit["sprite"]["address"]])).size == (
                unit["sprite"]["width"],
                unit["sprite"]["height"],
            )


def test_more_and_less_lead_through_all_live_scored_units(small: Atlas, files: dict[str, bytes]) -> None:
    """One chain, from the most to the least of the first column."""
    units = {
        (block["layer"], int(channel)): unit
        for name, content in files.items()
        if re.match(r"data/\d", name)
        for block in [block_of(content)]
        for channel, unit in block["units"].items()
    }
    values = small.values["n_clusters"]
    n = int((np.isfinite(values) & ~small.is_dead).sum())
    at = next(key for key, unit in units.items() if unit["rank"] == [1, n])
    seen = [at]
    while units[at]["less"] is not None:
        before, at = at, tuple(units[at]["less"])
        assert tuple(units[at]["more"]) == before
        assert units[at]["values"][0] <= units[before]["values"][0]
        seen.append(at)
    assert len(seen) == len(set(seen)) == n


def block_of(script: bytes) -> dict:
    """What a script of units hands over."""
    text = script.decode()
    assert text.startswith("polyscan.deliver(")
    return json.loads(text.removeprefix("polyscan.deliver(").removesuffix(");\n"))


def test_what_is_served_is_what_is_written(small: Atlas, files: dict[str, bytes]) -> None:
    """Any file, asked for by itself and in any order, has the same bytes; what is called otherwise is not there."""
    site = Site(small)
    rng = np.random.default_rng(0)
    for name in rng.permutation(sorted(files))[:80]:
        assert site.content(str(name)) == files[str(name)], name
    for name in (
        "",
        "data/00/99.js",
        "data/0/0.js",
        "img/00/9999.jpg",
        "img/99/0.jpg",
        "../run.json",
        "data/column-0.js",
    ):
        with pytest.raises(KeyError):
            site.content(name)


def test_statements_are_filed_with_their_numbers() -> None:
    claims = [Statement("It rises.", {"rho": 0.9, "values": [1.0, float("nan")]})]
    made = json.loads(dict(pages(tiny_atlas(claims=claims, run="r")))["statements.json"])
    assert made == {
        "run": "r",
        "statements": [{"text": "It rises.", "inputs": {"rho": 0.9, "values": [1.0, None]}}],
    }


# --- numbers ---


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.uint16, np.int32])
def test_packing_gives_the_same_numbers_back(kind: type) -> None:
    values = np.random.default_rng(0).integers(0, 200, 1001).astype(kind)
    assert np.array_equal(unpacked(packed(values)), values)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 254, "uint8"), (0, 255, "uint16"), (0, 70_000, "int32"), (-1, 5, "int32")]
)
def test_counts_take_the_smallest_type_and_keep_their_gaps(low: int, high: int, expected: str) -> None:
    values = np.array([low, np.nan, high, high - 1], dtype=np.float64)
    cells = packed_counts(values)
    assert cells["type"] == expected
    back = unpacked(cells).astype(np.float64)
    back[back == cells["missing"]] = np.nan
    assert np.array_equal(back, values, equal_nan=True)


def test_a_count_that_is_not_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="counts are whole"):
        packed_counts(np.array([1.0, 1.5]))


def test_flags_are_packed_highest_bit_first() -> None:
    flags = np.array([1, 0, 0, 0, 0, 0, 0, 1, 1], dtype=bool)
    assert unpacked(packed_bits(flags)).tolist() == [0b10000001, 0b10000000]


def test_the_page_holds_every_units_numbers_in_layer_order(small: Atlas) -> None:
    shuffle = np.random.default_rng(3).permutation(len(small.channel))
    values = {key: column[shuffle] for key, column in small.values.items()}
    mixed = replace(
        small,
        layer_index=small.layer_index[shuffle],
        channel=small.channel[shuffle],
        is_dead=small.is_dead[shuffle],
        values=values,
        verdict=[small.verdict[unit] for unit in shuffle],
    )
    places = layer_addresses([layer.name for layer in small.layers])
    assert map_data(mixed, places) == map_data(small, places)
    assert all(column_script(mixed, place) == column_script(small, place) for place in range(len(small.columns)))
    data = json.loads(str(script_json(map_data(small, places))))
    assert ["cells" in column for column in data["columns"]] == [True] + [False] * (len(small.columns) - 1)
    place = [column.name for column in small.columns].index("psi")
    text = column_script(small, place).decode().removeprefix("polyscan.deliverColumn(").removesuffix(");\n")
    psi = json.loads(text)["column"]
    assert np.array_equal(unpacked(psi["cells"]), small.values["psi"].astype(np.float32), equal_nan=True)
    assert sum(layer["count"] for layer in data["layers"]) == len(small.channel)


def test_a_real_scale_is_clipped_and_says_so() -> None:
    column = MapColumn("x", "x", "")
    scale = color_scale(column, np.append(np.linspace(0, 1, 1001), np.nan))
    assert scale == {"low": pytest.approx(0.01), "high": pytest.approx(0.99), "below": True, "above": True}
    rare = color_scale(column, np.array([0.5] * 999 + [3.0]))
    assert rare == {"low": 0.5, "high": 3.0, "below": False, "above": False}
    assert color_scale(column, np.array([np.nan]))["low"] is None


def test_a_scale_of_p_is_the_same_in_every_run_and_says_what_lies_below() -> None:
    column = MapColumn("p", "p", "", "p")
    ticks = [1.0, 0.1, 0.05, 0.01, 0.001]
    assert color_scale(column, np.array([0.9, 0.001, np.nan])) == {"ticks": ticks, "below": False}
    assert color_scale(column, np.array([0.9, 0.0009])) == {"ticks": ticks, "below": True}
    assert color_scale(column, np.array([np.nan])) == {"ticks": ticks, "below": False}


def test_counts_are_exact_steps_and_the_last_one_may_be_open() -> None:
    column = MapColumn("k", "K", "", "count")
    assert color_scale(column, np.array([3, 1, 1, np.nan])) == {"steps": [1, 3], "open": False}
    many = color_scale(column, np.arange(30.0))
    assert many == {"steps": list(range(10)), "open": True}


def test_viridis_is_viridis() -> None:
    table = viridis_table()
    middle = [int(table[128][at : at + 2], 16) for at in (0, 2, 4)]
    assert np.abs(np.array(middle) - (33, 145, 140)).max() <= 2  # matplotlib's own middle
    light = [
        sum(int(color[at : at + 2], 16) * part for at, part in ((0, 0.3), (2, 0.59), (4, 0.11))) for color in table
    ]
    assert np.diff(light).min() > -1  # it only grows lighter


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.6, "real", "0.6000"),
        (0.00012345, "real", "1.23e-4"),
        (12345.6, "real", "12346"),
        (999.96, "real", "1000"),
        (-0.25, "real", "\N{MINUS SIGN}0.2500"),
        (2.0625, "real", "2.063"),
        (0.0, "real", "0"),
        (7.0, "count", "7"),
        (math.nan, "count", "\N{EN DASH}"),
        (math.inf, "real", "∞"),
    ],
)
def test_numbers_are_written_as_the_page_writes_them(value: float, kind: str, text: str) -> None:
    assert number_text(value, kind) == text


def test_the_trend_file_holds_the_points_in_full(small: Atlas, files: dict[str, bytes]) -> None:
    rows = list(csv.DictReader(io.StringIO(files["trend.csv"].decode())))
    assert len(rows) == len(small.trend)
    assert [float(row["mean"]) for row in rows] == [point.mean for point in small.trend]
    assert {row["layer"] for row in rows} == {layer.name for layer in small.layers}


def test_a_layer_without_scored_units_has_no_point_and_no_nan() -> None:
    nothing = math.nan
    point = TrendPoint("k", "conv1", 0, 0, nothing, nothing, nothing, (nothing,) * 5)
    made = dict(pages(tiny_atlas(trend=(point,), is_dead=np.ones(4, dtype=bool))))
    assert [column.get("trend") for column in json_of(made["index.html"], "map-data")["columns"]] == [None, None]  # type: ignore[union-attr, attr-defined]
    assert b"NaN" not in made["index.html"]
    assert made["trend.csv"].decode().splitlines()[1] == "k,conv1,0,0" + "," * 22


# --- controls, rates and verdicts ---


def known_power() -> Atlas:
    """Three layers: one finds 39 of 40 pairs, one exactly half, one fewer; the last one has no controls."""
    names, shares = ("a", "b", "c"), (0.975, 0.5, 0.475)
    layers = tuple(
        LayerRow(name, depth, 4, 0, "itself", f"space {name}", Rate(0.045, 0.01, 0.13, 40), Rate(share, 0.4, 0.99, 40))
        for depth, (name, share) in enumerate(zip(names, shares, strict=True))
    )
    nothing = (0.0,) * 5
    trend = [
        TrendPoint("psi", name, depth, 4, 0.5 + depth, 0.4 + depth, 0.6 + depth, nothing)
        for depth, name in enumerate(names)
    ]
    trend[:2] = [
        replace(point, control=Mean(0.25, 0.125, 0.375, 40), excess=Mean(point.mean - 0.25, 0.1, 0.7, 40))
        for point in trend[:2]
    ]
    return Atlas(
        title="net",
        facts=(),
        statement="",
        layers=layers,
        layer_index=np.repeat(np.arange(3), 4),
        channel=np.tile(np.arange(4), 3),
        is_dead=np.zeros(12, dtype=bool),
        columns=(MapColumn("psi", "PSI", "index"),),
        values={"psi": np.linspace(0, 1, 12)},
        trend=trend,
        verdict=["no split shown", "several", "several, certified", "off range"] * 3,
    )


def test_the_charts_hold_the_means_of_units_controls_and_their_difference() -> None:
    made = known_power()
    (chart,) = trend_charts(made)
    assert list(chart["specs"]) == ["mean", "excess"]
    rows = {row["layer"]: row for row in chart["rows"]}
    for point in made.trend:
        row = rows[point.layer]
        assert (row["mean"], row["mean_low"], row["mean_high"]) == (point.mean, point.low, point.high)
        for name, mean in (("control", point.control), ("excess", point.excess)):
            shown = [row.get(key) for key in (name, f"{name}_low", f"{name}_high")]
            assert shown == ([mean.mean, mean.low, mean.high] if mean else [None] * 3)
    assert [rows[name]["weak"] for name in "abc"] == [False, False, True]
    drawn = {
        name: {layer["encoding"]["y"]["field"] for layer in spec["layer"] if "field" in layer["encoding"]["y"]}
        for name, spec in chart["specs"].items()
    }
    assert drawn == {
        "mean": {"mean", "mean_low", "control", "control_low"},
        "excess": {"excess", "excess_low"},
    }
    zero = [layer["encoding"]["y"].get("datum") for layer in chart["specs"]["excess"]["layer"]]
    assert zero.count(0) == 1


def test_points_and_rules_of_a_weak_layer_are_faint() -> None:
    (chart,) = trend_charts(known_power())
    assert [row["power"] for row in chart["rows"]][2] == "power below .5: .48 [.40, .99], 40"
    for spec in chart["specs"].values():
        marks = [layer for layer in spec["layer"] if "opacity" in layer["encoding"]]
        assert {layer["mark"]["type"] for layer in marks} == {"point", "rule"}
        for layer in marks:
            assert layer["encoding"]["opacity"] == {
                "condition": {"test": "datum.weak", "value": FAINT},
                "value": 1.0,
            }


def test_the_trend_file_holds_controls_and_rates() -> None:
    rows = list(csv.DictReader(io.StringIO(dict(pages(known_power()))["trend.csv"].decode())))
    assert [float(row["power_05"]) for row in rows] == [0.975, 0.5, 0.475]
    assert {float(row["fpr_05"]) for row in rows} == {0.045}
    assert [row["control"] for row in rows] == ["0.25", "0.25", ""]
    assert [rows[0][key] for key in ("control_low", "control_high")] == ["0.125", "0.375"]
    assert [row["excess"] for row in rows] == ["0.25", "1.25", ""]
    assert [rows[1][key] for key in ("excess_low", "excess_high")] == ["0.1", "0.7"]


def test_a_layer_shows_its_space_and_rates_and_a_weak_one_is_greyed_with_a_sentence() -> None:
    made = dict(pages(known_power()))
    index = made["index.html"].decode()
    weak = re.findall(r'<tr class="weak"><th scope="row"><a href="([^"]+)"', index)
    assert weak == ["layer/02-c.html"]
    assert re.findall(r'<li class="weak"><a href="([^"]+)"', index) == weak
    assert index.count('id="weak-note"') == 1
    assert index.count(">.05<small>[.01, .13], 40 controls</small>") == 3
    assert ">.98<small>[.40, .99], 40 pairs</small>" in index
    for place, name in enumerate("abc"):
        page = made[f"layer/0{place}-{name}.html"].decode()
        assert f"<dt>space</dt><dd>space {name}</dd>" in page
        assert "<dt>false positives at p ≤ .05</dt><dd>.05 [.01, .13], 40 controls</dd>" in page
        assert ("fewer than half of the planted pairs" in page) == (name == "c")
        assert ('<table class="weak">' in page) == (name == "c")
    assert "<dt>planted pairs found</dt><dd>.50 [.40, .99], 40</dd>" in made["layer/01-b.html"].decode()
    assert ">0.2500 [0.1250 to 0.3750]<" in made["layer/00-a.html"].decode()
    assert "real minus control" not in made["layer/02-c.html"].decode()


def test_the_page_holds_every_units_verdict() -> None:
    made = known_power()
    shuffle = np.random.default_rng(1).permutation(12)
    mixed = replace(
        made,
        layer_index=made.layer_index[shuffle],
        channel=made.channel[shuffle],
        values={"psi": made.values["psi"][shuffle]},
        verdict=[made.verdict[unit] for unit in shuffle],
    )
    files = dict(pages(mixed))
    data = json_of(files["index.html"], "map-data")["verdict"]
    words = [data["words"][at] for at in unpacked(data["cells"])]  # type: ignore[index]
    assert words == list(made.verdict)
    groups = dict(zip(data["words"], data["groups"], strict=True))  # type: ignore[index]
    assert groups == {
        "no split shown": "none",
        "several": "several",
        "several, certified": "several",
        "off range": "unjudged",
    }
    second = json_of(files["layer/01-b.html"], "layer-data")["verdict"]
    assert [second["words"][at] for at in unpacked(second["cells"])] == list(made.verdict[:4])  # type: ignore[index]
    assert re.findall(
        r"<td>(no split shown|several|several, certified|off range)</td></tr>", files["index.html"].decode()
    )[:2] == [
        "off range",
        "several, certified",
    ]


def test_a_run_without_a_null_shows_nothing_of_it() -> None:
    made = dict(pages(tiny_atlas()))
    index, layer = made["index.html"].decode(), made["layer/00-conv1.html"].decode()
    for words in ("verdict</", 'id="verdict"', "planted", "false positives", "control", "weak", "space</"):
        assert (
            words not in index.replace('id="controls"', "").replace('class="controls"', "").partition("<script")[0]
        ), words
        assert words not in layer.replace('class="controls"', "").partition("<script")[0], words
    assert json_of(made["index.html"], "map-data")["verdict"] is None
    assert [list(chart["specs"]) for chart in json_of(made["index.html"], "trend-data")] == [["mean"]]
    assert made["trend.csv"].decode().splitlines()[1].endswith("3.0" + "," * 14)


# --- ranks ---


def test_the_most_and_the_least_are_live_and_never_the_same_unit() -> None:
    text = dict(pages(tiny_atlas()))["index.html"].decode()
    ranked = re.findall(r'<th scope="row"><a href="unit.html#conv1:(\d)"', text)
    assert ranked == ["1", "0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel": np.arange(3)}, "`channel` holds 3 units"),
        ({"verdict": ("suggestive",) * 5}, "`verdict` holds 5 units, `layer_index` 4"),
        ({"layer_index": np.array([0, 0, 0, 5])}, "must lie in 0..0"),
        ({"columns": ()}, "no column"),
        ({"columns": (MapColumn("nope", "", ""),)}, "nope"),
        ({"names": ("a",)}, "`names` holds 1 units"),
        ({"layers": (LayerRow("a", 0, 4, 0, ""), LayerRow("a", 1, 0, 0, ""))}, "twice"),
    ],
)
def test_an_atlas_that_contradicts_itself_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        list(pages(tiny_atlas(**changes)))


# --- sprites ---


def test_each_picture_lies_where_the_sprite_says() -> None:
    colors = [(20 * index, 255 - 20 * index, 90) for index in range(11)]
    sides = [64] * 9 + [128] * 2
    made = sprite(
        [EncodedPicture(flat(color, (200, 200), "JPEG"), side) for color, side in zip(colors, sides, strict=True)]
    )
    image = Image.open(io.BytesIO(made.content))
    assert image.size == (made.width, made.height) == (512, 64 + 64 + 128)
    for (left, top, width, height), color, side in zip(made.boxes, colors, sides, strict=True):
        assert (width, height) == (side, side)
        # The decoder mixes colours over one pixel where two pictures meet.
        for x, y in ((left + 2, top + 2), (left + width - 3, top + height - 3), (left + width // 2, top + height // 2)):
            assert np.abs(np.subtract(image.getpixel((x, y)), color)).max() < WORST_LOSS


@pytest.mark.parametrize("sides", [[40] * 30, [64, 128, 64, 128], [17], [600, 16], [64] * 8 + [128] * 5 + [64] * 3])
def test_cells_never_overlap_and_keep_to_jpegs_blocks(sides: list[int]) -> None:
    """No picture's colour runs into another's."""
    corners, width, height = cells(sides)
    covered = np.zeros((height // 16, width // 16), dtype=int)
    for (left, top), side in zip(corners, sides, strict=True):
        assert left % 16 == top % 16 == 0
        covered[top // 16 : -(-(top + side) // 16), left // 16 : -(-(left + side) // 16)] += 1
    assert covered.max() == 1
    assert width <= max(512, -(-max(sides) // 16) * 16)


def test_wide_pictures_keep_their_shape() -> None:
    made = sprite([EncodedPicture(flat((250, 0, 0), (300, 150)), 64)])
    assert made.boxes == ((0, 0, 64, 32),)
    pixels = np.asarray(Image.open(io.BytesIO(made.content))).astype(int)
    assert np.abs(pixels[40:, :] - MARGIN_COLOR).max() < WORST_LOSS
    assert np.abs(pixels[:24, :] - (250, 0, 0)).max() < WORST_LOSS


def test_tiny_pictures_are_enlarged_by_whole_factors() -> None:
    digits = (np.random.default_rng(0).random((8, 8)) * 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(digits).save(stream, "PNG")
    made = sprite([EncodedPicture(stream.getvalue(), 60)])
    assert made.boxes == ((0, 0, 56, 56),)
    pixels = np.asarray(Image.open(io.BytesIO(made.content)).convert("L"))[:56, :56]
    seen = pixels.reshape(8, 7, 8, 7).mean(axis=(1, 3))
    assert np.corrcoef(seen.ravel(), digits.ravel())[0, 1] > 0.999


def test_a_broken_picture_is_crossed_out() -> None:
    made = sprite([EncodedPicture(b"nothing", 64), EncodedPicture(flat((0, 0, 0), (100, 100)), 64)])
    assert made.broken == {0}
    pixels = np.asarray(Image.open(io.BytesIO(made.content)).convert("L")).astype(int)
    assert pixels[32, 32] > 180
    assert abs(pixels[32, 12] - 124) < WORST_LOSS


def test_a_sprite_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        sprite([])


def test_a_layers_name_survives_in_a_units_address() -> None:
    for name in ("a/b", "größe", "第三层", "a b#c%d?", EVIL):
        layer, _, channel = unit_address(name, 3).removeprefix("unit.html#").rpartition(":")
        assert (unquote(layer), channel) == (name, "3")
        assert not set("#?&<>\"' ") & set(layer)
