"""What drives a unit of a run, as a table, JSON and a graph."""

from __future__ import annotations

import csv
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import toy

import polyscan
from polyscan import cli
from polyscan.errors import ImagesError, JobError, ModelError, TableError
from polyscan.maps.circuit_graph import LowerLayer, Source, circuit_graph
from polyscan.results import Results
from polyscan.studies.circuit import circuit
from polyscan.studies.circuit.attributed import Attributing

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def run(toy_results: Results) -> str:
    return toy_results.run.address


def test_a_circuit_names_the_lower_units_of_each_cluster(run: str, toy_results: Results) -> None:
    (found,) = circuit(run, "mix:1", top=3)
    assert (str(found.unit), found.lower, found.how) == ("mix:1", "paint", "lrp")
    rows = toy_results.table("clusters")
    shown = rows[
        (rows["layer"] == "mix") & (rows["channel"] == 1) & (rows["evidence"] == "exemplars") & rows["is_main"]
    ]
    assert found.sizes == shown["cluster"].value_counts().sort_index().to_dict()
    for cluster in found.sizes:
        shares = [each.share for each in found.drivers if each.cluster == cluster]
        assert len(shares) == 3
        assert shares == sorted(shares, reverse=True)
    assert all(each.low <= each.share + 1e-9 for each in found.drivers)
    assert 0 < found.error < 1e-3
    assert circuit(run, "mix:1", top=3) == [found]


def test_attributions_on_exemplars_have_the_exemplars_activations(toy_results: Results) -> None:
    """Whatever the order of images, and units of one image in one batch, each row is of its own exemplar."""
    opened = Attributing(toy_results, "mix")
    rows = opened.exemplars([0, 1, 3], most=6)
    units = list(opened.attributed(opened.attributor("paint", "gradient"), rows))
    assert [each.unit.channel for each in units] == [0, 1, 3]
    exemplars = toy_results.table("exemplars")
    for each in units:
        wanted = exemplars[(exemplars["layer"] == "mix") & (exemplars["channel"] == each.unit.channel)]
        wanted = wanted.sort_values("rank").head(6)
        assert each.rank.tolist() == wanted["rank"].tolist()
        assert each.image.tolist() == wanted["image"].tolist()
        assert np.allclose(each.value, wanted["activation"], rtol=1e-4, atol=1e-5)
        accounted = each.relevance.sum(axis=1) + each.beside + each.biases
        assert np.allclose(accounted, each.value, rtol=1e-4, atol=1e-5)


def test_virtual_units_have_circuits(run: str) -> None:
    (found,) = circuit(run, "mix@planted:0", how="gradient", split="attribution")
    assert sum(found.sizes.values()) == toy.K
    assert len(found.sizes) >= 2


def test_circuits_are_written_as_a_table_json_and_a_graph(run: str, tmp_path: Path) -> None:
    for ending in ("csv", "json", "svg"):
        found = circuit(run, "head:1", lower=["paint", "mix"], top=2, out=str(tmp_path / f"circuit.{ending}"))
    with (tmp_path / "circuit.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(row["lower"], int(row["channel"])) for row in table] == [
        (one.lower, each.channel) for one in found for each in one.drivers
    ]
    content = json.loads((tmp_path / "circuit.json").read_text())
    assert [one["lower"] for one in content] == ["paint", "mix"]
    assert content[0]["unit"] == "head:1"
    texts = [each.text for each in ET.parse(tmp_path / "circuit.svg").iter(f"{SVG}text")]
    assert {"paint", "mix", "head:1"} <= set(texts)


def test_the_command_prints_the_table(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["polyscan", "circuit", run, "mix:1", "--top", "2", "--how", "gradient"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    (found,) = circuit(run, "mix:1", top=2, how="gradient")
    first = found.drivers[0]
    assert f"paint\t{first.channel}\t{first.cluster + 1}\t{first.share:.3f}" in printed
    assert "comes through paint" in printed


@pytest.mark.parametrize(
    ("unit", "options", "message"),
    [
        ("mix", {}, r'"mix" is not a unit; write a unit as layer:channel'),
        ("mixx:1", {}, r'has no layer "mixx"; nearest: mix'),
        ("mix:99", {}, r"mix has units 0 to 3, got 99"),
        ("paint:0", {}, r"has no layer below paint; name one of the network with --lower"),
        ("mix:1", {"top": 0}, r"--top must be at least 1, got 0"),
        ("mix:1", {"exemplars": 1}, r"--exemplars must be at least 2, got 1"),
        ("mix:1", {"how": "shap"}, r'unknown --how "shap"; there are: gradient, lrp'),
        ("mix:1", {"split": "ward"}, r'unknown --split "ward"; there are: shown, attribution'),
        ("mix:1", {"out": "circuit.pdf"}, r'`circuit` writes .csv, .json, .svg; "circuit.pdf" has another ending'),
    ],
)
def test_mistakes_are_told(run: str, unit: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(JobError, match=message):
        circuit(run, unit, **options)  # type: ignore[arg-type]


def test_lower_layers_that_are_none_are_told(run: str) -> None:
    with pytest.raises(ModelError, match=r"layer head is not below mix"):
        circuit(run, "mix:1", lower=["head"])
    with pytest.raises(ModelError, match=r"layer mix is read at the same place as mix"):
        circuit(run, "mix:1", lower=["mix"])
    with pytest.raises(ModelError, match=r'"pant".*nearest: paint'):
        circuit(run, "mix:1", lower=["pant"])
    with pytest.raises(TableError, match="holds no run"):
        circuit("nowhere", "mix:1")


def test_a_unit_with_one_exemplar_is_told(toy_results: Results) -> None:
    opened = Attributing(toy_results, "mix")
    with pytest.raises(JobError, match=r"mix:1 has 1 exemplars; 2 or more are needed"):
        opened.exemplars([1], most=1)


def test_changed_images_are_told(tmp_path: Path, no_pages: None) -> None:
    job = toy.job(tmp_path / "images", visualize__enabled=False)
    results = polyscan.scan(job, str(tmp_path / "run"))
    next((tmp_path / "images").rglob("*.png")).unlink()
    with pytest.raises((JobError, ImagesError), match="images"):
        circuit(results.run.address, "mix:1")


def test_the_graph_is_as_long_as_its_shares() -> None:
    sources = {0: [Source(3, 0.5, 0.4, 0.6), Source(1, 0.25, 0.2, 0.3)], 1: [Source(7, 0.1, -0.1, 0.2)]}
    text = circuit_graph("layer<4>:1", [LowerLayer("layer&3", sources, {0: 0.9, 1: -0.2})], {0: 10, 1: 5})
    tree = ET.fromstring(text)
    widths = [float(each.attrib["width"]) for each in tree.iter(f"{SVG}rect") if "fill-opacity" in each.attrib]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert widths[0] == pytest.approx(5 * widths[2], rel=0.01)
    labels = [each.text for each in tree.iter(f"{SVG}text")]
    assert {"3", "1", "7", "50.0%", "90%", "cluster 1: 10 images", "layer<4>:1", "layer&3"} <= set(labels)
    assert "layer&3:3 gives 50% for cluster 1" in (tree.find(f"{SVG}title").text or "")  # type: ignore[union-attr]
