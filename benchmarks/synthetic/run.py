"""A whole finished run of an invented network, for tests and for measuring what comes after a scan.

`python -m benchmarks.synthetic.run RUN [--units 30000] [--layers 50] [--trend up] [--sprites 0] [--seed 0]`

Its tables are filed as a scan files them, so that `polyscan show RUN` draws it; what no page reads is left empty.
Layers of 80 to 2,000 units, names as a ResNet has them and odd ones, 2 % dead units, a layer that is all dead, one of
one unit; 8 % of the units answer to several things; the trend is in the gap and in PSI. Same settings, same tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

import polyscan
from benchmarks.synthetic import evidence, pictures
from benchmarks.synthetic.network import CONTROLS, EMBEDDER, NULLS, PLANTED, Place, Plan, Trend, Truth, places
from polyscan import job as jobs
from polyscan.job import Job
from polyscan.manifest import stage_entries
from polyscan.manifest.differing import INPUTS
from polyscan.pipeline import STAGES
from polyscan.run import Run
from polyscan.shards import Shard, split, split_ranges
from polyscan.tables import TABLES, Columns

ALL = "all"
INPUT_PX = 224
IMAGES_PER_SHARD = 5000
SCORED = ("scores", "matches", "centres", "clusters", "artefacts")
SECOND = ("deflate", "recollect", "recombine")
"""Stages of the second test, which such a run has not."""
COMBINED = 4096  # units a shard
VERSIONS = {"polyscan": polyscan.__version__, "torch": "invented", "pyarrow": "invented", "numpy": "invented"}


def job_of(plan: Plan) -> Job:
    """The job that such a run would be of."""
    content = {
        "seed": plan.seed,
        "folder": "",
        "network": {"name": "torchvision:resnet50", "weights": "IMAGENET1K_V2"},
        "images": {"source": "invented"},
        "survey": {"readouts": NULLS, "controls": CONTROLS, "planted": PLANTED, "plants": ["planted"]},
        "collect": {"k": evidence.K, "images_per_shard": IMAGES_PER_SHARD},
        "second": {"enabled": False},
        "embed": {"model": EMBEDDER},
        "visualize": {"units_per_shard": 128},
        "calibrate": {"embedding_sets": NULLS, "sets_per_shard": NULLS},
        "picture": {"crops": pictures.CROPS, "visualizations": evidence.VISUALIZATIONS},
    }
    return jobs.build(content, "the synthetic run")


class Draft(Run):
    """A run that a power cut may take: it can be made again."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.files.put = self.put

    def put(self, name: str, content: bytes) -> None:
        """Writes a file without waiting for the disk."""
        self.storage.put(name, content, is_durable=False)


def write(folder: str | Path, plan: Plan) -> Run:
    """Files the whole run.

    Raises:
        ValueError: if the folder holds a run.
    """
    run, job = Draft(str(folder)), job_of(plan)
    if run.manifest():
        raise ValueError(f"{run.address} holds a run; give a new folder, or delete it")
    inputs = {name: f"invented {name}" for name in INPUTS}
    entries = stage_entries(STAGES, job, inputs)
    run.save_manifest({**about(job, inputs), "stages": entries})
    run.put("job.toml", job.to_toml().encode())
    made = places(plan)
    truths = {place.name: Truth.of(plan, place, len(evidence.CLASSES)) for place in made}
    for stage in STAGES:
        filed = list(filed_of(stage.name, plan, job, made, truths))
        run.ledger.note_plan(stage.name, len(filed))
        for shard, columns in filed:
            # Computed here, one shard's at a time: a run with all sprites is larger than memory should be.
            run.write(shard, columns(), fingerprint=entries[stage.name]["fingerprint"], seconds=1.0)
    run.forget_tables()
    return run


def about(job: Job, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What a scan notes of its inputs."""
    return {
        "network": {"name": job.network.name, "weights": job.network.weights, "digest": inputs["network"]},
        "is_traced": True,
        "untraced_because": "",
        "input_px": INPUT_PX,
        "images": {"source": job.images.source, "n": evidence.N_IMAGES, "digest": inputs["images"]},
        "embedder": {"name": job.embed.model, "digest": inputs["embedder"], "input_px": INPUT_PX},
        "distance": inputs["distance"],
        "device": "none",
        "versions": VERSIONS,
        "python": "invented",
        "gpu": {"tf32": False, "deterministic": False},
    }


# ---- shards and their tables ---------------------------------------------------------------------------------------

Filed = tuple[Shard, Callable[[], Mapping[str, Columns]]]
Maker = Callable[[Place], Mapping[str, Columns]]


def filed_of(stage: str, plan: Plan, job: Job, made: Sequence[Place], truths: Mapping[str, Truth]) -> Iterator[Filed]:
    """Each shard of a stage with what makes its tables."""

    def truth(place: Place) -> Truth:
        return truths[place.name]

    real = [place for place in made if place.is_real]
    by_unit: dict[str, tuple[Sequence[Place], int, Maker]] = {
        "combine": (made, COMBINED, lambda one: {
            "exemplars": evidence.exemplars(plan, one, truth(one)), "units": evidence.units(plan, one, truth(one)),
        }),
        "visualize": (real, job.visualize.units_per_shard, lambda one: {
            "visualizations": evidence.visualizations(plan, one, truth(one), pictures.small_png()),
            "data_visualizations": evidence.empty("data_visualizations"),
        }),
        "calibrate": ([one for one in made if one.role == "null"], job.calibrate.sets_per_shard, lambda one: {
            "nulls": evidence.nulls(plan, one),
        }),
        "score": ([one for one in made if one.role != "null"], job.score.units_per_shard, lambda one: {
            name: getattr(evidence, name)(plan, one, truth(one)) for name in SCORED
        }),
        "name": (real, job.score.units_per_shard, lambda one: {"names": evidence.names(plan, one, truth(one))}),
        "picture": (real, job.picture.units_per_shard, lambda one: {
            "sprites": pictures.sprites(plan, one, truth(one)), "tiles": pictures.tiles(plan, one, truth(one)),
        }),
    }  # fmt: skip
    if stage in by_unit:
        yield from filed_by_unit(stage, made, *by_unit[stage])
    elif stage in SECOND:
        return
    elif stage == "collect":
        for shard in split("collect", evidence.N_IMAGES, job.collect.images_per_shard):
            yield shard, partial(collected, shard)
    else:
        rows = {"layers": layer_rows(made)} if stage == "survey" else {}
        whole = {name: evidence.empty(name) for name, table in TABLES.items() if table.stage == stage} | rows
        yield Shard(stage, 0, 1, 0, 1), lambda: whole


def filed_by_unit(
    stage: str, made: Sequence[Place], chosen: Sequence[Place], size: int, maker: Maker
) -> Iterator[Filed]:
    """Shards of ranges of units, each within one layer; a layer's tables are made once and cut."""
    starts = dict(
        zip([one.name for one in made], np.cumsum([0, *(one.n_units for one in made)]).tolist(), strict=False)
    )
    ranges = [(starts[one.name], starts[one.name] + one.n_units) for one in chosen]
    by_start = {starts[one.name]: one for one in chosen}
    held: dict[str, Mapping[str, Columns]] = {}

    def tables(place: Place, low: int, high: int) -> dict[str, Columns]:
        if place.name not in held:
            held.clear()
            held[place.name] = maker(place)
        return {name: cut(name, columns, low, high) for name, columns in held[place.name].items()}

    start = 0
    for shard in split_ranges(stage, ranges, size):
        start = shard.start if shard.start in by_start else start
        low = shard.start - start
        yield shard, partial(tables, by_start[start], low, low + len(shard))


def cut(table: str, columns: Columns, low: int, high: int) -> Columns:
    """Rows of channels low up to, not including, high."""
    first, last = np.searchsorted(np.asarray(columns.get("channel", columns.get("set"))), (low, high))
    return {column.name: columns[column.name][first:last] for column in TABLES[table].columns}


def collected(shard: Shard) -> dict[str, Columns]:
    """Images of a range; class c of every hundred is of class c."""
    image = np.arange(shard.start, shard.stop)
    label = image % len(evidence.CLASSES)
    side = np.full(len(image), INPUT_PX, dtype=np.int32)
    images: Columns = {
        "image": image,
        "path": [f"class-{c:03}/{i:06}.jpg" for i, c in zip(image.tolist(), label.tolist(), strict=True)],
        "label": label,
        "label_name": np.array(evidence.CLASSES, dtype=object)[label],
        "height": side,
        "width": side,
        "checksum": [f"{i:016x}" for i in image.tolist()],
        "hash": np.zeros(len(image), dtype=np.int64),
        "frame": np.zeros(len(image)),
    }
    return {"images": images} | {name: evidence.empty(name) for name in ("rejects", "candidates", "moments")}


def layer_rows(made: Sequence[Place]) -> Columns:
    """The table `layers`."""
    n, ones = len(made), np.ones(len(made))
    real = [one.name for one in made if one.is_real]
    return {
        "layer": [one.name for one in made],
        "parent": [one.parent for one in made],
        "role": [one.role for one in made],
        "depth": [one.place for one in made],
        "n_units": [one.n_units for one in made],
        **{name: [14] * n for name in ("map_y", "map_x")},
        **{name: 16 * ones for name in ("stride_y", "stride_x")},
        **{name: 64 * ones for name in ("field_y", "field_x", "effective_field")},
        **{name: 0 * ones for name in ("first_y", "first_x")},
        "next": [real[one.place + 1] if one.space == "next" else "" for one in made],
        "space": [one.space for one in made],
        "random_clarity": 0.05 * ones,
        "readout": ["own output" if one.is_real else f"{one.role} of: own output" for one in made],
        "relu_follows": [one.is_real for one in made],
    }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.synthetic.run", description=__doc__)
    parser.add_argument("run", help="a new folder")
    parser.add_argument("--units", type=int, default=30_000)
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--trend", choices=get_args(Trend), default="up")
    parser.add_argument("--sprites", default="0", help=f"units of each layer that have pictures, or `{ALL}`")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    sprites = None if given.sprites == ALL else int(given.sprites)
    started = time.perf_counter()
    write(given.run, Plan(given.units, given.layers, cast("Trend", given.trend), sprites, given.seed))
    print(f"{given.run}: written in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
