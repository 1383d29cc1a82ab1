"""Units by what they answer to: rankings made again literally, and a sentence for everything that can't be found."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy
from PIL import Image
from safetensors.numpy import save_file

import polyscan
from polyscan import cli
from polyscan.errors import ImagesError, JobError, TableError
from polyscan.evidence import whole_images
from polyscan.results import Results
from polyscan.stages.name.words import open_word_names
from polyscan.studies.find.by_name import likeness

WORDS = ("amber", "blue", "coral", "green", "lilac", "ochre", "red", "teal", "umber")
CLUSTER = ["layer", "channel", "evidence", "cluster"]


@pytest.fixture(scope="module")
def named_run(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A run of the wide toy, named by its own classes' text vectors through a table of nine words."""
    folder = tmp_path_factory.mktemp("found")
    generator = np.random.default_rng(0)
    classes, words = (generator.standard_normal((n, 5)).astype(np.float32) for n in (6, len(WORDS)))
    save_file({"classes": classes, "words": words}, folder / "text.safetensors")
    names = {"classes": [f"class {number}" for number in range(6)], "words": WORDS}
    (folder / "text.json").write_text(json.dumps(names))
    job = toy.wide_job(
        folder / "images",
        name__model="conse:scanned",
        name__classes=f"{folder}/text.safetensors#classes",
        name__vocabulary=f"{folder}/text.safetensors#words",
        name__items=5,
        name__null_sets=19,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        return polyscan.scan(job, str(folder / "run"))


def literal_ranking(table: pd.DataFrame, queries: list[np.ndarray], but: tuple[str, int] | None = None):
    """Each unit once, by its cluster with the largest cosine: from the definition, one inner product at a time."""
    best: dict[tuple[str, int], tuple[float, str, int]] = {}
    for row in table.to_dict("records"):
        unit = (row["layer"], row["channel"])
        similarity = max(
            sum(float(a) * float(b) for a, b in zip(query, row["vector"], strict=True)) for query in queries
        )
        if unit != but and (unit not in best or similarity > best[unit][0]):
            best[unit] = (similarity, row["evidence"], row["cluster"])
    return sorted(((*unit, *found) for unit, found in best.items()), key=lambda each: -each[2])


def assert_ranked(found: pd.DataFrame, expected: list) -> None:
    assert found["similarity"].tolist() == pytest.approx([each[2] for each in expected[: len(found)]], abs=1e-6)
    mine = list(zip(found["layer"], found["channel"], found["evidence"], found["cluster"], strict=True))
    theirs = [(layer, channel, evidence, cluster) for layer, channel, _, evidence, cluster in expected[: len(found)]]
    assert mine == theirs


# ---- vectors ---------------------------------------------------------------------------------------------------------


def test_words_rank_units_by_the_cosine_that_their_names_have(named_run: Results) -> None:
    names, table = named_run.table("names"), named_run.table("cluster_vectors")
    vocabulary = open_word_names(named_run.job, named_run.run)
    assert vocabulary is not None
    assert vocabulary.words is not None
    compared = 0
    for number, word in enumerate(vocabulary.words.names):
        found = named_run.find(word, top=1000)
        assert_ranked(found, literal_ranking(table, [vocabulary.words.vectors[number]]))
        assert found["similarity"].is_monotonic_decreasing
        every = named_run.find(word, top=10_000, clusters=True)
        assert len(every) == len(table)
        said = every.merge(names[names["name"] == word], on=CLUSTER, suffixes=("", "_named"))
        assert said["similarity"].tolist() == pytest.approx(said["similarity_named"].tolist(), abs=1e-5)
        compared += len(said)
    assert compared > 100


def test_each_found_cluster_has_its_names_share_and_verdict(named_run: Results) -> None:
    found, names = named_run.find("red", top=15, clusters=True), named_run.table("names")
    clusters, frame = named_run.table("clusters"), named_run.map
    assert len(found) == 15
    for row in found.to_dict("records"):
        its = names[(names[CLUSTER] == [row[name] for name in CLUSTER]).all(axis=1)].sort_values("rank")
        assert row["name"] == its["name"].iloc[0]
        assert row["name_p"] == its["p"].iloc[0]
        assert [part.partition(" (p ")[0] for part in row["names"].split("; ")] == its["name"].tolist()
        unit = (clusters["layer"] == row["layer"]) & (clusters["channel"] == row["channel"]) & clusters["is_main"]
        share = (clusters[unit]["cluster"] == row["cluster"]).mean() if row["evidence"] == "exemplars" else 0.5
        assert row["share"] == pytest.approx(share)
        of_map = frame[(frame["layer"] == row["layer"]) & (frame["channel"] == row["channel"])].iloc[0]
        assert (row["verdict"], row["second_verdict"]) == (of_map["verdict"], of_map["second_verdict"])


def test_an_image_is_seen_from_the_mean_of_whole_images(named_run: Results, tmp_path: Path) -> None:
    path = next(Path(named_run.job.images.source).glob("red/*.png"))
    named = open_word_names(named_run.job, named_run.run)
    assert named is not None
    rows = whole_images(named_run.run)
    vectors = named.crops(rows)
    (about,) = named_run.table("namers").to_dict("records")
    assert about["image_centre"].tolist() == pytest.approx(vectors.mean(axis=0).tolist(), abs=1e-5)
    images = named_run.table("images").set_index("path")
    image = images.loc[str(path.relative_to(named_run.job.images.source)), "image"]
    query = vectors[int(np.flatnonzero(rows["image"] == image)[0])] - vectors.mean(axis=0)
    found = named_run.find(image=str(path), top=10)
    expected = literal_ranking(named_run.table("cluster_vectors"), [query / np.linalg.norm(query)])
    assert found["similarity"].tolist() == pytest.approx([each[2] for each in expected[:10]], abs=1e-4)


def test_units_like_another_are_near_one_of_its_clusters(named_run: Results) -> None:
    table = named_run.table("cluster_vectors")
    its = table[(table["layer"] == "fine") & (table["channel"] == 3)]["vector"].tolist()
    assert len(its) > 1
    found = named_run.find(like="fine:3", top=12)
    assert_ranked(found, literal_ranking(table, its, but=("fine", 3)))
    assert ("fine", 3) not in set(zip(found["layer"], found["channel"], strict=True))


def test_vectors_are_means_of_the_clusters_of_both_tests(named_run: Results) -> None:
    table, names = named_run.table("cluster_vectors"), named_run.table("names")
    assert set(table["role"]) == {"unit"}
    assert (table["parent"] == table["layer"]).all()
    assert set(table["space"]) == {"conse:scanned"}
    of_names = names[names["cluster"] >= 0].drop_duplicates(CLUSTER).sort_values(CLUSTER)
    assert (
        table.sort_values(CLUSTER)[[*CLUSTER, "n"]].to_numpy().tolist() == of_names[[*CLUSTER, "n"]].to_numpy().tolist()
    )
    lengths = np.linalg.norm(np.stack(table["vector"].tolist()), axis=1)
    assert np.allclose(lengths, 1, atol=1e-5)
    shares = table.groupby(["layer", "channel", "evidence"])["share"].sum()
    assert shares.tolist() == pytest.approx([1] * len(shares))


# ---- names -----------------------------------------------------------------------------------------------------------


def test_where_labels_were_counted_words_are_looked_for_among_names(wide_results: Results) -> None:
    found, names = wide_results.find("RED", top=500), wide_results.table("names")
    red = names[names["name"] == "red"]
    best = red.sort_values("similarity", ascending=False, kind="stable").drop_duplicates(["layer", "channel"])
    assert len(found) == len(best) > 3
    assert found["similarity"].tolist() == best["similarity"].tolist()
    assert found["names"].str.contains("red").all()
    assert "only names can be looked for" in found.attrs["ranked_by"]
    shares = found[found["cluster"] == -1]["share"]
    assert (shares == 1).all()


def test_a_name_is_like_a_text_by_the_words_in_common() -> None:
    assert likeness("tinca tinca", "tench, Tinca tinca") == 1
    assert likeness("round fruit", "fruit") == 0.5
    assert likeness("ruit", "fruit") == 0
    assert likeness("traffic_light", "traffic light") == 1


def test_where_labels_were_counted_units_are_compared_by_all_their_exemplars(wide_results: Results) -> None:
    centres = wide_results.table("centres")
    (mine,) = centres[(centres["layer"] == "coarse") & (centres["channel"] == 2)].to_dict("records")
    shares_space = centres[(centres["space"] == mine["space"])]
    if mine["space"] != wide_results.job.embed.model:
        shares_space = shares_space[shares_space["layer"] == "coarse"]
    table = shares_space.rename(columns={"embedding": "vector"}).assign(evidence="exemplars", cluster=-1)
    found = wide_results.find(like="coarse:2", top=5)
    assert_ranked(found, literal_ranking(table, [mine["embedding"]], but=("coarse", 2)))
    assert "labels named this run" in found.attrs["ranked_by"]


# ---- the command and its files ---------------------------------------------------------------------------------------


def called(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["polyscan", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_the_command_prints_what_python_gives(named_run: Results, monkeypatch, capsys, tmp_path: Path) -> None:
    for ending, read in ((".csv", pd.read_csv), (".json", pd.read_json)):
        out = tmp_path / f"found{ending}"
        assert called(monkeypatch, "find", named_run.run.address, "red", "--top", 4, "--out", out) == 0
        captured = capsys.readouterr()
        lines = captured.out.splitlines()
        found = named_run.find("red", top=4)
        assert [line.split("\t")[0] for line in lines[1:5]] == [f"{r.layer}:{r.channel}" for r in found.itertuples()]
        assert lines[5] == str(out)
        assert "in the space of conse:scanned" in captured.err
        written = read(io.StringIO(out.read_text()))
        assert written[CLUSTER].to_numpy().tolist() == found[CLUSTER].to_numpy().tolist()
        assert written["similarity"].tolist() == pytest.approx(found["similarity"].tolist(), abs=1e-6)


def test_a_word_may_be_written_in_capitals(named_run: Results) -> None:
    pd.testing.assert_frame_equal(named_run.find("Lilac"), named_run.find("lilac"))


# ---- what can't be found ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({}, JobError, "needs one of a text, --image and --like, got none"),
        ({"text": "  "}, JobError, "got an empty text"),
        ({"text": "red", "like": "fine:1"}, JobError, "got a text and --like"),
        ({"text": "red", "top": 0}, JobError, "--top must be at least 1, got 0"),
        ({"text": "redd"}, JobError, r'"redd" is not among the 15 words .*; nearest: red'),
        ({"like": "fine"}, JobError, "is not a unit"),
        ({"like": "fime:1"}, JobError, 'no layer "fime"; nearest: fine'),
        ({"like": "fine:16"}, JobError, "fine has units 0 to 15, got 16; nearest: fine:15"),
        ({"image": "{folder}/none.png"}, ImagesError, "there is no file at"),
        ({"image": "{folder}"}, ImagesError, "there is no file at"),
        ({"image": "{folder}/text.png"}, ImagesError, "text.png can't be used: not an image"),
        ({"text": "red", "out": "{folder}/found.txt"}, JobError, '`find` writes .csv, .json; ".*found.txt"'),
    ],
)
def test_what_can_not_be_looked_for_has_its_sentence(asked, error, says, named_run: Results, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    filled = {k: v.replace("{folder}", str(tmp_path)) if isinstance(v, str) else v for k, v in asked.items()}
    with pytest.raises(error, match=says):
        polyscan.find(named_run.run.address, **filled)


def test_dead_units_are_like_no_other(named_run: Results, wide_results: Results) -> None:
    for results in (named_run, wide_results):
        dead = results.map[results.map["is_dead"]]
        assert len(dead)
        name = f"{dead['layer'].iloc[0]}:{dead['channel'].iloc[0]}"
        with pytest.raises(JobError, match=rf"{name} has no clusters in .*it is dead"):
            results.find(like=name)


def test_where_labels_were_counted_there_is_no_image_to_look_for(wide_results: Results, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    with pytest.raises(TableError, match=r"no vectors of clusters, since its labels were counted; .*name\.model"):
        wide_results.find(image=str(tmp_path / "black.png"))
    with pytest.raises(JobError, match=r'name with a word of "gren"; nearest: green'):
        wide_results.find("gren")


def test_a_run_without_names_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyscan.maps.pages", lambda _: [])
    (tmp_path / "images").mkdir()
    for path in toy.paint(tmp_path / "painted").glob("*/*.png"):
        path.rename(tmp_path / "images" / path.name)  # without folders there are no labels
    job = toy.job(tmp_path / "images", visualize__enabled=False)
    results = polyscan.scan(job, str(tmp_path / "run"))
    with pytest.raises(TableError, match="has no names: its images have no labels"):
        results.find("red")
