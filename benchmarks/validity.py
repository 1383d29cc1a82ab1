"""`make validity`: how far the numbers can be trusted on a real network and real images, into `build/validity.json`.

Each entry is the report of `polyscan validate`, keyed by images, encoder and n; beside them the uniformity of p under
the null itself, and how verdicts agree when everything random is drawn anew. Slow: an hour and more on two cores.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kstest

from benchmarks.inputs import held
from benchmarks.places import BUILD
from benchmarks.race import Skipped
from polyscan import job as jobs
from polyscan.evidence import EvidenceReader, whole_images
from polyscan.inputs import pinned_threads
from polyscan.job import Job
from polyscan.nulls.calibration import Calibration
from polyscan.nulls.null_sets import one_exemplar_sets
from polyscan.run import Run
from polyscan.scores import separation
from polyscan.scores.sample import prepare
from polyscan.scores.score import values_of
from polyscan.shards import seed
from polyscan.stats.significance import spearman
from polyscan.studies import scanning
from polyscan.studies.validate import measured

RUNS = BUILD / "validity"
TINY = "images/tiny_imagenet_train_10000.parquet"
CIFAR = "images/cifar10_test_10000.parquet"
MN, SQ = "torchvision:mobilenet_v2/IMAGENET1K_V1", "torchvision:squeezenet1_1/DEFAULT"
BLOCKS = ["blocks", "features.18.0", "classifier.1"]
LEVEL = 0.05
UNIFORM_SETS = 5000
SETS_AT_ONCE = 200

Entry = dict[str, Any]
ENTRIES: Mapping[str, Entry] = {
    "tiny-imagenet mobilenet_v2 n 50": {"images.source": TINY, "embed.model": MN, "network.layers": BLOCKS},
    "tiny-imagenet squeezenet1_1 n 50": {"images.source": TINY, "embed.model": SQ, "network.layers": "classifier.1"},
    "cifar10 mobilenet_v2 n 50": {"images.source": CIFAR, "embed.model": MN, "network.layers": "classifier.1"},
    "cifar10 mobilenet_v2 n 100": {
        "images.source": CIFAR, "embed.model": MN, "network.layers": "classifier.1", "collect.k": 100,
    },
}  # fmt: skip


def job_of(entry: Entry, **more: Any) -> Job:
    """MobileNetV2 at 128 px on one of the shared image sets."""
    content: Entry = {
        "network": {"name": "torchvision:mobilenet_v2", "weights": "IMAGENET1K_V1", "input_px": 128, "resize_px": 128},
        "collect": {"k": 50, "batch": 64},
        "visualize": {"enabled": False},
        "embed": {"input_px": 128, "crops": False},
    }
    for key, value in {**entry, **more}.items():
        group, name = key.split(".")
        content.setdefault(group, {})[name] = str(held(value)) if key == "images.source" else value
    return jobs.build(content, "benchmarks/validity.py")


def main(names: list[str]) -> None:
    """Measures the entries of these names, all by default, and adds them to what the file holds."""
    target = BUILD / "validity.json"
    found: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    for name, entry in ENTRIES.items():
        if names and name not in names:
            continue
        run = Run(str(RUNS / name.replace(" ", "-")))
        with scanning.runner_for("ray", None) as runner:
            found[name] = measured(job_of(entry), run, runner)
        if name == next(iter(ENTRIES)):
            found["p under the null itself"] = uniformity(job_of(entry), run)
        _write(target, found)
    if not names or "seeds" in names:
        found["another seed"] = other_seed()
        _write(target, found)


def uniformity(job: Job, run: Run) -> dict[str, float]:
    """Kolmogorov-Smirnov distance of p from uniform, for sets of the embedding null, against other sets of it."""
    with pinned_threads(job):
        evidence = EvidenceReader(job, run)
        pool = whole_images(run)
        vectors = run.vectors(pool["crop"].to_numpy())
        generator = np.random.default_rng(seed(job.seed, "uniformity"))
        sets = one_exemplar_sets(vectors, evidence.n, count=2 * UNIFORM_SETS, generator=generator)
        scores = {
            name: score for name, score in job.score_functions().items() if name in (*separation.PARTS, "clarity")
        }
        images = pool["image"].to_numpy()
        rows: list[dict[str, float]] = []
        for start in range(0, len(sets), SETS_AT_ONCE):
            samples = [
                evidence.sample_of(
                    vectors[places], images[places], seed=seed(job.seed, "uniformity", "", start + number)
                )
                for number, places in enumerate(sets[start : start + SETS_AT_ONCE])
            ]
            prepare(samples)
            rows += [dict(values_of(scores, sample)) for sample in samples]
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    known, fresh = slice(0, UNIFORM_SETS), slice(UNIFORM_SETS, None)
    clarity = values["clarity"]

    def residuals(name: str, part: slice) -> Any:
        fit = Calibration.fit(values[name][known], clarity[known], tail="none")
        return fit.standardised(values[name][part], clarity[part])

    sums = {part: separation.separation({n: residuals(n, slice_) for n in separation.PARTS})
            for part, slice_ in (("known", known), ("fresh", fresh))}  # fmt: skip
    p = Calibration.fit(sums["known"], clarity[known], tail="upper").p(sums["fresh"], clarity[fresh])
    return {
        "sets": float(len(p)),
        "ks": float(kstest(p, "uniform")[0]),
        "at_05": float((p <= 0.05).mean()),
    }


def other_seed() -> dict[str, float]:
    """Agreement of two scans of the blocks that differ in the job's seed, and so in every draw."""
    start = time.perf_counter()
    first = _scanned(0)
    seconds = time.perf_counter() - start
    second = _scanned(1)
    both = first.merge(second, on=["layer", "channel"], suffixes=("", "_other"))
    both = both[~both["is_dead"]]
    several = both["verdict"].str.startswith("several") == both["verdict_other"].str.startswith("several")
    known = both.dropna(subset=["gap", "gap_other"])
    rhos = [
        spearman(rows["gap"].to_numpy(), rows["gap_other"].to_numpy()) for _, rows in known.groupby("layer", sort=False)
    ]
    return {
        "units": float(len(both)),
        "minutes": seconds / 60,
        "verdicts_agree": float((both["verdict"] == both["verdict_other"]).mean()),
        "several_agree": float(several.mean()),
        "p_05_agree": float(((both["p"] <= LEVEL) == (both["p_other"] <= LEVEL)).mean()),
        "rho_gap": spearman(known["gap"].to_numpy(), known["gap_other"].to_numpy()),
        "rho_gap_least_layer": min(rhos),
    }


def _scanned(number: int) -> pd.DataFrame:
    """The map of a scan with that seed."""
    entry = next(iter(ENTRIES.values()))
    job = job_of(entry).model_copy(update={"seed": number})
    return scanning.scan(job, str(RUNS / f"seed-{number}"), on="ray").map


def _write(target: Path, found: Mapping[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=1, sort_keys=True))


if __name__ == "__main__":
    try:
        os.environ.setdefault("TORCH_HOME", str(held("torch_home")))
        main(sys.argv[1:])
    except Skipped as reason:
        sys.exit(str(reason))
