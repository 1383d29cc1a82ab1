"""Truth by training: what is merged, what is trained, what is measured of it, and the whole on painted images."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import toy
from PIL import Image
from torch import nn

from polyscan.errors import ImagesError, JobError
from polyscan.inputs import open_network
from polyscan.job import Job
from polyscan.maps.validation import trained_rows, validation_page
from polyscan.run import Run
from polyscan.studies import scanning, validate
from polyscan.studies.validate.trained import making, measured_on_trained
from polyscan.studies.validate.trained.design import (
    ONE_CLASS,
    SHARES,
    Layout,
    Output,
    designs,
    n_merged,
    targets,
    usable_classes,
)
from polyscan.studies.validate.trained.networks import Trunk
from polyscan.studies.validate.trained.rates import BETTER, auroc, rates_of, scored_outputs
from polyscan.studies.validate.trained.training import _loss, _trained_on, trained_head, trained_network
from polyscan.studies.validate.trained.truth import OutputTruth, output_truths
from polyscan.vision.embedders import penultimate
from polyscan.vision.preprocessing import Preprocessing

HUES = [(230, 20, 20), (20, 230, 20), (20, 20, 230), (220, 220, 20), (220, 20, 220), (20, 220, 220)]
N_PER_HUE = 40
SIDE = 8

# ---- what is merged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["beside", "instead"])
@pytest.mark.parametrize("n_classes", [4, 7, 10, 37])
def test_no_class_is_merged_twice_and_strengths_take_turns(n_classes: int, layout: Layout) -> None:
    classes = [3 * label for label in range(n_classes)]
    plans = designs(classes, 5, layout=layout, run_seed=0)
    for outputs in plans:
        merged = [label for one in outputs if one.minor is not None for label in (one.major, one.minor)]
        alone = [one.major for one in outputs if one.kind == ONE_CLASS]
        assert len(merged) == len(set(merged)) == 2 * n_merged(n_classes)
        assert sorted(alone) == (classes if layout == "beside" else sorted(set(classes) - set(merged)))
    counts = Counter(one.kind for outputs in plans for one in outputs)
    assert all(counts[kind] >= 5 for kind in SHARES)
    assert max(counts[kind] for kind in SHARES) - min(counts[kind] for kind in SHARES) <= 1
    assert counts[ONE_CLASS] >= sum(counts[kind] for kind in SHARES)
    again, other = (designs(classes, 5, layout=layout, run_seed=seed) for seed in (0, 1))
    assert again == plans != other


def test_the_minor_class_is_seen_as_often_as_the_strength_says() -> None:
    labels = np.concatenate([np.repeat(np.arange(8), 36), [-1] * 5])
    outputs = [
        Output("1:1", 0, 1),
        Output("3:1", 2, 3),
        Output("9:1", 4, 5),
        *(Output(ONE_CLASS, 6), Output(ONE_CLASS, 5)),
    ]
    wanted = targets(labels, outputs, np.random.default_rng(0))
    seen = {label: [Counter(map(str, column)) for column in wanted[labels == label].T] for label in range(-1, 8)}
    yes, no, unknown = "1.0", "0.0", "nan"
    assert seen[0] == [{yes: 36}, *[{no: 36}] * 4]
    assert seen[1] == [{yes: 36}, *[{no: 36}] * 4]
    assert seen[3] == [{no: 36}, {yes: 12, unknown: 24}, *[{no: 36}] * 3]
    assert seen[5] == [{no: 36}, {no: 36}, {yes: 4, unknown: 32}, {no: 36}, {yes: 36}]
    assert seen[6] == [{no: 36}, {no: 36}, {no: 36}, {yes: 36}, {no: 36}]
    assert seen[7] == [{unknown: 36}] * 5, "no output is about this class"
    assert seen[-1] == [{unknown: 5}] * 5
    # Where outputs compete, an image without an output is left out.
    assert set(np.flatnonzero(labels == 7)).isdisjoint(_trained_on(wanted, "instead"))
    assert len(_trained_on(wanted, "instead")) == 36 * 6 + 12
    assert len(_trained_on(wanted, "beside")) == 36 * 7


def test_too_few_labels_classes_or_images_are_told() -> None:
    with pytest.raises(ImagesError, match="needs images with labels, and these have none"):
        usable_classes(np.full(100, -1))
    with pytest.raises(ImagesError, match="3 of 5 classes have so many"):
        usable_classes(np.repeat(np.arange(5), [18, 18, 18, 17, 2]))
    assert usable_classes(np.repeat([9, 5, 7, 1, 3], [18, 40, 18, 17, 30])) == [3, 5, 7, 9]
    assert len(usable_classes(np.repeat(np.arange(300), 18))) == 200


# ---- what is trained -----------------------------------------------------------------------------------------------


def pictures(n: int = N_PER_HUE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures in which each class has a hue."""
    generator = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(HUES)), n)
    noise = generator.integers(-60, 60, (len(labels), SIDE, SIDE, 3))
    return np.clip(np.array(HUES)[labels][:, None, None] * 0.6 + noise + 40, 0, 255).astype(np.uint8), labels


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short training."""
    monkeypatch.setattr("polyscan.studies.validate.trained.training.SEEN", 2500)
    monkeypatch.setattr("polyscan.studies.validate.trained.training.HEAD_STEPS", 60)


@pytest.mark.parametrize("layout", ["beside", "instead"])
def test_a_small_network_learns_its_merged_outputs_and_is_the_same_again(layout: Layout, quick: None) -> None:
    views, labels = pictures()
    alone = range(6) if layout == "beside" else range(1, 5)
    outputs = [Output("1:1", 0, 5), *(Output(ONE_CLASS, label) for label in alone)]
    wanted = targets(labels, outputs, np.random.default_rng(0))
    preprocessing = Preprocessing(SIDE, SIDE, (0.5,) * 3, (0.5,) * 3)
    one, again, other = (trained_network(views, wanted, preprocessing, layout=layout, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(one.out.weight, other.out.weight)
    assert not one.training
    new, new_labels = pictures(seed=1)
    with torch.inference_mode():
        said = one(preprocessing.batch(new, torch.device("cpu"))).numpy()
    for truth_of in output_truths(0, said, new_labels, outputs, k=8):
        assert truth_of.own_auroc > 0.95
    if layout == "instead":
        assert (said.argmax(axis=1) == np.array([0, 1, 2, 3, 4, 0])[new_labels]).mean() > 0.9


def test_where_outputs_do_not_compete_unknown_targets_change_nothing() -> None:
    wanted = np.array([[1, np.nan], [0, 1]], dtype=np.float32)
    said = torch.tensor([[0.5, 3.0], [-1.0, 2.0]], requires_grad=True)
    _loss(wanted, "beside")(np.array([0, 1]), said).backward()
    assert said.grad is not None
    assert said.grad[0, 1] == 0
    expected = torch.sigmoid(said.detach()) - torch.tensor([[1.0, 0], [0, 1]])
    assert torch.allclose(said.grad * 4, torch.where(torch.isnan(torch.from_numpy(wanted)), 0.0, expected))


@pytest.mark.parametrize("layout", ["beside", "instead"])
def test_a_head_reads_raw_features_though_it_is_trained_on_standardised_ones(layout: Layout, quick: None) -> None:
    generator = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 60)
    features = (generator.standard_normal((240, 12)) + 3 * np.eye(4, 12)[labels]).astype(np.float32)
    scaled = (features * np.linspace(0.1, 50, 12) + np.linspace(-9, 9, 12)).astype(np.float32)
    scaled[:, 11], features[:, 11] = 7, 0  # a dead feature
    wanted = targets(labels, [Output(ONE_CLASS, label) for label in range(4)], generator)
    heads = [trained_head(values, wanted, layout=layout, seed=0) for values in (features, scaled)]
    with torch.no_grad():
        one, other = (head(torch.from_numpy(values)) for head, values in zip(heads, (features, scaled), strict=True))
    torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-3)
    assert (one.argmax(dim=1).numpy() == labels).mean() > 0.9


def test_the_trunk_is_the_network_up_to_its_penultimate_layer(tmp_path: Path) -> None:
    network = open_network(toy.job(tmp_path / "images"))
    images = torch.rand(3, 3, toy.SIDE, toy.SIDE)
    with torch.no_grad():
        torch.testing.assert_close(Trunk(network.module, images)(images), penultimate(network)(images))
        convolutions = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten())
        expected = convolutions[:2](images).mean(dim=(2, 3))
        torch.testing.assert_close(Trunk(convolutions, images)(images), expected)


# ---- what is measured of it ----------------------------------------------------------------------------------------


def test_truths_are_those_of_a_literal_count() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(-1, 4, 200)
    activations = generator.standard_normal((200, 3)).astype(np.float32)
    activations[labels == 2, 0] += 1
    outputs = [Output("3:1", 0, 2), Output(ONE_CLASS, 1), Output(ONE_CLASS, 3)]
    k = 20
    for found, output in zip(output_truths(5, activations, labels, outputs, k=k), outputs, strict=True):
        values = activations[:, found.channel].astype(float)
        order = sorted(range(200), key=lambda image: -values[image])
        top = [int(labels[image]) for image in order[:k]]
        assert (found.n_major, found.k, found.network) == (top.count(output.major), k, 5)
        best = sorted((values[image] for image in range(200) if labels[image] == output.major), reverse=True)[:k]
        assert found.major_best == pytest.approx((np.mean(best) - values.mean()) / values.std())
        if output.minor is None:
            assert np.isnan(found.minor_best)
            assert np.isnan(found.second_share)
        else:
            assert found.n_minor == top.count(2)
            assert found.second_share == min(top.count(0), top.count(2)) / k
            assert found.strength == pytest.approx(found.major_best / found.minor_best), (
                "the minor class came out first"
            )


def test_the_area_is_that_of_scikit_learn_and_lies_in_its_interval() -> None:
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    one, several = generator.integers(0, 9, 40).astype(float), generator.integers(2, 12, 30).astype(float)
    found = auroc(one, several)
    expected = roc_auc_score(np.repeat([0, 1], [40, 30]), np.concatenate([one, several]))
    assert found.mean == pytest.approx(expected)
    assert found.low < found.mean < found.high
    means = [auroc(generator.choice(one, 40), generator.choice(several, 30)).mean for _ in range(300)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.03)


class Scores:
    """A run that has only `scores`."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        names = ["layer", "channel", "evidence", "null", "is_main", "score", "value", "null_mean", "null_sd", "p"]
        self.rows = pd.DataFrame(rows, columns=names)

    def read(self, table: str, where: object) -> pd.DataFrame:
        """All rows."""
        assert (table, where) == ("scores", {"role": "unit"})
        return self.rows


def truth(channel: int, kind: str) -> OutputTruth:
    minor = -1 if kind == ONE_CLASS else 1
    return OutputTruth(0, channel, kind, 0, minor, 5, 5, 10, 1.0, 0.5, 1.0)


def test_each_evidence_counts_alone_and_the_better_one_with_twice_its_p() -> None:
    def row(channel: int, evidence: str, p: float, value: float, null: str = "layer") -> tuple[Any, ...]:
        return (
            "nets.0.out",
            channel,
            evidence,
            null,
            null == "layer" and evidence == "exemplars",
            "separation",
            value,
            0.0,
            2.0,
            p,
        )

    rows = [
        *(row(0, evidence, p, value) for evidence, p, value in (("exemplars", 0.5, 1.0), ("deflated", 0.01, 8.0))),
        *(row(1, evidence, p, value) for evidence, p, value in (("exemplars", 0.03, 6.0), ("deflated", 0.9, 0.0))),
        *(row(2, evidence, p, value) for evidence, p, value in (("exemplars", 0.6, 0.5), ("deflated", 0.7, 0.1))),
        row(0, "exemplars", 0.001, 99.0, null="embedding"),
    ]
    truths = [truth(0, "1:1"), truth(1, "9:1"), truth(2, ONE_CLASS)]
    scored = scored_outputs(Scores(rows), truths, "layer")  # type: ignore[arg-type]
    better = scored[scored["evidence"] == BETTER].set_index("channel")
    assert better["p"].to_dict() == {0: 0.02, 1: 0.06, 2: 1.0}
    assert better["beyond"].to_dict() == {0: 4.0, 1: 3.0, 2: 0.25}
    rates = {(rate.evidence, rate.kind): rate for rate in rates_of(scored)}
    found = {key: rate.found.mean for key, rate in rates.items() if rate.found}
    assert found["exemplars", "merged"] == found["deflated", "merged"] == found[BETTER, "merged"] == 0.5
    assert (found["exemplars", "1:1"], found["deflated", "1:1"], found["exemplars", ONE_CLASS]) == (0, 1, 0)
    assert rates["exemplars", "merged"].n == 2
    area = rates[BETTER, "merged"].auroc
    assert area is not None
    assert area.mean == 1.0
    assert rates[BETTER, ONE_CLASS].auroc is None


# ---- the whole -----------------------------------------------------------------------------------------------------


def painted_job(folder: Path, **changes: Any) -> Job:
    """A job on pictures of six hues, with evidence enough for a null."""
    if not folder.exists():
        for number, (view, label) in enumerate(zip(*pictures(), strict=True)):
            (folder / f"hue{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(view).save(folder / f"hue{label}" / f"{number:03d}.png")
    settings: dict[str, Any] = {
        "network__name": "toy:wide",
        "survey__readouts": 40,
        "survey__images": 240,
        "visualize__enabled": False,
        "collect__batch": 60,
        "collect__images_per_shard": 240,
        "calibrate__nulls": ["layer"],
        "calibrate__sets_per_shard": 200,
        "score__units_per_shard": 64,
        "picture__units_per_shard": 64,
        "network__input_px": SIDE,
        **changes,
    }
    return toy.job(folder, **settings)


@pytest.mark.parametrize("kind", ["network", "head"])
def test_on_painted_images_outputs_are_trained_scanned_and_measured_once(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, no_pages: None
) -> None:
    job, run = painted_job(tmp_path / "images"), Run(str(tmp_path / "run"))
    with scanning.runner_for("local", None) as runner:
        found = measured_on_trained(job, run, runner, kind=kind, per_strength=1)
        numbers = found.to_json()
        assert (numbers["networks"], numbers["classes"], numbers["training_images"]) == (3, 6, 240)
        assert {name: facts["n"] for name, facts in numbers["outputs"].items()} == {
            "merged": 3, "1:1": 1, "3:1": 1, "9:1": 1, "one class": 18
        }  # fmt: skip
        assert numbers["own_auroc"] > 0.9
        rates = {(rate["score"], rate["kind"]): rate for rate in numbers["rates"]}
        assert 0 < rates["separation", "merged"]["n"] <= 3
        assert rates["separation", "one class"]["found"] is not None
        # The scan is that of the same outputs: the truth's top k is that of its exemplars.
        outputs = Run(f"{run.address}/trained/{kind}-beside/run")
        exemplars = outputs.read("exemplars", where={"role": "unit"})
        labels = outputs.read("images").set_index("image")["label"]
        for row in found.trained.truths:
            top = exemplars[(exemplars["layer"] == f"nets.{row.network}.out") & (exemplars["channel"] == row.channel)]
            assert (labels[top["image"]] == row.major).sum() == row.n_major
        # Nothing is trained again, and a folder of other networks is refused.
        for name in ("trained_network", "trained_head"):
            monkeypatch.setattr(making, name, lambda *_, **__: pytest.fail("trained again"))
        assert measured_on_trained(job, run, runner, kind=kind, per_strength=1).to_json() == numbers
        with pytest.raises(JobError, match="holds networks trained with other settings \\(seed, outputs differ\\)"):
            measured_on_trained(job.model_copy(update={"seed": 5}), run, runner, kind=kind, per_strength=1)


def test_the_report_and_the_page_hold_both_and_a_later_validation_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(str(tmp_path / "run"))
    rates = {"separation": {"n": {"a": {"control": 4.0}}}}
    monkeypatch.setattr(validate, "warning", lambda _: "")
    rows = [
        {"score": score, "evidence": "exemplars", "kind": "merged", "n": 3, "auroc": [0.9, 0.8, 1.0], "found": None}
        for score in ("zeta", "separation")
    ]
    outputs = {"merged": {"n": 3, "strength": [0.5, 0.625, 0.7], "second_share": 0.25}}
    numbers = {
        "kind": "head",
        "layout": "instead",
        "networks": 1,
        "trained_on": "the scanned images",
        "training_images": 12,
        "classes": 4,
        "own_auroc": 0.9,
        "outputs": outputs,
        "rates": rows,
    }
    job = painted_job(tmp_path / "images")
    validate._write(job, run, rates, {"head-instead": numbers})
    assert json.loads((tmp_path / "run" / validate.REPORT).read_text()) == {
        **rates,
        "trained": {"head-instead": numbers},
    }
    assert list(trained_rows(numbers, "separation")) == [
        ("merged", "exemplars", "3", ".63", ".25", ".90 [.80, 1.00]", "–")
    ]
    page = (tmp_path / "run" / "maps" / "validation.html").read_text()
    section = page.partition(
        "Linear outputs, trained on the features of the network; merged classes have no output of their own"
    )[2]
    assert section.index("<h3>separation</h3>") < section.index("<h3>zeta</h3>")
    assert "1 network, trained on the scanned images (12 with labels, 4 classes)" in section
    assert "trained on" not in validation_page(rates, {}, title="t").decode()
