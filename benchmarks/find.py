"""How long `find` takes: loading, and each search, among many clusters with random vectors.

    python -m benchmarks.find [CLUSTERS] [WIDTH]

100,000 clusters of 512 numbers, four to a unit, with five names each, are written as a run's tables and found again by
`Finder`, with a query vector in place of a model's (a model's own time depends on the model). One thread. Beside it
stand FAISS's flat and inverted-file index alone, with the share of the flat index's first 20 that the other finds:
random vectors have no clusters, which is the worst case for an inverted file.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from polyscan.job import Job
from polyscan.results import Results
from polyscan.run import Run
from polyscan.shards import Shard
from polyscan.stats import neighbors
from polyscan.studies.find import Finder
from polyscan.tables import TABLES

PER_UNIT, NAMES, LAYERS, SHARDS = 4, 5, 50, 20
QUERIES, TOP = 50, 20


def unit_vectors(n: int, width: int, seed: int) -> np.ndarray:
    """Random directions."""
    vectors = np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_run(folder: str, n: int, width: int) -> Results:
    """A run that has layers, clusters with vectors, names, and what the model's vectors are seen from."""
    run, per_layer = Run(folder), n // PER_UNIT // LAYERS
    job = Job(network={"name": "torchvision:resnet18"}, images={"source": "sklearn:digits"})  # pyright: ignore
    run.storage.put("job.toml", job.to_toml().encode())
    run.save_manifest({"stages": {}, "network": {"name": "random vectors"}})
    layers = [f"layer{number}" for number in range(LAYERS)]
    about = {
        "layer": layers, "parent": layers, "role": ["unit"] * LAYERS, "depth": list(range(LAYERS)),
        "n_units": [per_layer] * LAYERS, "next": [""] * LAYERS, "space": ["image"] * LAYERS,
        "readout": [""] * LAYERS, "relu_follows": [True] * LAYERS,
    }  # fmt: skip
    rest = {c.name: [0] * LAYERS for c in TABLES["layers"].columns if c.name not in about}
    run.write(Shard("survey", 0, 1, 0, 1), {"layers": {**about, **rest}}, fingerprint="", seconds=0)
    vectors, unit = unit_vectors(n, width, 0), np.arange(n) // PER_UNIT
    for shard, rows in enumerate(np.array_split(np.arange(n), SHARDS)):
        columns = {"names": _names(unit, rows), "cluster_vectors": _vectors(unit, rows, vectors)}
        if not shard:
            columns["namers"] = _namer(width)
        run.write(Shard("name", shard, SHARDS, shard, shard + 1), columns, fingerprint="", seconds=0)
    return Results(folder)


def _clusters(unit: np.ndarray, rows: np.ndarray, per_layer: int) -> dict[str, object]:
    layer, channel = np.divmod(unit[rows], per_layer)
    return {
        "layer": [f"layer{number}" for number in layer],
        "channel": channel,
        "evidence": ["exemplars"] * len(rows),
        "cluster": rows % PER_UNIT,
        "n": [16] * len(rows),
        "space": ["random"] * len(rows),
    }


def _vectors(unit: np.ndarray, rows: np.ndarray, vectors: np.ndarray) -> dict[str, object]:
    clusters = _clusters(unit, rows, _per_layer(unit))
    more = {"parent": clusters["layer"], "role": ["unit"] * len(rows), "share": [1 / PER_UNIT] * len(rows)}
    return {**clusters, **more, "vector": vectors[rows]}


def _names(unit: np.ndarray, rows: np.ndarray) -> dict[str, object]:
    repeated = np.repeat(rows, NAMES)
    columns: dict[str, object] = {name: [0.5] * len(repeated) for name in ("similarity", "margin", "p", "contrast")}
    columns |= {name: [0.5] * len(repeated) for name in ("contrast_p", "wpmi")}
    columns |= {"rank": np.tile(np.arange(NAMES), len(rows)), "wpmi_rank": [0] * len(repeated)}
    columns |= {"name": [f"word {number % 1203}" for number in range(len(repeated))], "kind": ["text"] * len(repeated)}
    return {**_clusters(unit, repeated, _per_layer(unit)), **columns}


def _per_layer(unit: np.ndarray) -> int:
    return int(unit[-1] + 1) // LAYERS


def _namer(width: int) -> dict[str, object]:
    counts = {name: [0] for name in ("n_words", "n_images", "n_classes", "accuracy", "chance", "p")}
    centre = [np.zeros(width, dtype=np.float32)]
    return {"model": ["random"], **counts, "image_centre": centre, "word_centre": centre}


@contextmanager
def told(label: str) -> Iterator[None]:
    """Prints the CPU's and the clock's seconds of what is done once."""
    started = time.process_time(), time.perf_counter()
    yield
    print(f"{label}: CPU {time.process_time() - started[0]:.2f} s, clock {time.perf_counter() - started[1]:.2f} s")


def timed(label: str, search: Callable[[int], object], n: int = QUERIES) -> None:
    """Prints the CPU's and the clock's milliseconds a search: the median of n, after one that warms up."""
    search(0)
    seconds: list[tuple[float, float]] = []
    for number in range(n):
        started = time.process_time(), time.perf_counter()
        search(number)
        seconds.append((time.process_time() - started[0], time.perf_counter() - started[1]))
    cpu, clock = 1e3 * np.median(np.array(seconds), axis=0)
    print(f"{label:<44} {cpu:>9.2f} {clock:>9.2f}", flush=True)


def main(n: int = 100_000, width: int = 512) -> None:
    """Prints the table."""
    queries = unit_vectors(QUERIES, width, 1)
    with tempfile.TemporaryDirectory() as folder:
        results = write_run(folder, n, width)
        with told(f"{n:,} clusters of {width} numbers loaded"):
            finder = Finder(results)
        with told(f"first search, which reads {n * NAMES:,} names"):
            finder._nearest(queries[:1], TOP, False)
        print(f"{'milliseconds a search':<44} {'CPU':>9} {'clock':>9}")
        timed("find: 20 units with names, by a vector", lambda i: finder._nearest(queries[i : i + 1], TOP, False))
        timed("find --like LAYER:CHANNEL", lambda i: finder(like=f"layer{i % LAYERS}:{i}"))
        assert finder.clusters is not None
        _indices(finder.clusters.vectors, queries)


def _indices(pool: np.ndarray, queries: np.ndarray) -> None:
    """FAISS's flat index and its inverted file, alone."""
    faiss = neighbors._faiss()
    with neighbors._pinned(1):
        flat = faiss.IndexFlatIP(pool.shape[1])
        flat.add(pool)
        timed("FAISS flat, alone", lambda i: flat.search(queries[i : i + 1], TOP * PER_UNIT))
        truth = flat.search(queries, TOP)[1]
        lists = int(len(pool) ** 0.5)
        with told(f"FAISS inverted file of {lists} lists made"):
            ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(pool.shape[1]), pool.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
            ivf.train(pool[: 100 * lists])
            ivf.add(pool)
        for n_probe in (lists // 10, lists // 3):
            ivf.nprobe = n_probe
            got = ivf.search(queries, TOP)[1]
            same = np.mean([len(set(mine) & set(all_)) / TOP for mine, all_ in zip(got, truth, strict=True)])
            timed(
                f"  {n_probe} lists read, {same:.0%} of the first {TOP}", lambda i: ivf.search(queries[i : i + 1], 80)
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
