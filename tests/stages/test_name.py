"""Names of clusters: the commonest labels, or the words that fit best, and how often chance gives such names."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toy
from safetensors.numpy import save_file

import polyscan
from polyscan.errors import JobError, ModelError
from polyscan.evidence import whole_images
from polyscan.inputs import counts_labels, open_namer, open_network
from polyscan.job import Job
from polyscan.report import notes as notes_module
from polyscan.report.notes import notes
from polyscan.results import Results
from polyscan.run import Run
from polyscan.scores import naming
from polyscan.stages import name as stage
from polyscan.stages.name.labels import LEVEL, LabelNames, chance_of
from polyscan.stages.name.members import MemberReader
from polyscan.stages.name.rows import ALL, NAMES
from polyscan.stages.name.words import open_word_names
from polyscan.studies.plan.costs.name import cost as name_cost
from polyscan.studies.plan.outlook import Outlook
from polyscan.vision.embedders import EmbedderRequest, load_embedder

COLOURS = list(toy.COLOURS)


def is_above_chance(count: int, n: int, share: float, n_labels: int) -> bool:
    return chance_of(count, n, share, n_labels) <= LEVEL


def members_of(results: Results, layer: str) -> pd.DataFrame:
    run = results.run
    return MemberReader(results.job, run)(layer, range(run.unit_order().layer(layer).n_units))


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_members_are_the_items_of_both_tests(wide_results: Results) -> None:
    """Exemplars in their clusters; the second test's halves, which are the strongest and the least explained."""
    job, half = wide_results.job, wide_results.job.n_half
    tables = {name: wide_results.table(name) for name in ("exemplars", "second_exemplars", "clusters")}
    seen = 0
    for layer in ("fine", "coarse"):
        members = members_of(wide_results, layer)
        of_layer = {name: rows[rows["layer"] == layer] for name, rows in tables.items()}
        for (channel, kind), rows in members.groupby(["channel", "kind"]):
            mine = {name: rows[rows["channel"] == channel] for name, rows in of_layer.items()}
            first = mine["exemplars"].sort_values("rank")["crop"].tolist()
            second = mine["second_exemplars"].sort_values("rank")["crop"].tolist()
            if kind == 0:
                clusters = mine["clusters"][mine["clusters"]["is_main"]].sort_values("item")["cluster"]
                assert rows["crop"].tolist() == first[: job.n_scored]
                assert rows["cluster"].tolist() == clusters.tolist()
            else:
                assert rows["crop"].tolist() == first[:half] + second[:half]
                assert rows["cluster"].tolist() == [0] * half + [1] * half
                seen += 1
    assert seen


def test_every_cluster_is_named_by_its_commonest_labels(wide_results: Results) -> None:
    names = wide_results.table("names")
    images = wide_results.table("images").set_index("image")["label_name"]
    shares = dict(images.value_counts(normalize=True))
    assert len(names)
    assert not names["layer"].str.contains("@").any()
    assert len(wide_results.table("namers")) == 0
    for layer in names["layer"].unique():
        members = members_of(wide_results, layer)
        for (channel, kind), rows in members.groupby(["channel", "kind"]):
            evidence = ("exemplars", "deflated")[int(kind)]
            groups = {int(c): its for c, its in rows.groupby("cluster")} | ({ALL: rows} if kind == 0 else {})
            for cluster, its in groups.items():
                counts = Counter(images.loc[its["image"]])
                above = {
                    name: n for name, n in counts.items() if is_above_chance(n, len(its), shares[name], len(shares))
                }
                found = names[
                    (names["layer"] == layer) & (names["channel"] == channel) & (names["evidence"] == evidence)
                ]
                found = found[found["cluster"] == cluster]
                best = sorted(above.values(), reverse=True)[:NAMES]
                assert found["similarity"].tolist() == [n / len(its) for n in best]
                assert all(
                    above[name] / len(its) == share
                    for name, share in zip(found["name"], found["similarity"], strict=True)
                )
                assert (found["n"] == len(its)).all()
                others = rows[~rows["item"].isin(its["item"])]["image"]
                for name, share, contrast in zip(found["name"], found["similarity"], found["contrast"], strict=True):
                    if cluster == ALL or others.empty:
                        assert np.isnan(contrast)
                    else:
                        assert contrast == pytest.approx(share - (images.loc[others] == name).mean())


def test_labels_of_random_images_are_no_names() -> None:
    """In at most a twentieth of random sets is any label above chance."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), [5, 5, 10, 20, 50, 100, 100, 200, 200, 310])
    share = np.bincount(labels) / len(labels)
    found = 0
    for _ in range(1000):
        counts = np.bincount(rng.choice(labels, 32, replace=False), minlength=10)
        found += any(is_above_chance(int(n), 32, float(s), 10) for n, s in zip(counts, share, strict=True) if n)
    assert found <= 50 + 2 * (1000 * 0.05 * 0.95) ** 0.5


def test_images_of_one_class_have_no_names(wide_results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = LabelNames(wide_results.job, wide_results.run)
    members = members_of(wide_results, "fine")
    assert list(labels("fine", members))
    labels.names = {0: "red"}
    assert not list(labels("fine", members))


# ---- ConSE -----------------------------------------------------------------------------------------------------------


def tables(folder: Path, *, n_classes: int = 3, width: int = 5) -> str:
    """A file of text vectors: of the toy's classes, and of more words, the first three of them nearly the classes'."""
    rng = np.random.default_rng(0)
    classes = rng.standard_normal((n_classes, width)).astype(np.float32)
    near = classes[:3] + 0.1 * rng.standard_normal((3, width))
    words = np.concatenate([near, rng.standard_normal((20, width))]).astype(np.float32)
    save_file({"classes": classes, "words": words}, folder / "text.safetensors")
    names = {"classes": [*COLOURS, *"defgh"][:n_classes], "words": ["rouge", "vert", "bleu", *map(str, range(20))]}
    (folder / "text.json").write_text(json.dumps(names))
    return str(folder / "text.safetensors")


def conse_job(make: object, folder: Path, *, n_classes: int = 3, **changes: object) -> Job:
    table = tables(folder, n_classes=n_classes)
    settings = {"name__model": "conse:scanned", "name__classes": f"{table}#classes", **changes}
    return make(**settings)  # type: ignore[operator]


def test_conse_is_the_mean_of_the_likeliest_classes(toy_job, tmp_path) -> None:
    job = conse_job(toy_job, tmp_path)
    network = open_network(job)
    namer = open_namer(job, network)
    assert namer is not None
    assert namer.known == tuple(COLOURS)
    crops = np.random.default_rng(0).integers(0, 256, (4, toy.SIDE, toy.SIDE, 3), dtype=np.uint8)
    with torch.inference_mode():
        logits = network.module(network.preprocessing.batch(crops, network.device)).numpy().astype(np.float64)
    vectors = namer.words(COLOURS)
    for row, got in zip(logits, namer(crops), strict=True):
        chances = np.exp(row) / np.exp(row).sum()
        expected = sum(chance * vector for chance, vector in zip(chances, vectors, strict=True))
        assert got.tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_conse_takes_only_the_ten_likeliest_classes(network_of_classes, tmp_path) -> None:
    network, logits = network_of_classes(30)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 6)).astype(np.float32)
    save_file({"c": vectors}, tmp_path / "t.safetensors")
    (tmp_path / "t.json").write_text(json.dumps([str(i) for i in range(30)]))
    request = EmbedderRequest(
        "conse:scanned", lambda: network, "", None, torch.device("cpu"), classes=str(tmp_path / "t.safetensors")
    )
    embedder = load_embedder(request)
    got = embedder(np.zeros((1, toy.SIDE, toy.SIDE, 3), dtype=np.uint8))[0]
    chances = np.exp(logits) / np.exp(logits).sum()
    top = np.argsort(-chances)[:10]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert got.tolist() == pytest.approx((chances[top] / chances[top].sum() @ unit[top]).tolist(), abs=1e-5)


@pytest.fixture
def network_of_classes():
    """A network that gives fixed logits, whatever it sees."""
    from polyscan.vision.networks import Network
    from polyscan.vision.preprocessing import Preprocessing

    class Fixed(torch.nn.Module):
        def __init__(self, logits):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.from_numpy(logits), requires_grad=False)

        def forward(self, x):
            return self.logits.expand(len(x), -1)

    def build(n_classes):
        logits = np.random.default_rng(1).standard_normal(n_classes).astype(np.float32) * 3
        preprocessing = Preprocessing(toy.SIDE, toy.SIDE, (0.5,) * 3, (0.5,) * 3)
        return Network("fixed", Fixed(logits), preprocessing, torch.device("cpu")), logits.astype(np.float64)

    return build


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"name__classes": ""}, ModelError, "needs a table with a text vector for each class"),
        ({"name__classes": "{folder}/four.safetensors"}, ModelError, "has 4 rows, but conse:scanned has 3 classes"),
        ({"name__vocabulary": "{folder}/wide.safetensors"}, JobError, "have 9 dimensions, those of conse:scanned 5"),
        (
            {"name__vocabulary": "{folder}/words.txt"},
            JobError,
            r"`name.vocabulary` .*1 of 2 words are not in the table",
        ),
        ({"name__vocabulary": "{folder}/empty.txt"}, JobError, r"`name.vocabulary` .*empty.txt holds no words"),
        ({"name__vocabulary": "{folder}/one.txt"}, JobError, "has a single word; a name needs others"),
        (
            {"name__vocabulary": "{folder}/nameless.safetensors"},
            JobError,
            "`name.vocabulary`: .*has no names of its rows",
        ),
        ({"name__model": "conse:toy:network"}, ModelError, 'unknown embedder "toy:network"'),
        (
            {"name__model": "", "name__vocabulary": "{folder}/one.txt"},
            JobError,
            "`name.vocabulary` needs a model with words",
        ),
        (
            {"name__model": "open_clip:ViT-B-32/none"},
            ModelError,
            'weights "none" of open_clip ViT-B-32 could not be loaded',
        ),
    ],
)
def test_what_can_not_name(settings, error, says, toy_job, tmp_path) -> None:
    for name, n, width in (("four", 4, 5), ("wide", 3, 9)):
        save_file({"a": np.ones((n, width), dtype=np.float32)}, tmp_path / f"{name}.safetensors")
        (tmp_path / f"{name}.json").write_text(json.dumps(list("abcd"[:n])))
    (tmp_path / "bare").mkdir()
    save_file({"a": np.ones((3, 5), dtype=np.float32)}, tmp_path / "nameless.safetensors")
    for name, text in (("words", "red\nmauve\n"), ("empty", "\n"), ("one", "red\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    filled = {key: value.replace("{folder}", str(tmp_path)) for key, value in settings.items()}
    job = conse_job(toy_job, tmp_path, **filled)
    with pytest.raises(error, match=says):
        open_namer(job, open_network(job))


# ---- words -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def named_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A whole run of the wide toy, named by its own classes through a table of twenty-three words."""
    folder = tmp_path_factory.mktemp("named")
    job = conse_job(
        lambda **changes: toy.wide_job(folder / "images", **changes),
        folder,
        n_classes=6,
        name__vocabulary=f"{folder}/text.safetensors#words",
        name__items=5,
        name__null_sets=99,
        visualize__enabled=False,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        return polyscan.scan(job, str(folder / "run"))


def test_words_are_those_that_the_crops_are_most_like(named_results: Results) -> None:
    """Every number of every name, made again literally from crops that are cut and embedded one by one."""
    job, run = named_results.job, named_results.run
    words = open_word_names(job, run)
    assert words is not None
    assert words.words is not None
    names = named_results.table("names")
    assert set(names["kind"]) == {"text"}
    assert set(names["evidence"]) == {"exemplars", "deflated"}
    vocabulary, compared = words.words, 0
    for layer in ("fine", "coarse"):
        pool = words.crops.random(layer)
        centre = pool.mean(axis=0, dtype=np.float64)
        members = members_of(named_results, layer)
        for key, found in names[names["layer"] == layer].groupby(["channel", "evidence", "cluster"]):
            channel, evidence, cluster = key
            its = members[(members["channel"] == channel) & (members["kind"] == (evidence == "deflated"))]
            mine = its if cluster == ALL else its[its["cluster"] == cluster]
            mine = mine.head(job.name.items)
            unit = naming.unit_rows(np.stack([words.crops(mine.iloc[[i]])[0] for i in range(len(mine))]), centre)
            cosines = unit.mean(axis=0) @ vocabulary.vectors.T / np.linalg.norm(unit.mean(axis=0))
            order = np.argsort(-cosines)
            for row in found.to_dict("records"):
                assert row["n"] == len(mine)
                assert row["name"] == vocabulary.names[order[row["rank"]]]
                assert row["similarity"] == pytest.approx(cosines[order[row["rank"]]], abs=1e-5)
                if row["rank"] + 1 < len(order):
                    margin = cosines[order[row["rank"]]] - cosines[order[row["rank"] + 1]]
                    assert row["margin"] == pytest.approx(margin, abs=1e-5)
                assert 0.01 <= row["p"] <= 1
                compared += 1
            assert found["rank"].iloc[0] == 0
            assert (found["wpmi_rank"] == 0).sum() == 1
            assert found["contrast"].isna().all() == (cluster == ALL or len(mine) == len(its))
    assert compared > 30


def test_what_the_model_knows_of_the_classes_is_said(named_results: Results) -> None:
    (about,) = named_results.table("namers").to_dict("records")
    images = named_results.table("images")
    assert about["model"] == "conse:scanned"
    assert (about["n_words"], about["n_images"], about["n_classes"]) == (23, len(images), 3), (
        "of the classes of the images, not of the network"
    )
    assert 0 <= about["accuracy"] <= 1
    assert about["chance"] == pytest.approx(1 / 3, abs=0.05)


def test_the_front_page_says_whether_names_mean_anything(named_results: Results) -> None:
    (about,) = named_results.table("namers").to_dict("records")
    said = [
        sentence for sentence in notes(named_results.job, named_results.run, named_results.map) if "name" in sentence
    ]
    assert f"{about['accuracy']:.1%} are nearest to their own class name" in said[0]
    assert "of 23 words fits random crops" in said[1]

    class Ignorant:
        """A run whose model finds no class."""

        def read(self, table: str, *_: object, **__: object) -> pd.DataFrame:
            ignorant = {**about, "accuracy": 0.01, "p": 0.9}
            return pd.DataFrame([ignorant]) if table == "namers" else named_results.table(table)

    (first, *_) = notes_module._on_names(Ignorant())  # type: ignore[arg-type]
    assert first.endswith("no more than chance: names by this model mean nothing.")


def test_names_do_not_depend_on_the_shards(named_results: Results) -> None:
    """One worker for all shards, with the vectors of earlier ones in memory, or a new worker for each."""
    job, run = named_results.job, named_results.run
    whole = named_results.table("names")
    for size in (1, 3):
        cut = job.model_copy(update={"score": job.score.model_copy(update={"units_per_shard": size})})
        parts: list[pd.DataFrame] = []
        worker = stage.Worker(cut, run)
        for shard in stage.shards(cut, run)[:-1]:
            worker = worker if size == 3 else stage.Worker(cut, run)
            parts.append(pd.DataFrame(worker(shard)["names"]))
        again = pd.concat([part for part in parts if len(part)], ignore_index=True)
        columns = [name for name in whole if name in again]
        pd.testing.assert_frame_equal(again[columns], whole[columns], check_dtype=False, check_exact=True)


def test_units_of_one_exemplar_have_names(named_results: Results) -> None:
    words = open_word_names(named_results.job, named_results.run)
    members = members_of(named_results, "fine")
    one = members.groupby(["channel", "kind"]).head(1).reset_index(drop=True)
    assert words is not None
    rows = words("fine", one).names
    assert rows
    assert all(row.n == 1 and np.isnan(row.contrast) and np.isfinite(row.p) for row in rows)
    nothing = words("fine", members.head(0))
    assert nothing.names == nothing.vectors == []


def test_a_model_without_words_names_by_prototypes(named_results: Results) -> None:
    job, run = named_results.job, named_results.run
    job = job.model_copy(update={"name": job.name.model_copy(update={"model": "penultimate", "vocabulary": ""})})
    assert not counts_labels(job)
    words = open_word_names(job, run)
    assert words is not None
    assert words.words is not None
    assert (words.words.kind, sorted(words.words.names)) == ("prototype", sorted(COLOURS))
    planted = planted_members(named_results, "red", "blue")
    rows = [row for row in words("fine", planted).names if row.rank == 0 and row.cluster != ALL]
    assert [row.name for row in rows] == ["red", "blue"]
    assert all(row.p <= 0.05 and row.contrast > 0 and row.contrast_p <= 0.05 for row in rows)
    assert {row.kind for row in rows} == {"prototype"}
    by_label = [row.name for row in LabelNames(job, run)("fine", planted) if row.rank == 0 and row.cluster != ALL]
    assert by_label == ["red", "blue"]


def planted_members(results: Results, *classes: str) -> pd.DataFrame:
    """A unit that answers to whole images of these classes, a cluster each."""
    labels = results.table("images").set_index("image")["label_name"]
    rows = whole_images(results.run).assign(channel=0, kind=0)
    parts = [
        rows[labels.loc[rows["image"]].to_numpy() == name].head(12).assign(cluster=c) for c, name in enumerate(classes)
    ]
    return pd.concat(parts, ignore_index=True).assign(item=lambda rows: range(len(rows)))


def test_psi_by_words_takes_a_table(toy_job, tmp_path, no_pages) -> None:
    """ConSE is an embedder like any other: with it, evidence lies in the space of words, and `psi_words` is there."""
    table = tables(tmp_path)
    job = toy_job(
        embed__model="conse:scanned",
        embed__classes=f"{table}#classes",
        embed__vocabulary=f"{table}#words",
        survey__space="image",
        visualize__enabled=False,
    )
    results = polyscan.scan(job, str(tmp_path / "run"))
    concepts = results.table("concepts")
    assert set(concepts[concepts["kind"] == "text"]["concept"]) == {"rouge", "vert", "bleu", *map(str, range(20))}
    assert results.map["psi_words"].notna().any()
    assert set(results.table("names")["kind"]) == {"text"}


def test_labels_need_no_model(wide_results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyscan.inputs.naming.load_embedder", pytest.fail)
    worker = stage.Worker(wide_results.job, Run(wide_results.run.address))
    assert worker.words is None


def test_the_plan_counts_the_crops_that_the_model_sees(toy_job, tmp_path) -> None:
    by_labels, by_words = (Outlook(job) for job in (toy_job(), conse_job(toy_job, tmp_path)))
    labels, words = name_cost(by_labels), name_cost(by_words)
    assert words.shards == labels.shards + 1
    assert words.seconds > labels.seconds
    assert by_labels.naming_seconds == 0 < by_words.naming_seconds
